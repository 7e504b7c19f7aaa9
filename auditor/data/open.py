"""Open a set of images; what lies at the path is told by content, not by its name."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from auditor.data.base import Geometry
from auditor.data.folder import FolderContainer, is_image_name
from auditor.data.indexed import Container, IndexedSource
from auditor.data.lists import listed_captions
from auditor.data.places import Place, list_files, place_of
from auditor.data.rows import RowContainer
from auditor.errors import ConfigError, DataError

FORMATS = "a folder of PNG, JPEG or WEBP files, webdataset .tar, parquet, Arrow or .npz (one file or a folder of them)"
SHARD_SUFFIXES = frozenset({".tar", ".parquet", ".arrow", ".feather", ".npz"})


def open_source(
    path: Path | str,
    geometry: Geometry,
    *,
    id_column: str | None = None,
    image_column: str | None = None,
    workers: int | None = None,
) -> IndexedSource:
    """The images at ``path`` as one stream, sorted by id, decoded to ``geometry``.

    Ids, unique and stable:
      folder of images    path below the folder without extension (with it where two files would share it); captions
                          in .txt files beside them, or in metadata.jsonl or .csv (columns file_name and text)
      webdataset tar      sample key: the member's path up to the first dot of its last component
      parquet, Arrow      the id column, or ``<file>/<row>``, rows padded to 8 digits
      npz                 the id array, or ``<file>/<row>``

    Only ids and places are held in memory, never the images.

    Args:
      path: A file or a folder; as a text it may be a URL (:mod:`auditor.data.places`).
      geometry: Channels and size of the audit.
      id_column: Column of a table, or array of an archive, that holds the ids.
      image_column: The same for the images; for a tar, the extension of the members that are the images.
      workers: Threads that decode; None = one a CPU. No effect on the result.

    Raises:
      ConfigError: No such path, an unknown format, no images, ids that repeat, or pickles.
      DataError: A shard is truncated or damaged.
    """
    at = place_of(path)
    if not at.exists():
        raise ConfigError(str(at), "no such file or folder", FORMATS, "Correct the path.")
    if at.is_file():
        return IndexedSource(at, _open_shards(at, [at], id_column, image_column), geometry, workers, [at])
    files = list_files(at)
    images = [file for file in files if is_image_name(file)]
    shards = saved_shards(at, files) or [file for file in files if file.suffix.lower() in SHARD_SUFFIXES]
    if images and shards:
        got = f"images ({images[0].name}) beside shards ({shards[0].name})"
        raise ConfigError(str(at), got, "one kind of files", "Point at one of them, or move the others away.")
    if images:
        captions = [file for file in files if file.suffix == ".txt"]
        listed, lists = listed_captions(at, files)
        container = FolderContainer(at, images, captions, listed)
        return IndexedSource(at, container, geometry, workers, [*images, *captions, *lists])
    if not shards:
        raise ConfigError(str(at), f"{len(files)} files, none an image or a shard", FORMATS, "Correct the path.")
    return IndexedSource(at, _open_shards(at, shards, id_column, image_column), geometry, workers, shards)


def _open_shards(path: Place, shards: Sequence[Place], id_column: str | None, image_column: str | None) -> Container:
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


def saved_shards(folder: Place, files: Sequence[Place]) -> list[Place]:
    """The shards of a set that Hugging Face ``datasets`` saved, as its state.json lists them; none in other folders.

    Beside them may lie caches of its transformations, which are no part of it.

    Raises:
      ConfigError: Several splits at once, or rows chosen by an index that the shards do not have.
    """
    by_path = {file.relative_to(folder).as_posix(): file for file in files}  # type: ignore[arg-type]  # both local or both not
    if "dataset_dict.json" in by_path:
        splits = sorted(path.removesuffix("/state.json") for path in by_path if path.endswith("/state.json"))
        remedy = f"Point at one of its folders: {', '.join(splits)}."
        raise ConfigError(str(folder), "a data set of several splits", "one split", remedy)
    if "state.json" not in by_path:
        return []
    try:
        state = json.loads(by_path["state.json"].read_bytes())
        names, chosen = [entry["filename"] for entry in state["_data_files"]], state.get("_indices_data_files")
        found = [by_path[name] for name in names]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        expected, remedy = "the list of the shards beside it", "Copy or save the data set again."
        raise DataError(str(by_path["state.json"]), f"{type(error).__name__}: {error}", expected, remedy) from error
    if chosen:
        raise ConfigError(
            str(folder), "rows chosen by an index", "rows as they stand", "Call flatten_indices, and save."
        )
    return found


def kind_of(file: Place) -> str:
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
