import json
from pathlib import Path

import pytest

from experiments.checks import without_arms
from experiments.plan import make_plan
from experiments.run.jobs import DataSource, build_jobs, needed_scores
from experiments.spec import load_profiles, load_suite, parse_claim, suite_names
from pix2pix.common.errors import UserError
from pix2pix.data.registry import load_registry
from pix2pix.data.tasks import VERSION

PAPER = {  # PAPER.md section 1: arms of each table
    "losses": ["L1", "GAN", "cGAN", "L1+GAN", "L1+cGAN"],
    "generator": [
        "encoder-decoder (L1)",
        "encoder-decoder (L1+cGAN)",
        "U-Net (L1)",
        "U-Net (L1+cGAN)",
    ],
    "patch_size": ["1x1", "16x16", "70x70", "286x286"],
    "color": ["L1", "cGAN", "L1+cGAN", "PixelGAN"],
    "photo2labels": ["L1", "cGAN", "L1+cGAN"],
}
FOLLOWERS = {
    "gan_loss": ["cross-entropy", "least squares", "hinge"],
    "lambda": ["lambda 1", "lambda 10", "lambda 100", "lambda 1000"],
    "perceptual": [
        *("L1", "perceptual", "perceptual+style"),
        *("L1+cGAN", "perceptual+cGAN", "perceptual+style+cGAN"),
    ],
    "pixel_loss": ["L1", "L2", "L1+cGAN", "L2+cGAN"],
    "cycle": [
        *("cycle alone", "GAN alone", "GAN + forward cycle", "GAN + backward cycle"),
        *("CycleGAN", "pix2pix"),
    ],
    "cycle_back": [
        *("cycle alone", "GAN alone", "GAN + forward cycle", "GAN + backward cycle"),
        *("CycleGAN", "pix2pix"),
    ],
    "backbone": ["U-Net", "ResNet-6", "ResNet-9"],
    "implementations": ["paper", "Torch code", "bottleneck BatchNorm", "PyTorch port", "bicubic"],
    "colorization": ["L2", "L1", "L1+cGAN"],
    "noise": ["dropout", "dropout in training only", "no noise", "z", "z and dropout"],
    "normalisation": [
        *("batch 1", "BatchNorm 4", "InstanceNorm 4"),
        *("BatchNorm 10", "InstanceNorm 10"),
    ],
    "size": ["L1 once", "L1 twice", "L1+cGAN once", "L1+cGAN twice"],
    "tasks": [
        f"{task} ({objective})"
        for task in ("labels", "photo to labels", "L of Lab", "edges", "masked", "small")
        for objective in ("L1", "L1+cGAN")
    ],
}
"""Questions that the paper and its followers raise, without tables of the paper."""
SUITES = PAPER | FOLLOWERS


def plan(suite, profile="quick", dataset="procedural", **options):
    return make_plan(load_suite(suite), load_registry()[dataset], profile, **options)


def write(tmp_path, text, name="mine.yaml"):
    path = tmp_path / name
    path.write_text(text)
    return path


def test_the_papers_suites_are_there_with_their_arms():
    assert {name: list(load_suite(name).arms) for name in suite_names()} == SUITES


@pytest.mark.parametrize("name", SUITES)
@pytest.mark.parametrize("profile", ["smoke", "quick", "paper"])
def test_every_suite_has_a_valid_cell_for_every_arm_and_profile(name, profile):
    cells = plan(name, profile).cells("f")
    assert len({c.config.digest for c in cells}) == len(cells)
    assert {c.arm for c in cells} == set(SUITES[name])


@pytest.mark.parametrize("name", PAPER)
def test_published_numbers_and_claims_are_about_the_arms(name):
    suite = load_suite(name)
    assert set(suite.published.rows) >= set(suite.arms)
    assert suite.claims
    for claim in suite.claims:
        better, _, worse, score, source = parse_claim(claim)
        assert source, "every shipped claim says where it is from"
        assert {better, worse} <= set(suite.arms)
        column = suite.published.columns.index(score)
        rows = suite.published.rows
        assert rows[better][column] > rows[worse][column], f"the paper's own numbers: {claim}"


