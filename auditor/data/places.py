"""Where images lie: a local path, or a URL that fsspec can open, with the few methods of a path that reading needs.

``file://``, ``memory://``, ``zip://<folder>::<URL of the zip>``, ``s3://``, ``gs://``, ``http://`` and so on. Nothing
is written there, and nothing is started: the ``pipe:`` addresses of webdataset, which run a command, are refused.
"""

from __future__ import annotations

import io
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import IO, Any
from urllib.parse import urlsplit

from auditor.errors import ConfigError, DataError

# What a file system's own library is called, where fsspec names it as a module only.
LIBRARIES = {
    "s3": "s3fs", "s3a": "s3fs", "gs": "gcsfs", "gcs": "gcsfs", "az": "adlfs", "abfs": "adlfs", "abfss": "adlfs",
    "http": "aiohttp requests", "https": "aiohttp requests", "sftp": "paramiko", "ssh": "paramiko",
    "hf": "huggingface_hub",
}  # fmt: skip
STATE_KEYS = ("size", "ETag", "etag", "md5", "CRC", "mtime", "LastModified", "last_modified", "updated", "created")


@dataclass(frozen=True)
class RemotePath:
    """A file or folder of an fsspec file system; compare :class:`pathlib.Path`, whose methods these are."""

    url: str  # as the user gave it, of the root; what lies below is told by ``path``
    path: str  # as the file system writes it: http keeps the whole address there
    root: str
    fs: Any = field(repr=False, compare=False)
    info: Mapping[str, Any] | None = field(default=None, repr=False, compare=False)  # from a listing

    def __str__(self) -> str:
        if self.path == self.root:
            return self.url
        below = self.path.removeprefix(self.root).lstrip("/")
        return f"{below} of {self.url}" if "::" in self.url else f"{self.url.rstrip('/')}/{below}"

    @property
    def name(self) -> str:
        """Last component."""
        return PurePosixPath(self.path).name

    @property
    def stem(self) -> str:
        """The name without its extension."""
        return PurePosixPath(self.path).stem

    @property
    def suffix(self) -> str:
        """The extension, with its dot."""
        return PurePosixPath(self.path).suffix

    @property
    def parent(self) -> RemotePath:
        """The folder that it lies in."""
        folder = self.path.rstrip("/").rpartition("/")[0]
        return RemotePath(self.url, folder, self.root, self.fs)

    def with_suffix(self, suffix: str) -> RemotePath:
        """The neighbour of another extension, which need not exist."""
        return RemotePath(self.url, self.path.removesuffix(self.suffix) + suffix, self.root, self.fs)

    def relative_to(self, other: RemotePath) -> PurePosixPath:
        """The way from ``other``, which lies above, to here."""
        return PurePosixPath(self.path.removeprefix(other.path).lstrip("/"))

    def exists(self) -> bool:
        """Whether there is a file or folder; fsspec's own answer is no where the network fails."""
        return self._kind() is not None

    def is_file(self) -> bool:
        """Whether it is a file."""
        return self._kind() == "file"

    def is_dir(self) -> bool:
        """Whether it is a folder."""
        return self._kind() == "directory"

    def open(self, mode: str = "rb") -> IO[bytes]:
        """The file's content, read in blocks as they are asked for."""
        with reaching(self):
            if "memory" in self.fs.protocol:  # it has one handle a file, with one position, for everybody
                return io.BytesIO(self.fs.cat_file(self.path))
            stream: IO[bytes] = self.fs.open(self.path, mode)
            return stream

    def read_bytes(self) -> bytes:
        """The whole file."""
        with reaching(self):
            content: bytes = self.fs.cat_file(self.path)
            return content

    def files(self) -> list[RemotePath]:
        """Files below a folder in sorted order, without hidden ones."""
        with reaching(self):
            found = self.fs.find(self.path, detail=True)
        files = [RemotePath(self.url, path, self.root, self.fs, found[path]) for path in sorted(found)]
        return [file for file in files if not any(part.startswith(".") for part in file.relative_to(self).parts)]

    def state(self) -> list[str]:
        """What tells one version of a file from another, as far as the file system says."""
        with reaching(self):
            info = self._info()
        return [f"{key} {info[key]}" for key in STATE_KEYS if info.get(key) is not None]

    def size(self) -> int:
        """Bytes."""
        with reaching(self):
            return int(self._info()["size"] or 0)

    def _kind(self) -> str | None:
        with reaching(self):
            try:
                return str(self._info()["type"])
            except FileNotFoundError:
                return None

    def _info(self) -> Mapping[str, Any]:
        found: Mapping[str, Any] = self.info or self.fs.info(self.path)
        return found


Place = Path | RemotePath


def place_of(text: Path | str) -> Place:
    """A local path, or the place that a URL means.

    Raises:
      ConfigError: A command (``pipe:``), a URL of an unknown kind or with a password in it, or one whose library is
        not installed.
    """
    if isinstance(text, Path) or not is_url(text):
        return Path(text)
    if urlsplit(text).password is not None:
        remedy = "Put it into the environment or the file system's own configuration: the address is recorded."
        raise ConfigError("images", "an address with a password in it", "an address without secrets", remedy)
    try:
        import fsspec
    except ImportError as error:
        raise ConfigError(text, "fsspec is not installed", "fsspec", "Run pip install fsspec.") from error
    try:
        fs, root = fsspec.core.url_to_fs(text)
    except ImportError as error:
        known = [LIBRARIES[kind] for kind in re.split("::|://", text) if kind in LIBRARIES]
        remedy = f"{f'Run pip install {known[0]}' if known else 'Install it'}, or copy the images to a disk."
        raise ConfigError(text, _first_line(error), "the library that opens it", remedy) from error
    except Exception as error:  # every file system raises its own, of addresses, credentials and networks
        got, expected = _first_line(error), "an address that fsspec can open"
        raise ConfigError(text, got, expected, "Correct it, or copy the images to a disk.") from error
    return RemotePath(text, root, root, fs)


def is_url(text: str) -> bool:
    """Whether a text is an address rather than a path.

    Raises:
      ConfigError: It is a command.
    """
    if text.startswith("pipe:") or "::pipe:" in text:
        expected, remedy = (
            "a path, or an address that is only read",
            "Run the command yourself, and give what it writes.",
        )
        raise ConfigError("images", f"{text}, which would run a command", expected, remedy)
    return "://" in text or "::" in text


def state_of(place: Place) -> list[str]:
    """Size and time of change of a file, to tell whether it is still what it was."""
    if isinstance(place, RemotePath):
        return place.state()
    state = place.stat()
    return [str(state.st_size), str(state.st_mtime_ns)]


def size_of(place: Place) -> int:
    """Bytes of a file."""
    return place.size() if isinstance(place, RemotePath) else place.stat().st_size


def list_files(root: Place) -> list[Any]:
    """Files below a folder in sorted order; hidden ones are passed over, linked folders not entered."""
    if isinstance(root, RemotePath):
        return root.files()
    found: list[Path] = []
    for folder, names, files in os.walk(root):
        names[:] = sorted(name for name in names if not name.startswith("."))
        found += [Path(folder, name) for name in sorted(files) if not name.startswith(".")]
    return found


@contextmanager
def reaching(place: RemotePath) -> Iterator[None]:
    """Whatever a file system raises, as one line that names the address."""
    try:
        yield
    except Exception as error:
        remedy = "Check the address, the network and the credentials; what is finished stays."
        raise DataError(str(place), _first_line(error), "a file that can be read", remedy) from error


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:200] or type(error).__name__
