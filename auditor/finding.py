"""Looking image files up in an index, without any audit: is this picture among millions or billions of others?"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from auditor.data import Geometry
from auditor.encoders.base import Encoder
from auditor.encoders.build import build_encoder
from auditor.encoders.views import MIRROR, view
from auditor.errors import ConfigError
from auditor.indexing.approximate import index_vectors, open_lookup
from auditor.indexing.layout import Manifest, place, read_manifest
from auditor.indexing.read import read_column
from auditor.policy import read_policy, recall_rule
from auditor.search.exact import Neighbours, nearest_neighbours
from auditor.stages.lookup import Asked, read_file
from auditor.store.found import FoundImage, FoundInIndex, NearRow
from auditor.store.parts import Estimate

MEASURED = 1  # of the recall that silence is judged by: the nearest row


def find_in_index(
    index: Path | str,
    images: Sequence[str | Path],
    *,
    approximate: Path | str | None = None,
    neighbours: int = 5,
    weights: Path | None = None,
    policy: Path | None = None,
) -> FoundInIndex:
    """The images of an index nearest to some image files, as they are or in a mirror.

    Every similarity is the float64 inner product of two embeddings. Without ``approximate`` all rows are compared, and
    what is not found is not there; with it some rows may be missed, how many was measured when it was built, and a
    recall under the policy's (``search.min_recall``) makes silence *cannot conclude*. Memory holds the files asked for
    and, at a time, the ids of one partition.

    Args:
      index: As ``auditor index build`` left it.
      images: Image files; one that cannot be read is answered with the reason.
      approximate: As ``auditor index approximate`` left it, of this very index.
      neighbours: Rows listed for each image, at least 1.
      weights: Where the encoder's weights lie now, if they were moved.
      policy: A policy file; None = the built-in one.

    Raises:
      ConfigError: No images, no index, an encoder that is not the index's, or weights that are not there.
      DataError: A damaged index, or an approximate one of another.
    """
    if not images:
        raise ConfigError("images", "none", "image files", "Name one or more.")
    if neighbours < 1:
        raise ConfigError("neighbours", neighbours, "at least 1", "Ask for one or more.")
    required, folder = read_policy(policy), Path(index)
    manifest = read_manifest(folder)
    vectors, digest = index_vectors(folder)
    proposed = open_lookup(folder, approximate) if approximate is not None else None
    recall = proposed.recall(min(MEASURED, max(1, len(proposed) - 1))) if proposed is not None else None
    encoder = encoder_of(manifest, weights)
    shape = Geometry(manifest.shape.channels, manifest.shape.height, manifest.shape.width)
    asked = [read_file(str(image), shape) if Path(image).is_file() else _missing(str(image)) for image in images]
    pixels = [one.pixels for one in asked if one.pixels is not None]
    answers: list[list[NearRow]] = []
    if pixels:
        stacked = np.stack(pixels)
        both = np.concatenate([encoder(stacked), encoder(view(stacked, MIRROR))])
        near = proposed.search(both, neighbours) if proposed else nearest_neighbours(both, vectors, neighbours)
        digests = [one.digest for one in asked if one.pixels is not None]
        answers = name_rows(folder, manifest, merged(near, len(pixels), neighbours), digests)
    waiting = iter(answers)
    found = [
        FoundImage(
            asked=one.text, unscored=one.unscored, stored_as=one.stored_as,
            nearest=next(waiting) if one.pixels is not None else [],
        )
        for one in asked
    ]  # fmt: skip
    ruled = recall_rule(exactly() if recall is None else recall, required)
    return FoundInIndex(
        index=str(folder), digest=digest, images=len(vectors), encoder=f"{encoder.spec.name}: {encoder.spec.detail}",
        approximate=None if approximate is None else str(approximate), recall=recall,
        silence=ruled.outcome, reasons=["Every row was compared."] if recall is None else list(ruled.reasons),
        remedies=list(ruled.remedies), found=found,
    )  # fmt: skip


def encoder_of(manifest: Manifest, weights: Path | None) -> Encoder:
    """The encoder that an index was built with.

    Raises:
      ConfigError: Its weights are not there, or are others.
    """
    made = manifest.built_with.model_copy(update={"weights": weights}) if weights else manifest.built_with
    shape = manifest.shape
    encoder = build_encoder(made, channels=shape.channels, height=shape.height, width=shape.width)
    if encoder.spec != manifest.encoder:
        remedy = "Name the weights that the index was built with (--weights)."
        raise ConfigError("encoder", encoder.spec, f"{manifest.encoder}, as in the index", remedy)
    return encoder


def _missing(text: str) -> Asked:
    return Asked(text, "unknown", unscored="no such file")


def exactly() -> Estimate:
    """The recall of a search that compares every row."""
    return Estimate(name="recall", value=1.0, lower=1.0, upper=1.0, level=1.0, n=0)


def merged(near: Neighbours, images: int, k: int) -> list[list[tuple[int, float, bool]]]:
    """(row, similarity, mirrored) of each image's nearest rows, as it is and mirrored together; a row once.

    Args:
      near: [2 * images, k]: the images as they are, then mirrored.
      images: How many.
      k: Rows kept for each.
    """
    kept = []
    for image in range(images):
        best: dict[int, tuple[float, bool]] = {}
        for query, turned in ((image, False), (images + image, True)):
            for row, similarity in zip(near.index[query].tolist(), near.similarity[query].tolist(), strict=True):
                if row >= 0 and (row not in best or similarity > best[row][0]):
                    best[row] = similarity, turned
        ranked = sorted(((row, *found) for row, found in best.items()), key=lambda one: (-one[1], one[0]))
        kept.append(ranked[:k])
    return kept


def name_rows(
    folder: Path, manifest: Manifest, near: Sequence[Sequence[tuple[int, float, bool]]], digests: Sequence[bytes | None]
) -> list[list[NearRow]]:
    """Rows by id, one partition's ids in memory at a time.

    Args:
      near: As :func:`merged` gives them.
      digests: Of the pixels of each image asked for.
    """
    wanted: NDArray[np.int64] = np.unique([row for rows in near for row, *_ in rows]).astype(np.int64)
    named: dict[int, tuple[str, str]] = {}
    begin = 0
    for _, portion in manifest.portions:
        ids = read_column(place(folder, portion), "id")
        inside = wanted[(wanted >= begin) & (wanted < begin + len(ids))]
        pixels = read_column(place(folder, portion), "pixels") if len(inside) else []
        named |= {row: (ids[row - begin], pixels[row - begin]) for row in inside.tolist()}
        begin += len(ids)
    return [
        [
            NearRow(id=named[row][0], similarity=similarity, mirrored=turned, same_pixels=same(named[row][1], digest))
            for row, similarity, turned in rows
        ]
        for rows, digest in zip(near, digests, strict=True)
    ]


def same(stored: object, digest: bytes | None) -> bool:
    """Whether the digest of an image's pixels (its first bytes) is the one that the index keeps."""
    kept = bytes.fromhex(stored) if isinstance(stored, str) else stored
    return isinstance(kept, bytes) and digest is not None and kept[: len(digest)] == digest
