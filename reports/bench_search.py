"""Search against bare FAISS: 10,000 generations against 1,000,000 x 512 on disk.

Part of ``make bench``. Bare FAISS finds in float32 and stops there; the auditor also checks every norm, recomputes what
it reports in float64 and settles ties.
"""

from __future__ import annotations

import statistics
from functools import partial

import faiss
import numpy as np
from bench_table import Row, alternate, conditions, once, table, unit_rows, vectors_on_disk
from faiss.contrib.exhaustive_search import knn_ground_truth

from auditor.search.exact import BLOCK_ROWS, best_match, nearest_neighbours

ROWS, DIM, GENERATIONS, K, SLICES = 1_000_000, 512, 10_000, 10, 10


def measure(rows: int = ROWS, generations: int = GENERATIONS) -> list[str]:
    """The section's lines."""
    made = np.concatenate(list(unit_rows(generations, DIM, "generations")))
    with vectors_on_disk(rows, DIM) as pool:
        lines = table([item_scores(pool, made), neighbours(pool, made)])
    shown = f"{generations:,} generations against {rows:,} x {DIM} on disk"
    return [
        "## Search", "", f"{shown}. {conditions()} Item scores: medians over {SLICES} slices of the pool, searched in "
        f"turn. Neighbours: whole passes in turn, against FAISS's own streaming search (`knn_ground_truth`).", "",
        *lines,
    ]  # fmt: skip


def item_scores(pool: np.ndarray, made: np.ndarray) -> Row:
    """S_i of every row: the generations are the index, the pool streams through."""

    def bare(items: np.ndarray) -> None:
        index = faiss.IndexFlatIP(DIM)
        index.add(made)
        for start in range(0, len(items), BLOCK_ROWS):
            index.search(items[start : start + BLOCK_ROWS], 1)

    slices = np.array_split(np.arange(len(pool)), SLICES)
    parts = [pool[rows[0] : rows[-1] + 1] for rows in slices]
    pairs = [once(partial(best_match, part, made), partial(bare, part)) for part in parts]
    ours, theirs = (SLICES * statistics.median(side) for side in zip(*pairs, strict=True))
    return Row("item scores S_i: bare FAISS", ours, theirs)


def neighbours(pool: np.ndarray, made: np.ndarray) -> Row:
    """The ten nearest rows of every generation: the pool streams through, block by block."""

    def bare() -> None:
        blocks = (np.ascontiguousarray(pool[start : start + BLOCK_ROWS]) for start in range(0, len(pool), BLOCK_ROWS))
        knn_ground_truth(made, blocks, K, faiss.METRIC_INNER_PRODUCT)

    return Row(
        f"{K} nearest rows: bare FAISS", *alternate(lambda: nearest_neighbours(made, pool, K), bare, 2, warm=False)
    )
