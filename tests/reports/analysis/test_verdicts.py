"""Known cases by hand: which word, what it rests on, and what would decide."""

from __future__ import annotations

import numpy as np
import pytest
from suites import PIXEL, arms, claiming, run, suite

from eval.statistics import difference
from experiments.tracking.reader import GROUND_TRUTH, SuiteRuns
from reports.analysis import Analysis
from reports.analysis.comparisons import not_judged, parse_claim
from reports.analysis.verdicts import Verdict, judge
from reports.pages.verdict_text import markdown, notes, one_seed, remarks, verdict_frame
from reports.write import latex_verdicts

CLAIM = f"a > b on {PIXEL}"


OTHER_ORDER = [{"name": "a", "changes": {}}, {"name": "b", "changes": {"training.batch": 10}}]


def only(runs: SuiteRuns, claim: str = CLAIM) -> Verdict:
    (verdict,) = Analysis(claiming(runs, claim)).verdicts
    return verdict


FIVE = {"a": [0.81, 0.82, 0.80, 0.84, 0.83], "b": [0.76, 0.78, 0.74, 0.80, 0.77]}
"""Differences 0.05, 0.04, 0.06, 0.04, 0.06: mean 0.05, s = 0.01, t = 0.05 / (0.01 / √5) = 11.18."""


def test_five_pairs_by_hand() -> None:
    verdict = only(suite(*arms(FIVE)))
    assert (verdict.word, verdict.test, verdict.n, verdict.paired) == (
        "reproduced", "paired t", 5, True,
    )  # fmt: skip
    assert verdict.effect == pytest.approx(0.05)
    # t(4) at 0.975 is 2.776445: 0.05 ± 2.776445 × 0.01 / √5
    assert verdict.interval == pytest.approx((0.05 - 0.0124166, 0.05 + 0.0124166), abs=1e-6)
    assert verdict.p == verdict.p_holm == pytest.approx(0.000365, abs=5e-6)
    # d_z = 5, times the correction √(2/4) · Γ(2) / Γ(1.5) = 0.797885
    assert verdict.standardised == pytest.approx(5 * 0.797885, rel=1e-5)
    assert verdict.measure == "g_z"
    assert verdict.exact_p == verdict.smallest_p == 2 / 2**5
    assert verdict.correlation == pytest.approx(np.corrcoef(FIVE["a"], FIVE["b"])[0, 1])
    assert verdict.advice == ""
    assert verdict.detail == "a 0.820, b 0.770; 5 seeds paired; the means are ordered as claimed"


def test_the_same_numbers_contradict_the_opposite_claim() -> None:
    verdict = only(suite(*arms(FIVE)), f"b > a on {PIXEL}")
    assert verdict.word == "contradicted"
    assert verdict.effect == pytest.approx(-0.05)
    assert only(suite(*arms(FIVE)), f"b < a on {PIXEL}").word == "reproduced"


def test_three_seeds_unpaired_cannot_and_four_could() -> None:
    apart = {"a": [0.9, 0.91, 0.92], "b": [0.1, 0.11, 0.12]}
    verdict = only(suite(*arms(apart), arms=OTHER_ORDER))
    assert (verdict.word, verdict.test, verdict.paired) == ("undecided", "exact permutation", False)
    assert verdict.p == pytest.approx(2 / 20)
    assert verdict.advice == "cannot reach p < 0.05 with 3 seeds unpaired (0.1 at best); 4 could"
    four = {arm: [*values, values[0] + 0.005] for arm, values in apart.items()}
    verdict = only(suite(*arms(four), arms=OTHER_ORDER))
    assert (verdict.word, verdict.p) == ("reproduced", pytest.approx(2 / 70))


def test_three_pairs_cannot_and_five_could() -> None:
    verdict = only(suite(*arms({arm: values[:3] for arm, values in FIVE.items()})))
    assert (verdict.word, verdict.p) == ("undecided", 0.25)
    assert verdict.advice == "cannot reach p < 0.05 with 3 seeds paired (0.25 at best); 5 could"
    assert verdict.interval is not None


