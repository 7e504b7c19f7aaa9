"""A folder of image files, searched recursively."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from auditor.data.base import Payload
from auditor.data.decode import MAX_BYTES
from auditor.data.indexed import clean_text
from auditor.data.places import Place, size_of

IMAGE_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".webp"})
# Images all the same, which this package does not decode: they are counted as unreadable rather than passed over.
OTHER_IMAGE_SUFFIXES = frozenset(
    {".avif", ".bmp", ".gif", ".heic", ".heif", ".ico", ".jfif", ".jp2", ".jxl", ".pgm", ".ppm", ".tif", ".tiff"}
)


class FolderContainer:
    """Image files below a folder; the id is the relative path without its extension.

    Where two files share such an id (a.png beside a.jpg), those keep their extensions. A file of the same name with
    the extension .txt holds the caption, or else ``listed``, by the path below the folder.
    """

    scattered = True

    def __init__(
        self, root: Place, files: Sequence[Any], captions: Sequence[Any], listed: Mapping[str, str] | None = None
    ) -> None:
        stems = {file: file.relative_to(root).with_suffix("").as_posix() for file in files}
        self._captions, self._root, self._listed = frozenset(captions), root, listed or {}
        shared = Counter(stems.values())
        named = sorted(
            (clean_text(stem if shared[stem] == 1 else file.relative_to(root).as_posix()), file)
            for file, stem in stems.items()
        )
        self.ids: Sequence[str] = [name for name, _ in named]
        self._files = [file for _, file in named]

    def read(self, positions: Sequence[int]) -> Iterator[Payload | str]:
        for position in positions:
            file = self._files[position]
            try:
                if file.exists() and not file.is_file():
                    yield "a pipe, socket or device, not a file"  # reading one could wait for ever
                    continue
                size = size_of(file)
                if size > MAX_BYTES:
                    yield f"{size} bytes, over the limit of {MAX_BYTES}"
                    continue
                content = file.read_bytes()
            except OSError as error:
                yield f"{type(error).__name__}: {error.strerror}"
                continue
            yield Payload(content, self._caption(file))

    def _caption(self, file: Any) -> str | None:
        beside = file.with_suffix(".txt")
        if beside in self._captions:
            return _text(beside)
        return self._listed.get(file.relative_to(self._root).as_posix()) if self._listed else None


def is_image_name(path: Place) -> bool:
    """Whether the extension names an image format, decodable here or not."""
    return path.suffix.lower() in IMAGE_SUFFIXES | OTHER_IMAGE_SUFFIXES


def _text(file: Place) -> str:
    return file.read_bytes().decode("utf-8", "replace").strip()
