"""Images to unit vectors as one stream: decoding, preprocessing and hashing run ahead, beside the network.

Three steps work at the same time: threads of the source decode, threads here prepare whole batches, and the consumer's
thread runs the network. Which images share a batch depends on the source alone, never on threads or timing, so the
same set gives the same bits.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from auditor.data.base import ImageBatch, ImageSource
from auditor.data.prefetch import ordered
from auditor.data.survey import pixel_digest
from auditor.encoders.base import Encoder, Prepares, check_vectors

BATCH = 128  # images per encoder call; fixed, so that a resumed run sees the same kernels
AHEAD = 2  # batches prepared at a time
WAITING = 0.05  # share of the time spent waiting for images from which on decoding is called the bottleneck


@dataclass
class Timing:
    """Where the consumer's thread spent its time; filled while the stream is read."""

    images: int = 0
    waiting: float = 0.0  # seconds without an image to encode: decoding and preprocessing were behind
    encoding: float = 0.0  # seconds in the network

    @property
    def bottleneck(self) -> Literal["decoding", "encoder"]:
        """What more of would make the stream faster; decoding from 5% of the time spent waiting."""
        total = self.waiting + self.encoding
        return "decoding" if total and self.waiting / total >= WAITING else "encoder"


@dataclass(frozen=True)
class EmbeddedBatch:
    """One batch of a stream; rows follow the ids."""

    ids: list[str]
    vectors: NDArray[np.float32]  # Float32[B D], unit norm
    captions: list[str | None]
    digests: list[bytes]  # SHA-256 of shape and pixels, 32 bytes each; none unless asked for


class EmbedStream:
    """An iterator over :class:`EmbeddedBatch`; ``timing`` grows while it is read."""

    def __init__(self, batches: Iterator[_Prepared], encoder: Encoder) -> None:
        self._batches, self._encoder, self.timing = batches, encoder, Timing()
        self.dim = encoder.spec.dim  # columns of every batch's vectors

    def __iter__(self) -> Iterator[EmbeddedBatch]:
        encode: Callable[[Any], NDArray[np.float32]]
        encode = self._encoder.forward if isinstance(self._encoder, Prepares) else self._encoder
        while True:
            began = time.perf_counter()
            prepared = next(self._batches, None)
            drawn = time.perf_counter()
            self.timing.waiting += drawn - began
            if prepared is None:
                return
            vectors = encode(prepared.images)
            check_vectors(vectors, prepared.ids, self._encoder)
            self.timing.encoding += time.perf_counter() - drawn
            self.timing.images += len(prepared.ids)
            yield EmbeddedBatch(prepared.ids, vectors, prepared.captions, prepared.digests)


def embed_stream(
    source: ImageSource,
    encoder: Encoder,
    batch: int = BATCH,
    workers: int = AHEAD,
    *,
    only: Collection[str] | None = None,
    digests: bool = False,
) -> EmbedStream:
    """Every readable image of a source as a unit vector, in the order of ids, ``batch`` at a time.

    Args:
      source: Opened with ``workers`` of its own, the threads that decode.
      encoder: Called, or its ``forward`` if it has one, in the thread that reads the stream.
      batch: Images per encoder call; it may change the last bits of a vector.
      workers: Batches prepared and hashed at a time; 0 does it all in the reading thread. No effect on the result.
      only: Ids to embed; None = all.
      digests: Whether to hash the pixels too; see :func:`auditor.data.survey.pixel_digest`.

    Raises:
      DataError: While reading: an image of another shape without resizing, or an embedding that is no unit vector.
    """
    prepare = encoder.prepare if isinstance(encoder, Prepares) else np.ascontiguousarray

    def ready(images: ImageBatch) -> _Prepared:
        hashes = [pixel_digest(pixels) for pixels in images.pixels] if digests else []
        return _Prepared(images.ids, prepare(images.pixels), images.captions, hashes)

    return EmbedStream(ordered(ready, source.batches(batch, only), workers), encoder)


@dataclass(frozen=True)
class _Prepared:
    """One batch before the network."""

    ids: list[str]
    images: Any  # what the encoder's ``prepare`` made, or the pixels
    captions: list[str | None]
    digests: list[bytes]
