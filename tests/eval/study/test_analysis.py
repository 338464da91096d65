import numpy as np
import pytest

from eval.statistics import holm, t_interval
from eval.study.analysis import RULES, analyse, compare, exclude
from eval.study.answers import Answer, Answers, Sent
from eval.study.design import Study
from eval.study.published import PUBLISHED, SPREAD, published_for
from eval.study.results import as_json, table, text
from eval.study.simulate import own_rates, plan, simulate

PAPER = {"L1": 0.008, "L1+cGAN": 0.189}
"""Table 4, map→photo."""


def study(arms=tuple(PAPER), **changes):
    fields = {"title": "t", "consent": "c", "size": (8, 8), "seed": 1}
    return Study(arms=arms, names=tuple(map(str, range(60))), **fields | changes)


def answered(folder, sessions, sent=(), **changes):
    """A study of one arm; `sessions` is one list of (fooled, shown_ms) per participant; `sent`:
    the (participant, trial) of each pair that was sent."""
    one = study(("A",), practice=1, trials=4, **changes)
    answers = Answers(folder, one)
    for session in sessions:
        person = answers.begin()
        trials = one.trials_of(person.number)
        for number, (fooled, shown) in enumerate([(False, 1000.0), *session]):
            choice = "A" if trials[number].real_is_a == fooled else "B"
            answers.record([Answer(person.number, number, choice, shown, 1.0)])
    answers.record([Sent(*pair) for pair in sent])
    return one, answers.table()


def session(*fooled, shown=1000.0):
    return [(bool(f), shown) for f in fooled]


@pytest.fixture(scope="module")
def papers(tmp_path_factory):
    folder = tmp_path_factory.mktemp("papers")
    simulate(folder, study(), PAPER, 50, SPREAD)
    answers = Answers(folder, study())
    found = answers.table()
    answers.close()
    return study(), found


def test_the_papers_rates_give_intervals_of_the_papers_width_and_its_verdict(papers):
    """Bar 1: ±2.5 at 18.9 % with 50 participants per arm."""
    widths, decided = plan(PAPER, 50, 40, SPREAD, 200, seed=0)
    assert widths["L1+cGAN"] == pytest.approx(2.5, abs=0.1)
    assert decided == {("L1+cGAN", "L1"): 1.0}
    results = analyse(*papers)
    first = results.arms[1]
    assert (len(first.rates), first.trials) == (50, 2000)
    assert abs(first.interval.mean - 18.9) < 2 * 2.5
    assert first.interval.half_width == pytest.approx(2.5, abs=0.6)
    low, high = first.over_participants
    assert (high - low) / 2 == pytest.approx(first.interval.half_width, rel=0.15)
    (one,) = results.comparisons
    assert one.verdict == "L1+cGAN fools more often"
    assert (one.word, one.source, one.advice) == ("reproduced", "Table 4", "")


def test_the_text_and_json_have_the_papers_numbers_beside_ours(papers):
    results = analyse(*papers)
    printed = text(papers[0], results)
    assert "18.9 ± 2.5 %" in printed and "L1+cGAN fools more often" in printed
    assert all(rule in printed for rule in RULES)
    assert table(papers[0], results)[0][-1] == "paper: map→photo (Table 4)"
    recorded = as_json(papers[0], results)
    assert recorded["arms"]["L1+cGAN"]["participants"] == 50
    assert recorded["comparisons"][0]["verdict"] == "L1+cGAN fools more often"


def test_rates_by_hand(tmp_path):
    one, found = answered(tmp_path, [session(1, 0, 0, 0), session(1, 1, 0, 0), session(0, 1, 1, 1)])
    (arm,) = analyse(one, found).arms
    assert arm.rates == (25.0, 50.0, 75.0)
    assert arm.interval == t_interval([25.0, 50.0, 75.0])
    assert arm.trials == 12  # the practice does not count
    low, high = arm.over_participants
    assert 24.9 < low < 40 and 60 < high < 75.1


def test_every_rule_leaves_out_what_it_says(tmp_path):
    one = study(("A",), practice=1, trials=4)
    good = session(1, 0, 1, 0)
    slow = [(True, 1000.0), (False, None), (False, 1051.0), (True, 1000.0)]
    late = [(True, 1000.0), (False, 1051.0), (False, 1000.0), (True, 1000.0)]
    same = [(trial.real_is_a, 1000.0) for trial in one.trials_of(5)[1:]]  # A in every trial
    one, found = answered(tmp_path, [good, good[:2], slow, late, same, []])
    kept, excluded = exclude(one, found)
    assert [count for _, count in excluded] == [2, 1, 1, 1]
    assert sorted(kept.participant.unique()) == [1, 4]
    assert len(kept) == 4 + 3


