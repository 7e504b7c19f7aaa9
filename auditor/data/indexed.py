"""The one image source: an index of ids over a container that yields encoded images in the order of those ids."""

from __future__ import annotations

import hashlib
import json
from bisect import bisect_left
from collections.abc import Collection, Iterator, Sequence
from itertools import pairwise
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from auditor.data.base import Geometry, ImageBatch, Payload
from auditor.data.decode import Unreadable, decode, stored_shape
from auditor.data.places import Place, state_of
from auditor.data.prefetch import decode_workers, ordered
from auditor.errors import ConfigError, DataError

CHUNK = 16  # images handed to a decoding thread at a time
CHUNK_BYTES = 2**22  # encoded, of images that are read one after the other


class Container(Protocol):
    """Encoded images on disk. ``ids`` are unique and sorted; positions below are positions in ``ids``."""

    @property
    def scattered(self) -> bool:
        """Whether :meth:`read` may be called by several threads at once, for a few positions each, at no extra cost."""

    @property
    def ids(self) -> Sequence[str]:
        """Sorted and unique."""

    def read(self, positions: Sequence[int]) -> Iterator[Payload | str]:
        """One payload per ascending position; a text instead is the reason why there is none."""


Chunk = tuple[Sequence[int], Sequence[Payload | str] | None]
Decoded = tuple[str, NDArray[np.uint8], str | None]  # id, pixels, caption


class IndexedSource:
    """An :class:`auditor.data.base.ImageSource`: decodes what its container reads, and counts what it cannot.

    ``workers`` threads decode ahead of the consumer; their number changes nothing else.
    """

    def __init__(
        self,
        path: Place,
        container: Container,
        geometry: Geometry,
        workers: int | None = None,
        files: Sequence[Place] = (),
    ) -> None:
        self._path, self._container, self._geometry, self._files = path, container, geometry, files
        self._workers = decode_workers() if workers is None else workers
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

    def files_digest(self) -> str:
        """SHA-256 over the names, sizes and times of change of the files: whether they still are what they were."""
        digest = hashlib.sha256()
        for file in self._files:
            digest.update(json.dumps([str(file), *state_of(file)]).encode() + b"\n")
        return digest.hexdigest()

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

    def _images(self, only: Collection[str] | None) -> Iterator[Decoded]:
        """Readable images; the others enter ``unreadable``."""
        positions = range(len(self)) if only is None else self._positions(only)
        for chunk in ordered(self._decode, self._chunks(positions), self._workers):
            for name, image, caption in chunk:
                if isinstance(image, str):
                    self._unreadable[name] = image
                else:
                    yield name, image, caption

    def _positions(self, only: Collection[str]) -> list[int]:
        """Where the wanted ids stand, ascending; ids that the set does not have are passed over."""
        ids = self._container.ids
        found = [(bisect_left(ids, name), name) for name in sorted(only)]
        return [position for position, name in found if position < len(ids) and ids[position] == name]

    def _chunks(self, positions: Sequence[int]) -> Iterator[Chunk]:
        """A few images at a time: positions alone where the thread that decodes may read, else with their payloads."""
        if self._container.scattered:
            yield from ((positions[i : i + CHUNK], None) for i in range(0, len(positions), CHUNK))
            return
        places: list[int] = []
        payloads: list[Payload | str] = []
        size = 0
        for position, payload in zip(positions, self._container.read(positions), strict=True):
            places.append(position)
            payloads.append(payload)
            size += _bytes(payload)
            if len(places) == CHUNK or size >= CHUNK_BYTES:
                yield places, payloads
                places, payloads, size = [], [], 0
        if places:
            yield places, payloads

    def _decode(self, chunk: Chunk) -> list[tuple[str, NDArray[np.uint8] | str, str | None]]:
        """(id, pixels or the reason why there are none, caption) of a chunk."""
        positions, payloads = chunk
        decoded: list[tuple[str, NDArray[np.uint8] | str, str | None]] = []
        for position, payload in zip(positions, payloads or self._container.read(positions), strict=True):
            name = self._container.ids[position]
            try:
                if isinstance(payload, str):
                    raise Unreadable(payload)
                decoded.append((name, decode(name, payload, self._geometry), payload.caption))
            except Unreadable as reason:
                decoded.append((name, str(reason), None))
        return decoded


def _bytes(payload: Payload | str) -> int:
    """Of the encoded image or the raw array."""
    if isinstance(payload, str):
        return 0
    return len(payload.content) if isinstance(payload.content, bytes) else payload.content.nbytes


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
