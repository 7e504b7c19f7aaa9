"""The one-run bound on epsilon: equal to its theorem, never above the truth too often, and not idle."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from scipy.optimize import brentq
from scipy.stats import binom

from auditor.probes import generator
from auditor.stats.epsilon import audit_epsilon, epsilon_at_least, guess, most_shown, p_value

LEVEL = 0.95
RUNS = 500
MOST = int(binom.ppf(0.999, RUNS, 1 - LEVEL))  # 41 of 500: a valid bound exceeds the truth more often once in 1,000


def right_odds(epsilon: float) -> float:
    return math.exp(epsilon) / (1 + math.exp(epsilon))


@pytest.mark.parametrize("epsilon", [0.0, 0.7, 2.5])
@pytest.mark.parametrize("guesses", [1, 4, 9])
def test_p_value_is_the_enumerated_chance_of_randomized_response(guesses: int, epsilon: float) -> None:
    """With delta = 0 the bound is attained by randomized response, whose 2^r outcomes can be listed."""
    q = right_odds(epsilon)
    for correct in range(guesses + 1):
        chance = sum(
            q ** sum(outcome) * (1 - q) ** (guesses - sum(outcome))
            for outcome in itertools.product((0, 1), repeat=guesses)
            if sum(outcome) >= correct
        )
        assert p_value(correct, guesses, guesses + 3, epsilon) == pytest.approx(chance, rel=1e-12)


@pytest.mark.parametrize("delta", [1e-5, 1e-3, 0.02])
@pytest.mark.parametrize("epsilon", [0.0, 1.0, 3.0])
def test_delta_enters_as_the_theorem_says(epsilon: float, delta: float) -> None:
    """Theorem 5.2 spelled out: the maximum over every i up to m, by tail probabilities."""
    m, r, q = 40, 25, right_odds(epsilon)
    for v in range(r + 1):
        tails = [
            sum(math.comb(r, k) * q**k * (1 - q) ** (r - k) for k in range(max(u, 0), r + 1)) for u in range(-m, v + 1)
        ]
        most = max((tails[v - i + m] - tails[v + m]) / i for i in range(1, m + 1))
        assert p_value(v, r, m, epsilon, delta) == pytest.approx(min(1, tails[v + m] + 2 * m * delta * most), rel=1e-9)


@pytest.mark.parametrize(("correct", "guesses"), [(64, 64), (60, 64), (40, 64), (150, 200), (20, 20)])
def test_the_bound_is_where_the_p_value_crosses(correct: int, guesses: int) -> None:
    found = epsilon_at_least(correct, guesses, guesses, level=LEVEL)
    crossing = brentq(lambda e: binom.sf(correct - 1, guesses, right_odds(e)) - (1 - LEVEL), 1e-9, 20)
    assert found == pytest.approx(crossing, rel=1e-6)
    assert epsilon_at_least(correct, guesses, guesses, level=LEVEL, delta=1e-12) == pytest.approx(crossing, rel=1e-5)
    assert 0 < epsilon_at_least(correct, guesses, guesses, level=LEVEL, delta=1e-4) < found


def test_faultless_guesses_give_the_known_figure() -> None:
    """64 of 64 right: q^64 = 0.05 at q = 0.95427, of which the log-odds are 3.04."""
    q = 0.05 ** (1 / 64)
    assert (
        epsilon_at_least(64, 64, 64) == pytest.approx(math.log(q / (1 - q)), rel=1e-9) == pytest.approx(3.038, abs=1e-3)
    )


def test_no_scores_show_more_than_faultless_ones() -> None:
    included = np.arange(64) % 2 == 0
    most = most_shown(64, level=LEVEL, bounds=3)
    assert (
        audit_epsilon([included * 1.0], included, level=LEVEL)[1].epsilon
        == most
        == epsilon_at_least(48, 48, 64, level=1 - 0.05 / 3)
    )
    assert most_shown(256) > most_shown(64) > most > most_shown(64, level=LEVEL, bounds=3, delta=1e-4)


@pytest.mark.parametrize(("correct", "guesses"), [(0, 0), (0, 10), (5, 10), (33, 64)])
def test_guesses_no_better_than_chance_bound_nothing(correct: int, guesses: int) -> None:
    for delta in (0.0, 1e-3):
        assert epsilon_at_least(correct, guesses, 64, delta=delta) == 0.0


def test_guesses_are_the_two_ends() -> None:
    scores = [5.0, 1.0, 4.0, 2.0, 3.0, 0.0]
    included = [True, False, False, False, True, True]
    assert guess(scores, included, 1.0) == (4, 6)  # ascending: 0 in, 1 out, 2 out | 3 in, 4 out, 5 in
    assert guess(scores, included, 0.34) == (1, 2)  # lowest 0.0 was in, highest 5.0 was in
    assert guess(scores, included, 0.1) == (0, 0)


def test_unscored_canaries_are_coins_without_a_guess() -> None:
    scores = np.array([np.nan, *np.arange(8.0)])
    included = np.array([True, *[False] * 4, *[True] * 4])
    _, found = audit_epsilon([scores], included, fractions=(1.0,))
    assert (found.correct, found.guesses, found.coins) == (8, 8, 9)


def randomized_response(included: np.ndarray, epsilon: float, rng: np.random.Generator) -> np.ndarray:
    """Each coin told truly with the odds e^epsilon, lied about otherwise: exactly epsilon-private."""
    truth = rng.random(len(included)) < right_odds(epsilon)
    return np.where(included == truth, 1.0, -1.0)


def laplace(included: np.ndarray, epsilon: float, rng: np.random.Generator) -> np.ndarray:
    """The coin as 0 or 1 with Laplace noise of scale 1 / epsilon: epsilon-private, with scores that are graded."""
    return included + rng.laplace(0, 1 / max(epsilon, 1e-9), len(included))


@pytest.mark.parametrize("mechanism", [randomized_response, laplace])
@pytest.mark.parametrize("coins", [64, 256])
@pytest.mark.parametrize("epsilon", [0.0, 0.5, 1.0, 2.0, 4.0])
def test_the_bound_exceeds_the_truth_at_most_as_often_as_said(mechanism, coins: int, epsilon: float) -> None:
    """Two signals, the second one idle, as the audit has; three numbers of guesses."""
    too_high = 0
    for run in range(RUNS):
        rng = generator("epsilon", f"{mechanism.__name__}/{coins}/{epsilon}", run)
        included = rng.integers(0, 2, coins).astype(bool)
        signals = [mechanism(included, epsilon, rng), rng.standard_normal(coins)]
        too_high += audit_epsilon(signals, included, level=LEVEL)[1].epsilon > epsilon
    assert too_high <= MOST


@pytest.mark.parametrize("epsilon", [0.0, 0.5])
def test_a_leak_with_probability_delta_is_covered_by_delta(epsilon: float) -> None:
    """A coin is shown as it is with probability delta, else answered at random: (epsilon, delta)-private, no less."""
    delta, coins, too_high, without = 0.1, 128, 0, 0
    for run in range(RUNS):
        rng = generator("epsilon", f"delta/{epsilon}", run)
        included = rng.integers(0, 2, coins).astype(bool)
        shown = rng.random(coins) < delta
        scores = np.where(shown, np.where(included, 3.0, -3.0), randomized_response(included, epsilon, rng))
        too_high += audit_epsilon([scores], included, level=LEVEL, delta=delta)[1].epsilon > epsilon
        right, made = guess(scores, included, 0.1)
        without += epsilon_at_least(right, made, coins, level=LEVEL) > epsilon
    assert too_high <= MOST
    assert without > MOST  # the pure bound does not hold for this mechanism, so the test can tell


@pytest.mark.parametrize(
    ("epsilon", "coins", "least"), [(4.0, 64, 1.5), (4.0, 256, 2.6), (2.0, 256, 1.1), (1.0, 256, 0.3)]
)
def test_the_bound_is_not_idle(epsilon: float, coins: int, least: float) -> None:
    """The median over runs of a mechanism that leaks is well above 0, though below the truth."""
    found = []
    for run in range(100):
        rng = generator("epsilon", f"power/{epsilon}/{coins}", run)
        included = rng.integers(0, 2, coins).astype(bool)
        signals = [randomized_response(included, epsilon, rng), rng.standard_normal(coins)]
        found.append(audit_epsilon(signals, included, level=LEVEL)[1].epsilon)
    assert least < np.median(found) < epsilon


def test_impossible_counts_are_refused() -> None:
    with pytest.raises(ValueError, match="correct <= guesses"):
        p_value(5, 4, 10, 1.0)