def test_a_pair_that_was_sent_again_counts_as_failed(tmp_path):
    good = session(1, 0, 1, 0)
    sent = [(1, n) for n in range(5)] + [(2, 3), (2, 3)] + [(3, n) for n in (1, 1, 2, 2)]
    one, found = answered(tmp_path, [good, good, good], sent)
    assert found.groupby("participant").sent.max().tolist() == [1, 2, 2]
    kept, excluded = exclude(one, found)
    assert [count for _, count in excluded] == [0, 1, 0, 1]  # the third saw half of them again
    assert kept.groupby("participant").trial.agg(list).to_dict() == {1: [1, 2, 3, 4], 2: [1, 2, 4]}


def test_every_pair_is_tested_with_holm_and_an_open_one_says_how_many_would_decide():
    some = np.array([10.0, 20, 30, 40, 50, 60])
    rates = {"L1": [0.0, 2, 5, 3, 0, 1], "L1+cGAN": some.tolist(), "mine": (some + 6).tolist()}
    found = {(one.first, one.second): one for one in compare(rates)}
    assert set(found) == {("L1+cGAN", "L1"), ("mine", "L1"), ("mine", "L1+cGAN")}
    p = [one.difference.p for one in found.values()]
    assert [one.p_holm for one in found.values()] == holm(p)
    close = found["mine", "L1+cGAN"]
    assert close.verdict == "undecided" and close.word == "" and not close.source
    assert close.needed > 6 and str(close.needed) in close.advice


def test_the_advised_number_of_participants_decides_four_studies_of_five():
    rates = {"L1": 0.10, "L1+cGAN": 0.16}
    drawn = {
        a: 100 * own_rates(r, 4000, SPREAD, np.random.default_rng(1)) for a, r in rates.items()
    }
    binomial = np.random.default_rng(2).binomial
    seen = {a: (100 * binomial(40, values / 100) / 40).tolist() for a, values in drawn.items()}
    spread = np.mean([np.var(values) for values in seen.values()]) ** 0.5
    few = [float(x) for x in np.linspace(-1.4, 1.4, 8) * spread]
    (one,) = compare({a: [100 * r + x for x in few] for a, r in rates.items()})
    assert one.needed is not None
    _, decided = plan(rates, one.needed, 40, SPREAD, 300, seed=3)
    assert decided["L1+cGAN", "L1"] > 0.72


def test_the_opposite_order_contradicts_the_paper():
    (one,) = compare({"L1": [50.0, 60, 55, 52, 58], "L1+cGAN": [10.0, 12, 9, 14, 11]})
    assert (one.verdict, one.word) == ("L1 fools more often", "contradicted")


def test_nobody_and_a_single_participant_are_no_error(tmp_path):
    one, found = answered(tmp_path, [session(1, 0, 1, 0)])
    assert "undecided" not in text(one, analyse(one, found))
    (arm,) = analyse(one, found).arms
    assert arm.interval.half_width is None and arm.over_participants is None
    (arm,) = analyse(one, found[:0]).arms
    assert arm.interval is None


def test_people_differ_as_much_as_the_spread_says():
    rates = own_rates(0.189, 200_000, SPREAD, np.random.default_rng(0))
    assert rates.mean() == pytest.approx(0.189, abs=0.001)
    assert rates.var() == pytest.approx(SPREAD * 0.189 * 0.811, rel=0.02)
    assert set(own_rates(0.3, 5, 0.0, np.random.default_rng(0))) == {0.3}


def test_published_numbers_are_those_of_the_task():
    assert set(published_for(("L1", "L1+cGAN"))) == {"photo→map (Table 4)", "map→photo (Table 4)"}
    assert "colorization (Table 5)" in published_for(("L2", "L1", "L1+cGAN"))
    assert published_for(("hinge",)) == {}


def test_published_numbers_are_those_of_the_paper():
    assert PUBLISHED["photo→map (Table 4)"] == {"L1": (2.8, 1.0), "L1+cGAN": (6.1, 1.3)}
    assert PUBLISHED["map→photo (Table 4)"] == {"L1": (0.8, 0.3), "L1+cGAN": (18.9, 2.5)}
    percents = [rate for rate, _ in PUBLISHED["colorization (Table 5)"].values()]
    assert percents == [16.3, 27.8, 22.5]


def test_one_participant_per_arm_says_nothing_of_how_many_are_needed():
    (one,) = compare({"A": [50.0], "B": [42.5]})
    assert one.advice == "two participants per arm are the least that says anything"
