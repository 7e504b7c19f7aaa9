"""An index in the place of a training set's embeddings and survey: what an audit takes from it, and what it checks."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from auditor.data import Geometry, ImageSource, Survey
from auditor.data.survey import pixel_digest
from auditor.encoders.base import EncoderSpec
from auditor.errors import ConfigError, DataError
from auditor.indexing.layout import Manifest, Shape, place, read_manifest
from auditor.indexing.partition import is_done
from auditor.indexing.read import entries_of, index_digest, read_column, read_embeddings, read_rows
from auditor.probes import choose
from auditor.store.atomic import replacing
from auditor.store.record import ImageSet, IndexUsed

SAMPLE = 64  # images that are decoded to see whether the index was made of this set
BLOCK = 16_384  # embeddings copied at a time
ADD = "Give `auditor index add` with the training set, or leave data.index out."


class ListedSource(ImageSource, Protocol):
    """A set whose ids are known before it is read."""

    @property
    def ids(self) -> Sequence[str]:
        """Sorted."""


@dataclass(frozen=True)
class TrainingIndex:
    """A complete index that fits an audit."""

    folder: Path
    manifest: Manifest
    digest: str  # see :func:`auditor.indexing.read.index_digest`

    @classmethod
    def open(cls, folder: Path, geometry: Geometry, encoders: Sequence[EncoderSpec], *, check: bool) -> TrainingIndex:
        """An index that was made with one of an audit's encoders, in its geometry.

        Args:
          folder: Of the index.
          geometry: The audit's.
          encoders: The audit's; those that the index was not made with are none of its business.
          check: Whether to read all files, to see whether they have the digests of the ledger.

        Raises:
          ConfigError: Another encoder or geometry, an index that is not complete, or no index at all.
          DataError: A file is damaged.
        """
        manifest = read_manifest(folder)
        wanted = Shape(**asdict(geometry))
        if manifest.shape != wanted:
            remedy = "Build it in the checkpoint's size and channels, with --resize where data.resize is set."
            raise ConfigError(f"index {folder}", f"images as {manifest.shape}", f"{wanted}, as in the audit", remedy)
        if manifest.encoder not in encoders:
            expected = f"one of the audit's encoders: {'; '.join(map(str, encoders))}"
            remedy = "Build an index with one of them, add its encoder to the audit, or leave data.index out."
            raise ConfigError(f"index {folder}", manifest.encoder, expected, remedy)
        entries = list(entries_of(folder, manifest, manifest.sources))
        keys = {portion.name: manifest.key(source, portion) for source, portion in manifest.portions}
        for portion, _ in entries if check else []:
            if is_done(place(folder, portion), keys[portion.name]) is None:
                got, remedy = "files of another SHA-256 than its entry", "Give `auditor index build` again."
                raise DataError(f"index {folder}: partition {portion.name}", got, "a whole partition", remedy)
        return cls(folder, manifest, index_digest(manifest, [entry for _, entry in entries]))

    def describe(self) -> IndexUsed:
        """What the record says of it."""
        return IndexUsed(path=str(self.folder), digest=self.digest, encoder=self.manifest.encoder.name)

    def survey(self, source: ListedSource) -> Survey:
        """What :func:`auditor.data.survey` finds out about a set, from the index instead of its images.

        A few of the images are decoded, to see whether the index was made of them.

        Raises:
          ConfigError: The set has images that the index does not have.
          DataError: An image's pixels are not those of the index, or no image is readable.
        """
        wanted, unreadable = set(source.ids), self._unreadable()
        rows: dict[str, tuple[bytes, str | None]] = {}
        for _, portion in self.manifest.portions:
            part = read_rows(place(self.folder, portion))
            for name, digest, caption in zip(*part, strict=True):
                if name in wanted:
                    rows[name] = digest, caption
        missing = wanted - rows.keys() - unreadable.keys()
        if missing:
            got = f"{len(missing):,} images of {source.path} that it does not have (such as {min(missing)!r})"
            raise ConfigError(f"index {self.folder}", got, "the whole training set", ADD)
        lost = sorted((name, unreadable[name]) for name in wanted - rows.keys())
        if not rows:
            got = f"{len(lost)} images, none readable (first: {': '.join(lost[0])})"
            raise DataError(source.path, got, "readable images", "Correct the path.")
        self._refuse_others(source, rows)
        total = hashlib.sha256()
        digests: dict[str, bytes] = {}
        for name in sorted(rows):
            digest, caption = rows[name]
            total.update(json.dumps([name, digest.hex(), caption]).encode() + b"\n")
            digests[name] = digest[:16]
        described = ImageSet(
            path=source.path,
            digest=total.hexdigest(),
            images=len(digests),
            distinct=len(set(digests.values())),
            unreadable=lost,
        )
        return Survey(described, digests)

    def embeddings(self, ids: Sequence[str], file: Path) -> NDArray[np.float32]:
        """Float32[N D] in the order of ``ids``, memory-mapped: the one partition's own, or else copied to ``file``.

        Raises:
          DataError: The index lacks one of them.
        """
        rows = {name: row for row, name in enumerate(ids)}
        portions = [portion for _, portion in self.manifest.portions]
        if len(portions) == 1 and read_column(place(self.folder, portions[0]), "id") == list(ids):
            return read_embeddings(place(self.folder, portions[0]))
        file.parent.mkdir(parents=True, exist_ok=True)
        found = 0
        with replacing(file) as partial:
            whole = np.lib.format.open_memmap(
                partial, mode="w+", dtype=np.float32, shape=(len(ids), self.manifest.encoder.dim)
            )
            for portion in portions:
                names, vectors = (
                    read_column(place(self.folder, portion), "id"),
                    read_embeddings(place(self.folder, portion)),
                )
                here = [row for row, name in enumerate(names) if name in rows]
                there = [rows[names[row]] for row in here]
                for start in range(0, len(here), BLOCK):
                    whole[there[start : start + BLOCK]] = vectors[here[start : start + BLOCK]]
                found += len(here)
            whole.flush()
        if found != len(ids):
            raise DataError(f"index {self.folder}", f"{found} of the images", f"all {len(ids)}", ADD)
        copied: NDArray[np.float32] = np.load(file, mmap_mode="r", allow_pickle=False)
        return copied

    def _unreadable(self) -> dict[str, str]:
        """Reasons by id, of the images that could not be read when the index was made."""
        entries = entries_of(self.folder, self.manifest, self.manifest.sources)
        return {name: reason for _, entry in entries for name, reason in entry.unreadable}

    def _refuse_others(self, source: ListedSource, rows: dict[str, tuple[bytes, str | None]]) -> None:
        """Raise DataError unless a sample of the images has the pixels and captions of the index."""
        sample = choose(self.digest, "index", sorted(rows), SAMPLE)
        found: dict[str, tuple[bytes, str | None]] = {}
        for batch in source.batches(SAMPLE, only=frozenset(sample)):
            for name, pixels, caption in zip(batch.ids, batch.pixels, batch.captions, strict=True):
                found[name] = pixel_digest(pixels), caption
        other = [name for name in sample if found.get(name) != rows[name]]
        if other:
            got = f"{len(other)} of {len(sample)} images looked at are not what it was made of (such as {other[0]!r})"
            remedy = "Build the index again from this training set, or leave data.index out."
            raise DataError(f"index {self.folder}", got, f"the images of {source.path}", remedy)
