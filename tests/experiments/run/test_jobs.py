import json

import pytest
from planned_jobs import cell_job

from eval.scorer.fcn8s import FCN8s
from eval.scorer.file import save_scorer, weights_sha256
from experiments.plan import make_plan
from experiments.run.jobs import (
    DataSource,
    Job,
    build_jobs,
    expected_pace,
    label_side,
    needed_scores,
    scorer_path,
    state,
    step_gflop,
)
from experiments.run.journal import Journal, write_json
from experiments.spec import load_suite
from pix2pix.common.errors import UserError
from pix2pix.data.registry import load_registry

REGISTRY = load_registry()


def jobs_of(suite, out, dataset="procedural", **options):
    plan = make_plan(load_suite(suite), REGISTRY[dataset], "quick", **options)
    data = DataSource(dataset, None, "data", str(out / "cache"))
    return build_jobs(plan, "f", data, out)


def test_a_job_survives_the_way_to_its_worker(tmp_path):
    for job in jobs_of("losses", tmp_path):
        assert Job.from_json(job.to_json()) == job


def test_the_reference_comes_first_and_every_cell_is_scored_against_it(tmp_path):
    reference, *cells = jobs_of("patch_size", tmp_path)
    assert (reference.kind, len(cells)) == ("reference", 4)
    assert {cell.reference for cell in cells} == {reference.digest}


def test_the_reference_is_shared_by_suites_of_one_direction(tmp_path):
    digests = {s: jobs_of(s, tmp_path)[0].digest for s in ("losses", "color", "photo2labels")}
    assert digests["losses"] == digests["color"] != digests["photo2labels"]


@pytest.mark.parametrize(
    ("dataset", "direction", "side", "family"),
    [
        ("camvid", "labels->photo", "input", "fcn"),
        ("camvid", "photo->labels", "target", "labels"),
        ("maps", "map->photo", None, None),
    ],
)
def test_which_scores_a_direction_can_have(dataset, direction, side, family):
    entry = REGISTRY[dataset]
    assert label_side(entry, direction) == side
    expected = ([family] if family else []) + ["lpips", "color", "pixel"]
    assert needed_scores(entry, direction) == expected


def test_the_state_follows_the_journal(tmp_path, monkeypatch):
    _, job, *_ = jobs_of("losses", tmp_path)
    assert state(job).word == "new"
    journal = Journal(job.directory)
    journal.append("start", step=0)
    journal.append("losses", step=10, values={"g_l1": 1.0}, seconds_per_step=0.5)
    journal.append("checkpoint", step=10)
    found = state(job)
    assert (found.word, found.step, found.seconds_per_step) == ("stopped", 10, 0.5)
    journal.append("failed", error="no", log="")
    assert state(job).word == "failed"
    journal.append("start", step=10)
    journal.append("trained", step=3000, seconds=1.0, peak_memory_mib=1.0)
    assert state(job).word == "to score"
    journal.append("done", seconds=1.0)
    assert state(job).word == "to score", "scored against nothing that is asked for"
    write_json(job.directory / "scores.json", {"settings": {"reference": job.reference}})
    assert state(job).word == "done"
    settings = {"reference": job.reference, "lpips_backbone_on_disk": False}
    write_json(job.directory / "scores.json", {"settings": settings})
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    assert state(job).word == "done"
    backbone = tmp_path / "hub/checkpoints/alexnet-owt-7be5be79.pth"
    backbone.parent.mkdir(parents=True)
    backbone.write_bytes(b"")
    assert state(job).word == "to score", "LPIPS can be measured now"


def test_scores_of_another_scorer_than_the_one_on_the_disk_are_not_current(tmp_path):
    _, job, *_ = jobs_of("losses", tmp_path)
    Journal(job.directory).append("done", seconds=1.0)
    scorer = FCN8s(classes=len(REGISTRY["cityscapes"].classes), width=2)
    settings = {"reference": job.reference, "fcn": {"weights_sha256": weights_sha256(scorer)}}
    write_json(job.directory / "scores.json", {"settings": settings})
    assert state(job).word == "done", "its file may have been deleted"
    names = [str(index) for index in range(len(REGISTRY["cityscapes"].classes))]
    scorer_path(job.out, job.reference).parent.mkdir()
    save_scorer(scorer_path(job.out, job.reference), scorer, {}, names, {})
    assert state(job).word == "done"
    save_scorer(
        scorer_path(job.out, job.reference), FCN8s(classes=len(names), width=2), {}, names, {}
    )
    assert state(job).word == "to score"
    scorer_path(job.out, job.reference).write_bytes(b"\xff" * 100)
    assert state(job).word == "done", "whoever scores next sets it aside"


def test_work_is_that_of_the_paper_at_full_size():
    arms = {}
    for suite in ("losses", "patch_size"):
        plan = make_plan(load_suite(suite), REGISTRY["cityscapes"], "paper")
        arms |= {c.arm: step_gflop(c.config) for c in plan.cells("f")}
    published = {"L1": 36.2, "70x70": 86.94, "1x1": 45.2, "16x16": 71.7, "286x286": 70.8}
    for arm, gflop in published.items():
        assert arms[arm] == pytest.approx(gflop, rel=0.01)


def test_the_expected_pace_grows_with_the_work():
    paces = {}
    for profile in ("smoke", "quick", "paper"):
        plan = make_plan(load_suite("losses"), REGISTRY["procedural"], profile)
        paces[profile] = expected_pace(plan.cells("f")[0].config)
    assert paces["smoke"] < paces["quick"] < paces["paper"]


def test_a_job_is_plain_json(tmp_path):
    values = json.loads(jobs_of("losses", tmp_path)[1].to_json())
    assert values["config"]["training"]["steps"] == 3000


@pytest.mark.parametrize(
    "change",
    [
        {"config": {}},
        {"threads": "two"},
        {"data": None},
        {"unknown": 1},
        {"checkpoint_seconds": "soon"},
    ],
)
def test_what_is_no_job_is_one_line(change):
    job = cell_job("procedural")
    with pytest.raises(UserError, match=r"^job: ") as caught:
        Job.from_json(json.dumps(json.loads(job.to_json()) | change))
    assert "\n" not in str(caught.value)
    for text in ("", "[", "[" * 100_000, "null"):
        with pytest.raises(UserError, match=r"^job: "):
            Job.from_json(text)
