"""Row formats (parquet, Arrow, npz): read forwards only, yet served in the order of their ids."""

from __future__ import annotations

import tempfile
from collections.abc import Collection, Iterator, Sequence
from typing import IO, Protocol

import numpy as np
from numpy.typing import NDArray

from auditor.data.base import Payload

ABSENT = -1  # stands for the size of a caption or image that is not there


class Rows(Protocol):
    """A table on disk that can only be read forwards."""

    @property
    def ids(self) -> Sequence[str]:
        """One id per row, in stored order."""

    def forwards(self, wanted: Collection[int] | None) -> Iterator[tuple[int, Payload | str]]:
        """(row, payload or reason) of the wanted rows (None: all) in stored order, skipping what can be skipped."""


class RowContainer:
    """Rows in the order of their ids.

    Where that is the stored order, rows are streamed. Where it is not, one forward pass copies the encoded images to
    an anonymous temporary file, read by offset from then on: disk instead of memory, and no re-reading.
    """

    scattered = False

    def __init__(self, rows: Rows) -> None:
        self._rows = rows
        stored = rows.ids
        self._order: NDArray[np.int64] = np.array(sorted(range(len(stored)), key=stored.__getitem__), np.int64)
        self.ids: Sequence[str] = [stored[row] for row in self._order]
        self._in_order = bool(np.all(self._order == np.arange(len(stored))))
        self._spool: Spool | None = None

    def read(self, positions: Sequence[int]) -> Iterator[Payload | str]:
        if self._in_order:
            wanted = None if len(positions) == len(self.ids) else frozenset(positions)
            yield from (payload for _, payload in self._rows.forwards(wanted))
            return
        self._spool = self._spool or Spool(self._rows)
        for position in positions:
            yield self._spool.read(int(self._order[position]))


class Spool:
    """Encoded images and captions in an anonymous temporary file, found by row."""

    def __init__(self, rows: Rows) -> None:
        self._file: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115  # lives as long as the container
        self._places = np.full((len(rows.ids), 3), ABSENT, np.int64)  # offset, image bytes, caption bytes
        self._reasons: dict[int, str] = {}
        self._shapes: dict[int, tuple[int, ...]] = {}  # of raw arrays
        for row, payload in rows.forwards(None):
            self._write(row, payload)

    def _write(self, row: int, payload: Payload | str) -> None:
        if isinstance(payload, str):
            self._reasons[row] = payload
            return
        if isinstance(payload.content, np.ndarray):
            self._shapes[row] = payload.content.shape
        content = payload.content if isinstance(payload.content, bytes) else payload.content.tobytes()
        caption = None if payload.caption is None else payload.caption.encode()
        self._places[row] = self._file.tell(), len(content), ABSENT if caption is None else len(caption)
        self._file.write(content)
        self._file.write(caption or b"")

    def read(self, row: int) -> Payload | str:
        """The row's payload, or the reason why it has none."""
        if row in self._reasons:
            return self._reasons[row]
        offset, size, caption_size = map(int, self._places[row])
        self._file.seek(offset)
        content: bytes | NDArray[np.uint8] = self._file.read(size)
        caption = None if caption_size == ABSENT else self._file.read(caption_size).decode()
        if row in self._shapes:
            content = np.frombuffer(content, np.uint8).reshape(self._shapes[row])
        return Payload(content, caption)


def row_ids(stem: str, count: int) -> list[str]:
    """``<stem>/<row>`` for tables without an id column, zero-padded so that sorting keeps the stored order."""
    return [f"{stem}/{row:08d}" for row in range(count)]
