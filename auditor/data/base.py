"""Image sources as one stream of (id, pixels, caption), whatever the format on disk."""

from __future__ import annotations

from collections.abc import Collection, Iterator
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


@dataclass(frozen=True, slots=True)
class Payload:
    """One image before decoding: the bytes of a PNG, JPEG or WEBP file, or raw UInt8[H W] or [H W C] pixels."""

    content: bytes | NDArray[np.uint8] = field(repr=False)
    caption: str | None = None


class ImageSource(Protocol):
    """A set of images in a stable order (sorted by id), streamed with bounded memory."""

    @property
    def path(self) -> str:
        """Where it lies, as the user gave it."""

    @property
    def unreadable(self) -> list[tuple[str, str]]:
        """(id, reason) of the images that no pass so far could decode, sorted by id; complete after a whole pass."""

    def __len__(self) -> int:
        """Images in the set, readable or not."""

    def batches(self, size: int, only: Collection[str] | None = None) -> Iterator[ImageBatch]:
        """Every readable image once, sorted by id, ``size`` at a time (the last batch may be smaller).

        Args:
          size: Images per batch, at least 1.
          only: Ids to stream, in any order (ids the set does not have are passed over); None streams all.

        Raises:
          DataError: An image is readable but of another shape than the audit's, and resizing was not asked for.
        """
