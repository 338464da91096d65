from PIL import Image

from experiments.run.journal import Journal, write_json
from experiments.status import status
from experiments.study import Options, make_study, plan_jobs, prepare_data


def test_the_status_of_every_job_is_that_of_its_journal(tmp_path, monkeypatch):
    small = (("size", 32),)
    options = Options(("losses",), "smoke", arms=("L1",), seeds=(1, 2), overrides=small)
    study = make_study(Options(**vars(options) | {"out": tmp_path}))
    assert status(study).startswith("nothing was run yet")
    fingerprint, _, _ = prepare_data(study)
    jobs = {job.title: job for job in plan_jobs(study, study.plans[0], fingerprint)}
    Journal(jobs["L1 seed 1"].directory).append("checkpoint", step=12)
    Journal(jobs["L1 seed 2"].directory).append("failed", error="no room", log="")
    lines = status(study).splitlines()
    said = {line[:28].strip(): line[48:] for line in lines[:3]}
    assert said == {
        "ground truth": "new",
        "L1 seed 1": "stopped at step 12 of 30",
        "L1 seed 2": "failed: no room",
    }
    assert lines[-1] == "1 new, 1 stopped, 1 failed"
    write_json(tmp_path / "slurm" / "7.json", {"7_0": "abc"})
    monkeypatch.setenv("PATH", "")
    assert status(study).endswith("what waits in its queue is not shown")


def test_the_status_of_plain_photos_is_found(tmp_path):
    for index in range(3):
        Image.new("RGB", (32, 32), (index, 9, 99)).save(tmp_path / f"{index}.png")
    options = {"direction": "grey->photo", "dataset": "folder", "data_root": tmp_path}
    options |= {"overrides": (("size", 32),), "out": tmp_path / "runs", "arms": ("L1",)}
    study = make_study(Options(("losses",), "smoke", **options))
    prepare_data(study)
    assert status(study).endswith("2 new")
