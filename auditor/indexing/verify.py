"""Whether an index is what its ledger says: every digest, every norm, every count, every id once."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from auditor.encoders.base import NORM_TOLERANCE
from auditor.errors import DataError
from auditor.indexing.layout import ENTRY, PARTITIONS, Entry, Manifest, Portion, place, read_entry, read_manifest
from auditor.indexing.read import read_embeddings, read_rows
from auditor.store.digest import file_digest, value_digest

BLOCK = 8_192  # embeddings whose norms are computed at a time
REBUILD = "Give `auditor index build` (or `add`) again; it replaces what is damaged."


def verify_index(folder: Path | str) -> list[DataError]:
    """Everything that is wrong with an index, an empty list if nothing is. All its files are read, no image is.

    Raises:
      ConfigError: No index there, or another program's.
      DataError: Its manifest is damaged.
    """
    folder = Path(folder)
    return list(_faults(folder, read_manifest(folder)))


def _faults(folder: Path, manifest: Manifest) -> Iterator[DataError]:
    seen: dict[str, str] = {}  # partition by id
    for source, portion in manifest.portions:
        where = place(folder, portion)
        entry = read_entry(where, manifest.key(source, portion))
        if entry is None:
            state = "a damaged or foreign ledger entry" if (where / ENTRY).exists() else "nothing"
            yield _fault(portion, state, "what the manifest plans")
            continue
        try:
            for name, digest in entry.files.items():
                if not (where / name).is_file():
                    yield _fault(portion, f"no {name}", "both files")
                elif file_digest(where / name) != digest:
                    yield _fault(portion, f"{name} of another SHA-256", f"{digest[:16]}..., as in its entry")
            yield from _wrong_rows(where, portion, entry, seen)
            yield from _wrong_vectors(where, portion, entry, manifest.encoder.dim)
        except DataError as error:
            yield error
    yield from _strays(folder / PARTITIONS, {portion.name for _, portion in manifest.portions})


def _wrong_rows(where: Path, portion: Portion, entry: Entry, seen: dict[str, str]) -> Iterator[DataError]:
    """Counts that differ, ids that were not planned, ids of two partitions."""
    rows = read_rows(where)
    ids = sorted(rows.ids + [name for name, _ in entry.unreadable])
    if len(rows.ids) != entry.images or len(ids) != portion.count:
        got = f"{len(rows.ids)} ids of images and {len(entry.unreadable)} unreadable"
        yield _fault(portion, got, f"{entry.images} of {portion.count} readable")
    elif value_digest(ids) != portion.ids:
        yield _fault(portion, "other ids", "those that the manifest plans")
    for name in ids:
        if seen.setdefault(name, portion.name) != portion.name:
            yield _fault(portion, f"the id {name!r}, which partition {seen[name]} has too", "every id once")
            break  # one is enough to say so
    if len(set(rows.ids)) < len(rows.ids):
        yield _fault(portion, "an id twice", "every id once")


def _wrong_vectors(where: Path, portion: Portion, entry: Entry, dim: int) -> Iterator[DataError]:
    """Another shape, or rows that are no unit vectors; NaN and infinity are none."""
    vectors = read_embeddings(where)
    if vectors.shape != (entry.images, dim):
        yield _fault(portion, f"embeddings of shape {list(vectors.shape)}", f"[{entry.images}, {dim}]")
        return
    for start in range(0, len(vectors), BLOCK):
        norms = np.linalg.norm(vectors[start : start + BLOCK].astype(np.float64), axis=1)
        wrong = np.flatnonzero(~(np.abs(norms - 1) <= NORM_TOLERANCE))
        if len(wrong):
            row = int(wrong[0])
            yield _fault(portion, f"an embedding of norm {norms[row]:.6g} in row {start + row}", "unit vectors")
            return


def _strays(folder: Path, known: set[str]) -> Iterator[DataError]:
    """Partitions that the manifest does not have; unfinished ones (.part) are no fault."""
    for stray in sorted(folder.iterdir()) if folder.is_dir() else []:
        if stray.name not in known and stray.suffix != ".part":
            yield DataError(str(stray), "a partition", "none that the manifest does not have", "Move it away.")


def _fault(portion: Portion, got: str, expected: str) -> DataError:
    return DataError(f"partition {portion.name}", got, expected, REBUILD)
