import json
from dataclasses import replace

import pytest

from experiments.plan import make_plan
from experiments.record import deviations, read_suite_record, record_path, write_record
from experiments.run.jobs import reference_config
from experiments.spec import load_suite
from experiments.tracking.process import mirror_only
from pix2pix.common.errors import UserError
from pix2pix.data.registry import load_registry

REGISTRY = load_registry()


def plan_of(suite="patch_size", profile="quick", dataset="procedural", **options):
    return make_plan(load_suite(suite), REGISTRY[dataset], profile, **options)


def record(plan, out, fingerprint="f"):
    path = write_record(plan, fingerprint, out, "abc")
    assert path == record_path(out, *plan.key)
    return json.loads(path.read_text())


def pairs(content):
    return [(c["arm"], c["seed"]) for c in content["cells"]]


def test_a_record_holds_cells_numbers_and_claims(tmp_path):
    content = record(plan_of(), tmp_path)
    assert pairs(content) == [("1x1", 1), ("16x16", 1), ("70x70", 1), ("286x286", 1)]
    assert content["published"]["rows"]["70x70"]["fcn.class_iou"] == 0.17
    assert "70x70 > 1x1 on fcn.pixel_accuracy (Table 3)" in content["claims"]
    assert content["own"] == []
    assert content["steps"] == 3000 and content["size"] == [128, 128]


def test_more_seeds_join_and_arms_can_be_run_one_by_one(tmp_path):
    record(plan_of(arms=("70x70",)), tmp_path)
    record(plan_of(arms=("1x1",), seeds=(2,)), tmp_path)
    content = record(plan_of(arms=("70x70",), seeds=(1, 2)), tmp_path)
    assert pairs(content) == [("1x1", 2), ("70x70", 1), ("70x70", 2)]


def test_cells_of_other_data_or_settings_are_never_kept(tmp_path):
    record(plan_of(seeds=(5,)), tmp_path, "old data")
    assert {seed for _, seed in pairs(record(plan_of(), tmp_path, "new data"))} == {1}


def test_cells_scored_by_another_scorer_are_never_kept(tmp_path):
    plan = plan_of(seeds=(5,))
    record(plan, tmp_path)
    scorer = plan.profile.scorer_from_scratch.model_copy(update={"batches": 1})
    other = replace(
        plan, profile=plan.profile.model_copy(update={"scorer_from_scratch": scorer}), seeds=(1,)
    )
    assert {seed for _, seed in pairs(record(other, tmp_path))} == {1}


def test_a_length_of_one_arm_alone_is_no_length_of_the_suite(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text("title: t\narms:\n  a: {}\n  b: {training.epochs: 5}\n")
    content = record(make_plan(load_suite(path), REGISTRY["procedural"], "quick"), tmp_path)
    assert content["steps"] is None and content["epochs"] is None
    assert content["own"] == ["suite"]


def test_deviations_name_what_differs_and_nothing_else():
    quick = " ".join(deviations(plan_of()))
    for expected in ("128×128", "32 filters", "3,000 training steps", "FCN-8s trained"):
        assert expected in quick
    paper = " ".join(deviations(plan_of(profile="paper", dataset="cityscapes")))
    for absent in (
        "pixels",
        "filters",
        "steps;",
        "Batch 1",
        "GAN loss",
        "published numbers are of",
    ):
        assert absent not in paper
    overrides = {"training.schedule": "linear", "objective.l1": 10, "training.mirror": False}
    changed = " ".join(deviations(plan_of(overrides=overrides)))
    for expected in ("schedule is linear", "objective.l1 is 10", "mirror is False; "):
        assert expected in changed
    # What the arms themselves vary is the question, not a deviation.
    assert "discriminator.patch" not in changed
    for always in ("No BatchNorm on the bottleneck", "train their biases", "nearest neighbour"):
        assert always in quick and always in paper
    assert "one at a time" not in paper and "1024×2048" not in paper
    with_norm = deviations(plan_of(overrides={"generator.bottleneck_norm": True}))
    assert not any("ottleneck" in sentence for sentence in with_norm), "the paper's tables have it"
    depth = " ".join(deviations(plan_of(overrides={"generator.depth": 6})))
    assert "generator.depth is 6; the paper's is 8" in depth
    tens = " ".join(deviations(plan_of(dataset="cityscapes", suite="generator")))
    assert "translated one at a time" in tens
    labels = " ".join(deviations(plan_of(dataset="cityscapes", suite="photo2labels")))
    assert "compared at 128×128 pixels; the paper's at 1024×2048" in labels
    edges = " ".join(deviations(plan_of(profile="paper", dataset="edges2shoes", suite="losses")))
    assert "(unconfirmed)" in edges


def test_derived_edges_are_named_and_published_numbers_of_another_task():
    canny = "Edges are Canny's (scikit-image); the paper's are HED's, thinned."
    edges, other = "edges->photo", "The published numbers are not of edges->photo."
    assert {canny, other} <= set(deviations(plan_of("losses", direction=edges)))
    assert canny not in deviations(plan_of("losses", dataset="edges2shoes", direction=edges))
    assert canny in deviations(plan_of("tasks"))
    assert not {canny, other} & set(deviations(plan_of("losses")))
    # Told by what the source names, whether it was asked for or is the data set's own.
    for told, options in (
        (True, {"dataset": "maps"}),
        (True, {"direction": "photo->labels"}),
        (False, {"direction": "labels->photo"}),
    ):
        found = " ".join(deviations(plan_of("cycle", **options)))
        assert ("The published numbers are not of" in found) == told


def test_arms_of_another_task_are_scored_against_its_reference(tmp_path):
    plan = plan_of("tasks")
    record = read_suite_record(write_record(plan, "f", tmp_path, "abc"))
    assert record.direction == "labels->photo" and "hole" in record.scores
    photos = write_record(plan_of("tasks", dataset="maps"), "f", tmp_path, "abc")
    assert read_suite_record(photos).scores == ("lpips", "color", "pixel", "hole")
    for arm in plan.arms:
        expected = reference_config(plan, "f", plan.direction_of(arm)).digest
        assert record.reference_of(arm) == expected


def test_an_arm_that_is_gone_and_had_no_identity_is_dropped(tmp_path):
    plan = plan_of(seeds=(5,))
    content = record(plan, tmp_path)
    content["arms"].append({"name": "gone", "changes": {}})
    content["cells"].append({"arm": "gone", "seed": 1, "digest": "abc"})
    record_path(tmp_path, *plan.key).write_text(json.dumps(content))
    assert {arm for arm, _ in pairs(record(plan_of(), tmp_path))} == set(plan.suite.arms)


@pytest.mark.parametrize("text", ["{", "[]", "[" * 100_000, '{"suite": 1}'])
def test_all_suites_cannot_be_mirrored_with_a_damaged_record(tmp_path, text):
    path = tmp_path / "suites" / "mine" / "faces-quick.json"
    path.parent.mkdir(parents=True)
    path.write_text(text)
    with pytest.raises(UserError, match=r"faces-quick\.json: not a suite record") as caught:
        mirror_only(tmp_path)
    assert "\n" not in str(caught.value)
