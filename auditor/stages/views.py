"""Further views of generations and real images, embedded where the copy decision asks for them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from auditor.copies.pool import Pool
from auditor.copies.queries import Queries, RowViews, queries_of
from auditor.encoders.base import Encoder
from auditor.encoders.views import view
from auditor.indexing.stream import BATCH
from auditor.stages.embed import Embedded, Vectors, checked
from auditor.stages.inputs import Images, Inputs
from auditor.stages.pool import rows_of
from auditor.stages.slices import HeldOut


def viewed_images(images: Images, ids: Sequence[str], encoder: Encoder, name: str) -> Vectors:
    """One view of some images of a set, Float32[len(ids) D], in the order of the ids; one batch in memory at a time."""
    row = {identity: place for place, identity in enumerate(ids)}
    vectors = np.empty((len(ids), encoder.spec.dim), np.float32)
    for batch in images.source.batches(BATCH, only=frozenset(ids)) if ids else ():
        vectors[[row[identity] for identity in batch.ids]] = checked(encoder, view(batch.pixels, name), batch.ids)
    return vectors


def row_views(pool: Pool, inputs: Inputs, encoder: Encoder) -> RowViews:
    """Any view of any pool images, embedded anew: asked for those few whose best generation is a mirrored one."""

    def embed(rows: NDArray[np.int64], name: str) -> Vectors:
        of_train = rows < pool.training
        vectors = np.empty((len(rows), encoder.spec.dim), np.float32)
        for images, which in ((inputs.train, of_train), (inputs.holdout, ~of_train)):
            vectors[which] = viewed_images(images, [pool.ids[row] for row in rows[which]], encoder, name)
        return vectors

    return embed


def queries_for(
    pool: Pool, inputs: Inputs, embedded: Embedded, vectors: Vectors, further: Mapping[str, Vectors]
) -> Queries:
    """The queries of a copy decision; with only the picture as it is, nothing of the pool is embedded again."""
    return queries_of(vectors, further, row_views(pool, inputs, embedded.encoder) if further else None)


def placebo_queries(pool: Pool, inputs: Inputs, embedded: Embedded, held_out: HeldOut) -> Queries:
    """The placebo slice's images in the place of generations, under the same views."""
    ids = held_out.placebo
    vectors = np.asarray(embedded.holdout[rows_of(inputs.holdout, ids)])
    further = {name: viewed_images(inputs.holdout, ids, embedded.encoder, name) for name in embedded.views}
    return queries_for(pool, inputs, embedded, vectors, further)
