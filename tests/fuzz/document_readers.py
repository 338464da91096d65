"""The readers of suites, profiles, settings and registries, called on one file."""

from __future__ import annotations

import functools
import json
from pathlib import Path

from pix2pix.data.dataset_entry import DatasetEntry


@functools.cache
def shipped() -> dict[str, DatasetEntry]:
    from pix2pix.data.registry import load_registry

    return load_registry()


def read_suite(path: Path) -> None:
    from experiments.plan import make_plan
    from experiments.spec import load_suite
    from pix2pix.common.errors import UserError

    suite = load_suite(path)
    suite.model_dump_json()
    assert json.loads(json.dumps(suite.model_dump(), allow_nan=False))
    try:
        make_plan(suite, shipped()["procedural"], "smoke").cells("f")
    except UserError as error:  # settings that do not go together: the arm is named
        raise UserError(f"{path}: {error}") from None


def read_profiles(path: Path) -> None:
    from experiments.spec import load_profiles

    for profile in load_profiles(path).values():
        json.dumps(profile.model_dump(), allow_nan=False)


def read_override(path: Path) -> None:
    from experiments.plan import make_plan
    from experiments.spec import load_suite, parse_override

    key, value = parse_override(path.read_text(encoding="utf-8", errors="surrogateescape"))
    plan = make_plan(
        load_suite("losses"),
        shipped()["procedural"],
        "smoke",
        arms=("L1+cGAN",),
        overrides={key: value},
    )
    json.dumps(plan.overrides, allow_nan=False)
    assert plan.cells("f")[0].config.digest


def read_registry(path: Path) -> None:
    from pix2pix.data.registry import load_registry

    for entry in load_registry(path).values():
        assert entry.roles() and entry.classes is not None
        assert entry.location(Path("/data")).is_relative_to("/") and entry.model_dump_json()
