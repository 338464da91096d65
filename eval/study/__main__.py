"""The paper's real-vs-fake study with people: serve it, analyse it, or simulate it."""

from __future__ import annotations

import argparse
import json
import os
import secrets
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from eval.study.design import PRACTICE, SETTINGS, TRIALS, Study, default_consent
from eval.study.published import SPREAD, published_for
from pix2pix.common.errors import UserError, exit_status
from pix2pix.common.files import home_path, image_size, make_folder, whole_from, write_whole
from pix2pix.common.locks import Ownership

TOKEN = "admin_token"
EXAMPLES = """\
examples:
  python -m eval.study serve --out study/ --real real/ --arm L1=l1/ --arm "L1+cGAN=cgan/"
  python -m eval.study serve --out study/ --suite losses --dataset camvid
      the translations of recorded runs, one arm of the study per arm of the suite
  python -m eval.study serve --out study/
      go on with a study
  python -m eval.study analyse study/
  python -m eval.study simulate --rate L1=0.8 --rate L1+cGAN=18.9 --participants 50
      how wide the intervals will be, and how often the arms will be told apart

Exit status: 0 done, 2 bad input (one line), 130 interrupted. docs/study.md explains everything.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit status."""
    options = _parser().parse_args(arguments)
    stopped = "stopped; every answer is saved, and the same command goes on"
    return exit_status(lambda: options.run(options), stopped if options.run is serve else "stopped")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m eval.study",
        description=__doc__,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    commands = parser.add_subparsers(required=True, metavar="serve|analyse|simulate")
    command = commands.add_parser("serve", help="run the study's web pages", allow_abbrev=False)
    command.set_defaults(run=serve)
    add = command.add_argument
    add(
        "--out",
        type=home_path,
        required=True,
        metavar="DIR",
        help="the study: settings and answers",
    )
    add("--arm", type=_arm, action="append", default=[], metavar="NAME=DIR", help="translations")
    add("--real", type=home_path, metavar="DIR", help="the real images, matched by name")
    add("--suite", metavar="NAME", help="take the translations of a recorded suite instead")
    add("--dataset", metavar="NAME", help="the data set of --suite")
    add("--profile", metavar="NAME", help="the profile of --suite, if several are recorded")
    add(
        "--runs",
        type=home_path,
        default=Path("runs"),
        metavar="DIR",
        help="run directories of --suite",
    )
    add("--only", metavar="A,B", help="use only these arms of --suite")
    add("--title", help="default: Real or generated?")
    add(
        "--consent",
        type=home_path,
        metavar="FILE",
        help="text of the first page; default: a short one",
    )
    add("--practice", type=whole_from(0), metavar="N", help=f"default {PRACTICE}, as in the paper")
    add("--trials", type=whole_from(1), metavar="N", help=f"default {TRIALS}, as in the paper")
    pairs = "both images of a pair come from the same input (colorization)"
    add("--same-input", action="store_true", help=pairs)
    add("--size", type=_size, metavar="HxW", help="resize all images; default: keep their size")
    add("--seed", type=whole_from(0), metavar="N", help="of order and sides; default: a random one")
    add("--host", default="127.0.0.1", help="default: %(default)s, this machine alone")
    add("--port", type=whole_from(0), default=8000, metavar="N", help="default: %(default)s")
    command = commands.add_parser("analyse", help="rates, intervals and tests", allow_abbrev=False)
    command.set_defaults(run=analyse)
    command.add_argument("folder", type=home_path, metavar="DIR", help="the study")
    command = commands.add_parser("simulate", help="plan a study", allow_abbrev=False)
    command.set_defaults(run=simulate)
    add = command.add_argument
    rate = "share of trials in which people are fooled, in percent"
    add("--rate", type=_rate, action="append", required=True, metavar="ARM=PERCENT", help=rate)
    add("--participants", type=whole_from(2), default=50, metavar="N", help="per arm; default 50")
    add("--trials", type=whole_from(1), default=TRIALS, metavar="N", help=f"each; default {TRIALS}")
    spread = "how much people differ: intraclass correlation, 0 to 1; default: %(default)s"
    add("--spread", type=_share, default=SPREAD, metavar="X", help=spread)
    add("--studies", type=whole_from(1), default=200, metavar="N", help="simulated; default 200")
    add("--seed", type=whole_from(0), default=0, metavar="N", help="default 0")
    add("--out", type=home_path, metavar="DIR", help="also write one simulated study, for analyse")
    return parser


