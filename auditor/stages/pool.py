"""What competes under one encoder: the pool of real images, planted copies, and whole groups dealt to slices."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from auditor.copies.groups import duplicate_groups
from auditor.copies.pool import Pool, floor_of_planted
from auditor.copies.relatives import joined
from auditor.data import pixels_of
from auditor.encoders.base import Encoder
from auditor.search.rows import Picked, Stacked
from auditor.stages.embed import Embedded
from auditor.stages.inputs import Images, Inputs
from auditor.stages.slices import HeldOut, slice_holdout
from auditor.validity.planted import PlantedCopies, embed_planted, sample_originals


def deal_holdout(inputs: Inputs, embedded: Embedded, seed: str) -> HeldOut:
    """Held-out slices by whole duplicate groups of the first encoder, and by whole groups of the split where given."""
    ids = list(inputs.holdout.digests)
    groups = joined(held_out_groups(inputs, embedded, seed), [inputs.groups.get(name) for name in ids])
    return slice_holdout(ids, groups.tolist(), inputs.sizes, seed)


def held_out_groups(inputs: Inputs, embedded: Embedded, seed: str) -> NDArray[np.int64]:
    """Duplicate group of every held-out image, in the order of ids; planted copies give the threshold."""
    ids, digests = list(inputs.holdout.digests), digests_of(inputs.holdout)
    rows = sample_originals(digests, seed)
    planted = embed_planted(rows, pixels_of(inputs.holdout.source, [ids[r] for r in rows]), embedded.encoder, seed)
    pool = Pool(embedded.holdout, ids, np.ones(len(ids), np.bool_), digests)
    return duplicate_groups(pool, floor_of_planted(planted)).group


def build_pool(inputs: Inputs, embedded: Embedded, held_out: HeldOut) -> tuple[Pool, Pool]:
    """(pool, everything): training rows and those of the competition slice; the same rows, then all set aside.

    Their vectors stay on disk.
    """
    held_ids = [*held_out.competition, *held_out.placebo, *held_out.membership]
    held, train_ids = rows_of(inputs.holdout, held_ids), list(inputs.train.digests)
    everything = Pool(
        embeddings=Stacked([embedded.train, Picked(embedded.holdout, held)]),
        ids=[*train_ids, *held_ids],
        is_training=np.arange(len(train_ids) + len(held)) < len(train_ids),
        pixel_digest=np.concatenate([digests_of(inputs.train), digests_of(inputs.holdout)[held]]),
    )
    return everything.first(len(train_ids) + len(held_out.competition)), everything


def plant_in(
    pool: Pool, train: Images, holdout: Images | None, encoder: Encoder, seed: str, views: Sequence[str] = ()
) -> PlantedCopies:
    """Planted copies of a label-blind sample of the pool, whose rows come from these two sets, and further views."""
    rows = sample_originals(pool.pixel_digest, seed)
    of_train = rows[rows < pool.training]
    of_holdout = rows[rows >= pool.training]
    parts = [
        pixels_of(images.source, [pool.ids[row] for row in part])
        for images, part in ((train, of_train), (holdout, of_holdout))
        if images is not None and len(part)
    ]
    return embed_planted(rows, np.concatenate(parts), encoder, seed, views=views)


def rows_of(images: Images, ids: Sequence[str]) -> NDArray[np.int64]:
    """Rows of some ids in the order of the set, Int64[len(ids)]."""
    row = {name: position for position, name in enumerate(images.digests)}
    return np.array([row[name] for name in ids], np.int64)


def digests_of(images: Images) -> NDArray[Any]:
    """16-byte pixel digests in the order of ids, as NumPy bytes of fixed width.

    Hexadecimal, since NumPy drops trailing zero bytes from fixed-width byte strings.
    """
    return np.array([digest.hex() for digest in images.digests.values()], dtype="S32")