def test_disjoint_seeds_are_not_paired() -> None:
    runs = [*arms({"a": FIVE["a"]}), *arms({"b": FIVE["b"]}, first_seed=11)]
    verdict = only(suite(*runs))
    assert (verdict.test, verdict.paired, verdict.measure) == ("Welch's t", False, "g")
    # s² = 0.00025 and 0.0005: t = 0.05 / √((0.00025 + 0.0005) / 5) = 4.0825, 7.2 degrees
    assert verdict.p == pytest.approx(0.00443, abs=5e-5)
    assert "5 seeds unpaired" in verdict.detail


def test_only_seeds_that_both_have_are_compared() -> None:
    verdict = only(suite(*arms({"a": [*FIVE["a"], 0.1], "b": FIVE["b"]})))
    assert (verdict.n, verdict.effect) == (5, pytest.approx(0.05))
    assert "a 0.820 (1 more without a partner), b 0.770; 5 seeds paired" in verdict.detail


def test_one_seed_decides_nothing_and_says_the_order() -> None:
    verdict = only(suite(*arms({"a": [0.5], "b": [0.8]})))
    assert (verdict.word, verdict.p, verdict.interval) == ("undecided", None, None)
    assert verdict.detail == "a 0.500, b 0.800; 1 seed; the means are ordered against the claim"
    assert verdict.advice == "one seed shows no spread; 5 seeds paired could decide"


def test_a_small_difference_names_the_seeds_that_could_find_it() -> None:
    values = {"a": [0.81, 0.79, 0.82, 0.80, 0.83], "b": [0.80, 0.80, 0.80, 0.80, 0.80]}
    verdict = only(suite(*arms(values)))
    assert verdict.word == "undecided"
    # g_z = 0.01 / 0.0158114 × 0.797885 = 0.5046; tables of the paired t give 33 for 80 %
    assert verdict.standardised == pytest.approx(0.5046, abs=1e-4)
    assert verdict.advice == (
        "about 33 seeds paired could decide, with 80 % power if the difference is as large as it "
        "looks"
    )


def test_what_no_number_of_seeds_finds_is_not_called_alike() -> None:
    close = only(suite(*arms({"a": [0.8, 0.7, 0.6, 0.5, 0.41], "b": [0.7, 0.8, 0.5, 0.6, 0.4]})))
    # differences ±0.1 and 0.01: mean 0.002, s = 0.1000; ± 2.776445 × 0.1 / √5 = 0.1241
    assert close.advice == (
        "more than 200 seeds would be needed if the difference is as small as it looks; these "
        "leave −0.122 to +0.126 possible"
    )


def test_values_that_do_not_vary_decide_nothing() -> None:
    verdict = only(suite(*arms({"a": [0.8] * 5, "b": [0.7] * 5})))
    assert (verdict.word, verdict.p) == ("undecided", None)
    assert "do not vary" in verdict.advice
    four = only(suite(*arms({"a": [0.8] * 4, "b": [0.7] * 4}), arms=OTHER_ORDER))
    assert (four.word, four.p, four.advice) == ("undecided", None, verdict.advice)
    same = only(suite(*arms({"a": FIVE["a"], "b": FIVE["a"]})))
    assert (same.word, same.p, same.exact_p) == ("undecided", None, None)
    assert same.advice.startswith("both arms have the same value in every seed: are they the same")
    shifted = only(suite(*arms({"a": [0.3, 0.5, 0.4], "b": [0.2, 0.4, 0.3]})))
    assert shifted.advice.startswith("the difference is the same in every seed")