def serve(options: argparse.Namespace) -> None:
    """Make the study, if it is new, and serve it until it is stopped."""
    make_folder(options.out)
    ownership = Ownership(options.out / ".lock")
    if not ownership.take():
        raise UserError(f"--out {options.out}: is served already, by {ownership.owner}")
    try:
        _serve(options)
    finally:
        ownership.release()


def _serve(options: argparse.Namespace) -> None:
    from eval.study.answers import Answers
    from eval.study.images import Images
    from eval.study.server import make_app
    from pix2pix.common import web

    study = _study(options)
    images = Images(options.out, study)
    with web.listen(options.host, options.port) as listener:
        token = _token(options.out)
        reader, writer = (Answers(options.out, study) for _ in range(2))
        address = web.address(listener)
        print(f"{len(study.names)} images, arms {', '.join(study.arms)}")
        print(f"for participants: {address}\nfor you:          {address}admin?token={token}")
        print("behind a proxy, send its address instead; Ctrl-C stops the server", flush=True)
        app = make_app(study, images, reader, writer, token)
        web.serve(app, listener)


def _token(folder: Path) -> str:
    """The admin page's token, made once; only the owner may read its file."""
    path = folder / TOKEN
    if not path.exists():
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(secrets.token_urlsafe(16))
    token = path.read_text().strip()
    if not token:
        raise UserError(f"{path}: is empty; delete it to get a new token")
    return token


def _study(options: argparse.Namespace) -> Study:
    """The study of --out, made now if it is new."""
    from eval.study.images import REAL, common_size, keep_pixels, match_arms

    if (options.out / SETTINGS).exists():
        study = Study.read(options.out)
        _check_the_same(options, study)
        return study
    real, arms, origin = _images(options)
    practice = PRACTICE if options.practice is None else options.practice
    trials = TRIALS if options.trials is None else options.trials
    names, listings, passed_over = match_arms(real, arms)
    if len(names) < max(2, practice + trials):
        raise UserError(
            f"{len(names)} images are too few for {practice} + {trials} trials, which show each"
            " image once; use more images, or fewer trials (--practice, --trials)"
        )
    for line in passed_over:
        print(line)
    size = options.size or common_size(listings)
    digests = keep_pixels(options.out, listings, size)
    study = Study(
        title=options.title or "Real or generated?",
        consent=_consent(options.consent, practice, trials),
        arms=tuple(arms),
        names=names,
        size=size,
        practice=practice,
        trials=trials,
        same_input=options.same_input,
        seed=secrets.randbits(63) if options.seed is None else options.seed,
        sources={REAL: str(real), **{arm: str(folder) for arm, folder in arms.items()}},
        origin=origin,
        digests=dict(zip((REAL, *arms), digests, strict=True)),
    )
    study.write(options.out)
    return study


def _check_the_same(options: argparse.Namespace, study: Study) -> None:
    """UserError for an option that asks for another study than the one that --out holds."""
    from eval.study.images import REAL

    own = {name: Path(source) for name, source in study.sources.items()}
    if options.arm or options.real or options.suite:
        real, arms, _ = _images(options)
        if {REAL: real, **arms} != own:
            raise UserError(
                f"--out {options.out}: holds a study of other images already; name another folder"
            )
    for name in ("title", "practice", "trials", "size", "seed"):
        given, has = getattr(options, name), getattr(study, name)
        if given is not None and given != has:
            raise UserError(
                f"--{name}: the study in {options.out} has {has}; name another folder for another"
            )


def _images(options: argparse.Namespace) -> tuple[Path, dict[str, Path], str]:
    """The folders of the real images and of each arm's translations, as the options name them; and
    of recorded runs what they are in words."""
    from eval.study.images import recorded_arms

    if options.suite:
        if options.arm or options.real or not options.dataset:
            raise UserError("--suite: needs --dataset, and replaces --arm and --real")
        where = options.runs, options.suite, options.dataset, options.profile
        real, arms, origin = recorded_arms(*where, options.same_input)
        only = options.only.split(",") if options.only else list(arms)
        if unknown := [arm for arm in only if arm not in arms]:
            raise UserError(f"--only {unknown[0]}: no such arm; there is {', '.join(arms)}")
        return real, {arm: arms[arm] for arm in only}, origin
    if not options.arm or not options.real:
        raise UserError("a new study needs --arm NAME=DIR and --real DIR, or --suite")
    if options.dataset or options.profile or options.only:
        raise UserError("--dataset, --profile and --only: are for --suite")
    real, arms = options.real, dict(options.arm)
    if len(arms) < len(options.arm):
        raise UserError("--arm: two arms have the same name")
    if not real.is_dir():
        raise UserError(f"--real {real}: no such folder")
    return real, arms, ""


