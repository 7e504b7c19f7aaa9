"""What is embedded, as pieces: blocks of an image set, and groups of generated parts, under every encoder and view."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import partial

import numpy as np
from numpy.typing import NDArray

from auditor.encoders.base import Encoder, check_vectors
from auditor.encoders.views import IDENTITY, view
from auditor.errors import DataError
from auditor.indexing.stream import BATCH, embed_stream
from auditor.stages.generated import Part
from auditor.stages.inputs import Images, Inputs
from auditor.stages.pieces import Piece
from auditor.store.digest import value_digest
from auditor.store.run_directory import RunDirectory

BLOCK = 2_048  # images a piece
GROUP = 8  # generated parts a piece; each part is one encoder call

Vectors = NDArray[np.float32]


def embedding_pieces(
    run: RunDirectory, inputs: Inputs, made: Mapping[str, Sequence[Part]], key: object, views: Sequence[str]
) -> dict[str, list[Piece]]:
    """Everything that an audit embeds, by stage: "pixel/train", "pixel/generations", "pixel/generations/mirror", ...

    Args:
      made: Parts of what was generated, by name.
      key: What determined them.
      views: Of what was generated, beside the picture as it is.
    """
    stages = {}
    for name, encoder in named(inputs.encoders).items():
        for which, images in (("train", inputs.train), ("holdout", inputs.holdout)):
            stages[f"{name}/{which}"] = image_pieces(run, f"{name}/{which}", images, encoder)
        for which, parts in made.items():
            for one in (IDENTITY, *views):
                stage = view_stage(f"{name}/{which}", one)
                stages[stage] = generation_pieces(run, stage, parts, key, encoder, one)
    return stages


def named(encoders: Sequence[Encoder]) -> dict[str, Encoder]:
    """Encoders by name; a second one of the same kind is ``clip-2``."""
    names: dict[str, Encoder] = {}
    for encoder in encoders:
        kind = encoder.spec.name
        same = sum(name.split("-")[0] == kind for name in names)
        names[kind if same == 0 else f"{kind}-{same + 1}"] = encoder
    return names


def view_stage(stage: str, turned: str) -> str:
    """Where the embeddings of one view are kept."""
    return stage if turned == IDENTITY else f"{stage}/{turned.replace(' ', '-')}"


def image_pieces(run: RunDirectory, stage: str, images: Images, encoder: Encoder) -> list[Piece]:
    """A set in blocks, in the order of ids; none where an index of it has the encoder's embeddings."""
    if images.index is not None and images.index.manifest.encoder == encoder.spec:
        return []
    ids, spec = list(images.digests), asdict(encoder.spec)

    def piece(start: int) -> Piece:
        block = ids[start : start + BLOCK]
        key = {"set": images.info.digest, "ids": value_digest(block), "encoder": spec, "batch": BATCH}
        compute = partial(embed_block, images, block, encoder)
        return Piece(run, f"embed/{stage}/{start // BLOCK:05d}", key, len(block), compute)

    return [piece(start) for start in range(0, len(ids), BLOCK)]


def generation_pieces(
    run: RunDirectory, stage: str, parts: Sequence[Part], key: object, encoder: Encoder, turned: str = IDENTITY
) -> list[Piece]:
    """Generated images in groups of parts, in probe order.

    Args:
      parts: Of one stage of generation.
      key: What determined them.
      turned: The view that is embedded (:mod:`auditor.encoders.views`).
    """
    spec = {"generations": key, "encoder": asdict(encoder.spec), **({} if turned == IDENTITY else {"view": turned})}

    def piece(start: int) -> Piece:
        group = parts[start : start + GROUP]
        compute = partial(embed_parts, group, encoder, turned)
        name = f"embed/{stage}/{start // GROUP:05d}"
        images = sum(part.images for part in group)
        return Piece(run, name, {**spec, "parts": [start, start + len(group)]}, images, compute)

    return [piece(start) for start in range(0, len(parts), GROUP)]


def embed_block(images: Images, ids: Sequence[str], encoder: Encoder) -> dict[str, Vectors]:
    """The named images of a set, each held against the survey.

    Raises:
      DataError: One of them cannot be read any more, has other pixels, or gives no unit vector.
    """
    found: list[str] = []
    vectors = []
    for batch in embed_stream(images.source, encoder, BATCH, only=frozenset(ids), digests=True):
        images.check(batch.ids, batch.digests)
        found += batch.ids
        vectors.append(batch.vectors)
    if found != list(ids):
        missing = next(iter(set(ids) - set(found)), "")
        remedy = "Restore the images, or audit anew."
        raise DataError(f"{images.source.path}: image {missing}", "nothing readable", "what was surveyed", remedy)
    return {"vectors": np.concatenate(vectors)}


def embed_parts(parts: Sequence[Part], encoder: Encoder, turned: str) -> dict[str, Vectors]:
    """Some parts of what was generated, one encoder call each."""
    vectors = [np.empty((0, encoder.spec.dim), np.float32)]
    for part in parts:
        pixels = part.read()["pixels"]
        if len(pixels):
            pixels = np.ascontiguousarray(view(pixels, turned))
            vectors.append(checked(encoder, pixels, ["a generation"] * len(pixels)))
    return {"vectors": np.concatenate(vectors)}


def checked(encoder: Encoder, pixels: NDArray[np.uint8], ids: list[str]) -> Vectors:
    """One batch through an encoder; anything but unit vectors is refused."""
    vectors = encoder(pixels)
    check_vectors(vectors, ids, encoder)
    return vectors
