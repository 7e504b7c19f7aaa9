"""A worker's side: the work that it holds, and what came of the last thing it was asked for."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from auditor.errors import AuditError


@dataclass(frozen=True)
class Outcome:
    """What became of the last thing that a worker was given."""

    kind: Literal["opened", "made", "failed", "refused", "died"]
    items: int = 0  # of the piece that was made
    reason: str = ""  # where it was not
    error: AuditError | None = None  # "refused": the user's input is at fault


class Workplace:
    """What a worker holds: the work it was given last, opened."""

    def __init__(self) -> None:
        self.work: bytes | None = None
        self.make: Callable[[str], int] | None = None

    def open(self, work: bytes) -> Outcome:
        """Open pickled work, unless it is open already."""
        if work != self.work:
            self.work = self.make = None  # what was open is let go before more is loaded
            outcome = attempt(lambda: self._load(work))
            return outcome if outcome.kind != "made" else Outcome("opened")
        return Outcome("opened")

    def piece(self, name: str) -> Outcome:
        """Make one piece of the work that is open."""
        make = self.make
        if make is None:
            raise RuntimeError("no work is open")
        return attempt(lambda: make(name))

    def _load(self, work: bytes) -> int:
        self.make = pickle.loads(work).open()  # noqa: S301  # the parent process's own
        self.work = work
        return 0


def attempt(make: Callable[[], int]) -> Outcome:
    """Call ``make``; every end but that of the process itself becomes an outcome."""
    try:
        return Outcome("made", items=make())
    except AuditError as error:
        return Outcome("refused", error=error)
    except Exception as error:
        return Outcome("failed", reason=describe(error))


def describe(error: Exception) -> str:
    """An error as one line, with the place in the code where it was raised."""
    text = (str(error).splitlines() or [""])[0][:200]
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    place = "" if trace is None else f" ({trace.tb_frame.f_code.co_filename}, line {trace.tb_lineno})"
    return f"{type(error).__name__}: {text}{place}"
