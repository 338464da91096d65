"""A reproducibility checklist, filled in from the records alone.

The items are those that conferences ask for: runs, error bars, infrastructure, run time,
parameters, splits, preprocessing, selection. What the records do not tell is `not recorded`.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Iterable, Sequence

from experiments.tracking.reader import RunRecord, SuiteRuns
from reports.analysis.comparisons import not_judged
from reports.analysis.cost import duration, time_in_all
from reports.analysis.runs import finished
from reports.analysis.statistics import ALPHA, CONFIDENCE, FEW
from reports.analysis.verdicts import CONTRADICTED, REPRODUCED, UNDECIDED, Verdict
from reports.pages.markdown import code, escape
from reports.pages.notes import finished_seeds, gaps, size_text
from reports.pages.verdict_text import claim_words

UNKNOWN = "not recorded"
EMBEDDED = "procedural"
"""The data set that needs no folder: the program draws it."""
SETS, DATA_ROOT = "SETS.yaml", "DIR"
IDENTITY = ("seed", "digest", "dataset", "fingerprint", "direction", "size", "protocol")


def checklist(runs: SuiteRuns, verdicts: Sequence[Verdict]) -> str:
    """The Markdown page."""
    record = runs.record
    sections = {
        "Claims": _claims(runs, verdicts),
        "Runs": _runs(runs),
        "Error bars and tests": _error_bars(runs, verdicts),
        "Infrastructure": _infrastructure(runs),
        "Run time": _run_time(runs),
        "Parameters": _parameters(runs),
        "Splits": _splits(runs),
        "Preprocessing": _preprocessing(runs),
        "Selection": [
            "The generator after the last step is scored; no checkpoint, seed or setting was "
            "chosen by a score on the test split",
            "Settings are those of the suite and its profile"
            + (f", changed by hand: {_pairs(record.overrides)}" if record.overrides else ""),
        ],
        "Code and data": [
            f"commit: {record.commit}",
            f"data set: {record.dataset}, fingerprint of its decoded pixels: {record.fingerprint}",
        ],
        "Deviations from the paper": record.deviations,
    }
    title = record.title
    lines = [f"# Reproducibility checklist: {escape(title)}", ""]
    about = f"Suite {record.suite} on {record.dataset}, profile {record.variant}."
    lines += [escape(about), "", f"Command: {code(command(runs))}"]
    if places := _places(runs):
        lines += ["", escape(f"{places}.")]
    for title, items in sections.items():
        lines += ["", f"## {title}", ""]
        lines += [f"- {escape(item.rstrip('.'))}." for item in items]
    return "\n".join([*lines, ""])


def command(runs: SuiteRuns) -> str:
    """The command line that trains these cells, for a POSIX shell.

    A suite or data set of the user's own is named by its file, of which only the record knows that
    there is one.
    """
    record = runs.record
    own = record.own
    seeds = ",".join(str(seed) for seed in sorted({run.seed for run in runs.runs}))
    overrides = record.overrides
    profile = record.variant.partition("+")[0] if overrides else record.variant
    suite = f"{record.suite}.yaml" if "suite" in own else record.suite
    parts = ["python", "run_ablations.py", "--suite", suite, "--dataset", record.dataset]
    parts += ["--datasets", SETS] if "dataset" in own else []
    parts += [] if record.dataset == EMBEDDED else ["--data-root", DATA_ROOT]
    parts += ["--profile", profile, "--seeds", f"{seeds}{',' if ',' not in seeds else ''}"]
    parts += ["--arms", ",".join(runs.arms)] if runs.not_asked else []
    for key, value in overrides.items():
        text = value if isinstance(value, str) else json.dumps(value)
        parts += ["--set", f"{key}={text}"]
    return " ".join(map(shlex.quote, parts))


def _places(runs: SuiteRuns) -> str:
    """What the command's file names stand for, as no record knows where files lie; or nothing."""
    record = runs.record
    own = record.own
    said = []
    if "suite" in own:
        said.append(f"{record.suite}.yaml is the suite's own file")
    if "dataset" in own:
        said.append(f"{SETS} is the file that describes the data set {record.dataset}")
    if record.dataset != EMBEDDED:
        said.append(f"{DATA_ROOT} is the folder that holds the data")
    return "; ".join(said)


def _claims(runs: SuiteRuns, verdicts: Sequence[Verdict]) -> list[str]:
    counts = {w: [v.claim for v in verdicts if v.word == w] for w in _WORDS}
    counts["not judged, their arms were not asked for"] = not_judged(runs)
    told = [
        f"{word}: {len(claims)} ({'; '.join(map(claim_words, claims))})"
        for word, claims in counts.items()
        if claims
    ]
    if weak := [v.claim for v in verdicts if v.ceiling]:
        told.append(
            "on a score whose ceiling is broken, so to be read with the note on the scorer: "
            f"{len(weak)} ({'; '.join(map(claim_words, weak))})"
        )
    return told or ["the suite states none"]


_WORDS = (REPRODUCED, CONTRADICTED, UNDECIDED)


