#!/usr/bin/env python3
"""Regenerate the ablations of pix2pix on a data set: train, score, track and report.

Parses arguments and sets the exit status; `experiments/study.py` does the work.
"""

from __future__ import annotations

import os
import sys

# `-m` looks first into the current folder, where a user may have an experiments/.
started_by_m = __name__ == "__main__" and __spec__ is not None and not sys.flags.safe_path
if started_by_m and sys.path[0] != os.path.dirname(__file__):
    del sys.path[0]

import argparse
import errno
import json
import math
import shlex
import signal
import time
from collections.abc import Mapping, Sequence
from dataclasses import fields
from numbers import Integral
from pathlib import Path
from typing import TYPE_CHECKING, Any

from experiments.checks import check_folder
from experiments.plan import SEEDS_THAT_DECIDE, SuiteKey
from experiments.progress import duration
from experiments.run.engine import OF_ENGINE, ClusterOptions, check_options
from experiments.run.signals import Terminated, raise_terminated
from experiments.spec import SETTINGS, load_profiles, load_suite, parse_override, suite_names
from experiments.status import status
from experiments.study import Options, dry_run, execute, make_study
from experiments.tracking.process import Ending, mirror_only, say, tracking_uri, ui_command
from pix2pix.common.errors import TrainingError, UserError, mend_process, system_reason
from pix2pix.common.files import home_path
from pix2pix.data.registry import load_registry
from pix2pix.data.tasks import ROLES

DESCRIPTION = "Regenerate the ablations of pix2pix on a data set: train, score, track and report."
if TYPE_CHECKING:
    import pandas as pd

    from reports.pages.content import Report

EXAMPLES = """examples:
  python run_ablations.py --suite patch_size                 built-in data, minutes on a CPU
  python run_ablations.py --suite losses,color --seeds 5     error bars; shared runs train once
  python run_ablations.py --suite losses --arms L1,cGAN --set training.steps=8000
  python run_ablations.py --suite my_suite.yaml --dataset folder --data-root my/pairs
  python run_ablations.py --suite all --dry-run              show what would run, and for how long
  python run_ablations.py --report-only                      rebuild MLflow and all reports from
                                                             --out; trains nothing

Interrupted? Run the same command again: it resumes, and skips finished runs.

exit status: 0 everything finished; 1 a run failed; 2 wrong input, before any training;
130 interrupted (143 by SIGTERM), resumable
"""


