"""Image sets and generations to unit vectors, in blocks that survive a kill."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

import numpy as np
from numpy.typing import NDArray

from auditor.encoders.base import Encoder
from auditor.encoders.views import IDENTITY
from auditor.progress import Progress
from auditor.stages.embedding import checked, embedding_pieces, generation_pieces, image_pieces, named, view_stage
from auditor.stages.generate import Generations, Made, parts_again
from auditor.stages.inputs import Images, Inputs
from auditor.stages.pieces import Piece, Spread
from auditor.stages.reopen import Opened
from auditor.store.atomic import replacing
from auditor.store.run_directory import RunDirectory

__all__ = ["Embedded", "Vectors", "checked", "embed_everything", "embed_generations", "embed_images", "join", "named"]

Vectors = NDArray[np.float32]


@dataclass(frozen=True)
class Embedded:
    """Everything that one encoder made of the audit's images; rows follow the ids."""

    name: str  # of the encoder; numbered where one kind is listed twice
    encoder: Encoder
    train: Vectors
    holdout: Vectors
    generations: Vectors
    control: Vectors  # generations of the closed-form memorizer of the training set
    views: Mapping[str, Vectors] = field(default_factory=dict)  # of the generations, beside the picture as it is
    control_views: Mapping[str, Vectors] = field(default_factory=dict)


def embed_everything(
    run: RunDirectory, inputs: Inputs, made: Made, views: Sequence[str], show: Progress
) -> list[Embedded]:
    """All images of the audit under every encoder; what was generated also under further views."""
    parts = {"generations": made.generations.sources, "memorizer": made.control.sources}
    pieces = embedding_pieces(run, inputs, parts, made.key, views)
    listed = [piece for stage in pieces.values() for piece in stage]
    total = sum(piece.items for piece in listed)
    with show.stage(f"embed {total} images", total, "image") as meter:
        inputs.spread(listed, partial(embedded_again, tuple(views), made.key), meter)

    def vectors(stage: str) -> Vectors:
        return join(run, f"embed/{stage}", [piece.get()["vectors"] for piece in pieces[stage]])

    def of_images(stage: str, images: Images, encoder: Encoder) -> Vectors:
        found = indexed(run, stage, images, encoder)
        return vectors(stage) if found is None else found

    def turned(stage: str) -> dict[str, Vectors]:
        return {one: vectors(view_stage(stage, one)) for one in views}

    return [
        Embedded(
            name=name,
            encoder=encoder,
            train=of_images(f"{name}/train", inputs.train, encoder),
            holdout=of_images(f"{name}/holdout", inputs.holdout, encoder),
            generations=vectors(f"{name}/generations"),
            control=vectors(f"{name}/memorizer"),
            views=turned(f"{name}/generations"),
            control_views=turned(f"{name}/memorizer"),
        )
        for name, encoder in named(inputs.encoders).items()
    ]


def embed_sets(run: RunDirectory, inputs: Inputs, show: Progress) -> None:
    """Make the pieces of both sets, which need nothing that was generated."""
    listed = [piece for stage in embedding_pieces(run, inputs, {}, None, ()).values() for piece in stage]
    total = sum(piece.items for piece in listed)
    with show.stage(f"embed {total} images", total, "image") as meter:
        inputs.spread(listed, None, meter)


def embedded_again(views: Sequence[str], key: object, opened: Opened) -> list[Piece]:
    """The same pieces in a worker, which reads what was generated from the run directory."""
    run, inputs, generation, seed = opened.run, opened.inputs, opened.config.generation, opened.seed
    parts = parts_again(run, inputs, generation, seed)
    return [piece for stage in embedding_pieces(run, inputs, parts, key, views).values() for piece in stage]


def embed_images(run: RunDirectory, stage: str, images: Images, encoder: Encoder, show: Progress) -> Vectors:
    """Embeddings of all readable images of a set in the order of ids, Float32[N D], memory-mapped.

    An index of the set that was made with this encoder has them already.
    """
    found = indexed(run, stage, images, encoder)
    return found if found is not None else _embed(run, stage, image_pieces(run, stage, images, encoder), show)


def embed_generations(
    run: RunDirectory,
    stage: str,
    generations: Generations,
    key: object,
    encoder: Encoder,
    show: Progress,
    turned: str = IDENTITY,
) -> Vectors:
    """Embeddings of all generations in probe order, Float32[G D].

    Args:
      key: What determined the generations.
      turned: The view that is embedded (:mod:`auditor.encoders.views`).
    """
    return _embed(run, stage, generation_pieces(run, stage, generations.sources, key, encoder, turned), show)


def indexed(run: RunDirectory, stage: str, images: Images, encoder: Encoder) -> Vectors | None:
    """A set's embeddings from its index; None if it has none, or one of another encoder."""
    if images.index is None or images.index.manifest.encoder != encoder.spec:
        return None
    return images.index.embeddings(list(images.digests), run.path / "embed" / stage / "all.npy")


def _embed(run: RunDirectory, stage: str, pieces: Sequence[Piece], show: Progress) -> Vectors:
    total = sum(piece.items for piece in pieces)
    with show.stage(f"embed {stage}", total, "image") as meter:
        Spread()(pieces, None, meter)
    return join(run, f"embed/{stage}", [piece.get()["vectors"] for piece in pieces])


def join(run: RunDirectory, stage: str, blocks: Sequence[Vectors]) -> Vectors:
    """The blocks as one memory-mapped array, written anew block by block."""
    if len(blocks) == 1:
        return blocks[0]
    file = run.path / stage / "all.npy"
    file.parent.mkdir(parents=True, exist_ok=True)
    shape = (sum(len(block) for block in blocks), blocks[0].shape[1])
    with replacing(file) as written:
        whole = np.lib.format.open_memmap(written, mode="w+", dtype=np.float32, shape=shape)
        row = 0
        for block in blocks:
            whole[row : row + len(block)] = block
            row += len(block)
        whole.flush()
    joined: Vectors = np.load(file, mmap_mode="r", allow_pickle=False)
    return joined
