"""Exact search by inner product of unit vectors, streamed so that memory does not grow with the large side.

FAISS finds, in float32; what is reported is recomputed in float64. Exact means: no vector is skipped, and where
float32 could have confused two candidates, float64 decides. Equal similarities go to the lower index.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from auditor.errors import ConfigError
from auditor.search.index import check_comparable, flat_index, inner_products, rounding, unit_blocks

BLOCK_ROWS = 65_536
SLACK = 8  # extra candidates per query, so that most ties at the k-th place need no second pass
PAIR_ROWS, PAIR_COLUMNS = 1_024, 8_192  # of one tile of similarities: 32 MB


@dataclass(frozen=True)
class BestMatch:
    """For each item its most similar reference."""

    similarity: NDArray[np.float64]  # [N], in [-1, 1] up to the vectors' norm error
    index: NDArray[np.int64]  # [N]


@dataclass(frozen=True)
class Neighbours:
    """For each query its nearest pool rows, most similar first."""

    similarity: NDArray[np.float64]  # [Q K]
    index: NDArray[np.int64]  # [Q K]


def best_match(
    items: NDArray[np.float32], references: NDArray[np.float32], *, block_rows: int = BLOCK_ROWS
) -> BestMatch:
    """Most similar reference of every item: S_i of the copy test, with references = the generations.

    The references are the index, the items stream through as queries, so memory is one block, the references and the
    two result scalars per item.

    Args:
      items: Unit vectors, Float32[N D], may be an ``np.memmap``; N = 0 gives empty results.
      references: Unit vectors, Float32[G D], G >= 1, held in memory.
      block_rows: Items per block; memory is 4 * block_rows * D bytes. No effect on the similarities.

    Returns:
      Similarities of the winners in float64. The winner is the float32 one, so its similarity is below the true maximum
      by at most twice :func:`auditor.search.index.rounding`; byte-identical references count as their first.

    Raises:
      DataError: Not float32, not unit vectors (|norm - 1| > 1e-3, NaN), or D differs.
      ConfigError: No references, or no FAISS.
    """
    check_comparable(items=items, references=references)
    if len(references) == 0:
        raise ConfigError("references", "no rows", "at least one generation", "Generate probes first.")
    held = _held(references, block_rows, "references")
    index, first = flat_index(held), first_occurrence(held)
    similarity, winner = np.empty(len(items)), np.empty(len(items), np.int64)
    for start, block in unit_blocks(items, block_rows, "items"):
        rows = slice(start, start + len(block))
        winner[rows] = first[index.search(block, 1)[1][:, 0]]
        similarity[rows] = inner_products(block, held, winner[rows])
    return BestMatch(similarity, winner)


def nearest_neighbours(
    queries: NDArray[np.float32], pool: NDArray[np.float32], k: int, *, block_rows: int = BLOCK_ROWS
) -> Neighbours:
    """The k pool rows most similar to each query, exact, the pool streaming through block by block.

    A query that is itself in the pool finds itself; callers ask for one more and drop it.

    Args:
      queries: Unit vectors, Float32[Q D], held in memory.
      pool: Unit vectors, Float32[N D], may be an ``np.memmap``; streams through.
      k: Neighbours wanted, at least 1; may exceed ``block_rows``.
      block_rows: Pool rows per block. No effect on the result.

    Returns:
      min(k, N) columns; descending float64 similarity, ties by lower index.

    Raises:
      DataError: Not float32, not unit vectors (|norm - 1| > 1e-3, NaN), or D differs.
      ConfigError: k < 1, or no FAISS.
    """
    check_comparable(queries=queries, pool=pool)
    if k < 1:
        raise ConfigError("k", k, "at least 1", "Ask for one neighbour or more.")
    k, width = min(k, len(pool)), min(k + SLACK, len(pool))
    held = _held(queries, block_rows, "queries")
    best = _none_yet(len(held))
    for start, block in unit_blocks(pool, block_rows, "pool"):
        depth = min(width, len(block))  # asking for more than a block holds would be padded with -1
        found, rows = flat_index(block, k=depth).search(held, depth)
        best = _merge(best, Neighbours(found.astype(np.float64), rows + start), width)
    best = _in_float64(held, pool, best)
    if width < len(pool):
        # The last candidate bounds every row left out; where it could have hidden a rival of the k-th, look again.
        open_queries = np.flatnonzero(best.similarity[:, -1] >= best.similarity[:, k - 1] - 2 * rounding(pool.shape[1]))
        _settle(held, pool, best, open_queries, k, block_rows)
    return Neighbours(best.similarity[:, :k], best.index[:, :k])


def pairs_above(
    pool: NDArray[np.float32], threshold: float, *, block_rows: int = PAIR_COLUMNS
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Every pair i < j of pool rows with similarity >= threshold, each once, streamed tile by tile.

    Plain matrix products over the upper triangle: FAISS would compute both halves, and its range search takes six
    times as long for the few pairs that are wanted.

    Args:
      pool: Unit vectors, Float32[N D], may be an ``np.memmap``.
      threshold: Least similarity, compared in float64.
      block_rows: Columns of a tile; its rows are at most 1,024. One tile of similarities is in memory at a time.

    Yields:
      (rows Int64[E], cols Int64[E]) with rows < cols elementwise, never empty; sorted by row, then column, within one
      yield. Of all pairs together the order depends on ``block_rows``, the set does not.

    Raises:
      DataError: Not float32, or not unit vectors (|norm - 1| > 1e-3, NaN).
    """
    check_comparable(pool=pool)
    doubt = rounding(pool.shape[1])
    for right_start, right in unit_blocks(pool, block_rows, "pool"):
        for left_start, left in unit_blocks(pool, PAIR_ROWS, "pool", stop=right_start + len(right)):
            beyond = max(0, left_start - right_start)  # columns before it pair with no later row
            similarity = left[: right_start + len(right) - left_start] @ right[beyond:].T
            rows, cols = np.nonzero(similarity >= threshold - doubt)
            found, cols = similarity[rows, cols], cols + beyond
            keep = rows + left_start < cols + right_start
            rows, cols, found = rows[keep], cols[keep], found[keep]
            unsure = np.flatnonzero(np.abs(found - threshold) <= doubt)
            accepted = found >= threshold
            accepted[unsure] = inner_products(left[rows[unsure]], right, cols[unsure]) >= threshold
            if accepted.any():
                yield rows[accepted] + left_start, cols[accepted] + right_start


