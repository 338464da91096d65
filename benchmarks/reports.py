"""How long the reports of the miniature study take: mirrored into a new store, and written twice.

    python benchmarks/reports.py [--json FILE]

Bar: both together below 20 seconds on two cores, the second report the same bytes as the first.
Exit status 1 where it is missed.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BAR_SECONDS = 20.0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    sys.path.insert(0, str(ROOT))
    with tempfile.TemporaryDirectory() as place:
        os.environ["MLFLOW_TRACKING_URI"] = f"sqlite:///{place}/mlflow.db"
        began = time.perf_counter()
        from experiments.tracking.mirror import mirror
        from experiments.tracking.reader import list_suites
        from reports.write import write_report

        store = shutil.copytree(ROOT / "tests" / "reports" / "miniature", Path(place) / "runs")
        imported = time.perf_counter()
        mirror(store)
        mirrored = time.perf_counter()
        ((suite, dataset, profile),) = list_suites()
        folders, seconds = [], []
        for name in ("first", "second"):
            start = time.perf_counter()
            folders.append(write_report(suite, dataset, profile, Path(place) / name))
            seconds.append(time.perf_counter() - start)
        files = sorted(path.name for path in folders[0].iterdir())
        same = all((folders[0] / f).read_bytes() == (folders[1] / f).read_bytes() for f in files)
    found = {
        "import_seconds": round(imported - began, 2),
        "mirror_seconds": round(mirrored - imported, 2),
        "report_seconds": [round(one, 2) for one in seconds],
        "files": len(files),
        "same_twice": same,
        "bar_seconds": BAR_SECONDS,
    }
    print(json.dumps(found, indent=1))
    if options.json:
        options.json.write_text(json.dumps(found, indent=1) + "\n")
    total = mirrored - began + seconds[0]
    return 0 if same and total <= BAR_SECONDS else 1


if __name__ == "__main__":
    sys.exit(main())
