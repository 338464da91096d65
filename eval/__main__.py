"""`python -m eval`: score a folder of translated images, made by any program."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from eval.errors import NotMeasured, ScoringError
from eval.metrics import METRICS
from eval.sheet import ScoreSheet

OFFERED = ("fcn", "lpips", "color", "pixel")


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the scores; exit status 0, or 2 with one line where something does not fit."""
    options = _parser().parse_args(arguments)
    try:
        sheet = _score(options)
        print(_table(sheet))
        if options.json is not None:
            sheet.write_json(options.json)
            print(f"written: {options.json}")
    except ScoringError as error:
        return _refuse(str(error))
    except OSError as error:
        return _refuse(f"{error.filename}: {error.strerror}")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m eval", description=__doc__)
    add = parser.add_argument
    add("--translations", type=Path, required=True, metavar="DIR", help="RGB PNG files to score")
    add("--targets", type=Path, required=True, metavar="DIR", help="the real images, equal names")
    add("--labels", type=Path, metavar="DIR", help="index PNG files, 255 ignored (for fcn)")
    add("--scorer", type=Path, metavar="FILE", help="a trained FCN-8s (for fcn)")
    add(
        "--scores",
        type=_families,
        metavar="LIST",
        help=f"of {','.join(OFFERED)}; default: all, fcn only with --labels and --scorer",
    )
    add("--lpips-weights", type=Path, metavar="FILE", help="AlexNet's weights, if not in the cache")
    add("--json", type=Path, metavar="FILE", help="write scores and settings here")
    return parser


def _families(text: str) -> tuple[str, ...]:
    families = tuple(dict.fromkeys(text.split(",")))
    for family in families:
        if family not in OFFERED:
            raise argparse.ArgumentTypeError(f"must be of {','.join(OFFERED)} (got {family!r})")
    return families


def _score(options: argparse.Namespace) -> ScoreSheet:
    families = options.scores
    scorable = options.labels is not None and options.scorer is not None
    if families is None:
        families = OFFERED if scorable else OFFERED[1:]
    elif "fcn" in families and not scorable:
        raise ScoringError("--scores fcn: needs --labels DIR and --scorer FILE")

    # Imported late: a mistake on the command line is answered at once.
    from eval.score_folder import score_folders

    scorer, lpips = None, None
    if "fcn" in families:
        from eval.scorer_file import load_scorer

        scorer, _ = load_scorer(options.scorer)
    if "lpips" in families:
        from eval.lpips_distance import load_lpips

        try:
            lpips = load_lpips(weights=options.lpips_weights)
        except NotMeasured as reason:
            lpips = reason
    return score_folders(
        options.translations,
        options.targets,
        options.labels if "fcn" in families else None,
        families=families,
        scorer=scorer,
        lpips=lpips,
    )


def _table(sheet: ScoreSheet) -> str:
    lines = [f"{len(sheet.names)} images"]
    for name, value in sheet.values.items():
        metric = METRICS[name]
        lines.append(f"{name:20} {value:9.4f} {metric.unit:3} {metric.better} is better")
    lines += [f"{name:20} not measured: {why}" for name, why in sheet.not_measured.items()]
    return "\n".join(lines)


def _refuse(message: str) -> int:
    print(f"error: {message}", file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main())
