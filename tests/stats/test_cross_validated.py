"""The permutation test of a whole cross-validation: against plain refits, exact under the null, finds what is there."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import Ridge

from auditor.stats import cross_validated
from auditor.stats.cross_validated import PermutationTest, cross_validated_test


def plain_statistic(x: np.ndarray, is_first: np.ndarray, parts: list[np.ndarray]) -> float:
    """The definition, by scikit-learn: fit on the other folds, compare the means of the two sets on this one."""
    differences = []
    for part in parts:
        kept = np.setdiff1d(np.arange(len(x)), part)
        penalty = ((x[kept] - x[kept].mean(0)) ** 2).sum() / x.shape[1]
        scores = Ridge(alpha=penalty, solver="svd").fit(x[kept], is_first[kept].astype(float)).predict(x[part])
        differences.append(scores[is_first[part]].mean() - scores[~is_first[part]].mean())
    return float(np.mean(differences))


def test_the_statistic_and_its_permutations_are_full_refits(monkeypatch: pytest.MonkeyPatch):
    draw = np.random.default_rng(1)
    x, is_first = draw.normal(size=(43, 7)), np.arange(43) < 22
    x[is_first] += 0.5
    seen: list[tuple[np.ndarray, list[np.ndarray], np.ndarray]] = []
    compute = cross_validated._statistic

    def watch(labels, parts, learners):
        result = compute(labels, parts, learners)
        seen.append((labels, parts, result))
        return result

    monkeypatch.setattr(cross_validated, "_statistic", watch)
    cross_validated_test(x, is_first, np.random.default_rng(2), permutations=6)
    for labels, parts, result in seen:
        for column, value in zip(labels.T, result, strict=True):
            assert value == pytest.approx(plain_statistic(x, column, parts), abs=1e-12)
            assert [int(column[part].sum()) for part in parts] == [int(is_first[part].sum()) for part in parts]
    assert sum(labels.shape[1] for labels, _, _ in seen) == 7


def test_blocks_of_permutations_do_not_change_the_count(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(cross_validated, "ENTRIES", 100)
    x = np.random.default_rng(3).normal(size=(40, 3))
    assert len(cross_validated_test(x, np.arange(40) < 20, np.random.default_rng(4), permutations=9).permuted) == 9


def test_p_values_count_ties_and_the_statistic_itself():
    assert PermutationTest(1.0, np.array([0.0, 1.0, 2.0])).p_value == pytest.approx(3 / 4)
    assert PermutationTest(5.0, np.array([0.0, 1.0, 2.0])).p_value == pytest.approx(1 / 4)
    constant = cross_validated_test(np.ones((20, 2)), np.arange(20) < 10, np.random.default_rng(5), permutations=19)
    assert constant.p_value == 1 and constant.deviations == 0


def test_a_difference_is_found_and_a_difference_of_noise_alone_is_not():
    draw, found, false = np.random.default_rng(6), 0, 0
    for _ in range(100):
        x, is_first = draw.normal(size=(100, 8)), np.arange(100) < 50
        false += cross_validated_test(x, is_first, draw, permutations=99).p_value <= 0.05
        x[is_first, 3] += 1
        found += cross_validated_test(x, is_first, draw, permutations=99).p_value <= 0.05
    assert found >= 95
    assert false <= 12  # of 100 at 5%: beyond it with probability 0.002


def test_too_few_rows_are_refused():
    with pytest.raises(ValueError, match="at least 5 of each"):
        cross_validated_test(np.ones((9, 1)), np.arange(9) < 4, np.random.default_rng(7))
