"""Agreement with the memorizer against plain counting, and the sign test against checkpoints that know no labels."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import binomtest

from auditor.regime.agreement import (
    Reached,
    memorizer_agreement,
    mismatched_chance,
    reproduced,
    sign_test,
    together,
)
from auditor.regime.shares import unscored
from auditor.stats.intervals import clopper_pearson
from auditor.store.regime import MemorizerAgreement
from tests.regime.columns import unit

REPETITIONS = 400
NONE = unscored("not part of this test", "not measured")


def agreement(reached: Reached) -> MemorizerAgreement:
    return memorizer_agreement(
        reached,
        encoder="pixel",
        column="a",
        resolving=True,
        plausible=NONE,
        gl_published=NONE,
        gl=NONE,
        certified=0,
        lower_bound=NONE,
        shared_bound=NONE,
        significance=0.025,
    )


def sets(items: int, training: range, holdout: range) -> dict[str, np.ndarray]:
    masks = {name: np.zeros(items, bool) for name in ("training", "holdout", "control_set")}
    masks["training"][list(training)] = True
    masks["holdout"][list(holdout)] = masks["control_set"][list(holdout)] = True
    return masks


def test_shares_count_probes_and_reached_counts_items() -> None:
    # Items 0-2 are training images, 4-6 held-out ones, 3 is a mixed group
    landing = np.array([0, 0, 1, 2, -1, 4, 5, 3, 6, -1])
    memorizer = np.array([0, 0, 1, 0, 2, 1, 2, 3, 0, 0])
    control = np.array([4, 5, 6, 4, 5, 4, 6, 3, 6, 4])
    found = agreement(Reached(landing, memorizer, control, **sets(7, range(4), range(3, 7))))
    assert found.share.value == 0.4  # probes 0, 1, 2 and 7
    assert (found.share.lower, found.share.upper) == clopper_pearson(4, 10)
    assert found.control.value == pytest.approx(0.3)  # probes 5, 7 and 8
    assert (found.training_reached, found.control_reached) == (2, 2)  # 0 and 1; 4 and 6; 3 is on both sides
    assert found.landed.value == 0.5 and found.landed_holdout.value == 0.4  # 0 0 1 2 3; 4 5 3 6
    assert found.items == 4 and found.probes == 10
    assert found.p_value.value == pytest.approx(binomtest(2, 4, 0.5, alternative="greater").pvalue)


def test_what_is_reproduced_is_beyond_what_held_out_images_explain() -> None:
    landing = np.concatenate([np.zeros(300, np.int64), np.full(60, 4), np.full(140, -1)])  # 100 training, 200 held-out
    found = reproduced(Reached(landing, landing, None, **sets(300, range(100), range(100, 300))))
    assert found.value == pytest.approx(360 / 500)  # all on training images, none held out
    landing[300:360] = 250
    found = reproduced(Reached(landing, landing, None, **sets(300, range(100), range(100, 300))))
    assert found.value == pytest.approx(300 / 500 - 0.5 * 60 / 500)
    low, high = clopper_pearson(300, 500, 0.975), clopper_pearson(60, 500, 0.975)
    assert found.lower == pytest.approx(low.lower - 0.5 * high.upper)
    assert found.upper == pytest.approx(low.upper - 0.5 * high.lower)
    assert reproduced(Reached(landing, landing, None, **sets(300, range(100), range(0)))).unscored


def test_nothing_is_reproduced_where_landings_fall_on_both_sets_alike() -> None:
    rng = np.random.default_rng(8)
    above = 0
    for _ in range(REPETITIONS):
        landing = np.where(rng.random(400) < 0.5, rng.integers(0, 300, 400), -1)
        found = reproduced(Reached(landing, landing, None, **sets(300, range(100), range(100, 300))))
        above += (found.lower or 0.0) > 0
    assert above <= 0.05 * REPETITIONS


def test_chance_is_that_of_all_mismatched_pairs() -> None:
    rng = np.random.default_rng(1)
    landing, memorizer = rng.integers(-1, 6, 80), rng.integers(0, 9, 80)
    pairs = [landing[i] == memorizer[j] for i in range(80) for j in range(80) if i != j]
    assert mismatched_chance(landing, memorizer) == pytest.approx(np.mean(pairs), abs=1e-12)
    assert mismatched_chance(landing[:1], memorizer[:1]) == 0.0
    assert mismatched_chance(np.full(80, -1), memorizer) == 0.0


def test_one_popular_item_is_large_by_chance_and_one_coin() -> None:
    one = np.zeros(500, np.int64)
    control = np.full(500, 1)
    found = agreement(Reached(one, one, control, **sets(2, range(1), range(1, 2))))
    assert found.share.value == found.chance == 1.0
    assert found.p_value.value == 0.5  # 500 probes on one item are one coin


def test_a_copying_checkpoint_favours_training_images() -> None:
    rng = np.random.default_rng(2)
    memorizer, control = rng.integers(0, 100, 500), rng.integers(100, 200, 500)
    landing = np.where(rng.random(500) < 0.05, memorizer, -1)
    found = agreement(Reached(landing, memorizer, control, **sets(200, range(100), range(100, 200))))
    assert found.p_value.value < 1e-3 and found.control.value == 0.0
    assert found.share.lower > found.chance


def test_without_a_control_it_is_unscored() -> None:
    masks = {**sets(3, range(3), range(0)), "control_set": None}
    found = agreement(Reached(np.array([0, 1]), np.array([0, 2]), None, **masks))
    assert found.control.value is None and found.p_value.value is None and found.control_reached == 0
    assert "no held-out images" in (found.p_value.unscored or "")
    assert found.training_reached == 1


def test_no_probe_leaves_shares_unscored() -> None:
    none = np.empty(0, np.int64)
    found = agreement(Reached(none, none, none, **sets(4, range(2), range(2, 4))))
    assert found.share.value is None and found.control.value is None and found.chance == 0.0
    assert found.p_value.value == 1.0


def test_landing_nowhere_agrees_with_nothing() -> None:
    assert together(np.array([-1, 2, 3]), np.array([-1, 2, 1])).tolist() == [False, True, False]


def test_the_sign_test_is_exact() -> None:
    assert sign_test(0, 0, 100, 100).value == 1.0
    assert sign_test(5, 0, 100, 100).value == pytest.approx(0.5**5)
    assert sign_test(5, 0, 300, 100).value == pytest.approx(0.75**5)  # more training than held-out items
    assert sign_test(5, 0, 100, 300).value == pytest.approx(0.5**5)  # fewer: 1/4 would make false claims
    values = [sign_test(hits, 7, 100, 100).value for hits in range(40)]
    assert all(np.diff(values) < 0)  # more training items never look less favoured


def reached_by_chance(
    rng: np.random.Generator, n: int, m: int, blur: float, hub: float, favour: float = 0.0
) -> tuple[int, int]:
    """T and D of a generalising checkpoint: it lands near where noise points, on popular images more often.

    It sees all images, of both sides, through noise of its own; `favour` adds to training images' appeal.
    """
    images = unit(rng.standard_normal((n + m, 4)))
    training = np.zeros(n + m, bool)
    training[rng.permutation(n + m)[:n]] = True
    noise = unit(rng.standard_normal((400, 4)))
    similarity = noise @ images.T
    memorizer = np.where(training, similarity, -9).argmax(axis=1)
    control = np.where(training, -9, similarity).argmax(axis=1)
    blurred = unit(noise + blur * rng.standard_normal(noise.shape)) @ images.T
    appeal = hub * rng.exponential(size=n + m) + favour * training
    landing = (blurred + appeal).argmax(axis=1)
    masks = {"training": training, "holdout": ~training, "control_set": ~training}
    found = agreement(Reached(landing, memorizer, control, **masks))
    return found.training_reached, found.control_reached


@pytest.mark.parametrize(("n", "m"), [(100, 100), (100, 300), (300, 100), (30, 30)])
@pytest.mark.parametrize(("blur", "hub"), [(0.1, 0.0), (1.0, 0.0), (0.3, 0.3)])
def test_a_checkpoint_that_knows_no_labels_is_rarely_accused(n: int, m: int, blur: float, hub: float) -> None:
    rng = np.random.default_rng(3)
    p = [sign_test(*reached_by_chance(rng, n, m, blur, hub), n, m).value for _ in range(REPETITIONS)]
    assert np.mean(np.array(p) <= 0.05) <= 0.05 + 2 * math.sqrt(0.05 * 0.95 / REPETITIONS)


def test_a_null_share_of_a_quarter_would_accuse_it() -> None:
    # Why the null share is never below 1/2: with 100 training and 300 held-out images each memorizer still reaches one
    # image per probe, so about as many of either are reached together, and not a quarter.
    rng = np.random.default_rng(4)
    reached = [reached_by_chance(rng, 100, 300, 1.0, 0.0) for _ in range(100)]
    accused = [binomtest(t, t + d, 0.25, alternative="greater").pvalue <= 0.05 for t, d in reached if t + d]
    assert np.mean(accused) > 0.15


def test_a_checkpoint_that_favours_training_images_is_found() -> None:
    rng = np.random.default_rng(5)
    reached = [reached_by_chance(rng, 100, 100, 0.1, 0.0, favour=0.1) for _ in range(20)]
    assert np.mean([sign_test(t, d, 100, 100).value <= 0.05 for t, d in reached]) > 0.9
