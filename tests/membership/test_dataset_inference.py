"""Dataset inference: uniform where nothing was used, by real scores; finds what was; withheld where images differ."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy.stats import binom, kstest

from auditor.membership.combined import robust_scale, signals_of
from auditor.membership.dataset_inference import Evidence, conclude, infer, power_by_size, smallest_size
from auditor.stats.cross_validated import cross_validated_test
from tests.swept import swept

SPLITS = 500


@pytest.fixture(scope="module")
def heldout(request: pytest.FixtureRequest) -> Evidence:
    """600 real images that general-a never saw."""
    fixtures = Path(request.config.rootpath) / "fixtures"
    found = swept(fixtures, "general-a", "nonmembers", 600)
    return Evidence(signals_of(found.table.scores), found.statistics)


def null_p_values(x: np.ndarray, stream: int, size: int, *, permutations: int = 199) -> np.ndarray:
    """One-sided p-values of 500 random splits of held-out images into suspects and others."""
    p_values = np.empty(SPLITS)
    for split in range(SPLITS):
        draw = np.random.default_rng([stream, split])
        rows = draw.permutation(len(x))[: 2 * size]
        chosen = robust_scale(x[rows])(x[rows])
        test = cross_validated_test(chosen, np.arange(2 * size) < size, draw, permutations=permutations)
        p_values[split] = test.p_value
    return p_values


def spread(p_values: np.ndarray, permutations: int = 199) -> np.ndarray:
    """Uniform where p-values are uniform on the multiples of 1 / (B + 1): each moves within the step below it."""
    return p_values - np.random.default_rng(0).random(len(p_values)) / (permutations + 1)


@pytest.mark.parametrize("size", [20, 300])
def test_p_values_of_real_images_that_were_not_used_are_uniform(heldout: Evidence, size: int):
    """Also the rejections at 5%: 500 of them exceed the 99.9% quantile of a binomial once in a thousand runs."""
    p_values = null_p_values(heldout.signals, size, size)
    assert kstest(spread(p_values), "uniform").pvalue > 0.001
    rejected = int((p_values <= 0.05).sum())
    assert binom.ppf(0.001, SPLITS, 0.05) <= rejected <= binom.ppf(0.999, SPLITS, 0.05)


def test_blind_p_values_of_images_of_one_origin_are_uniform(heldout: Evidence):
    p_values = null_p_values(heldout.blind, 7, 40, permutations=99)
    assert kstest(spread(p_values, 99), "uniform").pvalue > 0.001


def test_a_t_test_of_out_of_fold_scores_would_not_be_uniform(heldout: Evidence):
    """The control of the tests above, and why labels are permuted through the fits: Welch's test at its nominal 5%.

    Scores are out of fold, by the same learners; only the reference distribution is another.
    """
    from scipy.stats import ttest_ind
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedKFold, cross_val_predict

    p_values, size = np.empty(SPLITS), 60
    for split in range(SPLITS):
        rows = np.random.default_rng([3, split]).permutation(len(heldout.signals))[: 2 * size]
        x, y = robust_scale(heldout.signals[rows])(heldout.signals[rows]), np.arange(2 * size) < size
        folds = StratifiedKFold(5, shuffle=True, random_state=split)
        scores = cross_val_predict(LogisticRegression(C=0.1), x, y, cv=folds, method="decision_function")
        p_values[split] = ttest_ind(scores[y], scores[~y], equal_var=False, alternative="greater").pvalue
    assert kstest(p_values, "uniform").pvalue < 1e-6


def test_a_used_set_is_found_and_the_size_that_would_have_been_caught(fixtures: Path):
    """The power control: 128 members of ``memorized``, and 300 of ``partial``, of which one in fifty was repeated."""
    for name, count in (("memorized", 128), ("partial", 300)):
        ours, theirs = swept(fixtures, name, "members", count), swept(fixtures, name, "nonmembers", 300)
        found = infer(
            Evidence(signals_of(ours.table.scores), ours.statistics),
            Evidence(signals_of(theirs.table.scores), theirs.statistics),
            "seed",
            listed=False,
        )
        assert found.outcome == "used", name
        assert found.p_value <= 0.01 < 0.05 < found.blind_p_value
        assert found.familiarity > 0.5
        assert (found.suspects, found.heldout) == (count, 300)
        assert found.sizes[0].records == 20
        if name == "memorized":
            assert found.caught_at_1pct == found.caught_at_5pct == 20
            assert len(found.sizes) == 1  # every set of 20 was caught: larger ones need not be tried
        else:
            assert found.sizes[0].caught_at_5pct < 0.8 and len(found.sizes) == 3


def test_held_out_images_are_not_called_used(heldout: Evidence):
    halves = [Evidence(heldout.signals[rows], heldout.blind[rows]) for rows in (slice(0, 300), slice(300, None))]
    found = infer(*halves, "seed", listed=True)
    assert found.outcome == "not shown" and found.p_value > 0.01
    assert found.caught_at_1pct is None and [size.records for size in found.sizes] == [20, 50, 100]
    assert all(size.caught_at_1pct < 0.1 for size in found.sizes)


def test_the_same_seed_gives_the_same_answer(heldout: Evidence):
    parts = [Evidence(heldout.signals[rows], heldout.blind[rows]) for rows in (slice(0, 30), slice(30, 60))]
    assert infer(*parts, "seed", listed=True) == infer(*parts, "seed", listed=True)
    assert infer(*parts, "seed", listed=True) != infer(*parts, "other", listed=True)


def test_a_set_that_the_images_alone_tell_apart_is_withheld(heldout: Evidence):
    """Suspects that score higher, and are brighter as well: the checkpoint need not be why."""
    suspects = Evidence(heldout.signals[:100] + heldout.signals.std(0), heldout.blind[:100] + heldout.blind.std(0))
    found = infer(suspects, Evidence(heldout.signals[100:200], heldout.blind[100:200]), "seed", listed=True)
    assert found.p_value <= 0.01 and found.blind_p_value <= 0.05
    assert found.outcome == "withheld" and "images alone" in found.statement


def test_suspects_that_are_less_familiar_are_not_called_used(heldout: Evidence):
    suspects = Evidence(heldout.signals[:100] - heldout.signals.std(0), heldout.blind[:100])
    found = infer(suspects, Evidence(heldout.signals[100:200], heldout.blind[100:200]), "seed", listed=True)
    assert found.p_value <= 0.01 and found.familiarity < 0.5
    assert found.outcome == "withheld" and "familiar" in found.statement


def test_conclusions_at_their_limits():
    assert conclude(0.01, 0.051, 0.501)[0] == "used"
    assert conclude(0.011, 0.9, 0.9)[0] == "not shown"
    assert conclude(0.01, 0.05, 0.9)[0] == "withheld"
    assert conclude(0.01, 0.9, 0.5)[0] == "withheld"


def test_fewer_than_twenty_records_are_not_tested(heldout: Evidence):
    few = Evidence(heldout.signals[:19], heldout.blind[:19])
    found = infer(few, heldout, "seed", listed=True)
    assert found.outcome == "not tested" and found.p_value is None and "19 suspect" in found.statement


def test_sizes_between_those_tested_are_interpolated_over_log_size():
    assert smallest_size([(20, 0.9)]) == 20
    assert smallest_size([(20, 0.1), (50, 0.79)]) is None
    assert smallest_size([]) is None
    # 0.8 lies halfway between 0.7 and 0.9; halfway between log 50 and log 200 lies log 100
    assert smallest_size([(20, 0.2), (50, 0.7), (200, 0.9)]) == 100
    # a dip counts for nothing: 0.7 was reached before
    assert smallest_size([(50, 0.7), (100, 0.5), (400, 0.9)]) == 200


def test_subsets_stop_at_half_of_the_records():
    x = np.random.default_rng(0).normal(size=(100, 3))
    assert [size.records for size in power_by_size(x, x + 0.01, "seed")] == [20, 50]
    assert power_by_size(x[:39], x[:39], "seed") == []