def _runs(runs: SuiteRuns) -> list[str]:
    done = len(finished(runs))
    seeds = sorted({run.seed for run in runs.runs if run.seed is not None})
    lines = [
        f"{len(runs.arms)} arms, seeds {', '.join(map(str, seeds))}: {done} of {len(runs.runs)} "
        "trainings finished",
        *gaps(runs),
    ]
    if runs.not_asked:
        lines.append(f"not asked for: {', '.join(runs.not_asked)}")
    return lines


def _error_bars(runs: SuiteRuns, verdicts: Sequence[Verdict]) -> list[str]:
    lines = ["none over seeds: with one seed an arm there is no interval"]
    if max(finished_seeds(runs), default=0) > 1:
        lines = [
            f"± is the half-width of a {100 * CONFIDENCE:.0f} % t-interval over seeds: it holds "
            "the variation of initial weights, order of the data, jitter and dropout, on one test "
            "split"
        ]
    over_images = any(run.image_intervals for run in runs.runs)
    lines.append(
        "intervals over test images (bootstrap, one trained network) are given apart, in "
        "image_intervals.csv"
        if over_images
        else "intervals over test images: not recorded"
    )
    tests = sorted({v.test for v in verdicts if v.p is not None})
    if tests:
        lines.append(
            f"claims are tested two-sided ({', '.join(tests)}; by permutations below {FEW} seeds) "
            f"at {ALPHA} after Holm's correction within the suite"
        )
    return lines


def _infrastructure(runs: SuiteRuns) -> list[str]:
    told = {"device": "device", "device_name": "processor or GPU", "cores": "cores"}
    told |= {"threads": "threads a training", "precision": "precision", "platform": "platform"}
    lines = []
    for key, name in told.items():
        values = _values(finished(runs), lambda run, key=key: run.provenance.get(key))
        lines.append(f"{name}: {' or '.join(values) or UNKNOWN}")
    keys = dict.fromkeys(k for run in finished(runs) for k in run.provenance if "versions." in k)
    versions = [
        f"{key.removeprefix('versions.')} "
        + "/".join(_values(finished(runs), lambda run, key=key: run.provenance.get(key)))
        for key in keys
    ]
    return [*lines, f"versions: {', '.join(versions) or UNKNOWN}"]


def _run_time(runs: SuiteRuns) -> list[str]:
    lines = []
    for arm in runs.arms:
        done = [run for run in runs.of_arm(arm) if run.finished]
        seconds = [r.cost["training_seconds"] for r in done if "training_seconds" in r.cost]
        peaks = [r.cost["peak_memory_mib"] for r in done if "peak_memory_mib" in r.cost]
        said = [f"{duration(sum(seconds) / len(seconds))} a training"] if seconds else []
        said += [f"peak memory {max(peaks):.0f} MiB"] if peaks else []
        lines.append(f"{arm}: {', '.join(said) or UNKNOWN}")
    return [*lines, f"time in all: {time_in_all(runs) or UNKNOWN}"]


def _parameters(runs: SuiteRuns) -> list[str]:
    lines = []
    for arm in runs.arms:
        said = []
        for network in ("generator", "discriminator"):
            key = f"{network}_parameters"
            counts = {run.cost[key] for run in runs.of_arm(arm) if key in run.cost}
            said += [f"{network} {n:,.0f}" for n in sorted(counts) if n]
        changes = runs.record.changes[arm]
        said.append(f"changes {_pairs(changes)}" if changes else "changes nothing")
        lines.append(f"{arm}: {', '.join(said)}")
    common = _common(finished(runs))
    lines.append(f"settings of all arms: {_pairs(common) if common else UNKNOWN}")
    return lines


def _splits(runs: SuiteRuns) -> list[str]:
    counts = _values(finished(runs), lambda run: _pairs(run.splits) if run.splits else None)
    lines = [f"pairs: {' or '.join(counts) or UNKNOWN}"]
    lines.append("trained on train, scored on all of test")
    return lines


def _preprocessing(runs: SuiteRuns) -> list[str]:
    lines = [f"size: {size_text(runs.record)} pixels"]
    lines.append(f"direction: {runs.record.direction}")
    for key, name in {
        "training.jitter": "jitter (enlarged by, then cropped back at random)",
        "training.mirror": "random mirroring",
    }.items():
        values = _values(finished(runs), lambda run, key=key: run.params.get(key))
        lines.append(f"{name}: {' or '.join(values) or UNKNOWN}")
    lines.append("scores are computed from 8-bit PNG files of the translations")
    return lines


def _common(runs: Sequence[RunRecord]) -> dict[str, str]:
    """The settings in which all runs that have parameters agree."""
    of = [run.params for run in runs if run.params]
    if not of:
        return {}
    shared = {k: v for k, v in of[0].items() if all(params.get(k) == v for params in of)}
    return {k: v for k, v in shared.items() if k not in IDENTITY and v != "none"}


def _values(runs: Iterable[RunRecord], get: Callable[[RunRecord], str | None]) -> list[str]:
    return list(dict.fromkeys(str(value) for run in runs if (value := get(run)) is not None))


def _pairs(values: dict) -> str:
    return ", ".join(f"{key} {value}" for key, value in values.items())
