"""How an audit's independent pieces of work are spread over processes and machines.

Work is data: it can be pickled, and is opened once by each worker, which loads what it needs. A piece is a name. The
worker writes a piece's files, and its ledger entry last, into the run directory or index itself, so nothing but names
travels, a piece done twice is done once, and what a killed worker leaves is what a killed audit leaves.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from auditor.progress import Meter


class Work(Protocol):
    """Some pieces of one stage. Picklable: paths, configuration and digests, never images, networks or closures."""

    @property
    def name(self) -> str:
        """What is shown and logged, such as ``generate``."""

    def open(self) -> Callable[[str], int]:
        """Load what the pieces need, once per worker.

        Returns:
          A function that makes the named piece, unless the ledger says that it is done, and gives the number of its
          items (images, rows) for the progress display.
        """


@dataclass(frozen=True)
class Lost:
    """A piece that could not be made after every attempt; it counts against coverage."""

    piece: str
    reason: str


class Executor(Protocol):
    """One way to run pieces. All of them leave byte-identical files."""

    name: str

    def run(self, work: Work, pieces: Sequence[str], meter: Meter) -> list[Lost]:
        """Make every piece once, in any order, and say which could not be made.

        Args:
          work: Opened once per worker.
          pieces: Unique names.
          meter: Called with the items of each finished piece.

        Raises:
          AuditError: The user's input is at fault; no further attempt would help. Finished pieces stay.
        """

    def close(self) -> None:
        """End the workers that wait for further runs; a later run starts new ones."""
