"""Who competes in an extraction: the named records, and held-out images as hard to bring back as they are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from auditor.copies.extraction import distance, match
from auditor.copies.lookup import nearest_beyond
from auditor.copies.pool import Pool, floor_of_planted
from auditor.data import pixels_of
from auditor.errors import ConfigError
from auditor.probes import choose
from auditor.search.exact import nearest_neighbours, pairs_above
from auditor.search.rows import Rows
from auditor.stages.embed import Vectors
from auditor.stages.extraction_conditions import stated_captions
from auditor.stages.inputs import Images, Inputs
from auditor.stages.pool import digests_of, plant_in, rows_of

CANDIDATES = 8  # held-out images looked at per one wanted
LEAST_HELD_OUT = 20
NEIGHBOURS = 16


@dataclass(frozen=True)
class Contestants:
    """n records, then m held-out images; arrays follow that order."""

    records: list[str]
    holdout: list[str]
    also: dict[str, list[str]]  # other named records that are near-duplicates, by the one that stands for them
    untestable: list[str]  # named records with a near-duplicate in the held-out set
    times: dict[str, int]  # training images that are near-duplicates of a named record, itself included
    nearest_other: NDArray[np.float64]  # [n + m]
    matched: list[NDArray[np.int64]]  # per record, rows of ``holdout``
    threshold: float
    resolving: bool
    captioned: bool = False  # every one states a caption, and is attacked under it

    @property
    def ids(self) -> list[str]:
        """All of them."""
        return [*self.records, *self.holdout]


def gather(
    inputs: Inputs,
    train: Rows,
    holdout: Rows,
    named: Sequence[str],
    wanted: int,
    seed: str,
    *,
    captioned: bool = False,
) -> Contestants:
    """The contestants, chosen by what the images are and never by what the checkpoint makes of them.

    Args:
      inputs: With the deciding encoder first.
      train, holdout: Its embeddings of both sets, Float32[N D] and Float32[M D], in the order of ids.
      named: Training ids, each once.
      wanted: Held-out images asked for.
      captioned: Whether all images are attacked under their captions: held-out images without one do not compete.

    Raises:
      ConfigError: Fewer than 20 held-out images are no near-duplicate of a training image (and have a caption).
    """
    threshold = duplicate_threshold(inputs, train, holdout, seed)
    rows = rows_of(inputs.train, named)
    vectors = np.ascontiguousarray(train[rows])
    leader = leaders(vectors, threshold)
    also: dict[str, list[str]] = {}
    for name, lead in zip(named, leader.tolist(), strict=True):
        also.setdefault(named[lead], []).extend([name] if named[lead] != name else [])
    held_out_too = nearest_neighbours(vectors, holdout, 1).similarity[:, 0] >= threshold
    untestable = [name for name, mixed in zip(named, held_out_too, strict=True) if mixed and name in also]
    records = [name for name in also if name not in set(untestable)]
    held = candidates(inputs.holdout, train, holdout, threshold, max(CANDIDATES * wanted, 1_000), seed)
    if captioned:
        texts = stated_captions(inputs.holdout, held)
        held = [name for name in held if name in texts]
    if len(held) < LEAST_HELD_OUT:
        also_said = ", with captions as the records have" if captioned else ""
        expected = f"at least {LEAST_HELD_OUT} that are no near-duplicate of a training image{also_said}"
        raise ConfigError("held-out images", f"{len(held)}", expected, "Give more, of the same origin.")
    ours = _other(np.ascontiguousarray(train[rows_of(inputs.train, records)]), train, holdout, threshold)
    theirs = _other(np.ascontiguousarray(holdout[rows_of(inputs.holdout, held)]), train, holdout, threshold)
    matched = match(difficulty(inputs.train, records, ours), difficulty(inputs.holdout, held, theirs), wanted)
    chosen = np.concatenate([*matched, np.empty(0, np.int64)]).astype(np.int64)
    place = {int(row): at for at, row in enumerate(chosen)}
    return Contestants(
        records=records,
        holdout=[held[row] for row in chosen],
        also=also,
        untestable=untestable,
        times=times_near(vectors, train, threshold, named),
        nearest_other=np.concatenate([ours, theirs[chosen]]),
        matched=[np.array([place[int(row)] for row in rows], np.int64) for rows in matched],
        threshold=threshold,
        resolving=bool(threshold >= np.quantile(theirs, 0.99)),
        captioned=captioned,
    )


def duplicate_threshold(inputs: Inputs, train: Rows, holdout: Rows, seed: str) -> float:
    """As in an audit: the 5th percentile of planted copies' similarity to their originals."""
    ids = [*inputs.train.digests, *inputs.holdout.digests]
    is_training = np.arange(len(ids)) < len(inputs.train.digests)
    digest = np.concatenate([digests_of(inputs.train), digests_of(inputs.holdout)])
    pool = Pool(_stand_in(train, holdout), ids, is_training, digest)
    return floor_of_planted(plant_in(pool, inputs.train, inputs.holdout, inputs.encoders[0], seed))