def _consent(path: Path | None, practice: int, trials: int) -> str:
    if path is None:
        return default_consent(practice, trials)
    try:
        text = path.read_text(encoding="utf-8")
    except ValueError:
        raise UserError(f"--consent {path}: is not UTF-8 text") from None
    if not text.strip():
        raise UserError(f"--consent {path}: is empty")
    return text


def analyse(options: argparse.Namespace) -> None:
    """Print the results, and write answers.csv and results.json into the study's folder."""
    from eval.study.analysis import analyse as results_of
    from eval.study.answers import DATABASE, Answers
    from eval.study.results import as_json, text

    study = Study.read(options.folder)
    if not (options.folder / DATABASE).exists():
        raise UserError(f"{options.folder}: nobody has answered yet")
    answers = Answers(options.folder, study)
    table = answers.table()
    answers.close()
    results = results_of(study, table)
    csv = table.to_csv(index=False, lineterminator="\n")
    write_whole(options.folder / "answers.csv", csv.encode())
    content = json.dumps(as_json(study, results), indent=1, ensure_ascii=False)
    write_whole(options.folder / "results.json", f"{content}\n".encode())
    print(text(study, results))
    print(f"\nwrote answers.csv and results.json into {options.folder}")
    print(f"pages and LaTeX: python -m reports --study {options.folder}")


def simulate(options: argparse.Namespace) -> None:
    """Print what a study of this size can tell; with --out, write one."""
    from eval.study.simulate import plan
    from eval.study.simulate import simulate as write_study

    rates = dict(options.rate)
    shares = {arm: percent / 100 for arm, percent in rates.items()}
    people, trials = options.participants, options.trials
    widths, decided = plan(shares, people, trials, options.spread, options.studies, options.seed)
    print(f"{options.studies} studies of {people} participants per arm with {trials} trials each:")
    published = published_for(tuple(rates))
    for arm, width in widths.items():
        paper = [f"{task}: {r[arm][0]} ± {r[arm][1]}" for task, r in published.items() if arm in r]
        beside = f"  (paper, {'; '.join(paper)})" if paper else ""
        print(f"  {arm}: {rates[arm]:g} ± {width:.1f} %{beside}")
    for (first, second), share in decided.items():
        print(f"  {first} against {second}: decided in the right order in {share:.0%} of them")
    if options.out is None:
        return
    if options.out.exists() and any(options.out.iterdir()):
        raise UserError(f"--out {options.out}: exists and is not empty; name another folder")
    make_folder(options.out)
    study = Study(
        title="Simulated",
        consent="Simulated",
        arms=tuple(rates),
        names=tuple(f"image-{i:03d}" for i in range(max(2, PRACTICE + trials))),
        size=(256, 256),
        trials=trials,
        seed=options.seed,
        sources={arm: f"simulated at {rate:g} %" for arm, rate in rates.items()},
    )
    try:
        study.write(options.out)
        write_study(options.out, study, shares, people, options.spread)
    except BaseException:
        shutil.rmtree(options.out)
        raise
    print(f"wrote {options.out}; analyse it with: python -m eval.study analyse {options.out}")


def _arm(text: str) -> tuple[str, Path]:
    name, equals, folder = text.rpartition("=")
    if not equals or not folder or not _is_name(name):
        raise argparse.ArgumentTypeError(f"must be NAME=DIR, the name printable (got {text!r})")
    return name, home_path(folder)


def _rate(text: str) -> tuple[str, float]:
    name, _, number = text.rpartition("=")
    try:
        percent = float(number)
    except ValueError:
        percent = -1.0
    if not _is_name(name) or not 0 <= percent <= 100:
        raise argparse.ArgumentTypeError(f"must be ARM=PERCENT, 0 to 100 (got {text!r})")
    return name, percent


def _is_name(text: str) -> bool:
    return bool(text.strip()) and text.isprintable() and len(text) <= 60


def _share(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value < 1:
        raise argparse.ArgumentTypeError(f"must be from 0 to below 1 (got {text!r})")
    return value


def _size(text: str) -> tuple[int, int]:
    size = image_size(text)
    if max(size) > 4096:
        raise argparse.ArgumentTypeError(f"sides must be 1 to 4096 pixels ({text!r})")
    return size


if __name__ == "__main__":
    sys.exit(main())
