"""Webdataset tars: members that share a key (the name up to the first dot) make one sample.

Only extensions on the lists below are read; nothing is unpacked to disk and nothing is unpickled.
"""

from __future__ import annotations

import json
import tarfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from auditor.data.base import Payload
from auditor.data.decode import MAX_BYTES
from auditor.data.folder import IMAGE_SUFFIXES, OTHER_IMAGE_SUFFIXES
from auditor.data.indexed import clean_text
from auditor.data.places import Place
from auditor.errors import ConfigError, DataError

CAPTION_EXTENSIONS = ("txt", "caption", "text", "cls", "json")  # the first that a sample has is its caption
PICKLE_EXTENSIONS = frozenset({"pkl", "pickle", "pyd", "pt", "pth", "ckpt", "bin", "joblib"})
IMAGE_EXTENSIONS = frozenset(suffix[1:] for suffix in IMAGE_SUFFIXES | OTHER_IMAGE_SUFFIXES)
MAX_CAPTION_BYTES = 2**20


@dataclass(frozen=True, slots=True)
class Extent:
    """Where a member's bytes lie; ``offset`` < 0 for a member without any, such as a link."""

    shard: int
    offset: int
    size: int


class TarContainer:
    """Uncompressed tar files, indexed once by offset; a sample's id is its key."""

    scattered = True

    def __init__(self, shards: Sequence[Place], image_extension: str | None = None) -> None:
        self._shards = shards
        images: list[tuple[str, Extent]] = []
        self._captions: dict[str, tuple[int, str, Extent]] = {}  # by key: rank, extension, place
        for number, shard in enumerate(shards):
            for key, extension, extent in members(shard, number):
                if extension == image_extension or (image_extension is None and _last(extension) in IMAGE_EXTENSIONS):
                    images.append((key, extent))
                elif extension in CAPTION_EXTENSIONS:
                    entry = (CAPTION_EXTENSIONS.index(extension), extension, extent)
                    self._captions[key] = min(entry, self._captions.get(key, entry), key=lambda item: item[0])
        images.sort(key=lambda item: item[0])
        self.ids: Sequence[str] = [key for key, _ in images]
        self._extents = [extent for _, extent in images]

    def read(self, positions: Sequence[int]) -> Iterator[Payload | str]:
        with _OpenShards(self._shards) as shards:
            for position in positions:
                extent = self._extents[position]
                if extent.offset < 0:
                    yield "a link or special member, not a file"
                elif extent.size > MAX_BYTES:
                    yield f"{extent.size} bytes, over the limit of {MAX_BYTES}"
                else:
                    caption = self._captions.get(self.ids[position])
                    yield Payload(shards.read(extent), _caption(shards, caption) if caption else None)


class _OpenShards:
    """One open file at a time, since sorted ids seldom alternate between shards."""

    def __init__(self, paths: Sequence[Place]) -> None:
        self._paths, self._number, self._file = paths, 0, paths[0].open("rb")

    def __enter__(self) -> _OpenShards:
        return self

    def __exit__(self, *exc: object) -> None:
        self._file.close()

    def read(self, extent: Extent) -> bytes:
        if extent.shard != self._number:
            self._file.close()
            self._number, self._file = extent.shard, self._paths[extent.shard].open("rb")
        self._file.seek(extent.offset)
        return self._file.read(extent.size)


def members(shard: Place, number: int) -> Iterator[tuple[str, str, Extent]]:
    """(key, extension, extent) of every member that is not a folder, in stored order.

    Raises:
      ConfigError: The tar holds a pickle.
      DataError: The tar is truncated or damaged.
    """
    try:
        with shard.open("rb") as whole, tarfile.open(fileobj=whole, mode="r:") as tar:
            while (member := tar.next()) is not None:
                tar.members = []  # type: ignore[attr-defined]  # not in the stubs; else one object per member stays in memory
                if member.isdir():
                    continue
                key, extension = split_name(member.name)
                if _last(extension) in PICKLE_EXTENSIONS:
                    remedy = "Rebuild the tar without it: unpickling executes code."
                    raise ConfigError(str(shard), f"the member {clean_text(member.name)}", "no pickles", remedy)
                yield key, extension, Extent(number, member.offset_data if member.isreg() else -1, member.size)
            _check_end(shard, tar.offset)
    except tarfile.TarError as error:
        raise DataError(str(shard), error, "a complete, uncompressed tar", "Copy or build it again.") from error


def _check_end(shard: Place, offset: int) -> None:
    """Raise unless a block of zeros follows the last member: tarfile takes any damaged header for the end."""
    with shard.open("rb") as stream:
        stream.seek(offset)
        if stream.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
            raise tarfile.ReadError(f"damaged or cut off at byte {offset}")


def split_name(name: str) -> tuple[str, str]:
    """(key, extension): the key ends at the first dot of the last path component; the extension is lower case."""
    path = PurePosixPath(name.removeprefix("./"))
    stem, _, extension = path.name.partition(".")
    return clean_text(path.with_name(stem).as_posix() if stem else path.as_posix()), extension.lower()


def _last(extension: str) -> str:
    return extension.rpartition(".")[2]


def _caption(shards: _OpenShards, entry: tuple[int, str, Extent]) -> str | None:
    """The caption that a sibling gives: plain text, or the key "caption", "text" or "label" of a JSON object."""
    _, extension, extent = entry
    if extent.offset < 0 or extent.size > MAX_CAPTION_BYTES:
        return None
    text = shards.read(extent).decode("utf-8", "replace").strip()
    if extension != "json":
        return text
    try:
        content = json.loads(text)
    except (ValueError, RecursionError):
        return None
    found = (
        [content[key] for key in ("caption", "text", "label") if key in content] if isinstance(content, dict) else []
    )
    return str(found[0]) if found and found[0] is not None else None
