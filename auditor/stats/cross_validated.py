"""Do two sets differ in a way that shows on rows left out? An exact permutation test of a whole cross-validation.

    x        Float64[N D] signals, labels not seen
    d_k      mean difference of the two sets' held-out rows in fold k, along the direction learned from the other folds
    T        mean of d_k over the folds: the statistic; large = the sets differ, and alike in every fold

The direction is ridge regression's (equivalently, regularised linear discriminant analysis), for which a refit under
other labels is one matrix product. So labels are permuted through every fit, not only through the final comparison:
out-of-fold scores depend on each other, and a t test of them is not of its nominal level.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

ENTRIES = 4_000_000  # of a block of permuted labels, which bounds the memory


@dataclass(frozen=True)
class PermutationTest:
    """A statistic among its values under permuted labels.

    Attributes:
      statistic: T under the true labels.
      permuted: Float64[B], T under permuted ones.
    """

    statistic: float
    permuted: NDArray[np.float64]

    @property
    def p_value(self) -> float:
        """One-sided, (1 + #{permuted >= statistic}) / (B + 1): exact for exchangeable labels; a tie counts against."""
        reached = self.permuted >= self.statistic - 1e-12 * max(abs(self.statistic), 1e-300)
        return float((1 + reached.sum()) / (1 + len(self.permuted)))

    @property
    def deviations(self) -> float:
        """How many standard deviations of the permuted values T lies above their mean."""
        spread = float(self.permuted.std())
        return float(self.statistic - self.permuted.mean()) / spread if spread > 0 else 0.0


def cross_validated_test(
    x: NDArray[np.float64],
    is_first: NDArray[np.bool_],
    draw: np.random.Generator,
    *,
    permutations: int = 999,
    folds: int = 5,
) -> PermutationTest:
    """Test that the rows of two sets are exchangeable, against a difference that carries over to rows left out.

    Rows are dealt to folds at random, each set evenly, and labels are permuted within folds: given the folds, every
    such arrangement is equally likely if the sets are exchangeable. The penalty depends on the signals alone, so the
    test is exact whatever it is.

    Args:
      x: Float64[N D] on comparable scales.
      is_first: Bool[N], the rows of the set in question; at least ``folds`` of each.
      draw: Of folds and permutations.
      permutations: B; p-values are multiples of 1 / (B + 1).
      folds: Parts left out in turn.

    Raises:
      ValueError: Fewer rows of either set than folds.
    """
    if min(is_first.sum(), (~is_first).sum()) < folds:
        raise ValueError(f"rows: got {is_first.sum()} and {(~is_first).sum()}; expected at least {folds} of each")
    parts = _deal(is_first, draw, folds)
    learners = [_learner(x, part) for part in parts]
    statistic = _statistic(is_first[:, None], parts, learners)
    block, permuted = max(1, ENTRIES // len(x)), []
    for start in range(0, permutations, block):
        labels = np.empty((len(x), min(block, permutations - start)), np.bool_)
        for part in parts:
            labels[part] = draw.permuted(np.repeat(is_first[part, None], labels.shape[1], 1), axis=0)
        permuted.append(_statistic(labels, parts, learners))
    return PermutationTest(float(statistic[0]), np.concatenate(permuted))


Learner = tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.int64]]  # see _learner


def _deal(is_first: NDArray[np.bool_], draw: np.random.Generator, folds: int) -> list[NDArray[np.int64]]:
    fold_of = np.empty(len(is_first), np.int64)
    for side in (is_first, ~is_first):
        fold_of[draw.permutation(np.flatnonzero(side))] = np.arange(side.sum()) % folds
    return [np.flatnonzero(fold_of == fold) for fold in range(folds)]


def _learner(x: NDArray[np.float64], part: NDArray[np.int64]) -> Learner:
    """(A, held, kept): out-of-fold scores of the part under labels y are held @ (A @ y[kept]).

    A = (X'X + penalty)^-1 X' with X the kept rows, centred; centring the labels as well would change nothing. The
    penalty is the mean power of a signal: strong, for a direction from few rows is mostly noise (measured in
    decisions/0066), yet a contrast of two correlated signals survives it.
    """
    kept = np.setdiff1d(np.arange(len(x)), part)
    centred = x[kept] - x[kept].mean(0)
    left, singular, axes = np.linalg.svd(centred, full_matrices=False)
    penalty = max(float((singular**2).sum()) / x.shape[1], 1e-300)
    return (axes.T * (singular / (singular**2 + penalty))) @ left.T, x[part] - x[kept].mean(0), kept


def _statistic(
    labels: NDArray[np.bool_], parts: list[NDArray[np.int64]], learners: list[Learner]
) -> NDArray[np.float64]:
    """T for every column of labels, Float64[B]."""
    total = np.zeros(labels.shape[1])
    for part, (learn, held, kept) in zip(parts, learners, strict=True):
        scores = held @ (learn @ labels[kept].astype(np.float64))
        ours = labels[part]
        first, count = (scores * ours).sum(0), int(ours[:, 0].sum())
        total += first / count - (scores.sum(0) - first) / (len(part) - count)
    return np.asarray(total / len(parts), np.float64)
