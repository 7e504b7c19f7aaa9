"""Image sources as one stream of (id, pixels, caption), whatever the format on disk."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Geometry:
    """The image shape an audit works in; an image of another shape is refused unless ``resize``."""

    channels: int  # 1 or 3
    height: int
    width: int
    resize: bool = False  # bilinear, antialiased, to exactly (height, width); and L <-> RGB


@dataclass(frozen=True)
class ImageBatch:
    """Consecutive readable images of a source."""

    ids: list[str]
    pixels: NDArray[np.uint8]  # UInt8[B C H W]
    captions: list[str | None]


@dataclass(frozen=True)
class SourceFile:
    """One image before decoding: ``read()`` gives the encoded bytes, or the raw array for npz."""

    id: str
    caption: str | None = None
    payload: bytes | NDArray[np.uint8] = field(default=b"", repr=False)


class ImageSource(Protocol):
    """A set of images in a stable order (sorted by id), streamed with bounded memory."""

    @property
    def path(self) -> str:
        """Where it lies, as the user gave it."""

    @property
    def unreadable(self) -> list[tuple[str, str]]:
        """(id, reason) of images that the last complete pass could not decode."""

    def batches(self, size: int) -> Iterator[ImageBatch]:
        """Every readable image once, ``size`` at a time (the last batch may be smaller)."""
