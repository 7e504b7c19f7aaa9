"""Tiers: what leaks is bounded away from nothing, what does not is not, and the bounds are the theorem's."""

from __future__ import annotations

import numpy as np
import pytest

from auditor.canaries.landing import land_on_canaries
from auditor.canaries.tiers import measure_tiers
from auditor.probes import generator
from auditor.stats.epsilon import epsilon_at_least, of_group
from tests.canaries.ledgers import leaking, tossed

NONE = {1: 0.0, 4: 0.0, 16: 0.0}


def test_only_the_tier_that_leaks_is_bounded() -> None:
    canaries = tossed()
    one, four, sixteen = measure_tiers(canaries, leaking(canaries, NONE | {16: 8.0}))
    assert [tier.repetitions for tier in (one, four, sixteen)] == [1, 4, 16]
    assert [tier.included + tier.excluded for tier in (one, four, sixteen)] == [64] * 3
    assert sixteen.epsilon.value is not None and sixteen.epsilon_per_record.value is not None
    assert sixteen.epsilon.value > 1.5
    assert sixteen.epsilon_per_record.value == pytest.approx(sixteen.epsilon.value / 16)
    assert sixteen.auc.lower is not None and sixteen.auc.lower > 0.8
    assert sixteen.landed.value == 1.0 and sixteen.landed_excluded.value == 0.0
    assert one.epsilon.value == four.epsilon.value == 0.0
    assert one.landed.value == 0.0


def test_faultless_scores_give_the_bound_of_all_guesses_right() -> None:
    """2 signals, 3 numbers of guesses, 3 tiers: each at 1 - 0.05 / 18. At most three quarters of 64 are guessed."""
    canaries = [canary.model_copy(update={"included": place % 2 == 0}) for place, canary in enumerate(tossed())]
    tiers = measure_tiers(canaries, leaking(canaries, dict.fromkeys(NONE, 50.0)))
    for tier in tiers:
        assert tier.epsilon.value == pytest.approx(epsilon_at_least(48, 48, 64, level=1 - 0.05 / 18))
        assert "48 of 48 guesses right" in tier.epsilon.method


def test_relabelled_canaries_bound_nothing() -> None:
    """Negative control: the same signals with coins tossed anew. 200 times three tiers, all bounds together at 95%."""
    canaries = tossed()
    signals = leaking(canaries, dict.fromkeys(NONE, 8.0))
    found = 0
    for run in range(200):
        again = tossed(seed=f"relabelled {run}")
        found += any(tier.epsilon.value for tier in measure_tiers(again, signals))
    assert found <= 20  # 10 expected at most; binomial(200, 0.05) exceeds 20 once in 1,000


def test_delta_lowers_the_bound_and_counts_per_record() -> None:
    canaries = tossed()
    signals = leaking(canaries, NONE | {16: 8.0})
    pure, loose = (measure_tiers(canaries, signals, delta=delta)[2] for delta in (0.0, 1e-5))
    assert pure.epsilon.value and loose.epsilon.value and loose.epsilon_per_record.value
    assert 0 < loose.epsilon.value < pure.epsilon.value
    # group privacy multiplies delta too, so that a record's epsilon may be smaller than a sixteenth of the canary's
    assert 0 < loose.epsilon_per_record.value <= loose.epsilon.value / 16 + 1e-6


def test_a_group_adds_up_its_deltas() -> None:
    epsilon, delta = of_group(0.5, 1e-6, 3)
    assert epsilon == pytest.approx(1.5)
    assert delta == pytest.approx(1e-6 * (1 + np.exp(0.5) + np.exp(1.0)))
    assert of_group(0.5, 1e-6, 1) == (0.5, pytest.approx(1e-6)) and of_group(9.0, 0.1, 16)[1] == 1.0


def test_canaries_without_a_score_are_not_guessed() -> None:
    canaries = tossed()
    signals = leaking(canaries, dict.fromkeys(NONE, 8.0))
    signals.membership[:64] = np.nan
    first, second, _ = measure_tiers(canaries, signals)
    assert first.auc.value is None and first.tpr_at_5pct_fpr.value is None
    assert "nearest generation" in first.epsilon.method and first.epsilon.value
    assert second.auc.value is not None


def unit(vectors: np.ndarray) -> np.ndarray:
    rows: np.ndarray = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    return rows


def test_a_generation_must_be_half_as_far_as_any_other_image() -> None:
    """Four canaries: drawn exactly; drawn roughly; with a real image as near as the generation; not drawn."""
    rng = generator("landing", "vectors")
    canaries = unit(rng.standard_normal((4, 64)))
    digests = [bytes([place]) * 16 for place in range(4)]
    noise = unit(rng.standard_normal((4, 64)))
    near = unit(canaries + 0.3 * noise)
    generations = unit(np.stack([canaries[0], near[1], near[2], noise[3]]))
    train = np.concatenate([canaries[[0, 0, 0, 1]], unit(rng.standard_normal((50, 64)))])
    trained = [digests[0]] * 3 + [digests[1]] + [bytes([100 + place]) * 16 for place in range(50)]
    holdout = np.concatenate([unit(canaries[2:3] + 0.25 * noise[:1]), unit(rng.standard_normal((50, 64)))])
    found = land_on_canaries(canaries, digests, generations, train, trained, holdout)
    assert found.landed.tolist() == [True, True, False, False]
    assert found.similarity[0] == pytest.approx(1.0, abs=1e-6) and found.similarity[3] < 0.5