def parser() -> argparse.ArgumentParser:
    """The command line."""
    p = argparse.ArgumentParser(
        prog="run_ablations.py",
        description=DESCRIPTION,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    p.add_argument(
        "--suite",
        type=suite_paths,
        dest="suites",
        metavar="NAME[,NAME]",
        help="names of suites (see --list), all, or .yaml files",
    )
    p.add_argument(
        "--profile",
        default="quick",
        help="size and length: smoke, quick, medium or paper (default quick)",
    )
    p.add_argument(
        "--dataset", default="procedural", help="a data set of --list (default procedural)"
    )
    p.add_argument(
        "--data-root", type=home_path, metavar="DIR", help="folder of the data set (default data)"
    )
    p.add_argument(
        "--datasets",
        type=home_path,
        metavar="FILE",
        help="YAML file that describes your own data sets",
    )
    p.add_argument(
        "--seeds",
        type=parse_seeds,
        metavar="N|1,2,3",
        help=f"number of seeds, or a list of seeds; {SEEDS_THAT_DECIDE} or more give verdicts "
        "(default: from the profile)",
    )
    p.add_argument(
        "--direction",
        metavar="INPUT->TARGET",
        help="sides of the data set, or an input that is derived from its photos: "
        + ", ".join(f"{role}->photo" for role in ROLES)
        + " (docs/tasks.md; default: the suite's)",
    )
    p.add_argument("--arms", type=names, metavar="A,B", help="train only these arms of the suites")
    p.add_argument(
        "--set",
        type=parse_override,
        action="append",
        dest="overrides",
        default=[],
        metavar="KEY=VALUE",
        help="change a setting in every arm that does not set it itself; repeatable. Keys: size, "
        + ", ".join(SETTINGS),
    )
    for option, default, content in (
        ("--out", "runs", "the run directories"),
        ("--reports", "reports/out", "the reports"),
    ):
        text = f"folder of {content} (default {default})"
        p.add_argument(option, type=home_path, default=Path(default), metavar="DIR", help=text)
    p.add_argument(
        "--workers", type=int, metavar="N", help="parallel runs (default: one per GPU or CPU core)"
    )
    p.add_argument(
        "--threads", type=int, default=1, metavar="N", help="CPU threads per run (default 1)"
    )
    p.add_argument(
        "--checkpoint-every",
        type=float,
        default=60.0,
        metavar="SECONDS",
        help="seconds between two checkpoints of a run (default 60)",
    )
    add_cluster_options(p)
    for option, text in (
        ("--list", "show suites, profiles and data sets, and exit"),
        ("--dry-run", "show the runs, which are finished, and the expected time, and exit"),
        ("--status", "show how far the runs are, also those in Slurm's queue, and exit"),
        (
            "--report-only",
            "update MLflow and write the reports without training; without --suite, of everything "
            "in --out",
        ),
    ):
        p.add_argument(option, action="store_true", help=text)
    return p


def add_cluster_options(p: argparse.ArgumentParser) -> None:
    """The options of engines beyond one machine."""
    g = p.add_argument_group("beyond one machine (docs/cluster.md)")
    g.add_argument(
        "--engine", choices=OF_ENGINE, default="local", help="where to run (default: this machine)"
    )
    g.add_argument(
        "--address",
        metavar="ADDRESS",
        help="of the Ray cluster: auto (the default, on a node of it) or ray://HOST:10001",
    )
    g.add_argument(
        "--no-shared-folder",
        action="store_true",
        help="Ray: nodes keep runs and data on their own disks, and send the runs to --out",
    )
    g.add_argument("--partition", metavar="NAME", help="Slurm's partition")
    g.add_argument("--time", metavar="LIMIT", help="Slurm's time limit per task, such as 4:00:00")
    g.add_argument(
        "--gpus-per-run",
        "--gpus-per-node",
        type=float,
        metavar="N",
        help="GPUs of a run, on Ray also a part of one (default: 1 where Ray has GPUs, else none)",
    )
    g.add_argument(
        "--array-parallelism", type=int, metavar="N", help="Slurm: runs at the same time"
    )
    g.add_argument(
        "--sbatch",
        type=parse_sbatch,
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="a further option of sbatch, such as account=lab or mem=16G; repeatable",
    )
    g.add_argument(
        "--wait", action="store_true", help="Slurm: follow the runs, then write the reports"
    )


def parse_sbatch(text: str) -> tuple[str, str]:
    """`--account=lab`, `account=lab` to ("account", "lab"); UserError for any other text."""
    key, equals, value = text.removeprefix("--").partition("=")
    if not equals or not key.replace("-", "").isalnum():
        raise UserError(f"--sbatch {text}: must be KEY=VALUE, such as account=lab")
    return key, value


def names(text: str) -> tuple[str, ...]:
    """`a, b` to ("a", "b"), each once."""
    return tuple(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))


def suite_paths(text: str) -> tuple[str, ...]:
    """`names`, in which `~` at the beginning of a file's name is the home folder."""
    return tuple(os.path.expanduser(name) for name in names(text))


def parse_seeds(text: str) -> tuple[int, ...]:
    """`5` to seeds 1 to 5, `1,2,7` to these three; UserError for any other text."""
    parts = text.removesuffix(",").split(",")
    if not all(part.isascii() and part.strip().isdigit() for part in parts):
        raise UserError(f"--seeds {text}: must be a number of seeds, or seeds such as 1,2,3")
    numbers = tuple(int(part) for part in parts)
    if len(numbers) == 1 and "," not in text:
        if not 1 <= numbers[0] <= 1000:
            raise UserError(f"--seeds {text}: must be 1 to 1000 (one seed 7: --seeds 7,)")
        return tuple(range(1, numbers[0] + 1))
    if max(numbers) >= 2**31:
        raise UserError(f"--seeds {text}: a seed must be below 2147483648")
    if len(set(numbers)) < len(numbers):
        raise UserError(f"--seeds {text}: a seed occurs twice")
    return numbers


def parse_options(arguments: argparse.Namespace) -> Options:
    """The options, with every check that needs no file; UserError names the option."""
    of_cluster = {field.name: getattr(arguments, field.name) for field in fields(ClusterOptions)}
    arguments.cluster = ClusterOptions(**of_cluster | {"sbatch": tuple(arguments.sbatch)})
    check_options(arguments.engine, arguments.cluster)
    given = {field.name: getattr(arguments, field.name) for field in fields(Options)}
    for name, least in (("workers", 1), ("threads", 1), ("checkpoint_every", 0)):
        if given[name] is not None and not least <= given[name] < math.inf:
            option = name.replace("_", "-")
            raise UserError(f"--{option} {given[name]}: must be finite, and at least {least}")
    if arguments.engine == "slurm" and arguments.workers is not None:
        raise UserError("--workers: on Slurm, --array-parallelism says how many run at once")
    if arguments.arms == ():
        raise UserError("--arms: names no arm; omit the option to train all arms")
    if arguments.data_root is not None and arguments.dataset == "procedural":
        raise UserError(
            f"--data-root {arguments.data_root}: the data set procedural is generated, not read; "
            "for your own pairs add --dataset folder"
        )
    if not arguments.suites:
        raise UserError(f"--suite is required: {', '.join(suite_names())}, all, or a .yaml file")
    given["data_root"] = (arguments.data_root or Path("data")).resolve()
    return Options(**given)


