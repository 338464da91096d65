"""The command line as a user has it: real processes, real images, a real MLflow store."""

import contextlib
import csv
import io
import json
import os
import re
import shlex
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from streets import DATASET, draw_streets

from eval.scorer.file import recorded_sha256
from experiments.run.journal import read_records, replay
from pix2pix.common.errors import UserError
from run_ablations import main, run_suites

ROOT = Path(__file__).parent.parent
PATIENCE = 600
"""Seconds after which something hangs, however busy the machine is."""
SUITE = """\
title: Does the discriminator help?
arms:
  L1: {objective.gan: none}
  both: {discriminator.patch: 16}
scores: [fcn, color, pixel]
claims: [both > L1 on color.a, L1 < both on pixel.l1]
"""


class Place:
    """A folder of a user: data, a suite, a data set of their own, and everything that is made."""

    def __init__(self, folder):
        self.folder = folder
        draw_streets(folder / "data")
        (folder / "mine.yaml").write_text(SUITE)
        (folder / "sets.yaml").write_text(DATASET)

    def command(self, *arguments):
        return [sys.executable, str(ROOT / "run_ablations.py"), *arguments]

    def options(self, steps=24):
        return [
            *("--suite", "mine.yaml", "--profile", "smoke", "--dataset", "streets"),
            *("--datasets", "sets.yaml", "--data-root", "data", "--set", "size=32"),
            *("--set", f"training.steps={steps}"),
        ]

    def environment(self):
        clean = {k: v for k, v in os.environ.items() if not k.startswith("MLFLOW_TRACKING")}
        # On a GPU bits are not promised (docs/reliability.md).
        return {**clean, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}

    def start(self, *arguments):
        return subprocess.Popen(
            self.command(*arguments),
            cwd=self.folder,
            env=self.environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *arguments, timeout=PATIENCE):
        process = self.start(*arguments)
        out, err = process.communicate(timeout=timeout)
        return process.returncode, out, err

    def cells(self):
        """The arm's name to its run directory."""
        (record,) = (self.folder / "runs/suites/mine").glob("*.json")
        cells = json.loads(record.read_text())["cells"]
        return {c["arm"]: self.folder / "runs/cells" / c["digest"] for c in cells}

    def report(self):
        (folder,) = (self.folder / "reports/out").glob("*/mine")
        return folder


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A suite that ran to its end."""
    place = Place(tmp_path_factory.mktemp("user"))
    status, out, err = place.run(*place.options())
    assert status == 0, err
    assert "| L1 " in out and "mlflow" in err
    assert len(out.splitlines()) < 25, "the result, not the whole report"
    assert out.count("One seed per arm decides nothing") == 1 and "undecided" not in out
    assert "next:" in err and "--seeds 5" in err
    return place


def weights(cell):
    content = torch.load(cell / "generator.pt", weights_only=True)
    return content["weights"]


def logged_steps(database):
    """(run, metric, step) to how often it was logged, of all curves in an MLflow store."""
    with sqlite3.connect(database) as connection:
        rows = connection.execute(
            "select run_uuid, key, step, count(*) from metrics where key like 'losses/%' "
            "group by run_uuid, key, step"
        ).fetchall()
    return {row[:3]: row[3] for row in rows}


@pytest.mark.parametrize(("what", "workers"), [("cell", "1"), ("cell", "2"), ("reference", "2")])
def test_scoring_a_runs_folder_gives_its_own_record(place, what, workers):
    cell = place.cells()["both"]
    own = json.loads((cell / "scores.json").read_text())
    reference = place.folder / "runs/references" / own["settings"]["reference"]
    scorer = place.folder / "runs/scorers" / f"{reference.name}.safetensors"
    translations, families = cell / "translations", ("fcn", "color", "pixel")
    if what == "reference":  # the ground truth: the targets scored as translations
        cell, translations = reference, reference / "targets"
        own, families = json.loads((cell / "scores.json").read_text()), ("fcn", "color")
    record = place.folder / f"scored-{what}-{workers}.json"
    done = subprocess.run(
        [
            *(sys.executable, "-m", "eval", "--translations", str(translations)),
            *("--targets", str(reference / "targets"), "--labels", str(reference / "labels")),
            *("--dataset", "streets", "--datasets", "sets.yaml", "--scorer", str(scorer)),
            *("--scores", ",".join(families), "--workers", workers, "--json", str(record)),
        ],
        cwd=place.folder,
        env=place.environment() | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    scored = json.loads(record.read_text())
    told = ("values", "intervals_over_images", "color_by_bin_width", "per_class")
    assert scored["values"] and all(scored[key] == own[key] for key in told)
    assert scored["not_measured"] == {
        name: why for name, why in own["not_measured"].items() if name.startswith(families)
    }
    with open(cell / "per_image.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert scored["per_image"].pop("names") == [row["name"] for row in rows]
    for name, column in scored["per_image"].items():
        assert column == [float(row[name]) for row in rows]


@pytest.mark.slow
def test_a_scorer_that_was_lost_and_trained_again_scores_everything_again(place, tmp_path):
    """On another number of threads it is another network; cells must not be of two scorers."""
    mine = Place(tmp_path)  # with an MLflow store of its own: artifacts' paths are absolute
    shutil.copytree(place.folder / "runs", tmp_path / "runs")
    paths = [cell / "generator.pt" for cell in mine.cells().values()]
    generators = [path.read_bytes() for path in paths]
    (scorer,) = (tmp_path / "runs/scorers").glob("*.safetensors")
    before = recorded_sha256(scorer)
    scorer.unlink()
    status, _, err = mine.run(*mine.options(), "--arms", "L1", "--seeds", "1,2", "--threads", "2")
    assert status == 0, err
    after = recorded_sha256(scorer)
    assert after not in (None, before), "the same scorer: nothing is tested"
    reference = next((tmp_path / "runs/references").iterdir())
    folders = {mine.cells()["L1"], paths[0].parent, reference}  # seeds 2 and 1
    sheets = [json.loads((one / "scores.json").read_text()) for one in folders]
    assert len(sheets) == 3
    assert {sheet["settings"]["fcn"]["weights_sha256"] for sheet in sheets} == {after}
    assert "re-scoring 2 runs: their scorer" in err
    assert [path.read_bytes() for path in paths] == generators, "trained again"


def test_the_report_holds_every_arm_score_and_the_ground_truth(place):
    report = place.report()
    rows = list(csv.DictReader((report / "results.csv").open()))
    measured = {(r["arm"], r["score"]) for r in rows}
    for arm in ("L1", "both"):
        for score in ("fcn.class_iou", "color.L", "pixel.ssim"):
            assert (arm, score) in measured
    assert ("ground truth", "fcn.pixel_accuracy") in measured
    table = (report / "table.md").read_text()
    assert "both > L1 on Lab ∩ a" in table and "LPIPS" not in table.splitlines()[0]
    for name in ("table.tex", "table.csv"):
        assert (report / name).stat().st_size > 100
    drawn = len(list(report.glob("*.png")))
    assert drawn >= 3 and len(list(report.glob("*.pdf"))) == 2 * drawn  # page and column width


def test_the_scores_are_of_the_png_files(place):
    from eval.score import Scoring, score_folders

    cell = place.cells()["both"]
    recorded = json.loads((cell / "scores.json").read_text())
    reference = place.folder / "runs/references" / recorded["settings"]["reference"]
    scoring = Scoring(families=("color", "pixel"))
    sheet = score_folders(cell / "translations", reference / "targets", None, scoring)
    for name, value in sheet.values.items():
        assert recorded["values"][name] == value
    of_others = ("labels.", "hole")
    unscored = {name for name in recorded["not_measured"] if not name.startswith(of_others)}
    assert unscored <= {"lpips"}


def test_a_cells_generator_translates_to_the_cells_own_bytes(place):
    cell = place.cells()["both"]
    reference = json.loads((cell / "scores.json").read_text())["settings"]["reference"]
    inputs = place.folder / "runs/references" / reference / "inputs"
    arguments = ["--checkpoint", cell / "generator.pt", "--inputs", inputs, "--out", "again"]
    done = subprocess.run(
        [sys.executable, "-m", "pix2pix.translate", *map(str, arguments)],
        cwd=place.folder,
        env={**place.environment(), "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0 and not done.stderr, done.stderr
    assert f"cell {cell.name}" in done.stdout
    own, again = (
        {path.name: path.read_bytes() for path in folder.glob("*.png")}
        for folder in (cell / "translations", place.folder / "again")
    )
    assert own == again and len(own) == 3


def test_every_step_is_in_mlflow_once(place):
    steps = logged_steps(place.folder / "mlflow.db")
    assert steps and set(steps.values()) == {1}


def test_a_second_run_trains_nothing(place):
    before = {
        arm: (cell / "generator.pt").stat().st_mtime_ns for arm, cell in place.cells().items()
    }
    status, _, err = place.run(*place.options())
    assert status == 0
    assert "3 of 3 jobs are finished; 0 to do" in err
    after = {arm: (cell / "generator.pt").stat().st_mtime_ns for arm, cell in place.cells().items()}
    assert before == after
    assert set(logged_steps(place.folder / "mlflow.db").values()) == {1}


def test_dry_run_knows_what_is_done(place):
    status, out, _ = place.run(*place.options(), "--dry-run")
    assert status == 0
    assert out.count(" done ") == 2 and "0 to train" in out


def test_a_lost_store_is_rebuilt_from_the_run_directories_by_one_command(place, tmp_path):
    before = logged_steps(place.folder / "mlflow.db")
    table = (place.report() / "table.md").read_text()
    environment = place.environment() | {"MLFLOW_TRACKING_URI": f"sqlite:///{tmp_path}/new.db"}
    done = subprocess.run(
        place.command("--report-only", "--reports", str(tmp_path / "reports")),
        cwd=place.folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    assert done.returncode == 0, done.stderr
    after = logged_steps(tmp_path / "new.db")
    assert sorted(k[1:] for k in before) == sorted(k[1:] for k in after)
    assert set(after.values()) == {1}
    (again,) = (tmp_path / "reports").glob("*/mine/table.md")
    assert again.read_text() == table


def test_a_store_that_is_no_database_is_said_in_a_line_and_left_alone(place, tmp_path):
    damaged = tmp_path / "mlflow.db"
    damaged.write_bytes(b"not a database, but long enough to be taken for the head of one" * 9)
    before = damaged.read_bytes()
    environment = place.environment() | {"MLFLOW_TRACKING_URI": f"sqlite:///{damaged}"}
    done = subprocess.run(
        place.command("--report-only"),
        cwd=place.folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    assert done.returncode == 1
    assert "file is not a database" in done.stderr and "Traceback" not in done.stderr
    assert damaged.read_bytes() == before


def test_report_only_regenerates_the_same_table(place):
    table = place.report() / "table.md"
    before = table.read_text()
    table.unlink()
    status, _, err = place.run(*place.options(), "--report-only")
    assert status == 0, err
    assert table.read_text() == before


def workers_of(launcher):
    """Process ids of a launcher's workers (Linux)."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            command = (entry / "cmdline").read_bytes()
        except (OSError, ValueError, IndexError):
            continue
        if parent == launcher and b"experiments.run.worker" in command:
            found.append(int(entry.name))
    return found


