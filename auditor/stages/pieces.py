"""A stage as pieces: one list that this process goes through, and that workers make parts of beforehand.

A piece is what a run directory computes at most once: a name, a key, and how. A stage lists its pieces, lets them be
made, and then reads them in order; whoever made them, reading finds the same bytes. Workers list the stage's pieces
themselves, from inputs that they open themselves (:mod:`auditor.stages.reopen`), and find each by its name.

Bits are the same everywhere only if every worker computes with as many CPU threads as this process: kernels may sum in
another order on fewer. So a worker takes over this process's number.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from auditor.errors import AuditError
from auditor.executors import Executor, LocalExecutor, Lost
from auditor.progress import Meter
from auditor.store.run_directory import RunDirectory

MOST_NAMED = 5  # lost pieces that an error names


@dataclass(frozen=True)
class Piece:
    """Something to be computed at most once in a run directory; see :meth:`RunDirectory.arrays`."""

    run: RunDirectory
    name: str
    key: object  # plain values that determine the result
    items: int  # images or rows, for the progress display
    compute: Callable[[], Any]
    plain: bool = False  # plain values rather than arrays

    def get(self) -> Any:
        """What the piece holds, computed if nobody has."""
        read = self.run.value if self.plain else self.run.arrays
        return read(self.name, self.key, self.compute)

    def make(self) -> int:
        """Compute the piece unless it is done; its items."""
        self.get()
        return self.items

    def done(self) -> bool:
        """Whether it lies in the run directory, whole and of the same key."""
        return self.run.done(self.name, self.key)


Recipe = Callable[[Any], Sequence[Piece]]  # from the inputs as a worker opens them


@dataclass(frozen=True)
class StageWork:
    """A stage for an executor: an :class:`auditor.executors.base.Work`."""

    name: str
    reopen: Callable[
        [], Any
    ]  # a module's function, or a ``partial`` of one with plain arguments: it is pickled by name
    recipe: Recipe  # likewise
    here: Mapping[str, Piece] | None = None  # this process's own pieces, which do not travel

    def __getstate__(self) -> dict[str, Any]:
        return vars(replace(self, here=None))

    def open(self) -> Callable[[str], int]:
        """See :class:`auditor.executors.base.Work`."""
        pieces = self.here or {piece.name: piece for piece in self.recipe(self.reopen())}
        return lambda name: pieces[name].make()


@dataclass(frozen=True)
class Spread:
    """Where a stage's pieces are made before they are read: in this process, unless an executor is named."""

    executor: Executor | None = None
    reopen: Callable[[], Any] | None = None  # how workers open the inputs

    def __call__(self, pieces: Sequence[Piece], recipe: Recipe | None, meter: Meter) -> None:
        """Make all pieces that are not done.

        Args:
          pieces: As this process lists them.
          recipe: How workers list the same ones; None = they cannot, so this process makes them.
          meter: Told the items of every piece.

        Raises:
          AuditError: The user's input is at fault, or pieces were lost after every attempt. The others are finished.
        """
        if self.executor is None or self.reopen is None or recipe is None:
            for piece in pieces:
                meter(piece.make())
            return
        left = {piece.name: piece for piece in pieces if not piece.done()}
        meter(sum(piece.items for piece in pieces if piece.name not in left))
        if left:
            self._share(left, StageWork(next(iter(left)).split("/")[0], self.reopen, recipe, left), meter)

    def _share(self, left: Mapping[str, Piece], work: StageWork, meter: Meter) -> None:
        assert self.executor is not None
        run = next(iter(left.values())).run
        began, before = time.monotonic(), run.seconds.get(work.name, 0.0)
        lost = self.executor.run(work, list(left), meter)
        if self.executor.name != LocalExecutor.name:  # else every piece adds its own time
            run.seconds[work.name] = before + time.monotonic() - began
        given_up = {item.piece for item in lost}
        strange = [name for name, piece in left.items() if name not in given_up and not piece.done()]
        lost += [Lost(name, "a worker made it from other inputs, or with another version") for name in strange]
        if lost:
            raise lost_pieces(work.name, lost, len(left))


class Unfinished(AuditError):
    """Pieces that other shards make are not there yet (exit code 2)."""

    def __init__(self, stage: str, pieces: int) -> None:
        self.stage, self.pieces = stage, pieces
        remedy = "Give the command again once all shards have ended; `auditor run` makes what is left."
        super().__init__(stage, f"{pieces:,} pieces that other shards have not made", "all of them", remedy)


@dataclass(frozen=True)
class Share(Spread):
    """One shard of every stage, in this process; a stage is read only once all shards have made theirs."""

    def __call__(self, pieces: Sequence[Piece], recipe: Recipe | None, meter: Meter) -> None:
        """Make this shard's pieces.

        Raises:
          Unfinished: Some of the others are not there.
          AuditError: As :class:`Spread`.
        """
        if not pieces or self.executor is None:
            return
        here = {piece.name: piece for piece in pieces}  # done or not: every shard must deal from the same list
        work = StageWork(next(iter(here)).split("/")[0], _nothing, _no_pieces, here)
        lost = self.executor.run(work, list(here), meter)
        if lost:
            raise lost_pieces(work.name, lost, len(pieces))
        missing = sum(not piece.done() for piece in pieces)
        if missing:
            raise Unfinished(work.name, missing)


def _nothing() -> None:
    return None


def _no_pieces(opened: Any) -> list[Piece]:
    return []


def lost_pieces(stage: str, lost: Sequence[Lost], total: int) -> AuditError:
    """What cannot be concluded without the pieces that no worker could make."""
    named = "; ".join(f"{item.piece}: {item.reason}" for item in lost[:MOST_NAMED])
    more = f"; and {len(lost) - MOST_NAMED} more" if len(lost) > MOST_NAMED else ""
    got = f"{len(lost):,} of {total:,} pieces that no worker could make ({named}{more})"
    remedy = "The same command tries them again; all others are kept."
    return AuditError(stage, got, "every piece", remedy)
