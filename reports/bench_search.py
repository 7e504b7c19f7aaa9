"""Search against bare FAISS: 10,000 generations against 1,000,000 x 512 on disk.

Part of ``make bench``. Bare FAISS finds in float32 and stops there; the auditor also checks every norm, recomputes what
it reports in float64 and settles ties. Both search the same slices of the pool in turn, and the ratio is that of the
medians; beside other work the seconds of this process's own CPU time are the steadier yardstick, so both are given.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from itertools import pairwise

import faiss
import numpy as np
from bench_table import conditions, unit_rows, vectors_on_disk
from faiss.contrib.exhaustive_search import knn_ground_truth

from auditor.search.exact import BLOCK_ROWS, best_match, nearest_neighbours

ROWS, DIM, GENERATIONS, K, SLICES = 1_000_000, 512, 10_000, 10, 5

Search = Callable[[np.ndarray], object]


def measure(rows: int = ROWS, generations: int = GENERATIONS) -> list[str]:
    """The section's lines."""
    made = np.concatenate(list(unit_rows(generations, DIM, "generations")))

    def bare_scores(items: np.ndarray) -> None:
        index = faiss.IndexFlatIP(DIM)
        index.add(made)
        for start in range(0, len(items), BLOCK_ROWS):
            index.search(items[start : start + BLOCK_ROWS], 1)

    def bare_neighbours(pool: np.ndarray) -> None:
        blocks = (np.ascontiguousarray(pool[start : start + BLOCK_ROWS]) for start in range(0, len(pool), BLOCK_ROWS))
        knn_ground_truth(made, blocks, K, faiss.METRIC_INNER_PRODUCT)

    with vectors_on_disk(rows, DIM) as pool:
        lines = [
            compared("item scores S_i: bare FAISS", pool, partial(best_match, references=made), bare_scores),
            compared(
                f"{K} nearest rows: FAISS's `knn_ground_truth`", pool,
                lambda part: nearest_neighbours(made, part, K), bare_neighbours,
            ),
        ]  # fmt: skip
    return [
        "## Search", "",
        f"{generations:,} generations against {rows:,} x {DIM} on disk, in {SLICES} slices searched in turn: medians "
        f"over the slices, times {SLICES}. {conditions()}", "",
        "| against | auditor, s | yardstick, s | ratio | auditor, CPU s | yardstick, CPU s | ratio |",
        "|---|--:|--:|--:|--:|--:|--:|", *lines,
    ]  # fmt: skip


def compared(name: str, pool: np.ndarray, ours: Search, theirs: Search) -> str:
    """One line of the table."""
    bounds = np.linspace(0, len(pool), SLICES + 1).astype(int)
    parts = [pool[first:last] for first, last in pairwise(bounds)]
    seconds = [[taken(work, part) for work in (ours, theirs)] for part in parts]
    medians = SLICES * np.median(np.array(seconds), axis=0)  # [side, wall or CPU]
    cells = (f"{mine:.1f} | {yardstick:.1f} | {mine / yardstick:.2f}" for mine, yardstick in medians.T)
    return f"| {name} | {' | '.join(cells)} |"


def taken(work: Search, part: np.ndarray) -> tuple[float, float]:
    """Seconds by the clock and of CPU time."""
    began = time.perf_counter(), time.process_time()
    work(part)
    return time.perf_counter() - began[0], time.process_time() - began[1]