def wait_for_checkpoint(folder, step, timeout=PATIENCE):
    """Until some cell has a checkpoint at `step` or later."""
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline:
        for journal in folder.glob("runs/cells/*/journal.jsonl"):
            steps = [r["step"] for r in read_records(journal) if r["event"] == "checkpoint"]
            if steps and steps[-1] >= step:
                return
        time.sleep(0.02)
    raise AssertionError(f"no checkpoint at step {step} within {timeout} s")


def test_killed_and_started_again_gives_the_same_bits_and_no_step_twice(place, tmp_path):
    killed = Place(tmp_path)
    process = killed.start(*killed.options(), "--checkpoint-every", "0", "--workers", "1")
    wait_for_checkpoint(tmp_path, 7)
    for worker in workers_of(process.pid):
        with contextlib.suppress(ProcessLookupError):  # it ended meanwhile
            os.kill(worker, signal.SIGKILL)
    process.kill()
    process.communicate()
    assert not list(tmp_path.glob("reports/out/*/mine/table.md"))

    status, _, err = killed.run(*killed.options())
    assert status == 0, err
    assert "resumes at step" in err
    check_the_same_bits(killed, place)


def check_the_same_bits(killed, place):
    """Weights, images and curves of a suite that was interrupted and of one that was not."""
    for arm, cell in killed.cells().items():
        whole = weights(place.cells()[arm])
        again = weights(cell)
        assert whole.keys() == again.keys()
        assert all(torch.equal(whole[name], again[name]) for name in whole)
        for image in (cell / "translations").glob("*.png"):
            twin = place.cells()[arm] / "translations" / image.name
            assert image.read_bytes() == twin.read_bytes()
        steps = [
            r["step"]
            for r in replay(read_records(cell / "journal.jsonl"))
            if r["event"] == "losses"
        ]
        assert steps == sorted(set(steps))
    logged, whole = (logged_steps(p.folder / "mlflow.db") for p in (killed, place))
    assert set(logged.values()) == {1}
    assert sorted(k[1:] for k in logged) == sorted(k[1:] for k in whole)


