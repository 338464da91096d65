import json
import sqlite3

import pytest

from eval.study import answers as answers_module
from eval.study.answers import DATABASE, Answer, Answers
from eval.study.design import Study, timing_failed
from pix2pix.common.errors import UserError


def study(images=100, **changes):
    fields = {"title": "t", "consent": "c", "arms": ("L1", "cGAN"), "size": (8, 8), "seed": 5}
    return Study(names=tuple(map(str, range(images))), **fields | changes)


def test_the_default_is_the_papers_protocol():
    assert (study().practice, study().trials, study().same_input) == (10, 40, False)


@pytest.mark.parametrize("images", [50, 51, 100, 500])
def test_a_session_shows_no_image_twice_and_no_pair_of_one_input(images):
    for number in range(20):
        trials = study(images).trials_of(number)
        reals, fakes = ({t.real for t in trials}, {t.fake for t in trials})
        assert len(trials) == len(reals) == len(fakes) == 50
        assert all(trial.real != trial.fake for trial in trials)
        if images >= 100:  # then nobody sees both versions of an input
            assert not reals & fakes


def test_colorization_pairs_share_their_input():
    trials = study(same_input=True).trials_of(3)
    assert all(trial.real == trial.fake for trial in trials)


def test_order_and_sides_come_from_the_seed_and_differ_between_participants():
    assert study().trials_of(1) == study().trials_of(1)
    assert study().trials_of(1) != study().trials_of(2)
    assert study().trials_of(1) != study(seed=6).trials_of(1)
    sides = [trial.real_is_a for n in range(200) for trial in study().trials_of(n)]
    assert abs(sum(sides) / len(sides) - 0.5) < 0.02


@pytest.mark.parametrize(
    ("shown", "failed"), [(1000, False), (951, False), (949, True), (1051, True), (None, True)]
)
def test_timing_fails_beyond_50_ms(shown, failed):
    assert timing_failed(shown) is failed


def test_arms_stay_balanced_whoever_gives_up(tmp_path, monkeypatch):
    answers = Answers(tmp_path, study(arms=("a", "b", "c"), practice=0, trials=1))
    people = [answers.begin() for _ in range(30)]
    assert [sum(p.arm == arm for p in people) for arm in range(3)] == [10, 10, 10]
    for person in people:
        if person.arm != 1:  # everybody of the arm b goes away
            answers.record([Answer(person.number, 0, "A", 1000.0, 1.0)])
    monkeypatch.setattr(answers_module, "ACTIVE_SECONDS", -1.0)  # an hour later
    assert [answers.begin().arm for _ in range(3)] == [1, 1, 1]


def test_an_answer_is_on_the_disk_when_it_is_acknowledged(tmp_path):
    answers = Answers(tmp_path, study())
    person = answers.begin()
    assert answers.record([Answer(person.number, 0, "B", None, 3.5)])[0].accepted
    other = sqlite3.connect(tmp_path / DATABASE)  # while the server's connection is open
    assert other.execute("SELECT choice, shown_ms FROM answers").fetchall() == [("B", None)]
    (mode,) = answers._database.execute("PRAGMA synchronous").fetchone()
    assert mode == 2  # FULL


def test_a_batch_is_written_whole_or_not_at_all(tmp_path):
    answers = Answers(tmp_path, study())
    person = answers.begin()
    with pytest.raises(TypeError):  # nobody has the number 99
        answers.record([Answer(person.number, 0, "A", 1.0, 1.0), Answer(99, 0, "A", 1.0, 1.0)])
    assert answers.table().empty
    assert answers.participant(person.id).answered == 0


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "holds no study"),
        ("{", "not JSON"),
        ("[]", "study.json"),
        (json.dumps({"title": "t"}), "consent"),
    ],
)
def test_a_folder_without_a_whole_study_is_refused(tmp_path, content, message):
    if content is not None:
        (tmp_path / "study.json").write_text(content)
    with pytest.raises(UserError, match=message):
        Study.read(tmp_path)
