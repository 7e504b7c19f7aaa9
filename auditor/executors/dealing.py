"""Dealing pieces out to workers: the loop that processes and Ray share.

A worker has one piece at a time, so nothing queues up, and a worker that dies takes one piece with it. That piece is
tried again, twice at most, by whichever worker is free; then it is lost, and the others go on.
"""

from __future__ import annotations

import pickle
from collections import Counter, deque
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from auditor.errors import AuditError
from auditor.executors.base import Lost, Work
from auditor.executors.workplace import Outcome
from auditor.progress import Meter

RETRIES = 2  # further attempts at a piece, and further workers where one could not open the work
Hand = Hashable  # one worker, as its engine knows it


class Engine(Protocol):
    """Workers of one kind. They are kept from run to run, since importing torch costs seconds."""

    def hire(self, work: bytes) -> Hand:
        """A worker that begins to open the pickled work, or knows it already."""

    def give(self, hand: Hand, piece: str) -> None:
        """Have an idle worker make a piece."""

    def wait(self, hands: Sequence[Hand]) -> list[tuple[Hand, Outcome]]:
        """What some of these workers came to; returns once there is something to look at."""

    def rest(self, hand: Hand) -> None:
        """A worker that has no piece, though it may still be opening the work, may be hired again."""

    def stop(self, hand: Hand) -> None:
        """A worker is of no more use."""


def deal(engine: Engine, work: Work, pieces: Sequence[str], meter: Meter, *, workers: int) -> list[Lost]:
    """Make every piece once; see :meth:`auditor.executors.base.Executor.run`.

    Args:
      workers: At most so many at once.

    Raises:
      AuditError: A worker met a fault of the user's input; or none could open the work, whatever the reason.
    """
    table = Table(work.name, deque(pieces))
    opened = pickle.dumps(work)
    while table.waiting or table.making:
        while table.wants_another(workers):
            table.at_work[engine.hire(opened)] = None
        if not table.at_work:
            raise _unopened(work.name, table.reason)
        for hand, outcome in engine.wait(list(table.at_work)):
            if outcome.error is not None:
                raise outcome.error
            usable = table.take(hand, outcome, meter)
            if not usable:
                engine.stop(hand)
            elif table.waiting:
                piece = table.waiting.popleft()
                table.at_work[hand] = piece
                engine.give(hand, piece)
            else:
                engine.rest(hand)
    for hand in table.at_work:  # still opening, or waiting for room on a cluster: nothing is left for them
        engine.rest(hand)
    return table.lost


@dataclass
class Table:
    """Which pieces wait, who is at which, and what was given up."""

    stage: str
    waiting: deque[str]
    at_work: dict[Hand, str | None] = field(default_factory=dict)  # None: still opening the work
    tries: Counter[str] = field(default_factory=Counter)
    lost: list[Lost] = field(default_factory=list)
    unopened: int = 0  # workers that could not open the work
    reason: str = ""  # of the last of them

    @property
    def making(self) -> bool:
        """Whether any worker is at a piece."""
        return any(piece is not None for piece in self.at_work.values())

    def wants_another(self, workers: int) -> bool:
        """Whether a piece waits that no worker, at work or about to be, will take soon."""
        opening = sum(piece is None for piece in self.at_work.values())
        return self.unopened <= RETRIES and len(self.at_work) < workers and len(self.waiting) > opening

    def take(self, hand: Hand, outcome: Outcome, meter: Meter) -> bool:
        """Note what a worker came to; whether it can be given another piece."""
        piece = self.at_work.pop(hand)
        if outcome.kind == "opened":
            return True
        if outcome.kind == "made":
            meter(outcome.items)
            return True
        if piece is None:
            self.unopened, self.reason = self.unopened + 1, outcome.reason
            return False
        self.tries[piece] += 1
        if self.tries[piece] > RETRIES:
            self.lost.append(Lost(piece, outcome.reason))
        else:
            self.waiting.append(piece)
        return outcome.kind == "failed"


def _unopened(stage: str, reason: str) -> AuditError:
    expected = "a worker that can load what the stage needs"
    remedy = "Take fewer workers if memory is short; what is finished stays."
    return AuditError(f"{stage}: workers", reason, expected, remedy)
