"""Participants drawn from given rates, to plan a study and to test its analysis."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from eval.statistics import t_interval
from eval.study.analysis import compare
from eval.study.answers import Answer, Answers, Side
from eval.study.design import SHOWN_MS, Study


def own_rates(rate: float, people: int, spread: float, random: np.random.Generator) -> np.ndarray:
    """(people,) probabilities with which each is fooled: a beta distribution of mean `rate` in
    [0, 1]; `spread` is the intraclass correlation of two answers of one person, 0 for none."""
    if spread <= 0 or not 0 < rate < 1:
        return np.full(people, rate)
    strength = (1 - spread) / spread
    return random.beta(rate * strength, (1 - rate) * strength, people)


def simulate(
    folder: Path, study: Study, rates: Mapping[str, float], people: int, spread: float
) -> None:
    """Fill the database of a study with `people` finished participants per arm."""
    random = np.random.default_rng([study.seed, 1])
    known = {arm: iter(own_rates(rates[arm], people, spread, random)) for arm in study.arms}
    answers = Answers(folder, study)
    for _ in range(people * len(study.arms)):
        participant = answers.begin()
        rate = next(known[study.arms[participant.arm]])
        batch = []
        for number, trial in enumerate(study.trials_of(participant.number)):
            fooled = random.random() < rate
            choice: Side = "A" if trial.real_is_a == fooled else "B"
            batch.append(Answer(participant.number, number, choice, float(SHOWN_MS), 900.0))
        answers.record(batch)
    answers.close()


def plan(
    rates: Mapping[str, float], people: int, trials: int, spread: float, studies: int, seed: int
) -> tuple[dict[str, float], dict[tuple[str, str], float]]:
    """Over many simulated studies: the mean half-width of each arm's 95 % interval in percent, and
    the share in which each pair of arms is decided, in the order of the true rates."""
    random = np.random.default_rng(seed)
    widths: dict[str, list[float]] = {arm: [] for arm in rates}
    decided: dict[tuple[str, str], int] = {}
    for _ in range(studies):
        drawn = {
            arm: 100 * random.binomial(trials, own_rates(rate, people, spread, random)) / trials
            for arm, rate in rates.items()
        }
        for arm, values in drawn.items():
            widths[arm].append(t_interval(values.tolist()).half_width or 0.0)
        for one in compare({arm: values.tolist() for arm, values in drawn.items()}):
            right = (rates[one.first] - rates[one.second]) * one.difference.effect > 0
            pair = one.first, one.second
            decided[pair] = decided.get(pair, 0) + int(one.decided and right)
    means = {arm: float(np.mean(values)) for arm, values in widths.items()}
    return means, {pair: count / studies for pair, count in decided.items()}
