"""Small works whose pieces are files: slow ones, failing ones, and ones that kill the worker that makes them."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from auditor.errors import CheckpointError, DataError
from auditor.stages.pieces import Piece
from auditor.store.atomic import create
from auditor.store.run_directory import RunDirectory


@dataclass(frozen=True)
class Squares:
    """Piece ``n`` is the square of n in a run directory, with ``trouble`` for some pieces."""

    folder: Path
    trouble: tuple[tuple[str, str], ...] = ()
    name: str = "squares"

    def open(self) -> Callable[[str], int]:
        run = RunDirectory.open(self.folder / "run", {}, "salt")
        create(self.folder / f"opened-{os.getpid()}", b"")

        def make(piece: str) -> int:
            self.meet(dict(self.trouble).get(piece, ""), piece)
            run.value(f"squares/{piece}", piece, lambda: int(piece) ** 2)
            return int(piece)

        return make

    def meet(self, trouble: str, piece: str) -> None:
        first = create(self.folder / f"tried-{piece}", b"")
        if trouble == "always fails":
            raise ValueError(f"no {piece} today")
        if trouble == "always kills" or (trouble == "kills once" and first):
            os.kill(os.getpid(), signal.SIGKILL)
        if trouble == "refuses":
            raise DataError(f"piece {piece}", "nothing", "something", "Add it.")
        if trouble == "fails once" and first:
            raise OSError(28, "No space left on device")
        if trouble == "takes long":
            time.sleep(60)


@dataclass(frozen=True)
class Unopened:
    """No worker can open it."""

    how: str
    name: str = "unopened"

    def open(self) -> Callable[[str], int]:
        if self.how == "dies":
            os.kill(os.getpid(), signal.SIGKILL)
        if self.how == "refuses":
            raise CheckpointError("checkpoint", "NaN", "numbers", "Save it again.")
        raise RuntimeError("no network here")


def squares_in(folder: Path) -> dict[str, int]:
    """Every piece that was finished."""
    return {file.stem: int(file.read_text()) for file in (folder / "run" / "squares").glob("*.json")}


@dataclass(frozen=True)
class Cubes:
    """What a stage's recipe takes: a run directory, and what happens in workers."""

    run: RunDirectory
    trouble: str = ""


def reopen_cubes(folder: Path, trouble: str) -> Cubes:
    """In a worker."""
    return Cubes(RunDirectory.join(folder), trouble)


def cubes(opened: Cubes) -> list[Piece]:
    """Four pieces; the third has trouble in workers."""

    def compute(number: int) -> int:
        if opened.trouble == "kills" and number == 2:
            os.kill(os.getpid(), signal.SIGKILL)
        return number**3

    other = opened.trouble == "another key"
    return [
        Piece(opened.run, f"cubes/{number}", [number, other and number == 2], 1, partial(compute, number), plain=True)
        for number in range(4)
    ]