def first_occurrence(vectors: NDArray[np.float32]) -> NDArray[np.int64]:
    """Int64[G]: for each row the lowest row that equals it, itself if none does."""
    whole = np.ascontiguousarray(vectors + np.float32(0))  # -0 and 0 are equal but differ in bytes
    keys = whole.view(np.dtype((np.void, whole.itemsize * whole.shape[1])))[:, 0]
    _, first, inverse = np.unique(keys, return_index=True, return_inverse=True)
    return first[inverse].astype(np.int64)


def _held(vectors: NDArray[np.float32], block_rows: int, name: str) -> NDArray[np.float32]:
    """The vectors in memory, checked."""
    blocks = [block for _, block in unit_blocks(vectors, block_rows, name)]
    return np.concatenate(blocks) if blocks else np.empty(vectors.shape, np.float32)


def _none_yet(queries: int) -> Neighbours:
    return Neighbours(np.empty((queries, 0)), np.empty((queries, 0), np.int64))


def _merge(left: Neighbours, right: Neighbours, width: int) -> Neighbours:
    """The ``width`` most similar of both, ties by lower index."""
    similarity = np.concatenate([left.similarity, right.similarity], axis=1)
    index = np.concatenate([left.index, right.index], axis=1)
    order = np.lexsort((index, -similarity), axis=1)[:, :width]
    return Neighbours(np.take_along_axis(similarity, order, axis=1), np.take_along_axis(index, order, axis=1))


def _in_float64(queries: NDArray[np.float32], pool: NDArray[np.float32], found: Neighbours) -> Neighbours:
    """The same neighbours with their similarities recomputed, in their new order."""
    similarity = np.empty_like(found.similarity)
    for column in range(similarity.shape[1]):
        similarity[:, column] = inner_products(queries, pool, found.index[:, column])
    return _merge(_none_yet(len(queries)), Neighbours(similarity, found.index), similarity.shape[1])


def _settle(
    queries: NDArray[np.float32],
    pool: NDArray[np.float32],
    best: Neighbours,
    which: NDArray[np.int64],
    k: int,
    block_rows: int,
) -> None:
    """Find anew, in float64, the first k of those queries whose k-th place float32 could not decide; in place.

    Whatever belongs to the first k is at least as similar as the k-th candidate known, so a range search from just
    below it misses nothing.
    """
    if len(which) == 0:
        return
    floors = best.similarity[which, k - 1] - rounding(pool.shape[1])
    finds = [_none_yet(1) for _ in which]
    for start, block in unit_blocks(pool, block_rows, "pool"):
        index = flat_index(block, k=None)
        for order, query in enumerate(which):
            alone = queries[query].reshape(1, -1)
            _, _, rows = index.range_search(alone, float(floors[order]))
            similarity = inner_products(np.repeat(alone, len(rows), axis=0), block, rows)
            found = Neighbours(similarity.reshape(1, -1), rows.reshape(1, -1) + start)
            finds[order] = _merge(finds[order], found, k)
    for find, query in zip(finds, which, strict=True):
        best.similarity[query, :k], best.index[query, :k] = find.similarity, find.index
