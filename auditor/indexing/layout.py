"""What an index is on disk.

    manifest.json                     encoder, geometry, and the partitions that every source was dealt into
    partitions/<name>/embeddings.npy  Float32[N D], unit rows in the order of ids
    partitions/<name>/rows.parquet    id, SHA-256 of shape and pixels, caption, in the same order
    partitions/<name>/entry.json      the ledger entry: key, digests of both files, counts, unreadable images, seconds

A partition appears whole: its folder is filled under another name and renamed, the entry being written last. It is done
if and only if the entry is unharmed, carries the key that the manifest gives it and both files have the digests in it.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal

from pydantic import ValidationError

from auditor.config import EncoderConfig
from auditor.encoders.base import EncoderSpec
from auditor.errors import ConfigError, DataError
from auditor.store.digest import value_digest
from auditor.store.parts import Part
from auditor.store.run_directory import write_json

VERSION = 1  # of the files below
FOREIGN = frozenset({".faiss", ".index", ".ivf", ".hnsw", ".annoy"})  # suffixes of other programs' indexes
REBUILD = "Build an index from the images with `auditor index build`: a foreign index file is never opened."

MANIFEST, PARTITIONS, ENTRY, EMBEDDINGS, ROWS = (
    "manifest.json", "partitions", "entry.json", "embeddings.npy", "rows.parquet",
)  # fmt: skip


class Shape(Part):
    """The pixels that the encoder was given; see :class:`auditor.data.Geometry`."""

    channels: int
    height: int
    width: int
    resize: bool


class Portion(Part):
    """A partition before it is made: ``count`` ids of its source, one after the other."""

    name: str  # 00000, 00001, ... over all sources
    first: int  # among the source's ids that the index had not, sorted
    count: int
    ids: str  # SHA-256 of these ids


class SourcePlan(Part):
    """One set of images and how it was dealt into partitions."""

    path: str  # a folder or file, absolute, or a URL
    files: str  # SHA-256 over names, sizes and times of change of its files when it was dealt
    id_column: str | None = None
    image_column: str | None = None
    portions: list[Portion]


class Manifest(Part):
    """What the whole index holds, fixed before the first image is encoded."""

    kind: Literal["auditor index"] = "auditor index"
    schema_version: Literal[1] = 1
    encoder: EncoderSpec
    built_with: EncoderConfig  # where the encoder came from on the building machine
    shape: Shape
    batch: int  # images per encoder call
    sources: list[SourcePlan]

    def key(self, source: SourcePlan, portion: Portion) -> str:
        """Digest of what determines a partition's content; its name is no part of it."""
        return value_digest({**self.made_by, "files": source.files, "ids": portion.ids})

    @property
    def made_by(self) -> dict[str, object]:
        """What determines the embedding of an image."""
        return self.model_dump(mode="json", include={"schema_version", "encoder", "shape", "batch"})

    @property
    def portions(self) -> list[tuple[SourcePlan, Portion]]:
        """Every partition with the source that it was dealt from, in the order of names."""
        return [(source, portion) for source in self.sources for portion in source.portions]


def read_manifest(folder: Path) -> Manifest:
    """The manifest of an index.

    Raises:
      ConfigError: No index there, or another program's.
      DataError: Its manifest is damaged or of another version.
    """
    refuse_foreign(folder)
    file = folder / MANIFEST
    if not file.is_file():
        raise ConfigError("index", folder, "a folder that `auditor index build` wrote", "Correct the path.")
    try:
        return Manifest.model_validate_json(file.read_bytes())
    except ValidationError as error:
        first = error.errors()[0]
        got = f"{'.'.join(map(str, first['loc'])) or 'content'}: {first['msg']}"[:200]
        expected = f"the manifest of an index, version {VERSION}"
        raise DataError(str(file), got, expected, "Build the index again into another folder.") from error


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Write or replace the manifest, whole or not at all."""
    write_json(folder / MANIFEST, manifest.model_dump(mode="json"))


def refuse_foreign(path: Path) -> None:
    """Raise ConfigError for another program's index file, or a folder of such: they are never opened."""
    inside = sorted(path.iterdir()) if path.is_dir() and not (path / MANIFEST).exists() else []
    for file in [path, *inside]:
        if file.suffix.lower() in FOREIGN and not file.is_dir():
            raise ConfigError("index", f"{file}, an index file of another program", "an index of ours", REBUILD)


class Entry(Part):
    """The ledger entry of one partition that was made."""

    key: str
    files: dict[str, str]  # SHA-256 by file name
    images: int
    unreadable: list[tuple[str, str]]  # (id, reason), sorted
    waiting: float  # seconds without a decoded image
    encoding: float  # seconds in the encoder
    digest: str  # of all the above

    @classmethod
    def made(cls, **fields: Any) -> Entry:
        """An entry with its own digest."""
        return cls(**fields, digest=value_digest(json.loads(json.dumps(fields))))

    @property
    def content(self) -> dict[str, object]:
        """What stays equal whenever and wherever the same partition is made."""
        return {"files": self.files, "images": self.images, "unreadable": [list(pair) for pair in self.unreadable]}


def read_entry(folder: Path, key: str) -> Entry | None:
    """A partition's entry; None where there is none, or a damaged one, or one that belongs to something else."""
    try:
        entry = Entry.model_validate_json((folder / ENTRY).read_bytes())
    except (OSError, ValidationError):
        return None
    fields = entry.model_dump(mode="json", exclude={"digest"})
    unharmed = entry.digest == value_digest(fields) and set(entry.files) == {EMBEDDINGS, ROWS}
    return entry if unharmed and entry.key == key else None


def place(folder: Path, portion: Portion) -> Path:
    """Where a partition lies."""
    return folder / PARTITIONS / portion.name