@contextlib.contextmanager
def ray_node():
    """The address of a Ray cluster of one node with two CPUs."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        address = f"127.0.0.1:{free.getsockname()[1]}"
    with tempfile.TemporaryDirectory(prefix="ray-") as folder:  # its sockets' names must be short
        node = subprocess.Popen(
            [
                *(str(Path(sys.executable).with_name("ray")), "start", "--head", "--block"),
                *("--node-ip-address=127.0.0.1", f"--port={address.rpartition(':')[2]}"),
                *("--num-cpus=2", "--num-gpus=0", "--include-dashboard=false"),
                *("--object-store-memory=100000000", f"--temp-dir={folder}"),
            ],
            env=os.environ | {"RAY_USAGE_STATS_ENABLED": "0"},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            wait_until_it_listens(address, node)
            yield address
        finally:
            node.terminate()
            node.wait()


@pytest.mark.slow
def test_on_ray_a_worker_is_killed_and_the_bits_are_the_same(place, tmp_path):
    """The rest of Ray, on several nodes, is in tests/cluster (make cluster)."""
    pytest.importorskip("ray")
    mine = Place(tmp_path)
    with ray_node() as address:
        engine = ("--engine", "ray", "--address", address, "--checkpoint-every", "0")
        process = mine.start(*mine.options(), *engine)
        os.kill(stopped_in_training(tmp_path), signal.SIGKILL)
        _, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, err
    assert "Ray cluster of 1 node(s), 2 at a time" in err and "begun again" in err
    check_the_same_bits(mine, place)
    assert (mine.report() / "results.csv").read_text() == (
        place.report() / "results.csv"
    ).read_text()


def wait_until_it_listens(address, node):
    host, _, port = address.partition(":")
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline and node.poll() is None:
        with contextlib.suppress(OSError), socket.create_connection((host, int(port))):
            return
        time.sleep(0.1)
    raise AssertionError(f"nothing listens at {address}")


def stopped_in_training(folder):
    """Stop a worker in a folder between its first checkpoint and its last; its process id."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        for entry in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):  # it ended meanwhile
                if b"experiments.run.worker" not in (entry / "cmdline").read_bytes():
                    continue
                log = Path(os.readlink(entry / "fd" / "2"))
                if not log.is_relative_to(folder / "runs" / "cells"):
                    continue
                os.kill(int(entry.name), signal.SIGSTOP)
                records = read_records(log.with_name("journal.jsonl"))
                events = {record["event"] for record in records}
                if "checkpoint" in events and "trained" not in events:
                    return int(entry.name)
                os.kill(int(entry.name), signal.SIGCONT)
        time.sleep(0.02)
    raise AssertionError("no worker in the middle of its training")


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_asked_to_stop_it_writes_a_checkpoint_in_time_and_goes_on(tmp_path, number, status):
    place = Place(tmp_path)
    process = place.start(*place.options(steps=2000), "--arms", "both")
    wait_for_journal(tmp_path, "losses")
    process.send_signal(number)
    asked = time.time()
    _, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == status, err
    assert "same command again to resume" in err and "Traceback" not in err
    (cell,) = place.cells().values()
    assert list(cell.glob("checkpoint-*.pt"))
    # In time, counted in what was trained meanwhile: a machine may be busy with something else.
    after = [r for r in read_records(cell / "journal.jsonl") if r["time"] > asked]
    assert sum(r["event"] == "losses" for r in after) <= 50, "a quarter of the training"
    status, out, _ = place.run(*place.options(steps=2000), "--arms", "both", "--dry-run")
    assert status == 0 and "stopped at" in out


