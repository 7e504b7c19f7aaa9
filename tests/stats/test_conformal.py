"""What covariates explain of a score: by definition, blind to order, unmoved by a few that stand out."""

from __future__ import annotations

import numpy as np
import pytest

from auditor.stats.conformal import PENALTIES, conformal_p_values, unexplained


def test_leave_one_out_by_definition() -> None:
    draw = np.random.default_rng(0)
    x, y = draw.standard_normal((40, 3)), draw.standard_normal(40)
    y += x @ [1.0, -0.5, 0.0]
    z = (x - x.mean(0)) / x.std(0)
    best = None
    for penalty in PENALTIES * 40:
        left = np.empty(40)
        for row in range(40):  # refit without the row, its intercept free
            rest = np.arange(40) != row
            design = np.column_stack([np.ones(39), z[rest]])
            solved = np.linalg.solve(design.T @ design + np.diag([0, *[penalty] * 3]), design.T @ y[rest])
            left[row] = y[row] - np.append(1.0, z[row]) @ solved
        best = left if best is None or (left**2).mean() < (best**2).mean() else best
    assert unexplained(y, x) == pytest.approx(best, abs=1e-9)


def test_explained_scores_leave_little_and_unexplained_ones_stay() -> None:
    draw = np.random.default_rng(1)
    length = draw.integers(1, 20, 300).astype(float)
    noise = draw.standard_normal(300)
    left = unexplained(3 * length + noise, np.column_stack([length, draw.standard_normal(300)]))
    assert np.corrcoef(left, noise)[0, 1] > 0.99
    # without anything to explain, what is left is the score but for a shift
    alone = unexplained(noise, draw.standard_normal((300, 30)))
    assert np.corrcoef(alone, noise)[0, 1] > 0.97


def test_a_few_that_stand_out_do_not_bend_the_rest() -> None:
    draw = np.random.default_rng(2)
    x = draw.standard_normal((200, 4))
    y = x[:, 0] + 0.1 * draw.standard_normal(200)
    y[:20] += 50
    left = unexplained(y, x)
    assert left[:20].min() > 40
    assert np.abs(left[20:] - np.median(left[20:])).max() < 5


def test_order_does_not_matter() -> None:
    draw = np.random.default_rng(3)
    x, y, order = draw.standard_normal((50, 5)), draw.standard_normal(50), draw.permutation(50)
    assert unexplained(y[order], x[order]) == pytest.approx(unexplained(y, x)[order])


@pytest.mark.parametrize("count", [0, 1, 19])
def test_few_rows_are_left_as_they_are(count: int) -> None:
    y = np.random.default_rng(4).standard_normal(count)
    left = unexplained(y, np.ones((count, 2)))
    assert left == pytest.approx(y - (np.median(y) if count else 0))


def test_constant_scores_and_constant_covariates() -> None:
    assert unexplained(np.full(30, 2.0), np.zeros((30, 3))) == pytest.approx(np.zeros(30))
    y = np.arange(30.0)
    left = unexplained(y, np.ones((30, 3)))
    # nothing but the mean of the others is left to predict by
    assert left == pytest.approx([value - (y.sum() - value) / 29 for value in y])


def test_p_values_with_ties_and_without_controls() -> None:
    # at least as high: 0, 1, 3 of 3
    assert conformal_p_values(np.array([4.0, 3.0, 1.0]), np.array([1.0, 2.0, 3.0])) == pytest.approx([1 / 4, 2 / 4, 1])
    assert conformal_p_values(np.array([4.0]), np.array([])) == pytest.approx([1])
