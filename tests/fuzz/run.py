"""The long fuzzing: every reader of outside files, each in a process of its own.

    python tests/fuzz/run.py [--inputs 10000] [--readers suite,photo] [--seed 1] [--json FILE]

Exit status: 0 nothing found, 1 a reader did what none may do (see tests/fuzz/campaign.py), 2 usage.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
COLUMNS = ("reader", "inputs", "distinct", "refused", "accepted", "slowest", "memory", "found")


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--inputs", type=int, default=10_000, help="a reader (default 10000)")
    parser.add_argument("--readers", help="only these, separated by commas")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there too")
    parser.add_argument("--one", metavar="READER", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    for folder in (HERE, ROOT):
        sys.path.insert(0, str(folder))
    if options.one:
        return _alone(options.one, options.inputs, options.seed)
    from readers import READERS

    names = options.readers.split(",") if options.readers else list(READERS)
    unknown = [name for name in names if name not in READERS]
    if unknown:
        parser.error(f"--readers {unknown[0]}: unknown; allowed: {', '.join(READERS)}")
    print(_line(COLUMNS), flush=True)
    found = []
    for name in names:
        one = _in_a_process(name, options.inputs, options.seed)
        found.append(one)
        print(
            _line(
                (
                    name,
                    f"{one['tried']:,}",
                    f"{one['distinct']:,}",
                    f"{one['refused']:,}",
                    f"{one['accepted']:,}",
                    f"{one['slowest']:.2f} s",
                    f"{one['peak_mib'] - one['base_mib']:.0f} MiB",
                    "yes" if one["finding"] else "nothing",
                )
            ),
            flush=True,
        )
        if one["finding"]:
            print(f"    {one['finding']}", flush=True)
    if options.json:
        options.json.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    return int(any(one["finding"] for one in found))


def _line(cells: tuple[str, ...]) -> str:
    first, *rest = cells
    return first.ljust(18) + "".join(cell.rjust(10) for cell in rest)


def _in_a_process(name: str, inputs: int, start: int) -> dict:
    """Memory is measured a process, and one that a reader kills takes no other along."""
    began = time.monotonic()
    command = [sys.executable, str(HERE / "run.py"), "--one", name]
    command += ["--inputs", str(inputs), "--seed", str(start)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    try:
        tally = json.loads(done.stdout.splitlines()[-1])
    except (IndexError, ValueError):
        empty = {"tried": 0, "distinct": 0, "refused": 0, "accepted": 0}
        last = "\n".join(done.stderr.splitlines()[-15:])
        ended = f"the process ended with {done.returncode}: {last}"
        tally = {
            "reader": name,
            **empty,
            "slowest": 0.0,
            "peak_mib": 0.0,
            "base_mib": 0.0,
            "finding": ended,
        }
    return {**tally, "seconds": round(time.monotonic() - began, 1)}


def _alone(name: str, inputs: int, start: int) -> int:
    import traceback

    from campaign import Tally, run

    tally, finding = Tally(name), ""
    memory = Path("/dev/shm")  # ten thousand small folders are slow on a disk
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as folder:
        try:
            run(tally, inputs, Path(folder), start)
        except BaseException as error:
            frames = traceback.format_tb(error.__traceback__)[-3:]
            said = f"{type(error).__name__}: {error}"[:1000]
            newest = f"input of {len(tally.newest):,} bytes: {tally.newest[:300]!r}"
            finding = "".join([*frames, f"{said}\n", newest])
    figures = {**vars(tally), "finding": finding}
    del figures["newest"]
    print(json.dumps(figures))
    return int(bool(finding))


if __name__ == "__main__":
    sys.exit(main())