def test_asked_twice_to_stop_it_stops_at_once(tmp_path):
    place = Place(tmp_path)
    process = place.start(*place.options(steps=400), "--arms", "both")
    wait_for_journal(tmp_path, "losses")
    stopped = training_worker(process.pid)
    for number in (signal.SIGTERM, signal.SIGINT):  # two of one kind may arrive as one
        process.send_signal(number)
    _, err = process.communicate(timeout=PATIENCE)
    assert process.returncode in (130, 143) and "Traceback" not in err
    assert not Path(f"/proc/{stopped}").exists()


def training_worker(launcher):
    """Stop a launcher's worker, which then cannot answer; its process id."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        for worker in workers_of(launcher):
            with contextlib.suppress(ProcessLookupError):  # the reference's may have just ended
                os.kill(worker, signal.SIGSTOP)
                fields = Path(f"/proc/{worker}/stat").read_text().rpartition(")")[2].split()
                if fields[0] != "Z":
                    return worker
        time.sleep(0.02)
    raise AssertionError("no worker")


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_stopped_before_it_trains_it_shows_one_line(number, status):
    code = f"""
import os, run_ablations
def strike(*_):
    os.kill(os.getpid(), {int(number)})
    for _ in range(1000): pass
run_ablations.main = strike
raise SystemExit(run_ablations.command())
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == status
    assert done.stderr == "interrupted; run the same command again to resume\n"


