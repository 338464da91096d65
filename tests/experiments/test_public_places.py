"""Public bug reports of other programs about where a program runs: folders, users, encodings,
notebooks, MLflow's stores, files of weights. Each was tried here as the report describes it."""

from __future__ import annotations

import os
import pwd
import queue
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import recorded_runs as recorded
import torch
from mlflow.tracking import MlflowClient
from PIL import Image
from planned_jobs import cell_job

from experiments.run.launcher import start_worker, worker_environment
from experiments.tracking.check import check_store
from experiments.tracking.mirror import mirror
from experiments.tracking.store import open_store
from pix2pix.checkpoint import read_tensors
from pix2pix.common.errors import UserError

ROOT = Path(__file__).parents[2]
PATIENCE = 300


def command(*words: str | Path, cwd: Path | None = None, **variables: str):
    return subprocess.run(
        [sys.executable, *map(str, words)],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(ROOT), **variables},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )


def test_the_current_folder_is_gone(tmp_path) -> None:
    """https://github.com/pypa/pip/issues/4255 and https://github.com/dschep/ntfy/issues/195"""
    gone, script = tmp_path / "gone", ROOT / "run_ablations.py"
    start = f"cd '{gone}' && rmdir '{gone}' && exec '{sys.executable}' '{script}'"
    for more, status in ((" --list", 0), (" --suite losses --dry-run", 2)):
        gone.mkdir()
        done = subprocess.run(["sh", "-c", start + more], capture_output=True, text=True)
        assert done.returncode == status and "Traceback" not in done.stderr
    assert (
        done.stderr == "run_ablations.py: the current folder is gone: change to another one (cd)\n"
    )


@pytest.mark.slow
def test_a_folder_that_the_outputs_encoding_lacks(tmp_path, monkeypatch) -> None:
    """https://github.com/Rockhopper-Technologies/enlighten/issues/13 (latin-1) and
    https://github.com/janhq/jan/issues/6632 (a data folder beyond ASCII): workers were told of
    other folders, and every run failed."""
    monkeypatch.setenv("PYTHONIOENCODING", "latin-1")
    job = cell_job("any", out=tmp_path / "山 ä")
    process = start_worker(job, queue.Queue())
    process.wait(PATIENCE)
    assert [path.name for path in tmp_path.iterdir()] == ["山 ä"]
    assert (job.directory / "journal.jsonl").is_file()


@pytest.mark.slow
def test_a_script_without_a_guard_is_not_run_again_by_worker_processes(tmp_path) -> None:
    """https://github.com/pytorch/pytorch/issues/20375 and
    https://github.com/mrdbourke/pytorch-deep-learning/issues/697"""
    for side in ("t", "g"):
        (tmp_path / side).mkdir()
        for index in range(2):
            pixels = np.full((16, 16, 3), 100 + index, np.uint8)
            Image.fromarray(pixels).save(tmp_path / side / f"{index}.png")
    (tmp_path / "mine.py").write_text(
        "from eval.__main__ import main\n"
        "print('the top of my script')\n"
        "main('--translations t --targets g --scores pixel --workers 2'.split())\n"
    )
    done = command("mine.py", cwd=tmp_path)
    assert done.stdout.count("the top of my script") == 1 and "pixel.l1" in done.stdout
    assert done.returncode == 0 and not done.stderr


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        # https://github.com/jantic/DeOldify/issues/494
        (b"\n<!DOCTYPE html><html>404", "it is a web page: download the file again"),
        # https://github.com/NVlabs/CALM/issues/7
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0d71\n", "run git lfs pull"),
    ],
)
def test_a_download_that_is_no_checkpoint(tmp_path, content, reason) -> None:
    (tmp_path / "latest_net_G.pth").write_bytes(content)
    with pytest.raises(UserError, match=f"latest_net_G.pth: not a readable .*{reason}"):
        read_tensors(tmp_path / "latest_net_G.pth")


def test_torchscript_is_told_from_weights(tmp_path) -> None:
    """https://github.com/pytorch/serve/issues/1166"""
    torch.jit.script(torch.nn.Conv2d(3, 3, 1)).save(str(tmp_path / "G.pt"))
    with pytest.raises(UserError, match=r"G\.pt: .*it is TorchScript, .*state_dict\(\) alone"):
        read_tensors(tmp_path / "G.pt")


def test_a_whole_training_of_another_framework_is_not_run(tmp_path) -> None:
    """https://github.com/NUROISEA/anime-webui-colab/issues/54 (a callback beside the weights)"""
    torch.save({"state_dict": {}, "callbacks": Path("x")}, tmp_path / "last.ckpt")
    with pytest.raises(UserError, match=r"nothing of it was run: save the network's state_dict"):
        read_tensors(tmp_path / "last.ckpt")


def test_a_user_without_a_name(monkeypatch) -> None:
    """https://github.com/mlflow/mlflow/issues/1103 and
    https://github.com/vectorize-io/hindsight/pull/3934: in a container that runs as any number,
    torch's import in the first step ended every run."""

    def unknown(number: int) -> None:
        raise KeyError(f"getpwuid(): uid not found: {number}")

    for name in ("LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(pwd, "getpwuid", unknown)
    assert worker_environment(1)["USER"] == f"user-{os.getuid()}"
    monkeypatch.setenv("LOGNAME", "me")
    assert "USER" not in worker_environment(1)


def test_a_folder_whose_name_means_something_in_an_address(tmp_path, monkeypatch) -> None:
    """https://github.com/mlflow/mlflow/issues/4785 and https://github.com/mlflow/mlflow/issues/4879"""
    name = "50%20 #1 a:b?c&d ä"
    (tmp_path / name).mkdir()
    monkeypatch.chdir(tmp_path / name)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    recorded.cell(Path("runs"), "aaa", 1, {})
    recorded.suite_record(Path("runs"), [("70x70", 1, "aaa")], reference=None)
    mirror(Path("runs"))
    client = MlflowClient("sqlite:///mlflow.db")
    (experiment,) = client.search_experiments(filter_string="name = 'patch_size'")
    runs = client.search_runs([experiment.experiment_id])
    assert any(client.list_artifacts(run.info.run_id) for run in runs)
    assert list((tmp_path / name / "mlruns/patch_size").glob("*/artifacts/*"))
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_a_notebook_that_changes_its_folder(tmp_path, monkeypatch) -> None:
    """https://github.com/ludwig-ai/ludwig/pull/2927: the second folder's reports showed the runs of
    the first."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        monkeypatch.chdir(tmp_path / name)
        store = open_store(create=True)
        assert name not in store.experiments()
        store.experiment(name, create=True)
        assert set(store.experiments()) == {name, "Default"}


def test_a_suite_whose_experiment_was_deleted(tmp_path, store: Path) -> None:
    """https://github.com/mlflow/mlflow/issues/2651"""
    recorded.cell(tmp_path, "aaa", 1, {})
    recorded.suite_record(tmp_path, [("70x70", 1, "aaa")], reference=None)
    mirror(tmp_path)
    client = MlflowClient()
    found = client.get_experiment_by_name("patch_size")
    client.delete_experiment(found.experiment_id)
    check_store(("patch_size",))
    mirror(tmp_path)
    again = client.get_experiment_by_name("patch_size")
    assert (again.experiment_id, again.lifecycle_stage) == (found.experiment_id, "active")
    assert client.search_runs([again.experiment_id])
