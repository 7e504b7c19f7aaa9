"""The one image source: an index of ids over a container that yields encoded images in the order of those ids."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from auditor.data.base import Geometry, ImageBatch, Payload
from auditor.data.decode import Unreadable, decode, stored_shape
from auditor.errors import ConfigError, DataError


class Container(Protocol):
    """Encoded images on disk. ``ids`` are unique and sorted; positions below are positions in ``ids``."""

    @property
    def ids(self) -> Sequence[str]:
        """Sorted and unique."""

    def read(self, positions: Sequence[int]) -> Iterator[Payload | str]:
        """One payload per ascending position; a text instead is the reason why there is none."""


class IndexedSource:
    """An :class:`auditor.data.base.ImageSource`: decodes what its container reads, and counts what it cannot."""

    def __init__(self, path: Path, container: Container, geometry: Geometry) -> None:
        self._path, self._container, self._geometry = path, container, geometry
        self._unreadable: dict[str, str] = {}
        refuse_duplicates(str(path), container.ids)

    @property
    def path(self) -> str:
        return str(self._path)

    @property
    def unreadable(self) -> list[tuple[str, str]]:
        return sorted(self._unreadable.items())

    def __len__(self) -> int:
        return len(self._container.ids)

    @property
    def ids(self) -> Sequence[str]:
        """Ids of all images, readable or not, sorted."""
        return self._container.ids

    def first_shape(self) -> tuple[int, int, int]:
        """(channels, height, width) of the first readable image as stored, alpha not counted: 1 or 3 channels.

        Raises:
          DataError: No image is readable.
        """
        reason = ""
        for position in range(len(self)):
            try:
                payload = next(iter(self._container.read([position])))
                if isinstance(payload, str):
                    raise Unreadable(payload)
                return stored_shape(payload)
            except Unreadable as error:
                reason = str(error)
        raise DataError(self.path, f"no readable image (last: {reason})", "at least one", "Correct the path.")

    def batches(self, size: int, only: Collection[str] | None = None) -> Iterator[ImageBatch]:
        """See :class:`auditor.data.base.ImageSource`."""
        if size < 1:
            raise ValueError(f"size: got {size}; expected at least 1")
        ids: list[str] = []
        pixels: list[NDArray[np.uint8]] = []
        captions: list[str | None] = []
        for name, image, caption in self._images(only):
            ids.append(name)
            pixels.append(image)
            captions.append(caption)
            if len(ids) == size:
                yield ImageBatch(ids, np.stack(pixels), captions)
                ids, pixels, captions = [], [], []
        if ids:
            yield ImageBatch(ids, np.stack(pixels), captions)

    def _images(self, only: Collection[str] | None) -> Iterator[tuple[str, NDArray[np.uint8], str | None]]:
        """(id, pixels, caption) of readable images; the others enter ``unreadable``."""
        ids = self._container.ids
        wanted = None if only is None else frozenset(only)
        positions = range(len(ids)) if wanted is None else [i for i, name in enumerate(ids) if name in wanted]
        for position, payload in zip(positions, self._container.read(positions), strict=True):
            name = ids[position]
            try:
                if isinstance(payload, str):
                    raise Unreadable(payload)
                yield name, decode(name, payload, self._geometry), payload.caption
            except Unreadable as reason:
                self._unreadable[name] = str(reason)


def refuse_duplicates(subject: str, sorted_ids: Sequence[str]) -> None:
    """Raise ConfigError if the set is empty or two of its images share an id."""
    if not sorted_ids:
        raise ConfigError(subject, "no images", "at least one image", "Correct the path.")
    for first, second in pairwise(sorted_ids):
        if first == second:
            raise ConfigError(subject, f"two images with the id {first!r}", "unique ids", "Rename one of them.")


def clean_text(text: str) -> str:
    """The text in valid Unicode: bytes of a file name that are not UTF-8 are written as backslash escapes."""
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
