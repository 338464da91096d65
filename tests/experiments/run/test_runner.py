"""One job in this process, ended at any point and started again; and its files damaged between."""

import contextlib
import json
import threading
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from streets import DATASET, draw_streets

from experiments.plan import make_plan
from experiments.run.jobs import DataSource, build_jobs, state
from experiments.run.journal import Journal, is_done, last, read_records, replay
from experiments.run.runner import run, train_cell
from experiments.run.session import Session
from experiments.run.signals import Stop
from experiments.spec import load_suite
from pix2pix.checkpoint import load_generator, save_generator
from pix2pix.common.errors import Interrupted
from pix2pix.config import GeneratorSettings
from pix2pix.data.cache import prepare
from pix2pix.data.registry import load_registry

SUITE = "title: One arm?\narms:\n  both: {discriminator.patch: 1}\nscores: [fcn, color]\n"
SIZE = 32


class Place:
    """A reference and a cell of eight steps, and a run folder of their own."""

    def __init__(self, data, out, suite="mine.yaml"):
        registry = data / "sets.yaml"
        entry = load_registry(registry)["streets"]
        overrides = {"size": SIZE, "training.steps": 8, "generator.width": 4}
        plan = make_plan(load_suite(str(data / suite)), entry, "smoke", overrides=overrides)
        cache = data / "cache"
        made = prepare(entry, data, plan.size, plan.suite.direction, cache)
        source = DataSource("streets", str(registry), str(data), str(cache))
        options = {"checkpoint_seconds": 0.0}
        self.reference, self.cell = build_jobs(plan, made.fingerprint, source, out, **options)
        self.scorer = out / "scorers" / f"{self.reference.digest}.safetensors"

    def run(self, emit=lambda _: None):
        run(self.cell, emit, Stop())

    def translations(self):
        return {p.name: p.read_bytes() for p in self.cell.directory.glob("translations/*.png")}

    def weights(self):
        generator, _ = load_generator(self.cell.directory / "generator.pt")
        return torch.cat([p.detach().flatten() for p in generator.parameters()])

    def values(self):
        return json.loads((self.cell.directory / "scores.json").read_text())["values"]

    def records(self):
        return read_records(self.cell.directory / "journal.jsonl")

    def undone(self):
        """Take back the journal's `done`, as if killed just before."""
        journal = self.cell.directory / "journal.jsonl"
        lines = journal.read_bytes().splitlines(keepends=True)
        assert b'"done"' in lines[-1]
        journal.write_bytes(b"".join(lines[:-1]))


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    draw_streets(folder, (6, 2, 3), SIZE)
    (folder / "sets.yaml").write_text(DATASET)
    (folder / "mine.yaml").write_text(SUITE)
    return folder


@pytest.fixture(scope="module")
def whole(data, tmp_path_factory):
    """A cell that was never interrupted."""
    place = Place(data, tmp_path_factory.mktemp("whole"))
    place.run()
    return place


@pytest.fixture
def place(data, tmp_path):
    return Place(data, tmp_path)


def same(place, whole):
    assert torch.equal(place.weights(), whole.weights())
    assert place.translations() == whole.translations() and len(whole.translations()) == 3
    assert place.values() == whole.values()
    assert state(place.cell).word == "done"
    assert not list(place.cell.directory.glob("checkpoint*.pt")), "of a done cell nothing is left"
    steps = [r["step"] for r in replay(place.records()) if r["event"] == "losses"]
    assert steps == list(range(1, 9))


class Killed(BaseException):
    """What nothing catches."""


def test_killed_at_every_record_it_goes_on_to_the_same_bits(place, whole, data, tmp_path):
    """Each sitting gets one record further than the last, then dies."""
    sittings = 0
    for allowed in range(1, 100):
        left = iter(range(allowed))

        def emit(event, left=left):
            if event["event"] != "phase" and next(left, None) is None:
                raise Killed

        sittings += 1
        try:
            place.run(emit)
            break
        except Killed:
            continue
    assert sittings > 5
    same(place, whole)