def test_the_objectives_of_table_1():
    objectives = {c.arm: c.config.objective for c in plan("losses").cells("f")}
    assert {arm: (o.gan, o.l1) for arm, o in objectives.items()} == {
        "L1": ("none", 100.0),
        "GAN": ("unconditional", 0),
        "cGAN": ("conditional", 0),
        "L1+GAN": ("unconditional", 100.0),
        "L1+cGAN": ("conditional", 100.0),
    }


def test_shared_cells_have_one_digest():
    digests = {
        name: {c.arm: c.config.digest for c in plan(name).cells("f")}
        for name in ("losses", "patch_size", "color")
    }
    assert (
        digests["losses"]["L1+cGAN"]
        == digests["patch_size"]["70x70"]
        == digests["color"]["L1+cGAN"]
    )
    assert digests["patch_size"]["1x1"] == digests["color"]["PixelGAN"]
    assert digests["losses"]["L1"] == digests["color"]["L1"]


def test_a_digest_knows_nothing_of_an_unused_discriminator():
    plain = plan("losses", arms=("L1",)).cells("f")[0].config
    other = plan("losses", arms=("L1",), overrides={"discriminator.patch": 1}).cells("f")[0].config
    assert plain.discriminator is None and plain.digest == other.digest


def test_the_paper_profile_takes_the_data_sets_schedule():
    training = plan("losses", "paper", "edges2shoes").cells("f")[0].config.training
    assert (training.epochs, training.batch, training.steps) == (15, 4, None)
    training = plan("generator", "paper", "cityscapes").cells("f")[0].config.training
    assert (training.epochs, training.batch) == (200, 10)


def test_overrides_win_and_name_the_profile():
    changed = plan("patch_size", overrides={"training.steps": 7, "size": "96x128"})
    assert changed.size == (96, 128)
    assert {c.config.training.steps for c in changed.cells("f")} == {7}
    assert changed.variant == "quick+size=96x128+training.steps=7"
    widths = [plan("losses", overrides={f"{s}.width": 8}) for s in ("generator", "discriminator")]
    assert widths[0].variant != widths[1].variant
    assert plan("patch_size").variant == "quick"


def test_an_override_reaches_the_arms_that_leave_the_setting_alone():
    cells = plan("losses", overrides={"objective.l1": 10}).cells("f")
    assert {c.arm: c.config.objective.l1 for c in cells} == {
        "L1": 10,
        "GAN": 0,
        "cGAN": 0,
        "L1+GAN": 10,
        "L1+cGAN": 10,
    }


def test_a_suite_of_ones_own_in_ten_lines(tmp_path):
    path = write(
        tmp_path,
        "title: How much L1?\n"
        "arms:\n"
        "  weak: {objective.l1: 1}\n"
        "  strong: {objective.l1: 1e3}\n"
        "claims: [strong < weak on pixel.l1]\n",
    )
    suite = load_suite(path)
    assert suite.name == "mine"
    assert suite.arms["strong"] == {"objective.l1": 1000.0}


