"""Cells whose inputs are derived from a folder of photos: ended, started again, and scored."""

import json

import numpy as np
import pytest
import torch
from PIL import Image

from experiments.plan import make_plan
from experiments.run.jobs import DataSource, build_jobs, state
from experiments.run.journal import last, read_records
from experiments.run.runner import run
from experiments.run.signals import Stop
from experiments.spec import load_suite
from pix2pix import translate, translation
from pix2pix.checkpoint import load_generator
from pix2pix.common.errors import Interrupted
from pix2pix.data import procedural, tasks
from pix2pix.data.cache import prepare
from pix2pix.data.registry import load_registry

SIZE = 32
ARM = "both"
SUITE = f"title: One arm?\narms:\n  {ARM}: {{discriminator.patch: 1}}\nscores: [color, pixel]\n"


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    root = tmp_path_factory.mktemp("photos")
    for index in range(12):
        Image.fromarray(procedural.draw("val", index, SIZE)[1]).save(root / f"{index}.png")
    (root / "mine.yaml").write_text(SUITE)
    (root / "drawn.yaml").write_text(SUITE.replace("pixel]", "diversity]"))
    return root


def jobs(photos, out, role, suite="mine", **changes):
    """The reference and a cell of four steps."""
    entry = load_registry()["folder"]
    overrides = {"size": SIZE, "training.steps": 4, "generator.width": 4} | changes
    direction = f"{role}->photo"
    suite = load_suite(str(photos / f"{suite}.yaml"))
    plan = make_plan(suite, entry, "smoke", overrides=overrides, direction=direction)
    cache = out / "cache"
    made = prepare(entry, photos, plan.size, direction, cache)
    source = DataSource("folder", None, str(photos), str(cache))
    return build_jobs(plan, made.fingerprint, source, out, checkpoint_seconds=0.0)


def translations(job):
    return {p.name: p.read_bytes() for p in job.directory.glob("translations/*.png")}


@pytest.mark.parametrize("role", tasks.ROLES)
def test_each_task_from_nothing_and_stopped_halfway(photos, tmp_path, role):
    _, whole = jobs(photos, tmp_path / "whole", role)
    run(whole, lambda _: None, Stop())
    _, parts = jobs(photos, tmp_path / "parts", role)
    stop = Stop()

    def emit(event):
        if event["event"] == "losses" and event["step"] == 2:
            stop._handle()

    with pytest.raises(Interrupted):
        run(parts, emit, stop)
    run(parts, lambda _: None, Stop())
    assert state(parts).word == "done" and len(translations(parts)) == 2
    assert translations(parts) == translations(whole)
    first, second = (load_generator(job.directory / "generator.pt")[0] for job in (whole, parts))
    pairs = zip(first.parameters(), second.parameters(), strict=True)
    assert all(one.equal(other) for one, other in pairs)
    scores = json.loads((parts.directory / "scores.json").read_text())
    holes = {"hole.l1", "hole.psnr", "hole.ssim"}
    assert holes & scores["values"].keys() == (holes if role in tasks.HOLES else set())
    assert 0.0 <= scores["settings"].get("beyond_gamut", 0) <= 1
    records = read_records(parts.directory / "journal.jsonl")
    assert (last(records, "gamut") is not None) == (role == "L")


@pytest.mark.parametrize("role", ["L", "holes"])
def test_the_translate_command_derives_the_input_of_a_photo(photos, tmp_path, role, capsys):
    _, cell = jobs(photos, tmp_path, role)
    run(cell, lambda _: None, Stop())
    reference = tmp_path / "references" / cell.reference
    saved, out = cell.directory / "generator.pt", tmp_path / "again"
    command = ["--checkpoint", str(saved), "--out", str(out), "--inputs"]
    assert translate.main([*command, str(reference / "targets")]) == 0
    again = {path.name: path.read_bytes() for path in out.glob("*.png")}
    pixels = {name: np.asarray(Image.open(out / name)) for name in again}
    for path in cell.directory.glob("translations/*.png"):
        assert np.array_equal(np.asarray(Image.open(path)), pixels[path.name])
    said = capsys.readouterr().out
    assert f"taken as photos; {role} is derived from each" in said
    assert ("beyond sRGB's gamut" in said) == (role == "L")
    out.rename(tmp_path / "before")
    assert translate.main([*command, str(reference / "targets"), "--protocol", "port"]) == 2