def test_asked_to_stop_in_training_it_writes_a_checkpoint_and_goes_on(place, whole):
    stop = Stop()

    def emit(event):
        if event["event"] == "losses" and event["step"] == 3:
            stop._handle()

    with pytest.raises(Interrupted):
        run(place.cell, emit, stop)
    assert (place.cell.directory / "checkpoint-0000003.pt").exists()
    place.run()
    same(place, whole)


def test_the_time_between_two_sittings_is_no_ones(place):
    stop = Stop()
    with pytest.raises(Interrupted):
        run(place.cell, lambda event: event["event"] == "losses" and stop._handle(), stop)
    path = place.cell.directory / "journal.jsonl"
    night = [record | {"time": record["time"] - 9999.0} for record in place.records()]
    path.write_text("".join(json.dumps(record) + "\n" for record in night))
    place.run()
    assert place.records()[-1]["seconds"] < 9999.0


@pytest.mark.parametrize("phase", ["training the scorer", "translating", "scoring"])
def test_asked_to_stop_elsewhere_it_ends_at_once_and_goes_on(place, whole, phase):
    stop = Stop()

    def emit(event):
        if event.get("phase") == phase:
            stop._handle()

    with pytest.raises(KeyboardInterrupt):
        run(place.cell, emit, stop)
    place.run()
    same(place, whole)


@pytest.mark.parametrize("phase", ["training the scorer", "translating", "scoring"])
def test_a_stop_that_a_callback_swallowed_ends_the_job_too(place, whole, phase):
    """Python drops what is raised within a destructor or a callback of a C library."""
    stop = Stop()

    def emit(event):
        if event.get("phase") == phase:
            with contextlib.suppress(KeyboardInterrupt):
                stop._handle()

    with pytest.raises(KeyboardInterrupt):
        run(place.cell, emit, stop)
    assert not is_done(place.cell.directory)
    place.run()
    same(place, whole)


def test_asked_to_stop_while_another_decodes_it_ends_at_once(place, data):
    from pix2pix.common.locks import Ownership
    from pix2pix.data import cache as caching

    place = Place(data, place.reference.directory.parent)
    entry = load_registry(data / "sets.yaml")["streets"]
    source = caching.find_source(entry, data, (64, 64))
    folder = caching.folder(source, data / "cache")
    lock = Ownership(folder.with_name(f".{folder.name}.lock"))
    assert lock.take()
    larger = place.cell.config.model_copy(update={"size": (64, 64)})
    job = replace(place.cell, config=larger)
    stop = Stop()
    stop.listen()
    timer = threading.Timer(0.3, stop.ask)
    try:
        with pytest.raises(KeyboardInterrupt):
            timer.start()  # in here, where the signal is expected however late it is noticed
            run(job, lambda _: None, stop)
    finally:
        timer.join()
        import signal

        signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        lock.release()


def killed_before_its_scores(place):
    """The generator of a cell that is trained and translated, and no more."""

    def emit(event):
        if event["event"] == "scores":
            raise Killed

    with pytest.raises(Killed):
        place.run(emit)
    return place.cell.directory / "generator.pt"


def test_a_damaged_generator_goes_back_to_the_last_checkpoint(place, whole):
    generator = killed_before_its_scores(place)
    generator.write_bytes(generator.read_bytes()[:-300])
    told = []
    place.run(told.append)
    assert any(e["event"] == "set aside" and e["file"] == "generator.pt.damaged" for e in told)
    starts = [r["step"] for r in place.records() if r["event"] == "start"]
    assert starts == [0, 8], "not trained from the start"
    same(place, whole)


def test_a_generator_of_another_cell_is_not_taken_for_ours(place, whole):
    """As when run directories are restored by hand into each other's place."""
    generator = killed_before_its_scores(place)
    network, content = load_generator(generator)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.zero_()
    settings = GeneratorSettings(**content["settings"])
    rest = {key: content[key] for key in ("channels", "size")}
    save_generator(generator, network, settings, **rest, origin={"digest": "0123456789abcdef"})
    told = []
    place.run(told.append)
    assert any(e["event"] == "set aside" and e["file"] == "generator.pt.foreign" for e in told)
    assert [r["step"] for r in place.records() if r["event"] == "start"] == [0, 8]
    same(place, whole)