def test_few_seeds_against_many_are_decided() -> None:
    """Four against twenty have 10,626 arrangements."""
    many = [0.7 + 0.001 * (i % 7) for i in range(20)]
    verdict = only(suite(*arms({"a": FIVE["a"][:4], "b": many}), arms=OTHER_ORDER))
    assert (verdict.word, verdict.test) == ("reproduced", "exact permutation and Welch's t")
    assert verdict.exact_p == pytest.approx(2 / 10_626)
    assert "; 4 and 20 seeds unpaired; " in verdict.detail
    both = "the permutation test and Welch's test must agree"
    assert any(both in line for line in notes([verdict]))
    even = only(suite(*arms({"a": FIVE["a"][:4], "b": FIVE["b"][:4]}), arms=OTHER_ORDER))
    assert not any(both in line for line in notes([even]))


def test_pairing_by_few_seeds_leaves_none_out() -> None:
    few = suite(*arms({"a": [*FIVE["a"], *FIVE["a"]], "b": FIVE["b"][:2]}))
    verdict = only(few)
    assert not verdict.paired and "10 and 2 seeds unpaired (2 seeds in common)" in verdict.detail
    same = only(suite(*arms({"a": FIVE["a"][:3], "b": FIVE["b"][:3]})))
    assert (same.paired, same.n) == (True, 3)
    two = [*arms({"a": FIVE["a"]}), *arms({"b": FIVE["b"]}, first_seed=4)]  # seeds 4 and 5
    verdict = only(suite(*two))
    assert (verdict.paired, verdict.n, verdict.test) == (False, 5, "Welch's t")
    assert "; 5 seeds unpaired (2 seeds in common); " in verdict.detail
    five = [*arms({"a": [*FIVE["a"], 0.1, 0.2]}), *arms({"b": [*FIVE["b"], 0.3]})]
    assert only(suite(*five)).n == 6
    other = [*arms({"a": [*FIVE["a"], 0.1, 0.2]}), *arms({"b": [0.3, *FIVE["b"]]}, first_seed=3)]
    verdict = only(suite(*other))  # seeds 3 to 7 of 7 and 6
    assert (verdict.paired, verdict.n) == (True, 5)


def test_seeds_without_a_partner_are_counted_wherever_the_verdict_stands() -> None:
    runs = suite(*arms({"a": [*FIVE["a"], 0.1, 0.2]}), *arms({"b": FIVE["b"]}), claims=[CLAIM])
    verdict = only(runs)
    assert (verdict.word, verdict.n, verdict.seeds) == ("reproduced", 5, "5 of 7 and 5")
    assert "| 5 of 7 and 5 |" in markdown([verdict])
    assert "a 0.820 (2 more without a partner)" in "".join(remarks([verdict]))
    text = latex_verdicts(runs, [verdict])
    assert r"paired t, 5 of 7 and 5" in text
    assert "Seeds without a partner are left out: a " in text and "acc., 5 of 7 and 5" in text
    whole = suite(*arms(FIVE), claims=[CLAIM])
    assert only(whole).seeds == "5" and remarks([only(whole)]) == []
    assert "without a partner" not in latex_verdicts(whole, [only(whole)])


def test_what_no_labels_can_decide_is_not_to_be_measured() -> None:
    why = {"fcn": "the data set has no labels"}
    runs = suite(*(run(arm, 1, None, not_measured=why) for arm in "ab"), truth=None)
    verdict = only(runs)
    assert (verdict.word, verdict.detail) == (
        "undecided",
        "a is not measured (the data set has no labels)",
    )
    assert verdict.advice.startswith("no training here can decide it")
    away = {"fcn": "the scorer could not be read"}
    runs = suite(*(run(arm, 1, None, not_measured=away) for arm in "ab"), truth=None)
    assert only(runs).advice == "measure both arms"