def show_list(datasets: Path | None) -> str:
    """Suites, profiles and data sets, one line each."""
    lines = ["suites"]
    for name in suite_names():
        suite = load_suite(name)
        lines.append(f"  {name:<18} {suite.title}: {', '.join(suite.arms)}")
    lines.append("profiles")
    for name, profile in load_profiles().items():
        steps = profile.settings.get("training.steps")
        length = f"{steps} steps" if steps else "the paper's epochs"
        width, seeds = profile.settings.get("generator.width", 64), len(profile.seeds)
        lines.append(f"  {name:<18} {profile.size} pixels, width {width}, {length}, seeds: {seeds}")
    lines.append("data sets")
    for name, entry in load_registry(datasets).items():
        labels = f", {len(entry.classes)} classes" if entry.classes else ""
        lines.append(f"  {name:<18} {entry.title or name} ({entry.default_direction}{labels})")
    return "\n".join(lines)


def show(text: str) -> None:
    """Print a text; ignore that a reader such as `head`, or the terminal, is gone."""
    try:
        print(text, flush=True)
    except OSError as error:
        if error.errno not in (errno.EPIPE, errno.EIO):
            raise
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def report(keys: Sequence[SuiteKey], folder: Path) -> list[Report]:
    """Write the report of every suite from MLflow, print its table and verdicts, and return it.

    A suite of which every cell failed has none.
    """
    from experiments.tracking.reader import read_suite
    from experiments.tracking.report import attach_report
    from experiments.tracking.store import StoreError
    from reports.pages.content import gather
    from reports.pages.terminal import terminal_page
    from reports.write import alone, write_pages

    reports = []
    with alone(folder):
        for key in keys:
            try:
                content = gather(read_suite(*key))
                written = write_pages(key, content, folder)
            except UserError as error:  # every cell failed; the exit status is 1 already
                say(f"no report of {key.suite}: {error}")
                continue
            show(terminal_page(content) + "\n")
            say(f"report: {written / 'index.html'} (also table.md, table.tex)")
            reports.append(content)
            try:
                attach_report(content.runs.record, written)
            except StoreError as error:  # the report itself is written
                say(f"not attached in MLflow: {error}")
    return reports


def next_steps(argv: Sequence[str], undecided: bool) -> str:
    """How to browse MLflow, and the command that decides the claims."""
    # Not the script beside the interpreter, which holds the path at which it was installed.
    beside = Path(sys.executable).with_name("mlflow").exists()
    program = f"{shlex.quote(os.path.relpath(sys.executable))} -m mlflow" if beside else "mlflow"
    lines = [f"MLflow: {ui_command(tracking_uri(), program)}"]
    if undecided:
        lines.append(f"next:   {more_seeds(argv)}  (finished runs are kept)")
    return "\n".join(lines)


def more_seeds(argv: Sequence[str]) -> str:
    """The command line `argv` with the fewest seeds that can decide a claim."""
    if Path(sys.argv[0]).name == "run_ablations":  # the installed command
        program = ["run_ablations"]
    else:
        in_venv = Path(sys.prefix).is_relative_to(Path.cwd())  # perhaps not activated
        python = os.path.relpath(sys.executable) if in_venv else "python"
        script = os.path.relpath(__file__)
        installed = Path(__file__).parent.name == "site-packages"
        program = [python, *(("-m", "run_ablations") if installed else (script,))]
    words, rest = [], iter(argv)
    for word in rest:
        if word == "--seeds":
            next(rest, None)
        elif word != "--report-only" and not word.startswith("--seeds="):
            words.append(word)
    return shlex.join([*program, *words, "--seeds", str(SEEDS_THAT_DECIDE)])


def carry_out(arguments: argparse.Namespace) -> tuple[Ending, list[Report]]:
    """Train and track what the options ask for (with --report-only: track), and report it."""
    if arguments.report_only and arguments.suites is None:
        ending, keys = mirror_only(arguments.out)
    else:
        study = make_study(parse_options(arguments))
        if arguments.report_only:
            ending, keys = mirror_only(arguments.out, study.plans)
        else:
            ending, keys = execute(study), [plan.key for plan in study.plans]
    if not ending.tracked:
        return ending, []
    check_folder("--reports", arguments.reports)
    return ending, report(keys, arguments.reports)