WRONG = {
    "arms:\n  a: {discriminator.patch: 71}\ntitle: t\n": (
        r"mine\.yaml:2:7: arms\.a\.discriminator\.patch: must be one of 1, 16, 34.*got 71"
    ),
    "title: t\narms:\n  a: {discriminator.pach: 70}\n": (
        r"mine\.yaml:3:7: arms\.a\.discriminator\.pach: unknown setting.*discriminator\.patch"
    ),
    "title: t\narms:\n  a: {}\n  a: {}\n": r"mine\.yaml:4:3: .*occurs twice",
    "title: t\narms:\n  no: {}\n": r"mine\.yaml:3:3: .*quote it",
    "title: t\narms:\n  a: {}\nclaim: []\n": r"mine\.yaml:4:1: claim: unknown key.*claims",
    "title: t\narms: {}\n": r"mine\.yaml:2:1: arms",
    "title: t\n": r"mine\.yaml:1:1: arms: is required",
    "title: t\narms:\n  a: {}\nclaims: [a > b on lpips]\n": r"claims\[0\]: no such arm: b",
    "title: t\narms:\n  a: {}\n  b: {}\nclaims: [a > b on fcn.iou]\n": "unknown score fcn.iou",
    "title: t\narms:\n  a: {}\nclaims: [a is best]\n": "must read 'ARM > ARM on SCORE'",
    "title: t\narms:\n  a: {}\nclaims: [a > a on lpips]\n": (
        r"mine\.yaml:4:10: claims\[0\]: compares a with itself"
    ),
    "title: t\narms: {a: {}, b: {}}\nclaims:\n- a > b on lpips\n- a > b on lpips\n": (
        r"mine\.yaml:5:3: claims\[1\]: claims\[0\] is about the same arms"
    ),
    "title: t\narms: {a: {}, b: {}}\nclaims: [a > b on lpips, b < a on lpips]\n": (
        r"claims\[1\]: claims\[0\] is about the same arms"
    ),
    "title: t\narms: {a: {}, b: {}}\nclaims: [a > b on lpips, a < b on lpips]\n": (
        r"claims\[1\]: claims\[0\] is about the same arms"
    ),
    "title: t\narms:\n  a/b: {}\n": "none of /",
    "title: t\narms:\n  ground truth: {}\n": "own row",
    "title: t\narms:\n  a: {training.mirror: no}\n": "must be true or false",
    "title: t\narms:\n  a: {training.steps: 1.5}\n": "must be a whole number",
    "title: t\narms:\n  a: {}\nscores: [fid]\n": "must be one of 'fcn'",
    "title: t\narms:\n  a: {}\nprofiles: {fast: {}}\n": "unknown profile; allowed: smoke",
    "title: [\n": r"mine\.yaml:\d+:\d+: ",
    "- a\n": "must be a mapping",
    "": "must be a mapping",
}


@pytest.mark.parametrize("text", WRONG)
def test_everything_wrong_in_a_suite_is_named_with_its_place(tmp_path, text):
    with pytest.raises(UserError, match=WRONG[text]):
        load_suite(write(tmp_path, text))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"profile": "fast"}, "--profile fast: unknown; allowed: smoke, quick, medium, paper"),
        ({"arms": ("2x2",)}, "--arms 2x2: suite patch_size has no such arm"),
        ({"overrides": {"size": 100}}, r"multiples of 16 \(got 100×100"),
        ({"overrides": {"size": 64}}, "286×286 discriminator needs images of at least 96"),
        ({"overrides": {"size": [128]}}, "--set size: must be a side from 16"),
        ({"overrides": {"size": "12"}}, "--set size: must be a side from 16"),
        ({"overrides": {"generator.depth": 8}}, "multiples of 256"),
        ({"overrides": {"objective.gan": "none", "objective.l1": 0}}, "nothing to train on"),
    ],
)
def test_options_that_do_not_go_together_are_refused(options, message):
    with pytest.raises(UserError, match=message):
        plan("patch_size", **options).cells("f")


def test_a_suite_cannot_take_the_place_of_one_that_comes_with_the_package(tmp_path):
    path = write(tmp_path, "title: t\narms:\n  a: {}\n", "losses.yaml")
    with pytest.raises(UserError, match="rename it"):
        load_suite(path)
    with pytest.raises(UserError, match="the file's name names the suite"):
        load_suite(write(tmp_path, "title: t\nname: losses\narms:\n  a: {}\n"))


def test_an_unknown_suite_names_the_nearest():
    with pytest.raises(UserError, match=r"did you mean patch_size\?"):
        load_suite("patchsize")
    with pytest.raises(UserError, match="no such file"):
        load_suite(Path("nowhere/mine.yaml"))


def test_a_direction_that_a_data_set_lacks_is_refused():
    with pytest.raises(UserError, match="maps has no direction 'photo->labels'"):
        plan("photo2labels", dataset="maps")


def test_a_direction_of_the_command_line_is_part_of_digest_and_variant():
    own, grey = plan("losses"), plan("losses", direction="grey -> photo")
    assert grey.direction == "grey->photo" and grey.variant == "quick+direction=grey--photo"
    first, second = (p.config("L1", 1).with_data("f") for p in (own, grey))
    assert first.digest != second.digest
    assert (first.derivation, second.derivation) == (0, VERSION)
    # Files in the place of derived edges are another training.
    assert plan("losses", dataset="edges2shoes").config("L1", 1).derivation == 0
    with pytest.raises(UserError, match="VGG16 sees RGB, and L->photo draws a and b"):
        plan("perceptual", direction="L->photo").configs()


