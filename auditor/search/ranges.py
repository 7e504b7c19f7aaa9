"""Range search: every pool row that is similar enough to a query, streamed.

Plain matrix products by tiles. FAISS's range search takes several times as long for the few pairs that are wanted, and
has no GPU form.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from auditor.errors import ConfigError
from auditor.search.index import check_comparable, inner_products, rounding, unit_blocks
from auditor.search.rows import Rows

QUERY_ROWS, POOL_ROWS = 1_024, 8_192  # of one tile of similarities: 32 MB


class Within(NamedTuple):
    """Pairs of a query and a pool row, E >= 1 of them, sorted by query, then row."""

    query: NDArray[np.int64]  # [E]
    row: NDArray[np.int64]  # [E]
    similarity: NDArray[np.float64]  # [E]


def within(
    queries: Rows, pool: Rows, threshold: float | NDArray[np.float64], *, block_rows: int = POOL_ROWS
) -> Iterator[Within]:
    """Every pair of a query and a pool row with similarity >= threshold, each once, tile by tile.

    A query that is itself in the pool finds itself.

    Args:
      queries: Unit vectors, Float32[Q D], held in memory.
      pool: Unit vectors, Float32[N D], an ``np.memmap`` or shards; streams through once.
      threshold: Least similarity, compared in float64; one, or Float64[Q] of each query its own.
      block_rows: Pool rows of a tile, which has at most 1,024 queries. Memory is one tile and the pairs found in it.

    Yields:
      :class:`Within`, never empty, similarities in float64. The order of all pairs together depends on ``block_rows``,
      their set does not.

    Raises:
      DataError: Not float32, not unit vectors (|norm - 1| > 1e-3, NaN), or D differs.
      ConfigError: A threshold that is no number, or not one for each query.
    """
    check_comparable(queries=queries, pool=pool)
    if (np.ndim(threshold) and np.shape(threshold) != (len(queries),)) or np.isnan(threshold).any():
        expected = f"a number, or {len(queries)} of them"
        raise ConfigError("threshold", threshold, expected, "Give similarities from -1 to 1.")
    floors = np.broadcast_to(np.asarray(threshold, np.float64), (len(queries),))
    below = (floors - rounding(pool.shape[1])).astype(np.float32)[:, None]
    held = [(start, block) for start, block in unit_blocks(queries, QUERY_ROWS, "queries")]
    for start, block in unit_blocks(pool, block_rows, "pool"):
        for first, few in held:
            query, row = np.nonzero(few @ block.T >= below[first : first + len(few)])
            similarity = inner_products(few, block, row, query)
            near = similarity >= floors[first + query]
            if near.any():
                yield Within(query[near] + first, row[near] + start, similarity[near])
