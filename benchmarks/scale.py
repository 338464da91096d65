"""What 1,000 and 10,000 jobs cost the launcher: jobs that sleep a millisecond on a local Ray.

    python benchmarks/scale.py [--jobs 1000,10000] [--mirror 1000] [--json FILE]

The jobs are those of a real plan. Instead of training, a task sleeps and writes the journal and the
scores of a finished run. Measured are the plan, the scheduling (CPU time of the driver), a scan of
all states, a pass of the mirror and the next one, and the report. Needs the extra `ray`.

Bars: 0.6 s of the driver's CPU time per job (1 % of a job of a minute), and memory that does not
grow by more than 100 kB per job. Exit status 1 where one is missed.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
BAR_CPU, BAR_MEMORY = 0.6, 100_000
PAIRS = {"train": 40, "val": 10, "test": 10}
VALUES = {"fcn.pixel_accuracy": 0.6, "fcn.class_iou": 0.2, "color.L": 0.9, "pixel.l1": 0.1}


def sleeping_task() -> Any:
    """A task that sleeps a millisecond and leaves a finished run."""
    root, values = str(ROOT), dict(VALUES)

    def task(_: str, text: str, *__: Any) -> tuple[str, str, bool]:
        import sys
        import time

        sys.path[:0] = [p for p in (root, f"{root}/tests/experiments") if p not in sys.path]
        import recorded_runs

        from experiments.run.jobs import Job

        job = Job.from_json(text)
        journal = recorded_runs.begin(job.directory, job.digest, 1)
        job.write_config()
        time.sleep(0.001)
        if job.kind == "cell":
            recorded_runs.train(journal, 0, 400, sample=1000)
            journal.append("trained", step=400, seconds=40.0, peak_memory_mib=300.0)
        recorded_runs.score(journal, values)
        recorded_runs.write_sheet(job.directory, values, {}, job.reference)
        journal.append("done", seconds=45.0)
        return "done", "", False

    return task


def memory() -> int:
    """Bytes of this process that are resident now."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize()


def measure(count: int, mirrored: bool) -> dict[str, Any]:
    """What so many cells cost, in seconds and bytes."""
    from experiments.record import write_record
    from experiments.run import ray_core
    from experiments.run.jobs import state
    from experiments.study import Options, make_study, plan_jobs

    ray_core._task = sleeping_task
    found: dict[str, Any] = {"cells": count}
    with tempfile.TemporaryDirectory() as place:
        out = Path(place) / "runs"
        os.environ["MLFLOW_TRACKING_URI"] = f"sqlite:///{place}/mlflow.db"
        arms = ("L1", "cGAN")
        seeds = tuple(range(1, count // len(arms) + 1))
        began = time.perf_counter()
        study = make_study(Options(("losses",), "smoke", seeds=seeds, arms=arms, out=out))
        jobs = plan_jobs(study, study.plans[0], "ab" * 32)
        found["plan_seconds"] = time.perf_counter() - began

        engine = ray_core.Ray(out, workers=None)
        engine.gpus, engine.slots = 0, 2
        held, cpu, began = memory(), time.process_time(), time.perf_counter()
        ended = engine.launch(jobs, lambda *_: None, ())
        found["schedule_seconds"] = time.perf_counter() - began
        found["driver_cpu_seconds_per_job"] = (time.process_time() - cpu) / len(jobs)
        found["driver_bytes_per_job"] = (memory() - held) / len(jobs)
        assert {outcome.word for outcome in ended.values()} == {"done"}, ended

        began = time.perf_counter()
        assert all(state(job).word == "done" for job in jobs)
        found["states_seconds"] = time.perf_counter() - began
        if mirrored:
            from experiments.tracking.mirror import mirror
            from reports.write import write_report

            plan = study.plans[0]
            record = write_record(plan, "ab" * 32, out, "none", PAIRS, {})
            for name in ("mirror", "mirror_again"):
                cpu, began = time.process_time(), time.perf_counter()
                mirror(out, [record])
                found[f"{name}_seconds"] = time.perf_counter() - began
                found[f"{name}_cpu_seconds_per_cell"] = (time.process_time() - cpu) / count
            began = time.perf_counter()
            write_report(*plan.key, Path(place) / "reports")
            found["report_seconds"] = time.perf_counter() - began
            size = (Path(place) / "mlflow.db").stat().st_size
            found["store_bytes_per_cell"] = size / count
    return {k: round(v, 4) for k, v in found.items()}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--jobs", default="1000,10000", help="numbers of cells")
    parser.add_argument("--mirror", type=int, default=1000, help="mirror and report up to so many")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    sys.path.insert(0, str(ROOT))
    import ray

    ray.init("local", num_cpus=2, include_dashboard=False, log_to_driver=False)
    measure(20, mirrored=options.mirror > 0)  # imports, and what is allocated once
    found = []
    for count in map(int, options.jobs.split(",")):
        found.append(measure(count, count <= options.mirror))
        print(json.dumps(found[-1]), flush=True)
    if options.json:
        options.json.write_text(json.dumps(found, indent=1) + "\n")
    cheap = all(one["driver_cpu_seconds_per_job"] <= BAR_CPU for one in found)
    return 0 if cheap and all(one["driver_bytes_per_job"] <= BAR_MEMORY for one in found) else 1


if __name__ == "__main__":
    sys.exit(main())
