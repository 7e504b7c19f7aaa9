"""A lower bound on the epsilon of one training run, from guesses about which canaries it contained.

Steinke, Nasr and Jagielski 2023, "Privacy Auditing with One (1) Training Run", arXiv 2305.08846, Algorithm 1 and
Theorem 5.2. Each of m canaries was trained on or left out by a fair coin of its own. Of the coins the auditor, who
sees the model and the canaries but not the coins, guesses r. If training is (epsilon, delta)-differentially private
towards adding or removing one canary, the number of right guesses is, but for a term in delta, stochastically at most
Binomial(r, e^epsilon / (1 + e^epsilon)). So many right guesses refute a small epsilon. Guesses need not be
independent of each other, and which coins are guessed may depend on the model; but the rule that turns a model into
guesses must not have been chosen on these coins.

How we differ: the paper takes the number of guesses that turns out best and calls for caution; here a few are set
beforehand and share the error (Bonferroni). Where delta is 0 the bound is inverted in closed form.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import logit
from scipy.stats import binom

from auditor.stats.intervals import clopper_pearson

# Of the coins that are guessed: many for weak signals, few for tails that stand out. Never all: as many guesses of each
# kind are made, and coins that fall unevenly (64 within 24 to 40 heads 97 times in 100) would make some of them wrong.
FRACTIONS = (0.75, 0.5, 0.25)
STEP = 0.01  # of the upward scan; finer than the width of any hump of the p-value
LARGEST = 30.0  # an epsilon beyond which no number of coins could tell


class Guesses(NamedTuple):
    """The guesses behind a bound, and the bound."""

    epsilon: float  # lower bound, at least 0
    correct: int
    guesses: int
    coins: int


def p_value(correct: int, guesses: int, coins: int, epsilon: float, delta: float = 0.0) -> float:
    """The most probable that ``correct`` or more right guesses can be under (epsilon, delta)-differential privacy.

    With f(v) = P[Binomial(r, e^epsilon / (1 + e^epsilon)) >= v]:
    f(v) + 2 m delta max over i in 1..v of (f(v - i) - f(v)) / i, at most 1 (Theorem 5.2).

    Args:
      correct: v, right guesses, 0..guesses.
      guesses: r, 0..coins.
      coins: m, canaries whose coin was tossed, guessed or not.
      epsilon: Claimed, at least 0.
      delta: Claimed, in [0, 1].
    """
    if not 0 <= correct <= guesses <= coins or epsilon < 0 or not 0 <= delta <= 1:
        got = f"{correct} of {guesses} of {coins}, epsilon {epsilon}, delta {delta}"
        raise ValueError(f"guesses: got {got}; expected 0 <= correct <= guesses <= coins, epsilon >= 0, delta in 0..1")
    right = 1 / (1 + math.exp(-epsilon))
    tail = float(binom.sf(correct - 1, guesses, right))
    if delta == 0 or correct == 0:
        return min(1.0, tail)
    back = np.arange(1, correct + 1)
    masses = np.cumsum(binom.pmf(correct - back, guesses, right))  # f(v - i) - f(v)
    return min(1.0, tail + 2 * coins * delta * float((masses / back).max()))


def epsilon_at_least(
    correct: int, guesses: int, coins: int, *, level: float = 0.95, delta: float = 0.0, repetitions: int = 1
) -> float:
    """The smallest epsilon that these guesses do not refute: a lower bound that holds with probability ``level``.

    Without delta that is the log-odds of Clopper-Pearson's one-sided lower bound on correct / guesses. With it the
    p-values are scanned upwards from 0 and the first that exceeds 1 - level is refined, so that the bound holds even
    where p-values should not grow all the way.

    Args:
      correct, guesses, coins: See :func:`p_value`.
      level: Coverage in (0, 1).
      delta: At which epsilon is bounded, per record.
      repetitions: Records that one coin puts in or leaves out. The bound is then on the epsilon of a single one, by
        :func:`of_group`.

    Returns:
      At least 0; infinite never, since faultless guesses of r coins refute no more than log-odds of (1 - level)^(1/r).
    """
    if guesses == 0:
        return 0.0
    if delta == 0:
        bound = clopper_pearson(correct, guesses, level, "lower").lower
        return max(0.0, float(logit(bound))) / repetitions if bound > 0 else 0.0

    def refuted(epsilon: float) -> bool:
        return p_value(correct, guesses, coins, *of_group(epsilon, delta, repetitions)) <= 1 - level

    if not refuted(0.0):
        return 0.0
    low, step = 0.0, STEP / repetitions
    while low < LARGEST and refuted(low + step):
        low += step
    high = low + step
    for _ in range(40):
        middle = (low + high) / 2
        if refuted(middle):
            low = middle
        else:
            high = middle
    return low


def most_shown(coins: int, *, level: float = 0.95, delta: float = 0.0, bounds: int = 1) -> float:
    """The epsilon that faultless guesses about so many coins would show: no attack can give a larger bound.

    Args:
      bounds: How many bounds share 1 - level: signals times fractions times ``sharing`` of :func:`audit_epsilon`.
    """
    made = 2 * math.floor(FRACTIONS[0] * coins / 2 + 1e-9)
    return epsilon_at_least(made, made, coins, level=1 - (1 - level) / bounds, delta=delta)


def of_group(epsilon: float, delta: float, repetitions: int) -> tuple[float, float]:
    """(epsilon, delta) towards ``repetitions`` records at once, given those towards one.

    Group privacy: r epsilon, and delta (1 + e^epsilon + ... + e^((r - 1) epsilon)), at most 1 (Dwork and Roth 2014,
    "The Algorithmic Foundations of Differential Privacy", section 2.3, one record after the other).
    """
    return repetitions * epsilon, min(1.0, delta * float(np.exp(epsilon * np.arange(repetitions)).sum()))


def guess(scores: ArrayLike, included: ArrayLike, share: float) -> tuple[int, int]:
    """(right, made) when the highest scores are called included and the lowest left out, equally many of each.

    Args:
      scores: Float[N], larger = more likely trained on. Ties fall by position, which must not depend on the coins.
      included: Bool[N], what the coins said.
      share: Of the N that are guessed, in (0, 1].
    """
    truth = np.asarray(included, bool)
    order = np.argsort(np.asarray(scores, np.float64), kind="stable")
    side = math.floor(share * len(order) / 2 + 1e-9)
    if side == 0:
        return 0, 0
    return int(truth[order[-side:]].sum() + (~truth[order[:side]]).sum()), 2 * side


def audit_epsilon(
    signals: Sequence[ArrayLike],
    included: ArrayLike,
    *,
    level: float = 0.95,
    delta: float = 0.0,
    fractions: Sequence[float] = FRACTIONS,
    sharing: int = 1,
    repetitions: int = 1,
) -> tuple[int, Guesses]:
    """The best bound that several signals and numbers of guesses give, each at its share of 1 - level.

    Args:
      signals: One or several Float[N] of scores of the same canaries, larger = more likely trained on, fixed without
        regard to these coins. A score of NaN is no guess: it still counts among the coins.
      included: Bool[N], what the coins said.
      level: Of the statement "epsilon is at least", over all signals, fractions and ``sharing``.
      sharing: How many such audits share one statement, such as one a tier.
      repetitions: See :func:`epsilon_at_least`.

    Returns:
      (place of the signal, the guesses with the largest bound; the first among equals).
    """
    truth = np.asarray(included, bool)
    each = 1 - (1 - level) / (len(signals) * len(fractions) * sharing)
    best = 0, Guesses(-1.0, 0, 0, len(truth))
    for place, signal in enumerate(signals):
        scores = np.asarray(signal, np.float64)
        scored = np.isfinite(scores)
        for share in fractions:
            right, made = guess(scores[scored], truth[scored], share)
            bound = epsilon_at_least(right, made, len(truth), level=each, delta=delta, repetitions=repetitions)
            if bound > best[1].epsilon:
                best = place, Guesses(bound, right, made, len(truth))
    return best
