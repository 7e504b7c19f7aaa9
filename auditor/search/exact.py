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
from auditor.search.index import check_comparable, flat_index, inner_products, nearest_in, rounding, unit_blocks
from auditor.search.ranges import within
from auditor.search.rows import Floats, Rows

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


def best_match(items: Rows, references: Rows, *, block_rows: int = BLOCK_ROWS) -> BestMatch:
    """Most similar reference of every item: S_i of the copy test, with references = the generations.

    The references are the index, the items stream through as queries, so memory is one block, the references and the
    two result scalars per item.

    Args:
      items: Unit vectors, Float32[N D], an ``np.memmap`` or shards; N = 0 gives empty results.
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
    return References(references, block_rows=block_rows).best(items, block_rows=block_rows)


class References:
    """Vectors that items are matched with, held in memory and indexed once for any number of blocks of items."""

    def __init__(self, vectors: Rows, *, block_rows: int = BLOCK_ROWS) -> None:
        """See :func:`best_match`."""
        if len(vectors) == 0:
            raise ConfigError("references", "no rows", "at least one generation", "Generate probes first.")
        check_comparable(references=vectors)
        self.held = _held(vectors, block_rows, "references")
        self.index, self.first = flat_index(self.held), first_occurrence(self.held)

    def best(self, items: Rows, *, block_rows: int = BLOCK_ROWS) -> BestMatch:
        """Most similar reference of every item; see :func:`best_match`."""
        check_comparable(items=items, references=self.held)
        similarity, winner = np.empty(len(items)), np.empty(len(items), np.int64)
        for start, block in unit_blocks(items, block_rows, "items"):
            rows = slice(start, start + len(block))
            winner[rows] = self.first[self.index.search(block, 1)[1][:, 0]]
            similarity[rows] = inner_products(block, self.held, winner[rows])
        return BestMatch(similarity, winner)


def nearest_neighbours(queries: Rows, pool: Rows, k: int, *, block_rows: int = BLOCK_ROWS) -> Neighbours:
    """The k pool rows most similar to each query, exact, the pool streaming through block by block.

    A query that is itself in the pool finds itself; callers ask for one more and drop it.

    Args:
      queries: Unit vectors, Float32[Q D], held in memory.
      pool: Unit vectors, Float32[N D], an ``np.memmap`` or shards; streams through once, and once more if float32
        leaves a k-th place undecided.
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
    candidates = _Candidates.none(len(held))
    for start, block in unit_blocks(pool, block_rows, "pool"):
        candidates = candidates.beside(held, block, start, width)
    best = ranked(Neighbours(candidates.similarity, candidates.index), width)
    if width < len(pool):
        # The last candidate bounds every row left out; where it could have hidden a rival of the k-th, look again.
        rivals = candidates.found[:, -1] >= best.similarity[:, k - 1] - rounding(pool.shape[1])
        _settle(held, pool, best, np.flatnonzero(rivals), k)
    return Neighbours(best.similarity[:, :k], best.index[:, :k])


def pairs_above(
    pool: Rows, threshold: float, *, block_rows: int = PAIR_COLUMNS
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Every pair i < j of pool rows with similarity >= threshold, each once, streamed tile by tile.

    Plain matrix products over the upper triangle: FAISS would compute both halves, and its range search takes six
    times as long for the few pairs that are wanted.

    Args:
      pool: Unit vectors, Float32[N D], an ``np.memmap`` or shards.
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


def ranked(found: Neighbours, k: int) -> Neighbours:
    """The k most similar of each row's candidates, ties by lower index."""
    order = np.lexsort((found.index, -found.similarity), axis=1)[:, :k]
    return Neighbours(
        np.take_along_axis(found.similarity, order, axis=1), np.take_along_axis(found.index, order, axis=1)
    )


@dataclass(frozen=True)
class _Candidates:
    """Per query the pool rows of the largest float32 similarities so far, those descending."""

    found: NDArray[np.float32]  # [Q W], what float32 says; at least that of every row left out
    similarity: NDArray[np.float64]  # [Q W], recomputed
    index: NDArray[np.int64]  # [Q W]

    @classmethod
    def none(cls, queries: int) -> _Candidates:
        return cls(np.empty((queries, 0), np.float32), np.empty((queries, 0)), np.empty((queries, 0), np.int64))

    def beside(self, queries: Floats, block: Floats, start: int, width: int) -> _Candidates:
        """With a block's candidates; float64 looks only at those that stay, so a block is read once and let go."""
        found, rows = nearest_in(block, queries, min(width, len(block)))
        together = np.concatenate([self.found, found], axis=1)
        order = np.argsort(-together, axis=1, kind="stable")[:, :width]
        before = self.found.shape[1]
        similarity = np.concatenate([self.similarity, np.empty(found.shape)], axis=1)
        query, place = np.nonzero(order >= before)
        entering = order[query, place]
        row = rows[query, entering - before]
        similarity[query, entering] = inner_products(queries, block, row, query)
        index = np.concatenate([self.index, rows + start], axis=1)
        kept = (np.take_along_axis(array, order, axis=1) for array in (together, similarity, index))
        return _Candidates(*kept)


def _held(vectors: Rows, block_rows: int, name: str) -> Floats:
    """The vectors in memory, checked."""
    blocks = [block for _, block in unit_blocks(vectors, block_rows, name)]
    return np.concatenate(blocks) if blocks else np.empty(vectors.shape, np.float32)


def _settle(queries: Floats, pool: Rows, best: Neighbours, which: NDArray[np.int64], k: int) -> None:
    """Find anew the first k of those queries whose k-th place float32 could not decide; in place.

    Whatever belongs to the first k is at least as similar as the k-th candidate known, so a range search from there
    misses nothing.
    """
    if len(which) == 0:
        return
    nothing = Neighbours(np.empty((1, 0)), np.empty((1, 0), np.int64))
    finds = [nothing for _ in which]
    for near in within(np.ascontiguousarray(queries[which]), pool, best.similarity[which, k - 1]):
        for query in np.unique(near.query):
            here = near.query == query
            similarity = np.concatenate([finds[query].similarity, near.similarity[here][None]], axis=1)
            index = np.concatenate([finds[query].index, near.row[here][None]], axis=1)
            finds[query] = ranked(Neighbours(similarity, index), k)
    for find, query in zip(finds, which, strict=True):
        best.similarity[query, :k], best.index[query, :k] = find.similarity, find.index
