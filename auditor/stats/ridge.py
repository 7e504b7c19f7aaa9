"""Ridge regression of a label on features, with a penalty that the fitted data choose."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

PENALTIES = np.geomspace(1e-4, 1e3, 15)  # times the number of rows
OUTLIER = 8  # standard deviations to which features are pulled in


def ridge_scores(
    training: NDArray[np.floating], is_member: NDArray[np.bool_], scored: NDArray[np.floating]
) -> NDArray[np.float64]:
    """Scores of rows by a ridge regression of the label, larger = more like a member; Float64[M].

    Features are standardised by the training rows; the regression is equivalent to regularised linear discriminant
    analysis. The penalty is chosen by generalised cross-validation (Golub, Heath and Wahba 1979) on the training rows.
    There is no intercept: a row like the average training row scores 0.

    Args:
      training: Float[N D], the rows to learn from.
      is_member: Bool[N], both values present.
      scored: Float[M D], the rows to score.
    """
    mean, deviation = training.mean(0, np.float64), training.std(0, dtype=np.float64)
    deviation[deviation < 1e-9] = math.inf  # constant in the training rows: says nothing
    x = _standardise(training, mean, deviation)
    x -= x.mean(0)
    y = is_member - is_member.mean()
    power, axes = np.linalg.eigh(x.T @ x)
    power = np.maximum(power, 0)
    projection = axes.T @ (x.T @ y)
    penalty = PENALTIES[:, None] * len(x)
    shrunk = projection / (power + penalty)
    residual = y @ y - 2 * shrunk @ projection + (shrunk**2 * power).sum(1)
    freedom = len(x) - 1 - (power / (power + penalty)).sum(1)
    best = int(np.argmin(residual / freedom**2))
    return np.asarray(_standardise(scored, mean, deviation) @ (axes @ shrunk[best]))


def _standardise(
    features: NDArray[np.floating], mean: NDArray[np.float64], deviation: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Deviations from the mean in standard deviations, outliers pulled in."""
    return np.asarray(np.clip((features - mean) / deviation, -OUTLIER, OUTLIER))
