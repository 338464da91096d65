"""How far the jobs of a study are, whoever runs them: from their journals and Slurm's queue."""

from __future__ import annotations

from experiments.run.jobs import Job, state
from experiments.run.journal import last, read_records
from experiments.run.slurm import queued
from experiments.study import Study, plan_jobs
from pix2pix.common.locks import owner_of
from pix2pix.config import CellConfig
from pix2pix.data.cache import cached


def status(study: Study) -> str:
    """One line per job, then how many there are of each state. Reads no image."""
    options = study.options
    cache = (study.entry, options.data_root, study.size, options.out / "cache", study.direction)
    known, counts = cached(*cache) or (None, None)
    if not known or not counts:
        return f"nothing was run yet: {options.out} has no data set {study.entry.name} of this size"
    queue = queued(options.out)
    jobs = {j.digest: j for plan in study.plans for j in plan_jobs(study, plan, known)}
    rows, totals = [], dict[str, int]()
    for job in jobs.values():
        word, text = _state(job, counts["train"])
        entry = (queue or {}).get(job.digest)
        if entry and word != "done":
            word, text = entry.state.lower(), f"{text}; {entry.text}"
        totals[word] = totals.get(word, 0) + 1
        rows.append(f"{job.title:<28}  {job.digest}  {text}")
    rows += ["", ", ".join(f"{count} {word}" for word, count in totals.items())]
    if queue is None:
        rows.append("Slurm does not answer: what waits in its queue is not shown")
    return "\n".join(rows)


def _state(job: Job, pairs: int) -> tuple[str, str]:
    """(a word, the same with what is known of it)."""
    found = state(job)
    steps = ""
    if isinstance(job.config, CellConfig) and found.step:
        steps = f" at step {found.step} of {job.config.training.total_steps(pairs)}"
    if found.word == "failed":
        error = last(read_records(job.directory / "journal.jsonl"), "failed") or {}
        return "failed", f"failed{steps}: {error.get('error', 'no reason recorded')}"
    if found.word in ("stopped", "to score") and (owner := owner_of(job.directory / "owner.lock")):
        return "running", f"running{steps}, {owner}"
    return found.word, found.word + steps
