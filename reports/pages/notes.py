"""The notes under a table: what is missing or not measured, and where the numbers come from."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from eval.metrics import METRICS, of_family
from eval.statistics import CONFIDENCE
from experiments.record import TABLE_DATASETS, SuiteRecord
from experiments.tracking.reader import RunRecord, SuiteRuns
from reports.analysis.formatting import title
from reports.analysis.ranking import RULE
from reports.analysis.runs import GROUND_TRUTH, LEFT_OUT, reason, standing, table_scores
from reports.pages.tables import Table

FAMILY_NAMES = {"fcn": "FCN-scores", "labels": "scores of label maps", "color": "Lab ∩"}
"""Families whose scores share a name."""
FEW_IMAGES = 10
"""With fewer test images than this a report warns."""


def interval_note(runs: SuiteRuns) -> str:
    """What ± is and over how many seeds, or why there is none."""
    counts = finished_seeds(runs)
    if not counts:
        return "No training is finished, so no arm has a value."
    if set(counts) == {1}:
        return "n = 1 seed: one run gives no interval, so none is printed."
    alone = "; an arm with n = 1 has no interval" if 1 in counts else ""
    return (
        f"± is the half-width of a {100 * CONFIDENCE:g} % t-interval over n seeds of the training"
        f"{alone}."
    )


def bold_note(runs: SuiteRuns, table: Table) -> str | None:
    """What bold means, or why no value is bold; None with one arm."""
    if len(runs.arms) < 2:
        return None
    if table.best_arms:
        return f"{RULE}."
    if max(finished_seeds(runs), default=0) < 2:
        return "No value is bold: one seed cannot separate two arms."
    return "No value is bold: no arm is proven better than every other in any score."


def not_asked(runs: SuiteRuns) -> str | None:
    """The arms of the suite that this record leaves out by choice."""
    return f"not asked for: {', '.join(runs.not_asked)}" if runs.not_asked else None


def finished_seeds(runs: SuiteRuns) -> list[int]:
    """How many seeds are finished, for every arm that has one."""
    done = (sum(run.finished for run in runs.of_arm(arm)) for arm in runs.arms)
    return [n for n in done if n]


def seeds_text(runs: SuiteRuns) -> str:
    """`5`, or `3–5` where arms have different numbers of finished seeds."""
    counts = sorted(set(finished_seeds(runs))) or [0]
    return "–".join(str(count) for count in dict.fromkeys((counts[0], counts[-1])))


def gaps(runs: SuiteRuns) -> list[str]:
    """A sentence for each kind of cell that is not in the means."""
    sentences = []
    for run in runs.runs:
        if run.status == "failed":
            sentences.append(f"failed: {name(run)}: {run.error or 'no reason recorded'}")
    left: dict[str, list[RunRecord]] = {}
    for run in runs.runs:
        if run.status == "running":
            left_out = standing(run) == LEFT_OUT
            words = f"{LEFT_OUT}, {run.remark}" if left_out else "begun, not finished"
            left.setdefault(words, []).append(run)
    left |= {"missing": [run for run in runs.runs if run.status == "missing"]}
    sentences += [f"{words}: {names(group)}" for words, group in left.items() if group]
    truth = runs.ground_truth
    if truth is None:
        sentences.append("missing: the ground-truth row, the suite has no reference")
    elif not truth.finished:
        why = f", {truth.remark}" if standing(truth) == LEFT_OUT else ""
        sentences.append(f"{standing(truth)}{why}: the ground-truth row")
    return sentences


def earlier_runs(runs: SuiteRuns) -> list[str]:
    """Which runs of the same name the table leaves out."""
    if not runs.left_out:
        return []
    return [
        "left out, recorded under the same name with other settings or data: "
        f"{names(runs.left_out)}"
    ]


def not_measured(runs: SuiteRuns) -> list[str]:
    """`SCORE: why, and how to get it`, each reason once; a whole family is named by its name."""
    reasons: dict[str, list[str]] = {}
    for score in table_scores(runs):
        for run in runs.runs:
            why = reason(run, score) if run.finished else None
            if why and score not in reasons.get(why, []):
                reasons.setdefault(why, []).append(score)
    lines = [f"{', '.join(_folded(s))}: not measured: {why}" for why, s in reasons.items()]
    return [*lines, *_silent(runs)]


def _silent(runs: SuiteRuns) -> list[str]:
    """Finished seeds that lack a score which others have, without a reason."""
    done = [run for run in runs.runs if run.finished]
    lines = []
    for score in table_scores(runs):
        lacking = [run for run in done if score not in run.scores and not reason(run, score)]
        if lacking and len(lacking) < len(done):
            lines.append(
                f"{title(score, False)}: no value and no reason recorded: {names(lacking)}"
            )
    return lines


def paper_note(runs: SuiteRuns) -> str | None:
    """Where the paper's columns come from, and what besides the arms differs from ours."""
    record = runs.record
    if record.published is None:
        return None
    source = record.published.source
    differences = []
    if record.dataset not in TABLE_DATASETS:
        differences.append(f"another data set than {record.dataset}")
    if not any(size in source for size in (size_text(record), size_text(record).replace("×", "x"))):
        differences.append(f"another size than {size_text(record)}")
    if any(score.startswith("fcn.") for row in record.published.rows.values() for score in row):
        differences.append("another scorer than ours")
    if record.other_settings:
        differences.append("other settings than ours")
    tail = f": {_listed(differences)}, so compare orders, not values" if differences else ""
    return f"paper: {source}{tail}."