def test_arms_of_several_tasks_have_a_direction_and_a_reference_each(tmp_path):
    path = write(tmp_path, "title: t\narms:\n  a: {}\n  b: {direction: grey->photo}\n")
    mine = make_plan(load_suite(path), load_registry()["procedural"], "quick")
    assert mine.directions == ("labels->photo", "grey->photo")
    found = [mine.config(arm, 1) for arm in "ab"]
    assert [(c.direction, c.derivation) for c in found] == [
        ("labels->photo", 0),
        ("grey->photo", VERSION),
    ]
    source = DataSource("procedural", None, "data", "cache")
    first, second, *cells = build_jobs(mine, "f", source, tmp_path)
    assert (first.title, second.title) == ("ground truth", "ground truth, grey->photo")
    assert first.scorer and second.scorer is None
    assert [cell.reference for cell in cells] == [first.digest, second.digest]
    alone = load_suite(
        write(tmp_path, "title: t\narms:\n  b: {direction: grey->photo}\n", "b.yaml")
    )
    assert make_plan(alone, load_registry()["procedural"], "quick").directions == ("grey->photo",)
    wrong = write(tmp_path, "title: t\narms:\n  b: {direction: 3}\n", "c.yaml")
    with pytest.raises(UserError, match=r"c.yaml:3:\d+: arms.b.direction: must be input->target"):
        load_suite(wrong)


def test_tasks_that_a_data_set_lacks_are_left_out_with_their_claims():
    whole, photos = plan("tasks"), plan("tasks", dataset="maps")
    assert whole.left_out == () and len(whole.arms) == 12 and len(whole.suite.claims) == 4
    assert set(whole.arms) - set(photos.arms) == set(photos.left_out)
    assert all("label" in arm for arm in photos.left_out) and len(photos.arms) == 8
    assert photos.suite.claims == [] and photos.direction == "L->photo"
    assert "left out, as maps has no images for them: labels (L1)," in without_arms(photos)
    assert without_arms(whole) == ""
    with pytest.raises(UserError, match="maps has no direction 'labels->photo'"):
        plan("tasks", dataset="maps", arms=("labels (L1)",))


def test_arms_that_need_pairs_are_left_out_of_a_suite_on_unpaired_images():
    cycle = plan("cycle", dataset="unpaired")
    assert cycle.left_out == ("pix2pix",) and len(cycle.arms) == 5
    assert all("pix2pix" not in claim for claim in cycle.suite.claims)
    assert "unpaired has no images, or no pairs, for them: pix2pix" in without_arms(cycle)
    with pytest.raises(
        UserError, match=r"suite losses, arm L1: pix2pix needs pairs, .*--suite cycle"
    ):
        plan("losses", dataset="unpaired")
    with pytest.raises(UserError, match="arm pix2pix: pix2pix needs pairs"):
        plan("cycle", dataset="unpaired", arms=("pix2pix",))
    # What is derived from a photo belongs to it.
    assert plan("losses", dataset="unpaired", direction="grey->B").left_out == ()
    assert "no images" in without_arms(plan("tasks", dataset="unpaired"))
    assert needed_scores(cycle.entry, "A->B") == ["color"]
    assert "pixel" in needed_scores(cycle.entry, "grey->B")


@pytest.mark.parametrize("profile", ["cyclegan", "pix2pix"])
def test_a_suites_own_profile_decides_whether_it_needs_pairs(tmp_path, profile):
    methods = {"cyclegan": {"objective.gan": "unconditional", "objective.l1": 0}, "pix2pix": {}}
    base = {"method": next(m for m in methods if m != profile)}
    content = {"title": "x", "base": base, "arms": {"a": {}}}
    content["profiles"] = {"quick": {"method": profile} | methods[profile]}
    (tmp_path / "mine.yaml").write_text(json.dumps(content))
    suite, entry = load_suite(str(tmp_path / "mine.yaml")), load_registry()["unpaired"]
    if profile == "cyclegan":
        make_plan(suite, entry, "quick").configs()
    else:
        with pytest.raises(UserError, match="arm a: pix2pix needs pairs"):
            make_plan(suite, entry, "quick")


