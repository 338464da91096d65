"""A reproducibility checklist: the items that conferences ask for and table.md does not answer.

It names the command, the error bars, the settings, the splits and the selection; claims, gaps,
hardware, run time, versions and deviations from the paper are in table.md.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence

from eval.statistics import ALPHA, CONFIDENCE, FEW
from experiments.tracking.reader import SuiteRuns
from reports.analysis.runs import finished
from reports.analysis.verdicts import Verdict
from reports.pages.markdown import code, escape, section_lines
from reports.pages.notes import finished_seeds, size_text
from reports.sections import Section

UNKNOWN = "not recorded"
EMBEDDED = "procedural"
"""The data set that needs no folder: the program draws it."""
SETS, DATA_ROOT = "SETS.yaml", "DIR"
IDENTITY = ("seed", "digest", "dataset", "fingerprint", "direction", "size", "protocol")
REST = (
    "Claims and verdicts, failed and missing runs, hardware, versions, run time, memory, and "
    "deviations from the paper are in table.md."
)


def checklist(runs: SuiteRuns, verdicts: Sequence[Verdict]) -> str:
    """The Markdown page."""
    record = runs.record
    about = f"Suite {record.suite} on {record.dataset}, profile {record.variant}. {REST}"
    lines = [f"# Reproducibility checklist: {escape(record.title)}", "", escape(about), ""]
    lines += [f"Command: {code(command(runs))}"]
    if places := _places(runs):
        lines += ["", escape(f"{places}.")]
    lines += section_lines(Section("Error bars and tests", lines=_error_bars(runs, verdicts)))
    lines += section_lines(Section("Settings", lines=_settings(runs)))
    lines += section_lines(Section("Splits and selection", lines=_splits(runs)))
    return "\n".join([*lines, ""])


def command(runs: SuiteRuns) -> str:
    """The command line that trains these cells, for a POSIX shell.

    A suite or data set that does not come with the package is named by a file.
    """
    record = runs.record
    own = record.own
    seeds = ",".join(str(seed) for seed in sorted({run.seed or 0 for run in runs.runs}))
    overrides = record.overrides
    profile = record.variant.partition("+")[0]
    suite = f"{record.suite}.yaml" if "suite" in own else record.suite
    parts = ["python", "run_ablations.py", "--suite", suite, "--dataset", record.dataset]
    parts += ["--datasets", SETS] if "dataset" in own else []
    parts += [] if record.dataset == EMBEDDED else ["--data-root", DATA_ROOT]
    parts += ["--profile", profile, "--seeds", f"{seeds}{',' if ',' not in seeds else ''}"]
    parts += ["--arms", ",".join(runs.arms)] if runs.not_asked else []
    for key, value in overrides.items():
        text = value if isinstance(value, str) else json.dumps(value)
        parts += ["--direction", text] if key == "direction" else ["--set", f"{key}={text}"]
    return " ".join(map(shlex.quote, parts))


def _places(runs: SuiteRuns) -> str:
    """What the command's file names stand for, since no record knows paths; or nothing."""
    record = runs.record
    meanings = []
    if "suite" in record.own:
        meanings.append(f"{record.suite}.yaml is the suite's own file")
    if "dataset" in record.own:
        meanings.append(f"{SETS} is the file that describes the data set {record.dataset}")
    if record.dataset != EMBEDDED:
        meanings.append(f"{DATA_ROOT} is the folder that holds the data")
    return "; ".join(meanings)


def _error_bars(runs: SuiteRuns, verdicts: Sequence[Verdict]) -> list[str]:
    lines = ["none over seeds: one seed per arm gives no interval"]
    if max(finished_seeds(runs), default=0) > 1:
        lines = [
            f"± is the half-width of a {100 * CONFIDENCE:.0f} % t-interval over seeds: it covers "
            "initial weights, order of the data, jitter and dropout, on one test split"
        ]
    if any(run.image_intervals for run in runs.runs):
        lines.append("intervals over test images (bootstrap) are in image_intervals.csv")
    if tests := sorted({v.test for v in verdicts if v.p is not None}):
        lines.append(
            f"claims are tested two-sided ({', '.join(tests)}; by permutations below {FEW} seeds) "
            f"at {ALPHA} after Holm's correction within the suite"
        )
    return lines


def _settings(runs: SuiteRuns) -> list[str]:
    """What each arm changes, what was overridden, and the settings that all finished runs share."""
    changes, overrides = runs.record.changes, runs.record.overrides
    lines = [f"{arm}: changes {_pairs(changes[arm]) or 'nothing'}" for arm in runs.arms]
    lines += [f"overridden: {_pairs(overrides)}"] if overrides else []
    params = [run.params for run in finished(runs) if run.params]
    shared = params[0].items() if params else ()
    common = {k: v for k, v in shared if all(other.get(k) == v for other in params)}
    common = {k: v for k, v in common.items() if k not in IDENTITY and v != "none"}
    return [*lines, f"all arms: {_pairs(common) or UNKNOWN}"]


def _splits(runs: SuiteRuns) -> list[str]:
    record = runs.record
    counts = dict.fromkeys(_pairs(run.splits) for run in finished(runs) if run.splits)
    what = "images of the longer side" if record.unpaired else "pairs"
    return [
        f"{what}: {' or '.join(counts) or UNKNOWN}; {size_text(record)} pixels, {record.direction}",
        f"commit {record.commit}, fingerprint of the decoded pixels {record.fingerprint}",
        "trained on train; the generator of the last step is scored on all of test, from 8-bit PNG "
        "files; no checkpoint, seed or setting was chosen by a score on test",
    ]


def _pairs(values: Mapping[str, object]) -> str:
    return ", ".join(f"{key} {value}" for key, value in values.items())
