"""One partition, written as a stream, whole or not at all."""

from __future__ import annotations

import errno
import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.lib import format as npy
from numpy.typing import NDArray

from auditor.errors import AuditError
from auditor.indexing.layout import EMBEDDINGS, ENTRY, ROWS, Entry, read_entry
from auditor.indexing.stream import EmbedStream
from auditor.store.atomic import ABANDONED, partial_of
from auditor.store.digest import file_digest
from auditor.store.run_directory import write_json

COLUMNS = pa.schema([("id", pa.large_string()), ("pixels", pa.binary(32)), ("caption", pa.large_string())])
TAKEN = (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR)  # what renaming a folder onto another one answers


def write_partition(
    folder: Path, key: str, stream: EmbedStream, planned: int, unreadable: Callable[[], list[tuple[str, str]]]
) -> None:
    """Read a stream to its end into a partition.

    Memory holds one batch of embeddings, and the ids, digests and captions of the partition. Of several writers of one
    partition the first that finishes stays; the others' work is dropped.

    Args:
      folder: The partition's place.
      key: What determines its content.
      stream: With pixel digests.
      planned: Images in the partition, readable or not.
      unreadable: Called once the stream has ended: (id, reason) of those that could not be read.

    Raises:
      AuditError: The disk is full, or cannot be written.
    """
    partial = partial_of(folder)
    ids: list[str] = []
    digests: list[bytes] = []
    captions: list[str | None] = []
    try:
        with writing(folder):
            partial.mkdir(parents=True)
            vectors = VectorFile(partial / EMBEDDINGS, planned, stream.dim)
        with vectors:
            for batch in stream:
                with writing(folder):
                    vectors.append(batch.vectors)
                ids += batch.ids
                digests += batch.digests
                captions += batch.captions
            with writing(folder):
                vectors.finish()
        with writing(folder):
            columns = [
                pa.array(values, field.type) for values, field in zip((ids, digests, captions), COLUMNS, strict=True)
            ]
            pq.write_table(pa.table(columns, schema=COLUMNS), partial / ROWS)
            synchronise(partial / ROWS)
            entry = Entry.made(
                key=key,
                files={name: file_digest(partial / name) for name in (EMBEDDINGS, ROWS)},
                images=len(ids),
                unreadable=unreadable(),
                waiting=round(stream.timing.waiting, 3),
                encoding=round(stream.timing.encoding, 3),
            )
            write_json(partial / ENTRY, entry.model_dump(mode="json"))
            settle(partial, folder, key)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


class VectorFile:
    """An .npy file of Float32[N D] that grows by rows; N is known at the end, at most ``planned``."""

    def __init__(self, path: Path, planned: int, dim: int) -> None:
        self._file: BinaryIO = path.open("wb")
        self._planned, self._dim, self._rows = planned, dim, 0
        self._header(planned)
        self._start = self._file.tell()

    def __enter__(self) -> VectorFile:
        return self

    def __exit__(self, *exc: object) -> None:
        with suppress(OSError):  # what could not be written has been raised before
            self._file.close()

    def append(self, vectors: NDArray[np.float32]) -> None:
        """Write further rows."""
        self._rows += len(vectors)
        if self._rows > self._planned or vectors.shape[1:] != (self._dim,) or vectors.dtype != np.float32:
            got = f"{vectors.dtype}{list(vectors.shape)} as rows up to {self._rows}"
            raise ValueError(f"vectors: got {got}; expected at most float32[{self._planned} {self._dim}]")
        self._file.write(np.ascontiguousarray(vectors).data)

    def finish(self) -> None:
        """Correct the header, which numpy pads for any number of rows, and synchronise to disk."""
        self._file.seek(0)
        self._header(self._rows)
        if self._file.tell() != self._start:
            raise RuntimeError("numpy wrote headers of two lengths")
        self._file.flush()
        os.fsync(self._file.fileno())

    def _header(self, rows: int) -> None:
        npy.write_array_header_1_0(self._file, {"descr": "<f4", "fortran_order": False, "shape": (rows, self._dim)})


def settle(partial: Path, folder: Path, key: str) -> None:
    """Give a filled folder its name; what is not done there makes way, what is done stays."""
    synchronise(partial)
    while True:
        try:
            partial.rename(folder)
            break
        except OSError as error:
            if error.errno not in TAKEN:
                raise
        if is_done(folder, key) is not None:
            return
        remove_partition(folder)
    synchronise(folder.parent)


def is_done(folder: Path, key: str) -> Entry | None:
    """The entry of a partition that is whole: unharmed, of this key, its files as they were written. Reads them all."""
    entry = read_entry(folder, key)
    if entry is None:
        return None
    try:
        whole = all(file_digest(folder / name) == digest for name, digest in entry.files.items())
    except OSError:
        return None
    return entry if whole else None


def remove_partition(folder: Path) -> None:
    """Take what lies at a partition's place away at once, whatever it is; another process may be doing the same."""
    aside = partial_of(folder)
    with suppress(FileNotFoundError):
        folder.rename(aside)
    if aside.is_dir():
        shutil.rmtree(aside, ignore_errors=True)
    else:
        aside.unlink(missing_ok=True)


def sweep_partitions(folder: Path) -> None:
    """Remove unfinished partitions below ``folder`` to which nobody has written for a day."""
    for partial in folder.glob("*.part"):
        with suppress(OSError):
            latest = max(file.stat().st_mtime for file in [partial, *partial.iterdir()])
            if time.time() - latest > ABANDONED:
                shutil.rmtree(partial)


def synchronise(path: Path) -> None:
    """Have a file's content, or a folder's names, on the disk itself."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def writing(folder: Path) -> Iterator[None]:
    """What the system refuses while a partition is written, as one line that says what is not lost."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or (str(error).splitlines() or [type(error).__name__])[0][:200]
        remedy = "Free space, or mend the disk; finished partitions stay, and the same command goes on from there."
        raise AuditError(f"index partition {folder}", reason, "a disk with room that can be written", remedy) from error
