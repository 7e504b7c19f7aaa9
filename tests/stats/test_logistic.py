"""Penalised logistic regression against scikit-learn and against its own optimality conditions."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import expit
from sklearn.linear_model import LogisticRegression

from auditor.stats.logistic import fit_logistic


def sample(seed: int, n: int = 200, d: int = 6) -> tuple[np.ndarray, np.ndarray]:
    draw = np.random.default_rng(seed)
    x = draw.normal(size=(n, d))
    x[:, 1] = x[:, 0] + 0.1 * x[:, 1]  # signals repeat each other
    return x, draw.random(n) < expit(x[:, 0] - 0.5 * x[:, 2] - 0.7)


@pytest.mark.parametrize("penalty", [1e-2, 1.0, 50.0])
def test_it_is_the_regression_of_scikit_learn(penalty: float):
    x, y = sample(1)
    ours = fit_logistic(x, y, penalty)
    theirs = LogisticRegression(C=1 / penalty, tol=1e-10, max_iter=10_000).fit(x, y)
    # lbfgs stops at a gradient of 1e-10 on a curvature of at least the penalty
    assert np.abs(ours.weights - theirs.coef_[0]).max() < 1e-4
    assert abs(ours.intercept - theirs.intercept_[0]) < 1e-4
    assert np.abs(ours.log_odds(x) - theirs.decision_function(x)).max() < 1e-3


@pytest.mark.parametrize("penalty", [1e-6, 1e-2, 1.0])
def test_the_gradient_vanishes_even_where_the_sides_separate(penalty: float):
    x = np.random.default_rng(2).normal(size=(60, 3))
    y = x[:, 0] > 0.2
    fit = fit_logistic(x, y, penalty)
    residual = expit(fit.log_odds(x)) - y
    assert np.abs(x.T @ residual + penalty * fit.weights).max() < 1e-5
    assert abs(residual.sum()) < 1e-5


def test_without_signals_the_odds_are_the_share():
    y = np.arange(10) < 3
    assert fit_logistic(np.empty((10, 0)), y, 1.0).intercept == pytest.approx(np.log(3 / 7))


def test_one_side_alone_is_refused():
    with pytest.raises(ValueError, match="0 of 5 positive"):
        fit_logistic(np.ones((5, 1)), np.zeros(5, bool), 1.0)