def test_what_cannot_be_reached_is_by_holms_steps_not_by_all_claims() -> None:
    """Four unpaired seeds reach 0.029, and 0.057 after two claims; but beside a smaller p the
    second step leaves them their 0.029."""
    runs = suite(
        *arms(FIVE | {"c": [0.70, 0.72, 0.71, 0.73]}),
        *arms({"d": [0.69, 0.725, 0.70, 0.705]}, first_seed=11),
    )
    claims = [CLAIM, f"c > d on {PIXEL}"]
    strong, weak = Analysis(claiming(runs, *claims)).verdicts
    assert (strong.word, weak.word) == ("reproduced", "undecided")
    assert weak.advice.startswith("about ")
    alone = {"a": FIVE["a"][:4], "b": FIVE["b"][:4]}
    runs = suite(*arms(alone), *runs.runs[10:], arms=[*OTHER_ORDER, {"name": "c"}, {"name": "d"}])
    for verdict in Analysis(claiming(runs, *claims)).verdicts:
        assert verdict.advice == (
            "cannot reach p < 0.05 after Holm over 2 claims with 4 seeds unpaired (0.0571 at "
            "best); 5 could"
        )


def test_one_seed_is_promised_no_fewer_than_the_whole_family_takes() -> None:
    one = {arm: values[:1] for arm, values in FIVE.items()} | {"c": [0.6]}
    other = [*OTHER_ORDER, {"name": "c"}]
    claims = [CLAIM, f"b > c on {PIXEL}"]
    for count, seeds in ((1, 4), (2, 5)):
        (first, *_) = Analysis(suite(*arms(one), arms=other, claims=claims[:count])).verdicts
        assert first.advice == f"one seed shows no spread; {seeds} seeds unpaired could decide"


def test_a_verdict_knows_of_a_broken_ceiling() -> None:
    runs = suite(*arms(FIVE), truth=0.65, claims=[CLAIM])
    (verdict,) = Analysis(runs).verdicts
    assert verdict.word == "reproduced"
    assert verdict.ceiling == (
        "but the real photos reach only 0.650 and every arm's score lies above the real photos': "
        "see the note on the ceiling"
    )
    assert verdict.detail.endswith(verdict.ceiling)
    (line,) = remarks([verdict])
    assert line.startswith("a > b on FCN per-pixel acc.: reproduced; a 0.820, b 0.770;")
    assert remarks(Analysis(suite(*arms(FIVE), truth=0.9, claims=[CLAIM])).verdicts) == []
    (near,) = Analysis(suite(*arms(FIVE), truth=0.78, claims=[CLAIM])).verdicts
    assert near.ceiling.startswith(
        "but even the lowest arm does not lie 0.02 below the real photos:"
    )


def test_the_ground_truth_is_a_constant() -> None:
    verdict = only(suite(*arms(FIVE), truth=0.9), f"{GROUND_TRUTH} > a on {PIXEL}")
    assert (verdict.word, verdict.n, verdict.test) == ("reproduced", 5, "one-sample t")
    assert verdict.effect == pytest.approx(0.08)
    assert "; 5 seeds; " in verdict.detail
    without = only(suite(*arms(FIVE), truth=None), f"{GROUND_TRUTH} > a on {PIXEL}")
    assert (without.word, without.effect) == ("undecided", None)


def test_holm_over_the_claims_that_can_be_tested() -> None:
    weak = {"c": [0.75, 0.78, 0.76, 0.76, 0.80]}
    runs = suite(*arms(FIVE | weak), run("d", 1, None, status="failed"))
    claims = [f"{x} > {y} on {PIXEL}" for x, y in (("a", "b"), ("b", "c"), ("a", "c"), ("a", "d"))]
    a_b, b_c, a_c, a_d = Analysis(claiming(runs, *claims)).verdicts
    raw = sorted((a_b.p, b_c.p, a_c.p))
    assert sorted((a_b.p_holm, b_c.p_holm, a_c.p_holm)) == pytest.approx(
        [3 * raw[0], 2 * raw[1], raw[2]]
    )
    assert (a_d.word, a_d.p_holm, a_d.detail) == ("undecided", None, "d failed")


@pytest.mark.parametrize(
    ("claim", "why"),
    [
        ("a < b < c on fcn.pixel_accuracy", "b < c is not among the arms that were run"),
        ("b > z on fcn.pixel_accuracy", "z is not among the arms that were run"),
        ("b > a on beauty", "no score is called beauty"),
        ("b > a on lpips", "b is missing"),
        ("b is nicer", "not an ordering like `A > B on SCORE`"),
    ],
)
def test_a_claim_that_cannot_be_tested_says_why(claim: str, why: str) -> None:
    names = [{"name": arm, "changes": {}} for arm in ("a", "b", "e")]
    verdict = only(suite(*arms(FIVE), arms=names), claim)
    assert (verdict.word, verdict.test, verdict.n) == ("undecided", "none", 0)
    assert verdict.detail.startswith(why)


