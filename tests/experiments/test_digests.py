"""No digest changes by accident: a changed one means that everything is trained again.

Where a digest is meant to change (a setting that is new, a protocol that was raised), write the
file anew with `PYTHONPATH=. python tests/experiments/test_digests.py` and say in the
commit why.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from experiments.plan import make_plan
from experiments.run.jobs import reference_config
from experiments.spec import load_profiles, load_suite, suite_names
from pix2pix.data.registry import load_registry

ROOT = Path(__file__).parents[2]
GOLDEN = Path(__file__).with_name("digests.json")
FINGERPRINT = "0" * 64


def digests():
    """{suite: {profile: {arm seed: digest}}} of the shipped suites on the embedded data."""
    entry = load_registry()["procedural"]
    found = {}
    for suite in suite_names():
        for profile in load_profiles():
            plan = make_plan(load_suite(suite), entry, profile)
            cells = {f"{c.arm} seed {c.seed}": c.config.digest for c in plan.cells(FINGERPRINT)}
            reference = reference_config(plan, FINGERPRINT).digest
            found.setdefault(suite, {})[profile] = cells | {"reference": reference}
    return found


def test_the_digests_are_those_of_the_record():
    assert digests() == json.loads(GOLDEN.read_text(encoding="utf-8"))


def test_different_cells_have_different_digests_and_shared_ones_the_same():
    by_digest = {}
    for suite, profiles in digests().items():
        for profile, cells in profiles.items():
            for name, value in cells.items() - {("reference", cells["reference"])}:
                by_digest.setdefault(value, set()).add((suite, profile, name))
    shared = [owners for owners in by_digest.values() if len(owners) > 1]
    assert shared and all(len({profile for _, profile, _ in owners}) == 1 for owners in shared)


@pytest.mark.parametrize("seed", ["0", "1", "4242"])
def test_pythons_hash_seed_does_not_matter(seed):
    done = subprocess.run(
        [sys.executable, __file__, "--print"],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": str(ROOT)},
    )
    assert done.stdout == GOLDEN.read_text(encoding="utf-8"), done.stderr


if __name__ == "__main__":
    text = json.dumps(digests(), indent=1) + "\n"
    if "--print" in sys.argv:
        sys.stdout.write(text)
    else:
        GOLDEN.write_text(text, encoding="utf-8")
