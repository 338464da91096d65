import dataclasses
import itertools

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from eval.fcn_score import confusion_matrix, scores
from eval.scorer.file import check_scorer, load_scorer, save_scorer
from eval.scorer.train import (
    RISE,
    ScorerSettings,
    Stopping,
    augmented,
    endless_order,
    hold_out,
    jittered,
    segment,
    split_held,
    train_scorer,
)
from pix2pix.common.errors import UserError

QUICK = ScorerSettings(width=4, batches=100, batch=4, learning_rate=5e-3)
BRIEF = dataclasses.replace(QUICK, batches=12)


def two_classes(count: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Bright rectangles on a dark ground; a corner of every label map is ignored."""
    generator = np.random.default_rng(seed)
    labels = np.zeros((count, 48, 48), np.uint8)
    for index in range(count):
        top, left = generator.integers(4, 20, 2)
        labels[index, top : top + 24, left : left + 20] = 1
    photos = np.where(labels[..., None] == 1, 190, 60) + generator.integers(
        -20, 20, (count, 48, 48, 3)
    )
    labels[:, :2, :2] = 255
    return photos.astype(np.uint8), labels


@pytest.fixture(scope="module")
def trained():
    return train_scorer(*two_classes(12), 2, QUICK)


def weights(model) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in model.state_dict().items()}


def equal(first, second) -> bool:
    return (
        all(torch.equal(first[name], second[name]) for name in first)
        and first.keys() == second.keys()
    )


def test_learns_a_problem_of_two_classes(trained):
    photos, labels = two_classes(10, seed=1)
    got = scores(confusion_matrix(segment(trained, photos), labels, 2))
    assert got["pixel_accuracy"] > 0.97 and got["class_iou"] > 0.9


def test_an_images_classes_do_not_depend_on_the_others(trained):
    photos, _ = two_classes(5, seed=2)
    together = segment(trained, photos)
    alone = np.concatenate([segment(trained, photos[i : i + 1]) for i in range(5)])
    # Sums in another order may flip a pixel on the boundary, other statistics would flip many.
    assert (together != alone).mean() < 1e-3
    assert together.dtype == np.uint8 and together.shape == photos.shape[:3]


def test_training_again_gives_the_same_weights_and_leaves_the_random_state_alone():
    first = train_scorer(*two_classes(12), 2, BRIEF)
    torch.manual_seed(987)
    before = torch.get_rng_state()
    again = train_scorer(*two_classes(12), 2, BRIEF)
    assert torch.equal(before, torch.get_rng_state())
    assert equal(weights(first), weights(again))


def test_the_seed_matters():
    short = dataclasses.replace(QUICK, batches=2)
    first = train_scorer(*two_classes(6), 2, short)
    second = train_scorer(*two_classes(6), 2, dataclasses.replace(short, seed=1))
    assert not equal(weights(first), weights(second))


HELD = np.arange(9, 12)
SATURATING = dataclasses.replace(QUICK, batches=200, validate_every=5, patience=2)


@pytest.fixture(scope="module")
def stopped():
    """A training with nothing more to learn long before its last batch; what it reported."""
    losses, validations = [], []
    model = train_scorer(
        *two_classes(12),
        2,
        SATURATING,
        lambda *batch: losses.append(batch),
        held_out=HELD,
        validated=lambda *validation: validations.append(validation),
    )
    return model, losses, validations


def test_it_stops_when_the_score_of_the_photos_held_out_stops_rising(stopped):
    _, losses, validations = stopped
    batches = losses[-1][0]
    assert batches < SATURATING.batches
    assert [done for done, _ in validations] == [*range(5, batches, 5), batches]
    rates = [rate for _, _, rate in losses]
    falling = [rate for rate in rates if rate < SATURATING.learning_rate]
    assert len(falling) == pytest.approx(0.3 * batches, abs=1.5)
    assert rates == sorted(rates, reverse=True) and rates[-1] > 0


def test_the_weights_of_the_best_validation_are_kept(stopped):
    model, _, validations = stopped
    photos, labels = two_classes(12)
    got = scores(confusion_matrix(segment(model, photos[HELD]), labels[HELD], 2))
    assert got["class_iou"] == max(values["class_iou"] for _, values in validations)


def test_an_early_stop_is_repeatable_bit_for_bit(stopped):
    again = train_scorer(*two_classes(12), 2, SATURATING, held_out=HELD)
    assert equal(weights(stopped[0]), weights(again))


def test_photos_held_out_are_never_trained_on():
    photos, labels = two_classes(12)
    spoilt = photos.copy()
    spoilt[HELD] = 255 - spoilt[HELD]
    brief = dataclasses.replace(BRIEF, validate_every=BRIEF.batches)  # one validation, at the end
    first = train_scorer(photos, labels, 2, brief, held_out=HELD)
    second = train_scorer(spoilt, labels, 2, brief, held_out=HELD)
    assert equal(weights(first), weights(second))
    assert not equal(weights(first), weights(train_scorer(spoilt, labels, 2, brief)))


def test_progress_is_reported_for_every_batch():
    records = []
    train_scorer(
        *two_classes(6),
        2,
        dataclasses.replace(QUICK, batches=3),
        lambda *record: records.append(record),
    )
    assert [batch for batch, _, _ in records] == [1, 2, 3]
    assert records[0][1] == pytest.approx(np.log(2), abs=1e-5)


def test_a_batch_without_labels_makes_no_weight_nan():
    photos, labels = two_classes(8)
    labels[:7] = 255
    model = train_scorer(photos, labels, 2, ScorerSettings(width=2, batches=4, batch=2))
    assert all(torch.isfinite(value).all() for value in model.state_dict().values())


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda p, t: (p, np.full_like(t, 255)), "no pixel is labelled"),
    ],
)
def test_training_refuses_what_does_not_fit(spoil, message):
    with pytest.raises(UserError, match=message):
        train_scorer(*spoil(*two_classes(3)), 2, QUICK)


SOURCE = {"dataset": "toys", "fingerprint": "ab12" * 16, "size": [48, 48]}


@pytest.fixture
def saved(trained, tmp_path):
    path = tmp_path / "scorers" / "toy.safetensors"
    save_scorer(path, trained, QUICK, ["ground", "box"], SOURCE)
    return path


def test_saved_and_loaded_it_is_the_same(trained, saved):
    loaded, metadata = load_scorer(saved)
    assert equal(weights(trained), weights(loaded))
    assert not loaded.training
    assert metadata["class_names"] == ["ground", "box"]
    assert metadata["settings"] == dataclasses.asdict(QUICK)
    assert metadata["source"] == SOURCE
    photos, _ = two_classes(3, seed=4)
    assert (segment(trained, photos) == segment(loaded, photos)).all()
    assert [p.name for p in saved.parent.iterdir()] == [saved.name]


@pytest.mark.parametrize("share", [0.0, 0.001, 0.5, 0.999])
def test_a_truncated_file_is_refused(saved, share):
    content = saved.read_bytes()
    saved.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(UserError, match=saved.name):
        load_scorer(saved)


def test_an_altered_file_is_refused(saved):
    content = bytearray(saved.read_bytes())
    content[-3] ^= 0x40
    saved.write_bytes(content)
    with pytest.raises(UserError, match="altered"):
        load_scorer(saved)


def test_other_files_are_refused(saved, tmp_path):
    with pytest.raises(UserError, match="no such file"):
        load_scorer(tmp_path / "absent.safetensors")
    save_file({"weight": torch.ones(2)}, tmp_path / "plain.safetensors")
    with pytest.raises(UserError, match="not a scorer of this format"):
        load_scorer(tmp_path / "plain.safetensors")
    torch.save({"weight": torch.ones(2)}, tmp_path / "pickled.pt")
    with pytest.raises(UserError, match="not a scorer, or damaged"):
        load_scorer(tmp_path / "pickled.pt")


def test_weights_that_do_not_fit_their_record_are_refused(saved):
    with safe_open(saved, framework="pt") as file:
        metadata = file.metadata()
    state = load_file(saved)
    del state["fc6.0.weight"]
    save_file(state, saved, metadata)
    with pytest.raises(UserError, match="altered: its weights do not fit its record"):
        load_scorer(saved)


def test_a_scorer_for_other_photos_or_classes_is_refused(saved):
    _, metadata = load_scorer(saved)
    check_scorer(saved, metadata, ["ground", "box"], SOURCE)
    check_scorer(saved, metadata)
    check_scorer(saved, metadata, source={"dataset": "toys"})
    for change, reason in [
        ({"dataset": "camvid"}, "dataset toys, not camvid"),
        ({"size": [256, 128]}, "size [48, 48], not [256, 128]"),
        ({"fingerprint": "0" * 64}, f"fingerprint {'ab12' * 16}, not {'0' * 64}"),
    ]:
        with pytest.raises(UserError) as refusal:
            check_scorer(saved, metadata, source=SOURCE | change)
        assert str(refusal.value).startswith(f"{saved}: this scorer was trained with the ")
        assert str(refusal.value).endswith(reason) and "\n" not in str(refusal.value)
    with pytest.raises(UserError, match=r"other classes: its class 1 is box, not sky"):
        check_scorer(saved, metadata, ["ground", "sky"])
    with pytest.raises(UserError, match=r"its class 2 is missing, not sky"):
        check_scorer(saved, metadata, ["ground", "box", "sky"])


def test_a_source_that_names_no_data_set_is_not_compared(saved):
    _, metadata = load_scorer(saved)
    source = {"caffemodel_sha256": "f", "file": "x"}
    check_scorer(saved, metadata | {"source": source}, ["ground", "box"], SOURCE)


def labels_of(count: int, unlabelled: tuple[int, ...] = ()) -> np.ndarray:
    labels = np.zeros((count, 2, 2), np.uint8)
    labels[list(unlabelled)] = 255
    return labels


@pytest.mark.parametrize(
    ("photos", "held"), [(3, []), (9, []), (10, [5]), (20, [5, 15]), (40, [5, 15, 25, 35])]
)
def test_every_tenth_photo_is_held_out(photos, held):
    assert hold_out(labels_of(photos)).tolist() == held


def test_of_many_photos_64_are_held_out_evenly_spaced():
    held = hold_out(labels_of(6400))
    assert len(held) == 64 and set(np.diff(held)) == {100}


def test_photos_without_a_label_are_not_held_out():
    assert hold_out(labels_of(13, unlabelled=(5, 6, 7))).tolist() == [8]
    assert hold_out(labels_of(12, unlabelled=(5, 6, 7))).tolist() == []


def test_held_out_photos_must_leave_labels_on_both_sides():
    split_held(labels_of(4), np.array([3]))
    with pytest.raises(UserError, match="photos held out have no labelled pixel"):
        split_held(labels_of(4, unlabelled=(3,)), np.array([3]))
    with pytest.raises(UserError, match="no pixel is labelled"):
        split_held(labels_of(4, unlabelled=(0, 1, 2)), np.array([3]))


def test_photo_and_labels_are_mirrored_together():
    photos = np.arange(64 * 4, dtype=np.uint8).reshape(64, 1, 4, 1).repeat(3, 3)
    images, truth = augmented(photos, photos[..., 0], torch.Generator().manual_seed(0))
    assert torch.equal(((images[:, 0] + 1) * 127.5).round().long(), truth)
    mirrored = (truth[:, 0, 0] > truth[:, 0, 3]).sum()
    assert 20 < mirrored < 44


def test_every_photo_comes_once_before_any_comes_again():
    order = endless_order(5, torch.Generator().manual_seed(0))
    first, second = (list(itertools.islice(order, 5)) for _ in range(2))
    assert sorted(first) == sorted(second) == [0, 1, 2, 3, 4] and first != second


def test_without_a_flat_stretch_the_last_30_percent_cool_down():
    stopping = Stopping(100, patience=2)
    for done in range(10, 101, 10):
        assert stopping.add(done, done / 100)
    assert (stopping.end, stopping.cooling_from, stopping.best_at) == (100, 70, 100)
    assert stopping.factor(0) == stopping.factor(70) == 1
    assert stopping.factor(71) == pytest.approx(29 / 30)
    assert stopping.factor(99) == pytest.approx(1 / 30)


def test_patience_without_a_rise_starts_the_cool_down_and_shortens_the_training():
    stopping = Stopping(1000, patience=2)
    best = [stopping.add(done, score) for done, score in [(10, 0.5), (20, 0.4), (28, 0.5)]]
    assert best == [True, False, False]
    assert (stopping.cooling_from, stopping.end) == (28, 40)  # 28 is 70 % of 40
    assert [stopping.factor(done) for done in (28, 34, 39)] == [1, 0.5, pytest.approx(1 / 12)]


def test_a_creeping_score_is_flat_but_its_weights_are_kept():
    stopping = Stopping(1000, patience=3)
    creep = [0.5 + i * RISE / 4 for i in range(4)]
    assert all(stopping.add(10 * (i + 1), score) for i, score in enumerate(creep))
    assert (stopping.best_at, stopping.cooling_from) == (40, 40)


def test_a_rise_resets_the_patience():
    stopping = Stopping(1000, patience=2)
    for done, score in [(10, 0.5), (20, 0.5), (30, 0.6), (40, 0.6)]:
        stopping.add(done, score)
    assert stopping.end == 1000


def test_a_flat_stretch_in_the_cool_down_changes_nothing():
    stopping = Stopping(100, patience=1)
    stopping.add(60, 0.5)
    assert not stopping.add(80, 0.5)
    assert not stopping.add(90, 0.4)
    assert (stopping.end, stopping.cooling_from) == (100, 70)


@pytest.mark.parametrize("batches", [1, 2, 3, 20])
def test_in_the_shortest_trainings_every_batch_has_a_learning_rate_above_0(batches):
    stopping = Stopping(batches, patience=1)
    assert all(0 < stopping.factor(done) <= 1 for done in range(batches))


def test_nan_is_never_the_best_score():
    assert not Stopping(10, 1).add(1, float("nan"))


def test_photometric_changes_are_drawn_per_photo_within_their_bounds():
    grey = np.full((40, 8, 8, 3), 100, np.uint8)
    state = torch.Generator().manual_seed(0)
    assert jittered(grey, 0.0, state) is grey
    changed = jittered(grey, 0.2, state)
    assert changed.dtype == np.uint8
    levels = changed.reshape(40, -1)
    assert (levels == levels[:, :1]).all(), "one factor for a photo"
    assert 79 <= levels.min() < 90 and 110 < levels.max() <= 120  # both factors round
    halves = grey.copy()
    halves[:, 4:] = 50
    contrast = np.ptp(jittered(halves, 0.2, state).reshape(40, -1).astype(float), axis=1)
    assert 50 * 0.8 * 0.8 - 2 <= contrast.min() < 45 and 55 < contrast.max() <= 50 * 1.2 * 1.2 + 2
    assert (grey == 100).all(), "the photos themselves are left alone"


def test_the_photometric_scorer_is_another_and_repeatable():
    data = two_classes(12)
    jitter = dataclasses.replace(BRIEF, photometric=0.2)
    first, again = (weights(train_scorer(*data, 2, jitter)) for _ in range(2))
    assert equal(first, again)
    assert not equal(first, weights(train_scorer(*data, 2, BRIEF)))