def few_images(record: SuiteRecord) -> list[str]:
    """A warning where scores rest on very few images, however many seeds there are."""
    count = record.pairs.get("test", FEW_IMAGES)
    if count >= FEW_IMAGES:
        return []
    images = "one test image" if count == 1 else f"{count} test images"
    return [
        f"every score rests on {images}: on others an order could be reversed, whatever the seeds"
    ]


def labelled(record: SuiteRecord) -> list[str]:
    """Which part of the labels has no class, and classes that never occur; empty if all is well."""
    lines = []
    if any(record.ignored.values()):
        shares = ", ".join(f"{split} {share:.1%}" for split, share in record.ignored.items())
        lines.append(f"label pixels of no class, which no score sees: {shares}")
    lines += [f"never in {split}: {', '.join(names)}" for split, names in record.absent.items()]
    return lines


def _listed(parts: Sequence[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    return " and ".join([*([", ".join(parts[:-1])] if parts[1:] else []), *parts[-1:]])


def provenance(runs: SuiteRuns) -> list[str]:
    """`name: value` lines; where runs differ, each value with its number of runs."""
    done = [run for run in (*runs.runs, runs.ground_truth) if run and run.finished]
    commit = runs.record.commit
    same = {run.provenance.get("commit", commit) for run in done} <= {commit}
    lines = [f"commit: {commit}" if same else f"commit of the suite record: {commit}"]
    keys = dict.fromkeys(key for run in done for key in run.provenance)
    plain = [k for k in keys if not k.startswith("versions.") and not (same and k == "commit")]
    lines += [f"{key}: {_agreed(run.provenance.get(key) for run in done)}" for key in plain]
    versions = [key for key in keys if key.startswith("versions.")]
    packages = (f"{k[9:]} {_agreed(run.provenance.get(k) for run in done)}" for k in versions)
    lines += [f"versions: {', '.join(packages)}"] if versions else []
    recorded = {run.fingerprint for run in done if run.fingerprint}
    lines.append(f"data fingerprint: {runs.record.fingerprint}")
    if recorded - {runs.record.fingerprint}:
        lines.append(f"data fingerprints of the runs differ: {', '.join(sorted(recorded))}")
    return lines


def digests(runs: SuiteRuns) -> list[str]:
    """`arm: seed 1 DIGEST, …` for every arm, and the ground truth's."""
    lines = []
    for arm in runs.arms:
        cells = (f"seed {run.seed} {run.digest}" for run in runs.of_arm(arm))
        lines.append(f"{arm}: {', '.join(cells)}")
    if runs.ground_truth:
        lines.append(f"{GROUND_TRUTH}: {runs.ground_truth.digest}")
    return lines


def name(run: RunRecord) -> str:
    """`70x70 seed 1`."""
    return f"{run.arm} seed {run.seed}"


def names(runs: Sequence[RunRecord]) -> str:
    """`70x70 seed 1, 1x1 seeds 2, 3`."""
    seeds: dict[str, list[str]] = {}
    for run in runs:
        seeds.setdefault(run.arm, []).append(str(run.seed))
    return ", ".join(
        f"{arm} seed{'s' if len(numbers) > 1 else ''} {', '.join(numbers)}"
        for arm, numbers in seeds.items()
    )


def size_text(record: SuiteRecord) -> str:
    """`128×128`"""
    return "{}×{}".format(*record.size)


def _folded(scores: list[str]) -> list[str]:
    """Scores by name, or the family's name in place of all its scores."""
    named = []
    for score in scores:
        family = METRICS[score].family
        whole = family in FAMILY_NAMES and set(of_family(family)) <= set(scores)
        named.append(FAMILY_NAMES[family] if whole else title(score, False))
    return list(dict.fromkeys(named))


def _agreed(values: Iterable[str | None]) -> str:
    counts = Counter(value for value in values if value is not None)
    if len(counts) == 1:
        return next(iter(counts))
    parts = (f"{value} ({n} run{'s' if n > 1 else ''})" for value, n in counts.items())
    return "; ".join(parts)
