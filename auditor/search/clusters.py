"""k-means on unit vectors, to say where in a data set something happens."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from auditor.errors import ConfigError
from auditor.search.index import check_comparable, import_faiss, unit_blocks
from auditor.search.rows import Rows

ROUNDS = 25
MOST_PER_CLUSTER = 1_024  # vectors per cluster that the centres are fitted to; every vector is assigned


def kmeans(vectors: Rows, k: int, seed: int) -> NDArray[np.int64]:
    """Int64[N]: spherical k-means cluster of each vector, numbered 0..k-1 by falling size.

    The same vectors, k and seed give the same clusters. A cluster may be empty where vectors repeat.

    Args:
      vectors: Unit vectors Float32[N D], N >= k.
      k: Clusters, at least 1.
      seed: Of the choice of first centres, and of the sample they are fitted to where N exceeds 1,024 k.

    Raises:
      ConfigError: k < 1 or k > N.
      DataError: Not float32, or a row is no unit vector.

    Source:
      Dhillon and Modha 2001, Machine Learning 42, with FAISS's Lloyd rounds.
    """
    check_comparable(vectors=vectors)
    if not 1 <= k <= len(vectors):
        raise ConfigError("clusters", k, f"1 to {len(vectors):,}, the number of images", "Ask for fewer clusters.")
    held = np.concatenate([block for _, block in unit_blocks(vectors, 65_536, "vectors")])
    model = import_faiss().Kmeans(
        held.shape[1],
        k,
        niter=ROUNDS,
        seed=seed,
        spherical=True,
        min_points_per_centroid=1,
        max_points_per_centroid=MOST_PER_CLUSTER,
    )
    model.train(held)
    index = import_faiss().IndexFlatIP(held.shape[1])
    index.add(model.centroids)
    nearest: NDArray[np.int64] = index.search(held, 1)[1][:, 0]
    rank = np.empty(k, np.int64)
    rank[np.argsort(-np.bincount(nearest, minlength=k), kind="stable")] = np.arange(k)
    numbered: NDArray[np.int64] = rank[nearest]
    return numbered
