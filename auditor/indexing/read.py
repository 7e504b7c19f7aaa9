"""What an index holds, read from its manifest and ledger; embeddings are memory-mapped."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from auditor.encoders.base import EncoderSpec
from auditor.errors import ConfigError, DataError
from auditor.indexing.layout import (
    EMBEDDINGS,
    ROWS,
    Entry,
    Manifest,
    Portion,
    Shape,
    SourcePlan,
    place,
    read_entry,
    read_manifest,
)  # fmt: skip
from auditor.indexing.stream import Timing
from auditor.store.digest import value_digest
from auditor.store.parts import Part

SHOWN = 20  # unreadable images named by an info


class Rows(NamedTuple):
    """What a partition knows of its images, in the order of its embeddings."""

    ids: list[str]
    pixels: list[bytes]  # SHA-256 of shape and pixels
    captions: list[str | None]


class IndexInfo(Part):
    """An index at a glance; nothing but the ledger is read for it."""

    path: str
    digest: str | None  # of the content, wherever and whenever it was made; None while partitions are missing
    encoder: EncoderSpec
    shape: Shape
    sources: list[str]
    planned: int  # images of all sources
    images: int  # embedded so far
    unreadable: int
    unreadable_first: list[tuple[str, str]]  # (id, reason)
    partitions: int
    missing: list[str]  # partitions without a whole ledger entry
    waiting: float  # seconds that the encoder waited for decoded images, over all partitions
    encoding: float  # seconds in the encoder
    bottleneck: Literal["decoding", "encoder"] | None  # None while nothing has been embedded


def index_info(folder: Path | str) -> IndexInfo:
    """An index's encoder, sources, counts, and what bounded its speed. Its files are not read: see ``verify_index``.

    Raises:
      ConfigError: No index there, or another program's.
      DataError: Its manifest is damaged.
    """
    folder = Path(folder)
    manifest = read_manifest(folder)
    found = [
        (portion, read_entry(place(folder, portion), manifest.key(s, portion))) for s, portion in manifest.portions
    ]
    entries = [entry for _, entry in found if entry]
    unreadable = [pair for entry in entries for pair in entry.unreadable]
    waiting, encoding = sum(entry.waiting for entry in entries), sum(entry.encoding for entry in entries)
    images = sum(entry.images for entry in entries)
    return IndexInfo(
        path=str(folder),
        digest=index_digest(manifest, entries) if len(entries) == len(found) else None,
        encoder=manifest.encoder,
        shape=manifest.shape,
        sources=[source.path for source in manifest.sources],
        planned=sum(portion.count for portion, _ in found),
        images=images,
        unreadable=len(unreadable),
        unreadable_first=unreadable[:SHOWN],
        partitions=len(found),
        missing=[portion.name for portion, entry in found if entry is None],
        waiting=round(waiting, 3),
        encoding=round(encoding, 3),
        bottleneck=Timing(images, waiting, encoding).bottleneck if images else None,
    )


def index_digest(manifest: Manifest, entries: Sequence[Entry]) -> str:
    """SHA-256 over encoder, geometry and every partition's files and counts: equal for equal content."""
    return value_digest({**manifest.made_by, "partitions": [entry.content for entry in entries]})


def entries_of(folder: Path, manifest: Manifest, sources: Sequence[SourcePlan]) -> Iterator[tuple[Portion, Entry]]:
    """Every partition of these sources with its entry.

    Raises:
      ConfigError: One is missing.
    """
    for source in sources:
        for portion in source.portions:
            entry = read_entry(place(folder, portion), manifest.key(source, portion))
            if entry is None:
                got = f"partition {portion.name} missing or damaged"
                remedy = (
                    f"Give the `auditor index` command (build, add, merge) that began it from {source.path}, again."
                )
                raise ConfigError(f"index {folder}", got, "a complete index", remedy)
            yield portion, entry


def known_ids(folder: Path, manifest: Manifest, sources: Sequence[SourcePlan]) -> set[str]:
    """Ids of these sources' partitions, those of unreadable images included."""
    known: set[str] = set()
    for portion, entry in entries_of(folder, manifest, sources):
        known.update(read_column(place(folder, portion), "id"))
        known.update(name for name, _ in entry.unreadable)
    return known


def read_rows(folder: Path) -> Rows:
    """Ids, pixel digests and captions of one partition."""
    return Rows(read_column(folder, "id"), read_column(folder, "pixels"), read_column(folder, "caption"))


def read_column(folder: Path, name: str) -> list[Any]:
    """One column of a partition's rows."""
    try:
        values: list[Any] = pq.read_table(folder / ROWS, columns=[name]).column(name).to_pylist()
    except (pa.ArrowException, OSError, KeyError) as error:
        got = (str(error).splitlines() or [type(error).__name__])[0][:200]
        remedy = "Give `auditor index build` again; it replaces what is damaged."
        raise DataError(str(folder / ROWS), got, "the rows of a partition", remedy) from error
    return values


def read_embeddings(folder: Path) -> NDArray[np.float32]:
    """Float32[N D] of one partition, memory-mapped and read-only."""
    file = folder / EMBEDDINGS
    try:
        vectors: NDArray[np.float32] = np.load(file, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        got = (str(error).splitlines() or [type(error).__name__])[0][:200]
        remedy = "Give `auditor index build` again; it replaces what is damaged."
        raise DataError(str(file), got, "the embeddings of a partition", remedy) from error
    if vectors.dtype != np.float32 or vectors.ndim != 2:
        got = f"{vectors.dtype}{list(vectors.shape)}"
        raise DataError(str(file), got, "float32[N D]", "Give `auditor index build` again.")
    return vectors
