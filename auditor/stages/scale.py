"""What embedding and searching cost at another size, from short measurements on this machine.

    n images, G generations, M machines like this one, encoders of D dimensions each

    embedding   n images / M                            each image once under each encoder
    search      n G similarities / M                    exact item scores S_i, by blocks
    duplicates  n (n - 1) / 2 similarities / M          every pair of the pool
    memory      generations and one block per machine; the copy decision keeps 200 bytes an image, on one of them
    disk        4 D n bytes

Reading is not counted: the embeddings stream once from disk for search, at the rate that the disk has.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from auditor.probes import generator
from auditor.search.exact import BLOCK_ROWS, best_match, pairs_above
from auditor.store.parts import Part

MACHINES = 100
IMAGES = 5_000_000_000
DECISION_BYTES = 200  # an image: its id, digest, group, score and margin
TRIAL_ITEMS, TRIAL_GENERATIONS, TRIAL_POOL = 8_192, 2_048, 4_096
MINUTE, HOUR, DAY, YEAR = 60, 3_600, 86_400, 365.25 * 86_400


class Rates(NamedTuple):
    """Seconds on this machine, all encoders together."""

    embedding: float  # an image
    score: float  # a similarity of an image and a generation, in the search for item scores
    pair: float  # a similarity of two images, in the search for duplicates


class Scale(Part):
    """Embedding and searching at one size, on some machines like this one."""

    images: int
    machines: int
    generations: int
    embedding_seconds: float
    search_seconds: float
    duplicates_seconds: float
    duplicates_in_a_day: int  # images whose every pair these machines compare in a day
    machine_bytes: int  # memory of each, to embed and search
    decision_bytes: int  # memory besides, where the copies are decided
    disk_bytes: int  # embeddings


def measure_search(dims: Sequence[int]) -> tuple[float, float]:
    """(score, pair) of :class:`Rates` for encoders of these dimensions; a fraction of a second for each."""
    score = pair = 0.0
    for dim in dims:
        rng = generator("plan", "vectors", dim)
        vectors = rng.standard_normal((TRIAL_ITEMS + TRIAL_GENERATIONS, dim), dtype=np.float32)
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        items, made, pool = vectors[:TRIAL_ITEMS], vectors[TRIAL_ITEMS:], vectors[:TRIAL_POOL]
        score += _fastest(partial(best_match, items, made)) / (TRIAL_ITEMS * TRIAL_GENERATIONS)
        pair += _fastest(partial(_all_pairs, pool)) / (TRIAL_POOL**2 / 2)
    return score, pair


def _all_pairs(pool: NDArray[np.float32]) -> None:
    """Compare every pair of rows; none is as similar as 1.1, so that nothing is gathered."""
    for _ in pairs_above(pool, 1.1):
        pass


def scale(
    rates: Rates, dims: Sequence[int], generations: int, process_bytes: int, *, images: int, machines: int
) -> Scale:
    """What n images would take on M machines like the one that the rates were measured on.

    Args:
      rates: From :func:`measure_search` and a batch of each encoder.
      dims: D of every encoder.
      generations: G.
      process_bytes: Memory of a process that has loaded the networks.
      images: n.
      machines: M, at least 1; work is dealt to them evenly and nothing is lost to dealing it.
    """
    return Scale(
        images=images,
        machines=machines,
        generations=generations,
        embedding_seconds=images * rates.embedding / machines,
        search_seconds=images * generations * rates.score / machines,
        duplicates_seconds=images * (images - 1) / 2 * rates.pair / machines,
        duplicates_in_a_day=math.isqrt(int(2 * DAY * machines / rates.pair)),
        machine_bytes=process_bytes + search_bytes(max(dims), generations, images),
        decision_bytes=DECISION_BYTES * images,
        disk_bytes=4 * sum(dims) * images,
    )


def search_bytes(dim: int, generations: int, images: int) -> int:
    """Memory of a search for item scores: the generations, their index, and a block of images."""
    return 4 * dim * (2 * generations + min(images, BLOCK_ROWS))


def scale_lines(one: Scale, many: Scale) -> list[tuple[str, str]]:
    """One size on one machine and on many, as questions and answers."""
    at, on = f"at {one.images:,} images", f"on {many.machines:,} like it"

    def both(name: str) -> str:
        return f"{duration(getattr(one, name))} on this machine, {duration(getattr(many, name))} {on}"

    return [
        (f"{at}: embedding", both("embedding_seconds")),
        (f"{at}: search", f"{both('search_seconds')}, for {one.generations:,} generations"),
        (
            f"{at}: duplicates",
            f"{both('duplicates_seconds')}: every pair is compared; a day serves {one.duplicates_in_a_day:,} images, "
            f"{many.duplicates_in_a_day:,} {on}",
        ),
        (
            f"{at}: memory",
            f"{size(one.machine_bytes)} a machine, and {size(one.decision_bytes)} where the copies are decided",
        ),
        (f"{at}: disk", f"{size(one.disk_bytes)} of embeddings"),
    ]


def duration(seconds: float) -> str:
    """A time in the unit that fits it."""
    if seconds < 90:
        return f"{max(seconds, 1):.0f} s"
    for unit, length, most in (("min", MINUTE, 90 * MINUTE), ("h", HOUR, 72 * HOUR), ("days", DAY, 2 * YEAR)):
        if seconds < most:
            value = seconds / length
            return f"{value:.1f} {unit}" if unit == "h" and value < 10 else f"{value:.0f} {unit}"
    years = seconds / YEAR
    return f"{years:.1f} years" if years < 10 else f"{years:,.0f} years"


def size(count: float) -> str:
    """Bytes in the decimal unit that fits them, two digits or more."""
    for unit in ("MB", "GB", "TB"):
        count /= 1e3 if unit != "MB" else 1e6
        if count < 1_000 or unit == "TB":
            break
    return f"{count:,.1f} {unit}" if count < 100 else f"{count:,.0f} {unit}"


def _fastest(work: Callable[[], object]) -> float:
    """Seconds of the faster of two runs."""
    seconds = []
    for _ in range(2):
        began = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - began)
    return min(seconds)
