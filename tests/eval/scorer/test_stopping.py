import pytest

from eval.scorer.stopping import RISE, Stopping


def test_without_a_flat_stretch_the_last_30_percent_cool_down():
    stopping = Stopping(100, patience=2)
    for done in range(10, 101, 10):
        assert stopping.told(done, done / 100)
    assert (stopping.end, stopping.cooling_from, stopping.best_at) == (100, 70, 100)
    assert stopping.factor(0) == stopping.factor(70) == 1
    assert stopping.factor(71) == pytest.approx(29 / 30)
    assert stopping.factor(99) == pytest.approx(1 / 30)


def test_patience_without_a_rise_starts_the_cool_down_and_brings_the_end_nearer():
    stopping = Stopping(1000, patience=2)
    told = [stopping.told(done, score) for done, score in [(10, 0.5), (20, 0.4), (28, 0.5)]]
    assert told == [True, False, False]
    assert (stopping.cooling_from, stopping.end) == (28, 40)  # 28 is 70 % of 40
    assert [stopping.factor(done) for done in (28, 34, 39)] == [1, 0.5, pytest.approx(1 / 12)]


def test_a_creeping_score_is_flat_but_its_weights_are_kept():
    stopping = Stopping(1000, patience=3)
    creep = [0.5 + i * RISE / 4 for i in range(4)]
    assert all(stopping.told(10 * (i + 1), score) for i, score in enumerate(creep))
    assert (stopping.best_at, stopping.cooling_from) == (40, 40)


def test_a_rise_starts_the_patience_anew():
    stopping = Stopping(1000, patience=2)
    for done, score in [(10, 0.5), (20, 0.5), (30, 0.6), (40, 0.6)]:
        stopping.told(done, score)
    assert stopping.end == 1000


def test_a_flat_stretch_in_the_cool_down_changes_nothing():
    stopping = Stopping(100, patience=1)
    stopping.told(60, 0.5)
    assert not stopping.told(80, 0.5)
    assert not stopping.told(90, 0.4)
    assert (stopping.end, stopping.cooling_from) == (100, 70)


@pytest.mark.parametrize("batches", [1, 2, 3, 20])
def test_the_shortest_trainings_have_a_learning_rate_above_0_at_every_batch(batches):
    stopping = Stopping(batches, patience=1)
    assert all(0 < stopping.factor(done) <= 1 for done in range(batches))


def test_a_score_that_is_no_number_is_never_the_best():
    assert not Stopping(10, 1).told(1, float("nan"))
