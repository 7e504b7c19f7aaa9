"""p-values by rank among controls, and what covariates explain of a score, both without assuming a distribution."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

PENALTIES = np.geomspace(1e-3, 1e4, 15)  # times the number of rows
OUTLIER = 8.0  # standard deviations to which covariates are pulled in
ROBUST = 4.0  # scaled median deviations to which responses are pulled in before anything is fitted to them
MAD_TO_DEVIATION = 1.4826


def conformal_p_values(scores: NDArray[np.float64], nonmembers: NDArray[np.float64]) -> NDArray[np.float64]:
    """(1 + #{non-members scoring at least as high}) / (m + 1), Float64[N]; never below 1 / (m + 1).

    Source:
      Bates, Candes, Lei, Romano and Sesia 2023, arXiv 2104.08279, equation 1.
    """
    below = np.searchsorted(np.sort(nonmembers), scores, side="left")
    return np.asarray((1 + len(nonmembers) - below) / (1 + len(nonmembers)), np.float64)


def unexplained(scores: NDArray[np.float64], covariates: NDArray[np.floating]) -> NDArray[np.float64]:
    """What is left of each score when a ridge regression on covariates has predicted it from all the others.

    Blind to labels: every row is treated alike, tested or control, so that where these are exchangeable given their
    covariates, what is left is exchangeable and conformal p-values of it are exact (Marandon, Lei, Mary and Roquain
    2022, arXiv 2208.06685, of scores learnt from the pooled sample; the false discovery rate of Benjamini-Hochberg is
    held too). Scores far from the others are pulled in before fitting, so that a few memorised ones do not bend what is
    expected of the rest; the penalty is the one with the least leave-one-out error. Fewer than 20 rows come back less
    their median.

    Args:
      scores: Float64[N], finite.
      covariates: Float[N D].
    """
    if len(scores) == 0:
        return scores
    centre = np.median(scores)
    if len(scores) < 20 or covariates.shape[1] == 0:
        return np.asarray(scores - centre)
    reach = ROBUST * MAD_TO_DEVIATION * np.median(np.abs(scores - centre))
    y = np.clip(scores, centre - reach, centre + reach) if reach > 0 else scores
    x = covariates.astype(np.float64)
    spread = x.std(0)
    x = np.clip((x - x.mean(0)) / np.where(spread < 1e-9, np.inf, spread), -OUTLIER, OUTLIER)
    axes, singular, _ = np.linalg.svd(x - x.mean(0), full_matrices=False)
    kept = np.append(np.ones(1), np.zeros(0))  # the intercept is not penalised
    axes = np.column_stack([np.full(len(y), len(y) ** -0.5), axes])
    fits = []
    for penalty in PENALTIES * len(y):
        shrunk = np.append(kept, singular**2 / (singular**2 + penalty))
        leverage = (axes**2 * shrunk).sum(1)
        predicted = (axes @ (shrunk * (axes.T @ y)) - leverage * y) / (1 - leverage)
        fits.append((float(((y - predicted) ** 2).mean()), predicted))
    return np.asarray(scores - min(fits, key=lambda fit: fit[0])[1])
