"""Where a long stage reports how far it is; the command line draws it, the library stays silent."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol


class Meter(Protocol):
    """One stage's progress."""

    def __call__(self, done: int) -> None:
        """``done`` more units are finished."""


class Progress(Protocol):
    """Something that shows stages and notes."""

    def stage(self, title: str, total: int, unit: str) -> AbstractContextManager[Meter]:
        """Context manager whose value is the stage's :class:`Meter`."""

    def note(self, text: str) -> None:
        """A line worth the user's attention."""


class Silent:
    """Shows nothing."""

    @contextmanager
    def _nothing(self) -> Iterator[Meter]:
        yield lambda done: None

    def stage(self, title: str, total: int, unit: str) -> AbstractContextManager[Meter]:
        return self._nothing()

    def note(self, text: str) -> None:
        return None