def test_inputs_and_holes_are_shown_beside_the_targets(photos, tmp_path):
    for role in ("L", "masked"):
        reference, _ = jobs(photos, tmp_path, role)
        run(reference, lambda _: None, Stop())
        shown = [Image.open(reference.directory / side / "0.png") for side in ("inputs", "targets")]
        assert [image.mode for image in shown] == ["RGB", "RGB"]
        assert tasks.is_grey(np.asarray(shown[0])) == (role == "L")
        assert np.array_equal(np.asarray(shown[1]), procedural.draw("val", 0, SIZE)[1])
    hole = np.asarray(Image.open(reference.directory / "holes" / "0.png"))
    assert np.array_equal(hole == 255, tasks.centre_hole((SIZE, SIZE), "0"))


def scores(job):
    return json.loads((job.directory / "scores.json").read_text())["values"]


def test_without_dropout_at_test_time_every_draw_is_the_same(photos, tmp_path):
    values = {}
    for dropout in (True, False):
        _, cell = jobs(photos, tmp_path, "grey", "drawn", **{"translation.dropout": dropout})
        run(cell, lambda _: None, Stop())
        values[dropout] = scores(cell)["diversity.variance"]
        network, _ = load_generator(cell.directory / "generator.pt")
        assert any("Dropout" in type(m).__name__ for m in network.modules()) == dropout
    assert values[False] == 0 < values[True] < 1


def test_a_noise_vector_alone_makes_draws_differ(photos, tmp_path):
    changes = {"generator.dropout": 0.0, "generator.noise": 4}
    _, cell = jobs(photos, tmp_path, "grey", "drawn", **changes)
    run(cell, lambda _: None, Stop())
    assert 0 < scores(cell)["diversity.variance"] < 1


def test_a_finished_cell_is_scored_again_where_its_diversity_is_asked_for(photos, tmp_path):
    _, plain = jobs(photos, tmp_path, "grey")
    _, drawn = jobs(photos, tmp_path, "grey", "drawn")
    assert plain.digest == drawn.digest
    run(plain, lambda _: None, Stop())
    assert state(plain).word == "done" and state(drawn).word == "to score"
    before = scores(plain)
    run(drawn, lambda _: None, Stop())
    assert state(plain).word == state(drawn).word == "done"
    after = scores(drawn)
    assert {name: after[name] for name in before} == before and "diversity.variance" in after


def test_twice_the_size_is_drawn_fully_convolutionally_and_reduced(photos, tmp_path):
    _, cell = jobs(photos, tmp_path, "masked", **{"translation.scale": 2})
    run(cell, lambda _: None, Stop())
    network, _ = load_generator(cell.directory / "generator.pt")
    entry = load_registry()["folder"]
    large = prepare(entry, photos, (2 * SIZE, 2 * SIZE), "masked->photo", tmp_path / "cache").test
    options = {"seed": cell.config.seed, "device": torch.device("cpu")}
    for name, image in translation.translate(network, large.inputs, large.names, **options):
        assert image.shape == (2 * SIZE, 2 * SIZE, 3)
        shown = np.asarray(Image.open(cell.directory / "translations" / f"{name}.png"))
        assert shown.shape == (SIZE, SIZE, 3)
        blocks = image.reshape(SIZE, 2, SIZE, 2, 3).mean((1, 3))
        assert np.abs(shown - blocks).max() <= 0.5
    assert "hole.l1" in scores(cell)