def test_cells_of_several_suites_are_trained_once():
    names = ("tasks", "losses", "photo2labels", "colorization", "noise", "size")
    plans = {name: plan(name, "medium") for name in names}
    by_arm = {(n, arm): p.config(arm, 1) for n, p in plans.items() for arm in p.arms}
    for first, second in (
        (("tasks", "labels (L1+cGAN)"), ("losses", "L1+cGAN")),
        (("tasks", "photo to labels (L1)"), ("photo2labels", "L1")),
        (("tasks", "L of Lab (L1)"), ("colorization", "L1")),
        (("noise", "dropout"), ("losses", "L1+cGAN")),
        (("size", "L1 once"), ("losses", "L1")),
    ):
        assert by_arm[first] == by_arm[second]
    assert len(set(by_arm.values())) == len(by_arm) - 9


def test_what_is_unused_does_not_change_a_digest():
    base = plan("losses").config("L1+cGAN", 1)
    instance = {"generator.statistics": "image", "discriminator.statistics": "image"}
    assert plan("losses", overrides=instance).config("L1+cGAN", 1) == base
    batches = instance | {"training.batch": 4}
    assert plan("losses", overrides=batches).config("L1+cGAN", 1).generator.statistics == "image"
    still = {"generator.dropout": 0.0}
    assert plan("losses", overrides=still | {"translation.dropout": False}).config("L1", 1) == plan(
        "losses", overrides=still
    ).config("L1", 1)


def test_profiles_grow():
    profiles = load_profiles()
    assert profiles["smoke"].size < profiles["quick"].size < profiles["paper"].size


@pytest.mark.parametrize("name", ["=cmd|' /C calc'!A0", "+x", "-x", "@x", "<b>", "a`b", "a\\b"])
def test_names_that_would_be_formulas_or_markup(tmp_path, name):
    path = write(tmp_path, json.dumps({"title": "t", "arms": {name: {}}}))
    with pytest.raises(UserError, match=r"mine\.yaml:1:.*an arm's name has"):
        load_suite(path)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("null", "must be a mapping"),
        ("quick: 1", "quick: must be a mapping"),
        ("quick: {size: 64}", "quick.seeds: is required"),
        ("quick: {size: 64, seeds: [-1], settings: {}, scorer: {}}", r"quick.seeds\[0\]: must be"),
        ("quick: {sise: 64}", "unknown key"),
        (
            "quick: {size: 64, seeds: [1], settings: {}, scorer: {photos: 9, batches: 9, batch: 1},"
            " scorer_from_scratch: {width: 2, batches: 9, batch: 2, validate_every: 9, patience: 1}"
            ", other_scorers: {again: {photos: 9, batches: 9, batch: 1}}}",
            "other_scorers: again: equal to another scorer",
        ),
    ],
)
def test_profiles_are_read_as_strictly_as_suites(tmp_path, content, said):
    path = write(tmp_path, content, "profiles.yaml")
    with pytest.raises(UserError, match=said) as caught:
        load_profiles(path)
    assert str(path) in str(caught.value)


def test_an_arm_whose_name_only_looks_like_a_number(tmp_path):
    path = write(tmp_path, "title: t\narms: {²: {nothing: 1}}\n")
    with pytest.raises(UserError, match=r"mine\.yaml:2:12: arms\.²\.nothing: unknown setting"):
        load_suite(path)


@pytest.mark.parametrize("number", [".inf", ".nan", "1e999"])
def test_published_numbers_are_finite(tmp_path, number):
    published = f"{{source: s, columns: [fcn.pixel_accuracy], rows: {{a: [{number}]}}}}"
    path = write(tmp_path, f"title: t\narms: {{a: {{}}}}\npublished: {published}\n")
    with pytest.raises(UserError, match=r"mine\.yaml:3:.*must be a finite number"):
        load_suite(path)