def wait_for_journal(folder, event, timeout=PATIENCE):
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline:
        for journal in folder.glob("runs/cells/*/journal.jsonl"):
            if any(r["event"] == event for r in read_records(journal)):
                return
        time.sleep(0.02)
    raise AssertionError(f"no {event} within {timeout} s")


def test_two_launchers_on_one_folder_train_every_cell_once(place, tmp_path):
    both = Place(tmp_path)
    launchers = [both.start(*both.options(), "--workers", "1") for _ in range(2)]
    for launcher in launchers:
        _, err = launcher.communicate(timeout=PATIENCE)
        assert launcher.returncode == 0, err
    for arm, cell in both.cells().items():
        records = read_records(cell / "journal.jsonl")
        losses = [r["step"] for r in records if r["event"] == "losses"]
        assert losses == sorted(set(losses)) and losses[-1] == 24
        assert [r["event"] for r in records].count("done") == 1
        theirs = weights(place.cells()[arm])
        assert all(torch.equal(value, theirs[name]) for name, value in weights(cell).items())
    steps = logged_steps(tmp_path / "mlflow.db")
    assert steps and set(steps.values()) == {1}
    with sqlite3.connect(tmp_path / "mlflow.db") as connection:
        (runs,) = connection.execute("select count(*) from runs").fetchone()
    assert runs == 5, "the suite, two cells, the ground truth and the scorer, each once"