def test_a_damaged_generator_of_a_done_cell_is_trained_again(place, whole):
    place.run()
    place.undone()
    generator = place.cell.directory / "generator.pt"
    generator.write_bytes(b"PK" + generator.read_bytes()[2:-1])
    place.run()
    assert [r["step"] for r in place.records() if r["event"] == "start"] == [0, 0]
    same(place, whole)


def test_damaged_and_missing_translations_alone_are_drawn_again(place, whole):
    place.run()
    place.undone()
    Journal(place.cell.directory).append("failed", error="scoring", log="")
    (place.cell.directory / "scores.json").unlink()
    cut, gone, kept = sorted(place.cell.directory.glob("translations/*.png"))
    flipped = bytearray(cut.read_bytes())
    flipped[len(flipped) // 2] ^= 4
    cut.write_bytes(flipped)
    gone.unlink()
    before = kept.stat().st_mtime_ns
    place.run()
    assert kept.stat().st_mtime_ns == before
    same(place, whole)


@pytest.mark.parametrize("name", ["scores.json", "per_image.csv", "per_image.npz"])
def test_scores_that_were_altered_are_measured_again(place, whole, name):
    place.run()
    path = place.cell.directory / name
    right = path.read_bytes()
    assert state(place.cell).word == "done"
    path.write_bytes(right.replace(b"0", b"1", 1) if name != "per_image.npz" else right[:-9])
    assert state(place.cell).word == "to score"
    place.run()
    same(place, whole)
    if name != "per_image.npz":
        assert path.read_bytes() == right


def test_a_damaged_scorer_is_trained_again_to_the_same(place, whole):
    place.run()
    right = place.scorer.read_bytes()
    damaged = bytearray(right)
    damaged[-5] ^= 1
    place.scorer.write_bytes(damaged)
    (place.cell.directory / "scores.json").unlink()
    place.run()
    assert place.scorer.read_bytes() == right
    assert place.scorer.with_name(f"{place.scorer.name}.damaged").exists()
    (told,) = [r for r in place.records() if r["event"] == "set aside"]
    assert "altered" in told["error"]
    same(place, whole)


def test_a_reference_whose_scores_are_gone_is_measured_again(place):
    run(place.reference, lambda _: None, Stop())
    assert state(place.reference).word == "done"
    (place.reference.directory / "scores.json").write_text('{"values"')
    assert state(place.reference).word == "to score"
    run(place.reference, lambda _: None, Stop())
    assert state(place.reference).word == "done"


BOTH_WAYS = """title: Both ways?
base:
  method: cyclegan
  generator.architecture: resnet
  generator.blocks: 1
  discriminator.patch: 1
  objective.gan: unconditional
  objective.l1: 0
arms:
  CycleGAN: {}
scores: [pixel]
"""


@pytest.mark.parametrize("first", ["labels->photo", "photo->labels"])
def test_one_training_serves_both_directions_whichever_comes_first(data, tmp_path, first):
    text = f"direction: {first}\n{BOTH_WAYS}"
    other = "->".join(first.split("->")[::-1])
    (data / "there.yaml").write_text(text)
    (data / "back.yaml").write_text(text.replace(first, other))
    there, back = (Place(data, tmp_path, f"{name}.yaml") for name in ("there", "back"))
    alone = Place(data, tmp_path / "alone", "back.yaml")
    for place in (there, back, alone):
        place.run()
        assert state(place.cell).word == "done" and len(place.translations()) == 3
    assert [bool([r for r in p.records() if r["event"] == "trained"]) for p in (there, back)] == [
        True,
        False,
    ]
    assert not torch.equal(there.weights(), back.weights())
    _, content = load_generator(there.cell.directory / "generator_back.pt")
    assert content["origin"]["direction"] == other, "what translate is told"
    assert torch.equal(alone.weights(), back.weights())
    assert alone.translations() == back.translations() and alone.values() == back.values()


def test_cells_that_differ_in_the_test_alone_share_a_training(data, tmp_path):
    (data / "still.yaml").write_text(
        SUITE.replace("patch: 1}", "patch: 1, translation.dropout: false}")
    )
    drawn, still = Place(data, tmp_path), Place(data, tmp_path, "still.yaml")
    alone = Place(data, tmp_path / "alone", "still.yaml")
    for place in (drawn, still, alone):
        place.run()
        assert state(place.cell).word == "done"
    assert [r for r in drawn.records() if r["event"] == "trained"]
    assert not [r for r in still.records() if r["event"] == "trained"]
    assert torch.equal(drawn.weights(), still.weights())
    assert drawn.translations() != still.translations() == alone.translations()


def test_unpaired_images_are_trained_translated_and_scored_by_their_colours(tmp_path):
    """Three inputs and two targets for training; two inputs and one target for the test."""
    draw = np.random.default_rng(0)
    for name in ("trainA/a", "trainA/b", "trainA/c", "trainB/x", "trainB/y"):
        _picture(tmp_path / f"{name}.png", draw)
    for name in ("testA/d", "testA/e", "testB/z"):
        _picture(tmp_path / f"{name}.png", draw)
    (tmp_path / "mine.yaml").write_text(BOTH_WAYS)
    overrides = {"size": SIZE, "training.epochs": 2, "generator.width": 4}
    plan = make_plan(
        load_suite(str(tmp_path / "mine.yaml")),
        load_registry()["unpaired"],
        "smoke",
        overrides=overrides,
    )
    cache, out = tmp_path / "cache", tmp_path / "out"
    data = prepare(plan.entry, tmp_path, plan.size, plan.direction, cache)
    assert (len(data.train), len(data.train.inputs), len(data.train.targets)) == (3, 3, 2)
    source = DataSource("unpaired", None, str(tmp_path), str(cache))
    _, cell = build_jobs(plan, data.fingerprint, source, out)
    run(cell, lambda _: None, Stop())
    assert [path.name for path in cell.directory.glob("translations/*")] == ["d.png"]
    trained = last(read_records(cell.directory / "journal.jsonl"), "trained")
    assert trained is not None and trained["step"] == 6
    scores = json.loads((cell.directory / "scores.json").read_text())
    assert {name.partition(".")[0] for name in scores["values"]} == {"color"}
    why = "the images of unpaired do not belong together"
    assert scores["not_measured"]["pixel.l1"] == scores["not_measured"]["lpips"] == why
    back = make_plan(plan.suite, plan.entry, "smoke", overrides=overrides, direction="B->A")
    _, cell = build_jobs(back, data.fingerprint, source, out)
    run(cell, lambda _: None, Stop())
    assert [path.name for path in cell.directory.glob("translations/*")] == ["z.png"]


def test_a_derived_input_is_what_cyclegan_translates_forwards(tmp_path):
    draw = np.random.default_rng(0)
    for name in ("A/a", "A/b", "A/c", "A/d", "B/w", "B/x", "B/y", "B/z"):
        _picture(tmp_path / f"{name}.png", draw)
    (tmp_path / "mine.yaml").write_text(BOTH_WAYS + "direction: grey->B\n")
    overrides = {"size": SIZE, "training.steps": 1, "generator.width": 4}
    suite, entry = load_suite(str(tmp_path / "mine.yaml")), load_registry()["unpaired"]
    plan = make_plan(suite, entry, "smoke", overrides=overrides)
    cache = tmp_path / "cache"
    data = prepare(entry, tmp_path, plan.size, plan.direction, cache)
    source = DataSource("unpaired", None, str(tmp_path), str(cache))
    _, cell = build_jobs(plan, data.fingerprint, source, tmp_path / "out")
    train_cell(Session(cell, lambda _: None, Stop()), cell.config)
    (sample,) = cell.directory.glob("samples/step-0000000.png")
    first = np.asarray(Image.open(sample))[:SIZE, :SIZE]  # x, then G(x), y, F(y)
    assert (first == data.val.inputs[0]).all() and (first[..., 0] == first[..., 1]).all()


def _picture(path, draw):
    path.parent.mkdir(exist_ok=True)
    Image.fromarray(draw.integers(0, 256, (SIZE + 3, SIZE, 3), np.uint8)).save(path)