def run_suites(
    suites: str | Path | Sequence[str | Path],
    *,
    profile: str = "quick",
    dataset: str = "procedural",
    data_root: str | Path | None = None,
    datasets: str | Path | None = None,
    seeds: int | Sequence[int] | None = None,
    arms: str | Sequence[str] | None = None,
    settings: Mapping[str, Any] | None = None,
    direction: str | None = None,
    out: str | Path = "runs",
    reports: str | Path = "reports/out",
    workers: int | None = None,
    threads: int = 1,
    checkpoint_every: float = 60.0,
    report_only: bool = False,
    engine: str = "local",
    cluster: ClusterOptions | None = None,
) -> pd.DataFrame:
    """Do from Python what `run_ablations.py` does, and return the scores of every finished run.

    Trains, scores, logs to MLflow and writes the reports; prints what the command prints. Finished
    runs are skipped, so the same call returns at once the next time.

    Args:
        suites: a name, several (also with commas), "all", or the path of a .yaml file.
        settings: what `--set` changes, such as {"training.steps": 500}.
        seeds: their number, or the seeds themselves.
        report_only: train nothing; only update MLflow and the reports.
        cluster: the engine's options; on Slurm, the call waits for the end.
        others: as the options of these names.

    Returns:
        The content of results.csv of all suites: one row per run and score, with the columns
        suite, dataset, profile, arm, seed (missing for the ground truth), score and value.

    Raises:
        UserError: wrong input, before anything is trained; one line.
        TrainingError: a run failed, or MLflow is not up to date; what is finished is kept.
        KeyboardInterrupt: it was interrupted; the same call resumes.
    """
    texts = (suites,) if isinstance(suites, str | os.PathLike) else suites
    ending, written = carry_out(
        argparse.Namespace(
            suites=tuple(name for text in texts for name in suite_paths(str(text))),
            profile=profile,
            dataset=dataset,
            data_root=None if data_root is None else home_path(str(data_root)),
            datasets=None if datasets is None else home_path(str(datasets)),
            seeds=None if seeds is None else parse_seeds(seed_text(seeds)),
            arms=names(arms) if isinstance(arms, str) else None if arms is None else tuple(arms),
            overrides=[
                # NumPy's numbers are no JSON.
                parse_override(f"{k}={json.dumps(v, default=lambda number: number.item())}")
                for k, v in (settings or {}).items()
            ],
            direction=direction,
            out=home_path(str(out)),
            reports=home_path(str(reports)),
            workers=workers,
            threads=threads,
            checkpoint_every=checkpoint_every,
            report_only=report_only,
            engine=engine,
            **vars(cluster or ClusterOptions()) | {"wait": engine == "slurm"},
        )
    )
    if ending.status >= 128:
        raise KeyboardInterrupt
    if ending.status or not ending.tracked:
        raise TrainingError("a run failed, or MLflow is not up to date: see the lines above")
    import pandas as pd

    from reports.analysis.runs import tidy

    return pd.concat([tidy(content.runs) for content in written], ignore_index=True)


def seed_text(seeds: int | Sequence[int]) -> str:
    """Seeds as `--seeds` takes them."""
    return str(seeds) if isinstance(seeds, Integral) else ",".join(map(str, seeds)) + ","  # type: ignore[arg-type]


def run(arguments: argparse.Namespace, argv: Sequence[str]) -> int:
    """Do what the parsed command line asks for; the exit status."""
    began = time.monotonic()
    if arguments.list:
        show(show_list(arguments.datasets))
        return 0
    if arguments.dry_run and (arguments.suites or not arguments.report_only):
        show(dry_run(make_study(parse_options(arguments))))
        return 0
    if arguments.status:
        show(status(make_study(parse_options(arguments))))
        return 0
    ending, written = carry_out(arguments)
    if ending.tracked:
        from reports.pages.terminal import needs_more_seeds

        undecided = arguments.suites is not None and any(map(needs_more_seeds, written))
        say(next_steps(argv, undecided))
    if not arguments.report_only:
        say(f"took {duration(time.monotonic() - began)}")
    return ending.status


def main(argv: list[str] | None = None) -> int:
    """Run the command; the exit status. KeyboardInterrupt if a signal stops it early."""
    argv = sys.argv[1:] if argv is None else argv
    mend_process()
    try:
        return run(parser().parse_args(argv), argv)
    except UserError as error:
        print(f"run_ablations.py: {error}", file=sys.stderr)
    except OSError as error:
        print(f"run_ablations.py: {system_reason(error)}", file=sys.stderr)
    return 2


def command() -> int:
    """`main` as a process of its own: Ctrl-C and SIGTERM end it with one line."""
    signal.signal(signal.SIGTERM, raise_terminated)
    try:
        return main()
    except KeyboardInterrupt as reason:
        print("interrupted; run the same command again to resume", file=sys.stderr)
        return 143 if isinstance(reason, Terminated) else 130


if __name__ == "__main__":
    sys.exit(command())
