"""Pieces in processes of this machine, each started afresh: no state is inherited, and a crash costs one piece."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Mapping, Sequence
from contextlib import suppress
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any

from auditor.executors.base import Lost, Work
from auditor.executors.dealing import Hand, deal
from auditor.executors.devices import cuda_devices, device_of
from auditor.executors.workplace import Outcome, Workplace
from auditor.progress import Meter

PATIENCE = 5.0  # seconds that a worker has to end after it was asked to


class Process:
    """One worker process and the parent's end of its pipe."""

    def __init__(self, slot: int, environment: Mapping[str, str]) -> None:
        context = multiprocessing.get_context("spawn")
        self.slot = slot
        self.asked = 0  # of its requests; an answer to an earlier one than the last is of no interest any more
        self.connection, theirs = context.Pipe()
        self.process: BaseProcess = context.Process(target=serve, args=(theirs, dict(environment)))
        self.process.start()
        theirs.close()  # so that the parent's end reports when the worker is gone

    def send(self, kind: str, content: bytes | str) -> None:
        self.asked += 1
        with suppress(BrokenPipeError, ConnectionResetError):  # a death shows when the worker is waited for
            self.connection.send((self.asked, kind, content))

    def receive(self) -> Outcome | None:
        """The worker's answer, None if to an earlier request, or how it died."""
        with suppress(EOFError, ConnectionResetError):
            if self.connection.poll():
                answered, outcome = self.connection.recv()
                return outcome if answered == self.asked else None
        self.process.join(PATIENCE)
        return Outcome("died", reason=cause_of_death(self.process.exitcode))

    def end(self) -> None:
        """Terminate the worker, whatever it is doing; its unfinished piece is as after a kill."""
        self.connection.close()
        self.process.terminate()
        self.process.join(PATIENCE)
        if self.process.exitcode is None:
            self.process.kill()
            self.process.join()
        self.process.close()


class ProcessExecutor:
    """An :class:`auditor.executors.base.Executor` of spawned worker processes.

    Where there are several GPUs, worker i sees the i-th of them alone. Results are those of one process as long as
    workers compute with as many threads (see ``Work.open``); with more workers than cores per thread count they only
    take turns. A script that uses it needs the ``if __name__ == "__main__"`` that spawned processes need.

    Args:
      workers: Processes at most; as many are started as there are pieces for.
    """

    name = "processes"

    def __init__(self, workers: int) -> None:
        self.workers = workers
        self.devices = cuda_devices()
        self.idle: list[Process] = []
        self.alive: dict[Hand, Process] = {}

    def run(self, work: Work, pieces: Sequence[str], meter: Meter) -> list[Lost]:
        """See :class:`auditor.executors.base.Executor`."""
        try:
            return deal(self, work, pieces, meter, workers=self.workers)
        except BaseException:  # KeyboardInterrupt among them: workers do not hear it, so that it arrives once
            self.close()
            raise

    def close(self) -> None:
        """End all workers; a further run starts new ones."""
        for process in list(self.alive.values()):
            self.stop(process)

    def hire(self, work: bytes) -> Hand:
        """See :class:`auditor.executors.dealing.Engine`."""
        process = self.idle.pop() if self.idle else self._start()
        process.send("open", work)
        return process

    def give(self, hand: Hand, piece: str) -> None:
        """See :class:`auditor.executors.dealing.Engine`."""
        self.alive[hand].send("piece", piece)

    def wait(self, hands: Sequence[Hand]) -> list[tuple[Hand, Outcome]]:
        """See :class:`auditor.executors.dealing.Engine`."""
        signs: dict[Any, Process] = {}
        for process in (self.alive[hand] for hand in hands):
            signs[process.connection] = signs[process.process.sentinel] = process
        ready = dict.fromkeys(signs[sign] for sign in wait(list(signs)))
        answers = [(process, process.receive()) for process in ready]
        return [(process, outcome) for process, outcome in answers if outcome is not None]

    def rest(self, hand: Hand) -> None:
        """See :class:`auditor.executors.dealing.Engine`."""
        self.idle.append(self.alive[hand])

    def stop(self, hand: Hand) -> None:
        """See :class:`auditor.executors.dealing.Engine`."""
        process = self.alive.pop(hand)
        if process in self.idle:
            self.idle.remove(process)
        process.end()

    def _start(self) -> Process:
        taken = {process.slot for process in self.alive.values()}
        slot = min(set(range(len(taken) + 1)) - taken)
        process = Process(slot, device_of(self.devices, slot))
        self.alive[process] = process
        return process


def serve(connection: Connection, environment: Mapping[str, str]) -> None:
    """A worker process: answers until the other end of its pipe is closed, or its process gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group: the parent decides
    os.environ.update(environment)
    place = Workplace()
    with suppress(EOFError, BrokenPipeError, ConnectionResetError):
        while True:
            number, kind, content = connection.recv()
            connection.send((number, place.open(content) if kind == "open" else place.piece(content)))


def cause_of_death(code: int | None) -> str:
    """What an exit code of a worker means."""
    if code is not None and code < 0:
        with suppress(ValueError):
            name = signal.Signals(-code).name
            return f"killed by {name}" + (", as happens when memory runs out" if name == "SIGKILL" else "")
    return f"the worker process ended with code {code}"