def test_a_cell_that_diverges_fails_alone(tmp_path):
    place = Place(tmp_path)
    suite = tmp_path / "mine.yaml"
    suite.write_text(SUITE.replace("patch: 16}", "patch: 16, training.learning_rate: 1e30}"))
    status, out, err = place.run(*place.options())
    assert status == 1
    assert "FAILED both seed 1: step" in err and "the training diverged" in err
    assert "failed" in out, "the table says which cell failed"
    rows = list(csv.DictReader((place.report() / "results.csv").open()))
    assert {r["arm"] for r in rows} == {"L1", "ground truth"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "--suite is required"),
        (["--suite", "patchsize"], "did you mean patch_size?"),
        (["--suite", "losses", "--arms", "L2"], "has no such arm"),
        (["--suite", "losses", "--arms", "L1,CGAN"], "did you mean cGAN?"),
        (["--suite", "losses", "--data-root", "my/pairs"], "add --dataset folder"),
        (["--suite", "losses", "--dataset", "camvit"], "camvid"),
        (["--suite", "losses", "--dataset", "camvid"], "data/camvid"),
        (["--suite", "losses", "--profile", "fast"], "allowed: smoke, quick, medium, paper"),
        (["--suite", "losses", "--set", "training.stpes=3"], "did you mean training.steps?"),
        (["--suite", "losses", "--set", "training.foo=3"], "; allowed: training.batch, training"),
        (["--suite", "losses", "--set", "trainin.steps=3"], "did you mean training.steps?"),
        (["--suite", "losses", "--set", "discriminater.width=3"], "mean discriminator.width?"),
        (["--suite", "losses", "--set", "training.steps=3.5"], "must be a whole number"),
        (["--suite", "losses", "--set", "size=100"], "nearest: 96 × 96"),
        (["--suite", "patch_size", "--set", "size=64"], "at least 96 pixels"),
        (["--suite", "losses", "--seeds", "1,1"], "a seed occurs twice"),
        (["--suite", "losses", "--seeds", "many"], "--seeds many"),
        (["--suite", "losses", "--checkpoint-every", "inf"], "must be finite, and at least 0"),
        (["--suite", "losses", "--checkpoint-every", "nan"], "must be finite, and at least 0"),
        (["--suite", "losses", "--seeds", "9999999999,"], "must be below 2147483648"),
        (["--suite", "losses", "--seeds", "²"], "--seeds ²"),
        (["--suite", "losses", "--workers", "0"], "--workers 0"),
        (["--suite", "losses", "--arms", ""], "--arms: names no arm"),
        (["--suite", "losses", "--reports", "/proc/nowhere"], "--reports /proc"),
        (["--suite", "patch_size", "--set", "discriminator.patch=34"], "every arm of patch_size"),
        (["--suite", "losses", "--datasets", "none.yaml"], "none.yaml"),
        (["--suite", "losses", "--set", "training.precision=half"], "precision: must be one of"),
        pytest.param(
            ["--suite", "losses", "--set", "training.precision=tf32"],
            "use float32 or bfloat16",
            marks=pytest.mark.skipif(torch.cuda.is_available(), reason="a GPU may have TF32"),
        ),
        (["--suite", "none.yaml"], "no such file"),
        (["--suite", "losses", "--engine", "slurm"], "--engine slurm needs --time"),
        (["--suite", "losses", "--partition", "gpu"], "--partition: is for --engine slurm"),
        (["--suite", "losses", "--report-only"], "nothing was run yet"),
        (["--report-only"], "nothing was run yet"),
        (["--suite", "losses", "--profile", "smoke", "--out", "/proc/nowhere"], "--out /proc"),
    ],
)
def test_bad_usage_is_one_line_and_status_2(tmp_path, arguments, message):
    command = [sys.executable, str(ROOT / "run_ablations.py"), *arguments]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=PATIENCE)
    assert done.returncode == 2, done.stderr
    assert message in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1, "one line, no traceback"
    assert not (tmp_path / "runs/cells").exists()


