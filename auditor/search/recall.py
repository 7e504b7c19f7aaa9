"""How many of the nearest rows an approximate index finds: measured on it, by exact search of a sample of queries."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from auditor.errors import ConfigError
from auditor.probes import generator
from auditor.search.approximate import ApproximateIndex
from auditor.search.exact import Neighbours, nearest_neighbours
from auditor.stats.intervals import clopper_pearson
from auditor.store.parts import Estimate

SAMPLE = 1_000  # queries: with 990 hits the lower bound is 0.982


def measure_recall(
    index: ApproximateIndex,
    k: int,
    *,
    queries: NDArray[np.float32] | None = None,
    sample: int = SAMPLE,
    level: float = 0.95,
    seed: str = "recall",
) -> Estimate:
    """Recall at k: the probability that one of a query's k nearest rows, drawn at random, is found; kept in the index.

    Each query gives one trial. Its k neighbours are found or missed together, so counting all of them would claim k
    times the evidence; one drawn from them keeps the trials independent, and their mean is the recall all the same. A
    row as similar as the one drawn counts as found.

    Args:
      index: Searched as it stands. A change of ``probes`` voids the result.
      k: Neighbours, at least 1.
      queries: Unit vectors Float32[Q D] like those that will be looked up, from none of which the settings were
        chosen. None takes rows of the index itself, each without itself: it would find itself in any list.
      sample: Queries at most, a seeded choice; one exact pass over all rows serves them all.
      level: Of the two-sided interval.
      seed: Of the choice of queries and of neighbours.

    Returns:
      A share with its Clopper-Pearson interval; unscored without queries or other rows.
    """
    if sample < 1 or k < 1:
        raise ConfigError("sample and k", (sample, k), "at least 1", "Ask for one or more.")
    own = queries is None
    source = index.vectors if queries is None else queries
    chosen = np.sort(generator(seed, "recall").choice(len(source), min(sample, len(source)), replace=False))
    asked = np.ascontiguousarray(source[chosen])
    k = min(k, len(index) - own)
    name = f"recall at {k}"
    if k == 0 or len(asked) == 0:
        return Estimate(name=name, value=None, n=0, unscored="no query has another row to find")
    exact, found = nearest_neighbours(asked, index.vectors, k + own), index.search(asked, k + own)
    if own:
        exact, found = _without(exact, chosen, k), _without(found, chosen, k)
    drawn = generator(seed, "neighbour").integers(0, k, len(asked))[:, None]
    same = found.index == np.take_along_axis(exact.index, drawn, axis=1)
    as_near = found.similarity == np.take_along_axis(exact.similarity, drawn, axis=1)
    hits = int((same | as_near).any(axis=1).sum())
    lower, upper = clopper_pearson(hits, len(asked), level)
    whose = "rows of the index, each without itself" if own else "queries given"
    estimate = Estimate(
        name=name, value=hits / len(asked), lower=lower, upper=upper, level=level, n=len(asked), unit="share",
        method=f"one neighbour drawn per query, {whose}; Clopper-Pearson",
    )  # fmt: skip
    index.keep(recall={k: estimate})
    return estimate


def _without(found: Neighbours, rows: NDArray[np.int64], k: int) -> Neighbours:
    """The first k neighbours of each row other than itself."""
    other = found.index != rows[:, None]
    order = np.argsort(~other, axis=1, kind="stable")[:, :k]
    return Neighbours(
        np.take_along_axis(found.similarity, order, axis=1), np.take_along_axis(found.index, order, axis=1)
    )