def _stand_in(train: Rows, holdout: Rows) -> Vectors:
    """A zero-strided stand-in of both sets' rows: planting needs their number only, not their values."""
    rows = len(train) + len(holdout)
    return np.broadcast_to(np.zeros((1, train.shape[1]), np.float32), (rows, train.shape[1]))


def leaders(vectors: Vectors, threshold: float) -> NDArray[np.int64]:
    """Int64[n]: the first row that each row is a near-duplicate of, and that leads itself; else its own."""
    leader = np.arange(len(vectors))
    pairs = [np.stack(found, axis=1) for found in pairs_above(vectors, threshold)]
    found = np.concatenate([*pairs, np.empty((0, 2), np.int64)])
    for first, second in found[np.lexsort((found[:, 0], found[:, 1]))]:
        if leader[second] == second and leader[first] == first:
            leader[second] = first
    return leader


def candidates(images: Images, train: Rows, holdout: Rows, threshold: float, count: int, seed: str) -> list[str]:
    """Held-out ids drawn at random, none a near-duplicate of a training image or of one drawn before it."""
    drawn = choose(seed, "extraction held out", images.distinct_ids, count)
    vectors = np.ascontiguousarray(holdout[rows_of(images, drawn)])
    apart = nearest_neighbours(vectors, train, 1).similarity[:, 0] < threshold
    leads = leaders(vectors, threshold) == np.arange(len(drawn))
    return [name for name, keep in zip(drawn, apart & leads, strict=True) if keep]


def times_near(vectors: Vectors, train: Rows, threshold: float, named: Sequence[str]) -> dict[str, int]:
    """How many training images are near-duplicates of each, by exact search as deep as it takes."""
    times, depth = {}, NEIGHBOURS
    left = np.arange(len(named))
    while len(left):
        found = nearest_neighbours(np.ascontiguousarray(vectors[left]), train, depth)
        near = (found.similarity >= threshold).sum(axis=1)
        settled = (near < found.similarity.shape[1]) | (found.similarity.shape[1] == len(train))
        times.update({named[row]: int(count) for row, count in zip(left[settled], near[settled], strict=True)})
        left, depth = left[~settled], 4 * depth
    return times


def difficulty(images: Images, ids: Sequence[str], nearest_other: NDArray[np.float64]) -> NDArray[np.float64]:
    """Float64[n 2]: how alone an image stands, and how much detail it has: what makes it hard to bring back."""
    if not ids:
        return np.empty((0, 2))
    pixels = pixels_of(images.source, ids).astype(np.float64)
    across, down = np.diff(pixels, axis=3), np.diff(pixels, axis=2)
    detail = np.sqrt(np.square(across).mean((1, 2, 3)) + np.square(down).mean((1, 2, 3)))
    return np.column_stack([np.log(distance(nearest_other) + 1e-3), np.log(detail + 1.0)])


def _other(images: Vectors, train: Rows, holdout: Rows, threshold: float) -> NDArray[np.float64]:
    """Similarity of the nearest real image of either set that is no duplicate."""
    if not len(images):
        return np.empty(0)
    sides = [
        nearest_beyond(images, pool, nearest_neighbours(images, pool, NEIGHBOURS), threshold)
        for pool in (train, holdout)
    ]
    return np.maximum(*sides)