@pytest.mark.parametrize("arguments", [["--list"], ["--suite", "losses", "--dry-run"]])
def test_a_reader_that_stops_reading_is_no_error(tmp_path, arguments):
    read, write = os.pipe()
    os.close(read)
    command = [sys.executable, str(ROOT / "run_ablations.py"), *arguments]
    done = subprocess.run(command, cwd=tmp_path, stdout=write, stderr=subprocess.PIPE, text=True)
    os.close(write)
    assert (done.returncode, done.stderr) == (0, "")


def save(image, path):
    Image.fromarray(image).save(path)


def truncate(path):
    path.write_bytes(path.read_bytes()[:-200])


PHOTO = np.zeros((48, 48, 3), np.uint8)
BAD_IMAGES = {
    "photo without labels": (lambda d: (d / "labels/train/0.png").unlink(), "0"),
    "labels without photo": (lambda d: (d / "photos/test/0.png").unlink(), "0"),
    "other size": (lambda d: save(PHOTO[:40], d / "photos/train/1.png"), "photos/train/1.png"),
    "truncated": (lambda d: truncate(d / "photos/train/2.png"), "photos/train/2.png"),
    "not an image": (lambda d: (d / "photos/val/0.png").write_text("x"), "photos/val/0.png"),
    "16-bit": (lambda d: save(PHOTO[..., 0] + np.uint16(300), d / "photos/train/3.png"), "16-bit"),
    "an index map": (
        lambda d: save(np.eye(48, dtype=np.uint8), d / "photos/train/3.png"),
        "is grey with values from 0 to 1 only, like an index map",
    ),
    "alpha": (
        lambda d: save(np.dstack([PHOTO, PHOTO[..., :1]]), d / "photos/train/3.png"),
        "transparent pixels",
    ),
    "no such class": (lambda d: save(PHOTO[..., 0] + 7, d / "labels/train/4.png"), "7"),
    "empty split": (lambda d: [p.unlink() for p in d.glob("*/test/*")], "test"),
    "no labels at all": (
        lambda d: [save(PHOTO[..., 0] + 9, p) for p in d.glob("labels/train/*")],
        "no pixel of the train split has a class",
    ),
}


@pytest.mark.parametrize("what", BAD_IMAGES)
def test_bad_images_are_one_line_and_status_2_before_training(tmp_path, what):
    place = Place(tmp_path)
    damage, message = BAD_IMAGES[what]
    damage(tmp_path / "data")
    status, _, err = place.run(*place.options())
    assert status == 2, err
    lines = [
        line for line in err.strip().splitlines() if not line.startswith("data set streets at")
    ]
    assert len(lines) == 1 and message in lines[0], err
    assert not (tmp_path / "runs/cells").exists()


@pytest.mark.parametrize("arguments", [["--list"], ["--suite", "all", "--dry-run"]])
def test_looking_is_quick(tmp_path, arguments):
    command = [sys.executable, str(ROOT / "run_ablations.py"), *arguments]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=PATIENCE)
    assert done.returncode == 0, done.stderr
    for name in ("losses", "patch_size", "color"):
        assert name in done.stdout
    assert not list(tmp_path.iterdir()), "looking leaves nothing behind"


