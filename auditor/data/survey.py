"""What a set of images is, in digests: identity, exact duplicates, and the pixels of a few of its images."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from auditor.data.base import ImageSource
from auditor.errors import DataError
from auditor.store.record import ImageSet

BLOCK = 256  # images decoded at a time


class Survey(NamedTuple):
    """A set's description, and 16 bytes per readable image that are equal exactly where the pixels are."""

    images: ImageSet
    digests: dict[str, bytes]
    uncaptioned: int = 0  # readable images without a caption, or a blank one; 0 where nobody looked


def survey(source: ImageSource) -> Survey:
    """Description and pixel digests, in one streaming pass.

    The set's digest is SHA-256 over one line ``[id, SHA-256 of shape and pixels, caption]`` (JSON) per readable image
    in the order of ids: it changes with a pixel, an id or a caption, not with the format on disk. Digests in
    ``digests`` are the first 16 bytes of the pixel SHA-256, in the order of ids; equal digests are exact duplicates.

    Raises:
      DataError: Not one image is readable, or one is of another shape than the audit's.
    """
    total = hashlib.sha256()
    digests: dict[str, bytes] = {}
    uncaptioned = 0
    for batch in source.batches(BLOCK):
        for name, pixels, caption in zip(batch.ids, batch.pixels, batch.captions, strict=True):
            digest = pixel_digest(pixels)
            total.update(json.dumps([name, digest.hex(), caption]).encode() + b"\n")
            digests[name] = digest[:16]
            uncaptioned += not (caption and caption.strip())
    if not digests:
        name, reason = source.unreadable[0]
        got = f"{len(source.unreadable)} images, none readable (first: {name}: {reason})"
        raise DataError(source.path, got, "readable images", "Correct the path.")
    described = ImageSet(
        path=source.path,
        digest=total.hexdigest(),
        images=len(digests),
        distinct=len(set(digests.values())),
        unreadable=source.unreadable,
    )
    return Survey(described, digests, uncaptioned)


def describe(source: ImageSource) -> ImageSet:
    """The set's entry in the record; see :func:`survey`, which gives the pixel digests of the same pass as well."""
    return survey(source).images


def pixel_digests(source: ImageSource) -> dict[str, bytes]:
    """16 bytes per readable image by id, equal exactly where shape and pixels are; see :func:`survey`."""
    return survey(source).digests


def pixel_digest(pixels: NDArray[np.uint8]) -> bytes:
    """SHA-256 (32 bytes) over the shape and the pixels of UInt8[C H W]."""
    shape = "x".join(map(str, pixels.shape)).encode()
    return hashlib.sha256(shape + b"\n" + np.ascontiguousarray(pixels).tobytes()).digest()


def pixels_of(source: ImageSource, ids: Sequence[str]) -> NDArray[np.uint8]:
    """UInt8[len(ids) C H W]: the named images in the given order, repeats allowed.

    Meant for the few images that stand as evidence: all of them are held in memory.

    Raises:
      ValueError: ``ids`` is empty.
      DataError: An id is not in the source, or its image is unreadable.
    """
    if not ids:
        raise ValueError("ids: got none; expected at least one")
    found: dict[str, NDArray[np.uint8]] = {}
    for batch in source.batches(BLOCK, only=frozenset(ids)):
        found.update(zip(batch.ids, batch.pixels, strict=True))
    for name in ids:
        if name not in found:
            reason = dict(source.unreadable).get(name, "no such image")
            raise DataError(f"{source.path}: image {name}", reason, "a readable image", "Check the set's files.")
    return np.stack([found[name] for name in ids])
