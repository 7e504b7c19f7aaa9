"""Open a set of images; what lies at the path is told by content, not by its name."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from auditor.data.base import Geometry
from auditor.data.folder import FolderContainer, is_image_name
from auditor.data.indexed import Container, IndexedSource
from auditor.data.rows import RowContainer
from auditor.errors import ConfigError

FORMATS = "a folder of PNG, JPEG or WEBP files, webdataset .tar, parquet, Arrow or .npz (one file or a folder of them)"
SHARD_SUFFIXES = frozenset({".tar", ".parquet", ".arrow", ".feather", ".npz"})


def open_source(
    path: Path,
    geometry: Geometry,
    *,
    id_column: str | None = None,
    image_column: str | None = None,
    workers: int | None = None,
) -> IndexedSource:
    """The images at ``path`` as one stream, sorted by id, decoded to ``geometry``.

    Ids, unique and stable:
      folder of images    path below the folder without extension (with it where two files would share it)
      webdataset tar      sample key: the member's path up to the first dot of its last component
      parquet, Arrow      the id column, or ``<file>/<row>``, rows padded to 8 digits
      npz                 the id array, or ``<file>/<row>``

    Only ids and places are held in memory, never the images.

    Args:
      path: A file or a folder.
      geometry: Channels and size of the audit.
      id_column: Column of a table, or array of an archive, that holds the ids.
      image_column: The same for the images; for a tar, the extension of the members that are the images.
      workers: Threads that decode; None = one a CPU. No effect on the result.

    Raises:
      ConfigError: No such path, an unknown format, no images, ids that repeat, or pickles.
      DataError: A shard is truncated or damaged.
    """
    if not path.exists():
        raise ConfigError(str(path), "no such file or folder", FORMATS, "Correct the path.")
    if path.is_file():
        return IndexedSource(path, _open_shards(path, [path], id_column, image_column), geometry, workers, [path])
    files = list_files(path)
    images = [file for file in files if is_image_name(file)]
    shards = [file for file in files if file.suffix.lower() in SHARD_SUFFIXES]
    if images and shards:
        got = f"images ({images[0].name}) beside shards ({shards[0].name})"
        raise ConfigError(str(path), got, "one kind of files", "Point at one of them, or move the others away.")
    if images:
        return IndexedSource(path, FolderContainer(path, images), geometry, workers, images)
    if not shards:
        raise ConfigError(str(path), f"{len(files)} files, none an image or a shard", FORMATS, "Correct the path.")
    return IndexedSource(path, _open_shards(path, shards, id_column, image_column), geometry, workers, shards)


def _open_shards(path: Path, shards: Sequence[Path], id_column: str | None, image_column: str | None) -> Container:
    """The images of shards of one kind. Formats are imported when met, which keeps ``auditor --help`` quick."""
    kinds = {kind_of(shard) for shard in shards}
    if len(kinds) > 1:
        raise ConfigError(str(path), f"shards of {' and '.join(sorted(kinds))}", "one kind", "Move the others away.")
    kind = kinds.pop()
    if kind == "tar":
        from auditor.data.webdataset import TarContainer

        extension = image_column.removeprefix(".").lower() if image_column else None
        return TarContainer(shards, extension)
    if kind == "npz":
        from auditor.data.npz import ArchiveRows

        if len(shards) > 1:
            raise ConfigError(str(path), f"{len(shards)} .npz files", "one", "Point at one of them.")
        return RowContainer(ArchiveRows(shards[0], id_column, image_column))
    from auditor.data.tables import TableRows

    return RowContainer(TableRows(path, shards, id_column, image_column))


def list_files(root: Path) -> list[Path]:
    """Files below a folder in sorted order; hidden ones are passed over, linked folders not entered."""
    found: list[Path] = []
    for folder, names, files in os.walk(root):
        names[:] = sorted(name for name in names if not name.startswith("."))
        found += [Path(folder, name) for name in sorted(files) if not name.startswith(".")]
    return found


def kind_of(file: Path) -> str:
    """``tar``, ``npz``, ``parquet`` or ``arrow``, by the first bytes.

    Raises:
      ConfigError: Anything else; pickles, gzip and single images are named.
    """
    with file.open("rb") as stream:
        head = stream.read(512)
    if head[257:262] == b"ustar":
        return "tar"
    if head.startswith(b"PAR1"):
        return "parquet"
    if head.startswith((b"ARROW1", b"\xff\xff\xff\xff")):
        return "arrow"
    if head.startswith(b"PK\x03\x04") and file.suffix.lower() == ".npz":
        return "npz"
    got, remedy = "an unknown format", "Correct the path."
    if not head:
        got, remedy = "an empty file", "Copy or build it again."
    elif head[:1] == b"\x80" and 2 <= head[1] <= 5:
        got, remedy = "a pickle", "Convert it: unpickling executes code."
    elif head.startswith(b"\x1f\x8b"):
        got, remedy = "gzip-compressed data", "Decompress it first."
    elif is_image_name(file):
        got, remedy = "a single image", "Point at its folder."
    raise ConfigError(str(file), got, FORMATS, remedy)
