"""A part of an image set, named by a list of ids: what `auditor split` writes, or the subset that a training used."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from pathlib import Path

from auditor.data.base import ImageBatch, ImageSource
from auditor.errors import ConfigError


class Selection:
    """The images of a source whose ids are listed; an :class:`auditor.data.base.ImageSource` itself."""

    def __init__(self, source: ImageSource, ids: Collection[str], name: str) -> None:
        self._source, self._ids, self._name = source, frozenset(ids), name

    @property
    def path(self) -> str:
        """Where the images lie, and which list chose among them."""
        return f"{self._source.path} ({self._name})"

    @property
    def ids(self) -> list[str]:
        """The ids listed, sorted."""
        return sorted(self._ids)

    @property
    def unreadable(self) -> list[tuple[str, str]]:
        """Those of the selected images that could not be decoded."""
        return [(name, reason) for name, reason in self._source.unreadable if name in self._ids]

    def __len__(self) -> int:
        return len(self._ids)

    def batches(self, size: int, only: Collection[str] | None = None) -> Iterator[ImageBatch]:
        """See :class:`auditor.data.base.ImageSource`."""
        wanted = self._ids if only is None else self._ids.intersection(only)
        return self._source.batches(size, only=wanted)


def read_ids(file: Path, first: int | None = None) -> list[str]:
    """Ids of a text file, one a line, in its order; only the first so many if asked for.

    Raises:
      ConfigError: No such file, none or too few ids in it, or one twice.
    """
    if not file.is_file():
        raise ConfigError("ids", file, "a text file with one id a line", "Correct the path.")
    try:
        ids = [line.strip() for line in file.read_text().splitlines() if line.strip()]
    except UnicodeDecodeError as error:
        raise ConfigError(
            str(file), "bytes that are not UTF-8", "a text file with one id a line", "Correct it."
        ) from error
    wanted = len(ids) if first is None else first
    if not ids or len(ids) < wanted:
        raise ConfigError(
            str(file), f"{len(ids):,} ids", f"at least {max(wanted, 1):,}", "Correct the file or the size."
        )
    ids = ids[:wanted]
    if len(set(ids)) < len(ids):
        twice = next(name for place, name in enumerate(ids) if name in ids[:place])
        raise ConfigError(str(file), f"{twice!r} twice", "every id once", "Remove the repeats.")
    return ids


def select(source: ImageSource, file: Path, first: int | None = None) -> Selection:
    """The part of a source that a list of ids names; see :func:`read_ids`."""
    ids = read_ids(file, first)
    return Selection(source, ids, f"{'the ids' if first is None else f'the first {first:,} ids'} in {file.name}")


def refuse_missing(selected: Collection[str], found: Collection[str], source: ImageSource) -> None:
    """Raise ConfigError if a listed id is neither among the images found nor known as unreadable."""
    known = frozenset(found).union(name for name, _ in source.unreadable)
    missing = sorted(set(selected) - known)
    if missing:
        got = f"{len(missing):,} listed ids that are not in the set (such as {missing[0]!r})"
        raise ConfigError(source.path, got, "only ids of the set", "Correct the list, or data.id_column.")