def test_a_claim_on_an_arm_that_was_not_asked_for_gets_no_verdict() -> None:
    names = [{"name": arm, "changes": {}} for arm in ("a", "b", "e")]
    claims = [f"e > a on {PIXEL}", CLAIM, f"b > e on {PIXEL}"]
    runs = suite(*arms(FIVE), arms=names, claims=claims)
    (verdict,) = Analysis(runs).verdicts
    assert (verdict.claim, verdict.word, verdict.p_holm) == (CLAIM, "reproduced", verdict.p)
    assert not_judged(runs) == [claims[0], claims[2]]
    lines = notes([verdict], not_judged(runs))
    assert "(one claim is tested: nothing to correct)" in lines[1]
    assert lines[0] == "1 reproduced, 0 contradicted, 0 undecided, of 1 claim"
    told = "not judged, their arms were not asked for: e > a on FCN per-pixel acc.; b > e on"
    assert lines[-1].startswith(told)


def test_arms_with_spaces_and_signs() -> None:
    claim = parse_claim(f"U-Net (L1+cGAN) > encoder-decoder (L1) on {PIXEL}")
    assert claim and (claim.first, claim.second) == ("U-Net (L1+cGAN)", "encoder-decoder (L1)")


def test_no_word_without_evidence() -> None:
    sourced = parse_claim(f"a (b) > c on {PIXEL} (Section 4.2 and Table 1)")
    assert (sourced.first, sourced.source) == ("a (b)", "Section 4.2 and Table 1")
    claim = parse_claim(CLAIM)
    found = difference([0.5, 0.6], [0.5, 0.6], True)  # the same values
    assert claim
    assert judge([None, (claim, found)]) == [("undecided", None), ("undecided", None)]


def test_the_text_counts_and_lists() -> None:
    runs = suite(*arms(FIVE))
    claims = [CLAIM, f"b > a on {PIXEL}", f"a > {GROUND_TRUTH} on lpips"]
    judged = Analysis(claiming(runs, *claims)).verdicts
    lines = notes(judged)
    assert lines[0] == "1 reproduced, 1 contradicted, 1 undecided, of 3 claims"
    # 5 pairs at 0.05 / 2: the noncentral t puts 80 % power at 2.1 standard deviations
    assert any(
        line.startswith(
            "power: with 5 seeds paired, a true difference of 2.1 standard deviations of the "
            "paired differences is found with at least 80 % probability"
        )
        for line in lines
    )
    assert "after Holm's correction over the 2 claims tested, " in lines[1]
    table = markdown(judged)
    assert "| **reproduced** |" in " ".join(table.split())
    assert "+0.050 | +0.038 to +0.062 | g_z = +4.0 | 5 | paired t | 0.0004" in " ".join(
        table.split()
    )
    assert "*" not in table.replace("**", "")  # no stars
    assert len(verdict_frame(judged)) == 3


def test_one_seed_is_said_once_and_not_per_claim() -> None:
    alone = {arm: values[:1] for arm, values in FIVE.items()}
    claims = [CLAIM, f"b > a on {PIXEL}"]
    judged = Analysis(suite(*arms(alone), truth=0.9, claims=claims)).verdicts
    assert [verdict.word for verdict in judged] == ["undecided", "undecided"]
    (sentence,) = one_seed(judged)
    assert "one seed" in sentence and "--seeds 5" in sentence
    assert "undecided" not in markdown(judged) and remarks(judged) == []
    several = Analysis(suite(*arms(FIVE), truth=0.9, claims=claims)).verdicts
    assert one_seed(several) == [] and "**reproduced**" in markdown(several)
