"""Logistic regression with a quadratic penalty, fitted by Newton's method."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, log_expit

STEPS = 100  # Newton needs 5 to 10; more only where the penalty is next to nothing and the sides separate
HALVINGS = 40
TOLERANCE = 1e-10  # of the penalised deviance, relative


@dataclass(frozen=True)
class Logistic:
    """P(y = 1 | x) = 1 / (1 + exp(-(x . weights + intercept)))."""

    weights: NDArray[np.float64]  # [D]
    intercept: float

    def log_odds(self, x: NDArray[np.float64]) -> NDArray[np.float64]:
        """x . weights + intercept of Float64[N D] rows, Float64[N]."""
        return np.asarray(x @ self.weights + self.intercept, np.float64)


def fit_logistic(x: NDArray[np.float64], y: NDArray[np.bool_], penalty: float) -> Logistic:
    """The minimiser of sum_i -log P(y_i | x_i) + penalty / 2 |weights|^2; the intercept is not penalised.

    Newton's steps, halved until the sum falls (it is convex, and strictly so for a penalty above 0, so the minimiser
    is unique even where the sides separate or signals repeat each other).

    Args:
      x: Float64[N D], on comparable scales: one penalty serves all columns. D may be 0.
      y: Bool[N], both values present.
      penalty: > 0; scikit-learn's 1 / C.

    Raises:
      ValueError: y has one value only (the intercept would run away), or the penalty is not positive.
    """
    if y.all() or not y.any() or penalty <= 0:
        raise ValueError(f"logistic fit: got {int(y.sum())} of {len(y)} positive, penalty {penalty}; expected both > 0")
    design = np.column_stack([x, np.ones(len(x))])
    ridge = np.append(np.full(x.shape[1], penalty), 0.0)
    sign = np.where(y, 1.0, -1.0)
    solution = np.append(np.zeros(x.shape[1]), np.log(y.mean() / (1 - y.mean())))

    def deviance(at: NDArray[np.float64]) -> float:
        return float(-log_expit(sign * (design @ at)).sum() + (ridge * at**2).sum() / 2)

    now = deviance(solution)
    for _ in range(STEPS):
        share = expit(design @ solution)
        gradient = design.T @ (share - y) + ridge * solution
        curvature = (design * (share * (1 - share))[:, None]).T @ design + np.diag(ridge)
        curvature[-1, -1] += 1e-12  # the intercept's curvature vanishes where every row is settled
        step = np.linalg.solve(curvature, gradient)
        before = now
        for halving in range(HALVINGS):
            now = deviance(solution - step / 2**halving)
            if now <= before:
                solution = solution - step / 2**halving
                break
        if now >= before - TOLERANCE * max(abs(before), 1.0):
            break
    return Logistic(solution[:-1], float(solution[-1]))