@pytest.mark.parametrize("how", ["python -OO", "all closed", "stdout in ASCII"])
def test_no_stdout_is_too_poor(tmp_path, how):
    """From the checkout and from another folder, whatever the process gets to print on."""
    python = [sys.executable, *(["-OO"] if how == "python -OO" else [])]
    closed = " <&- >&- 2>&-" if how == "all closed" else ""
    environment = dict(os.environ, PYTHONIOENCODING="ascii" if "ASCII" in how else "utf-8")
    words = shlex.join([*python, str(ROOT / "run_ablations.py"), "--suite", "losses", "--dry-run"])
    done = subprocess.run(
        ["sh", "-c", words + closed],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert closed or "L1+cGAN" in done.stdout


def test_a_notebooks_stdout_which_is_no_file_will_do(monkeypatch):
    monkeypatch.setattr(sys, "stdout", io.StringIO())
    assert main(["--list"]) == 0
    assert "patch_size" in sys.stdout.getvalue()


def test_from_python_bad_input_is_an_error_of_one_line(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for options, message in (
        ({"suites": "patchsize"}, "did you mean patch_size?"),
        ({"suites": ["losses"], "arms": ["L2"]}, "has no such arm"),
        ({"suites": "losses", "settings": {"training.stpes": 3}}, "did you mean training.steps?"),
        ({"suites": "losses", "seeds": 0}, "must be 1 to 1000"),
        ({"suites": "losses", "seeds": (1, 1)}, "a seed occurs twice"),
        ({"suites": "losses", "dataset": "camvid"}, "data/camvid"),
        ({"suites": "losses", "report_only": True}, "nothing was run yet"),
        ({"suites": Path("mine.yaml")}, "mine.yaml: no such file"),
        ({"suites": "losses", "arms": "L1, L2"}, "has no such arm"),
        ({"suites": "losses", "seeds": np.int64(0)}, "must be 1 to 1000"),
        ({"suites": "losses", "settings": {"training.steps": np.int64(0)}}, "training.steps"),
    ):
        with pytest.raises(UserError, match=re.escape(message)) as caught:
            run_suites(**options)
        assert "\n" not in str(caught.value)


@pytest.fixture
def of_a_colleague(place, tmp_path):
    """The finished suite, of which nothing may be written; and the words before a command that
    take root's right to do so all the same."""
    shutil.copytree(place.folder, tmp_path / "theirs")
    subprocess.run(["chmod", "-R", "a-w", tmp_path / "theirs"], check=True)
    rights = "-dac_override,-dac_read_search,-fowner"
    words = [] if os.geteuid() else ["setpriv", f"--bounding-set={rights}", f"--inh-caps={rights}"]
    if words and not shutil.which("setpriv"):
        pytest.skip("root may write everywhere, and there is no setpriv to take that right")
    yield tmp_path / "theirs", words
    subprocess.run(["chmod", "-R", "u+w", tmp_path / "theirs"], check=True)


@pytest.mark.slow
def test_reports_need_no_right_to_write_beside_the_runs(place, of_a_colleague, tmp_path):
    theirs, words = of_a_colleague

    def run(*arguments, **variables):
        return subprocess.run(
            [*words, *place.command(*arguments)],
            cwd=theirs,
            env=place.environment() | variables,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
        )

    done = run("--report-only", "--reports", str(tmp_path / "mine"))
    assert done.returncode == 0, done.stderr
    assert "mlflow.db: cannot be written by you: the reports show what it holds" in done.stderr
    (table,) = (tmp_path / "mine").glob("*/mine/table.md")
    assert table.read_text() == (place.report() / "table.md").read_text()

    mine = f"sqlite:///{tmp_path}/mine.db"
    more = [*place.options(steps=25), "--reports", str(tmp_path / "mine")]
    subprocess.run(["chmod", "-R", "u+w", theirs / "runs/cache"], check=True)
    subprocess.run(["chmod", "u+w", theirs / "runs", theirs / "runs/suites"], check=True)
    done = run(*more, MLFLOW_TRACKING_URI=mine)
    assert done.returncode == 2
    (line,) = [line for line in done.stderr.splitlines() if "run_ablations.py: " in line]
    assert "umask" in line and "chgrp" in line and "--out" in line
    assert not (tmp_path / "mine.db").exists()
