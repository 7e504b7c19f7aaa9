"""Pieces in Ray actors, on one machine or on a cluster that shares a disk.

Only names travel: the work as a few hundred bytes, pieces by name, counts back. What a piece makes is written to the
run directory by the actor itself, so nothing of it enters Ray's object store. Attempts are counted as for processes;
Ray's own retries stay off.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from auditor.errors import ConfigError
from auditor.executors.base import Lost, Work
from auditor.executors.dealing import Hand, deal
from auditor.executors.workplace import Outcome, Workplace
from auditor.progress import Meter

QUIET = {"include_dashboard": False, "log_to_driver": False, "logging_level": "ERROR"}


class RayExecutor:
    """An :class:`auditor.executors.base.Executor` of Ray actors.

    A cluster that runs already, in this process, at RAY_ADDRESS or on this machine, is joined and left as it was; where
    there is none, one is started on this machine for as long as the executor lives. Each actor takes a GPU where the
    cluster has any, else as many CPUs as it computes with threads. All nodes need the same versions of everything and
    the paths of the audit.

    Args:
      workers: Actors at most; None = as many as the cluster has room for.
      threads: CPU threads that an actor computes with.

    Raises:
      ConfigError: Ray is not installed.
    """

    name = "ray"

    def __init__(self, workers: int | None, threads: int = 1) -> None:
        self.ray = import_ray()
        self.workers, self.threads = workers, threads
        self.connected = False  # by this executor
        self.options: dict[str, Any] = {}
        self.idle: list[Hand] = []
        self.actors: dict[Hand, Any] = {}
        self.answers: dict[Hand, Any] = {}  # by actor: the reference to its answer to the last request

    def run(self, work: Work, pieces: Sequence[str], meter: Meter) -> list[Lost]:
        """See :class:`auditor.executors.base.Executor`."""
        if not pieces:
            return []
        try:
            room = self._join()
            return deal(self, work, pieces, meter, workers=self.workers or room)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """End this executor's actors; a cluster ends only if it was started here."""
        for hand in list(self.actors):
            self.stop(hand)
        if self.connected:
            self.ray.shutdown()
            self.connected = False

    def hire(self, work: bytes) -> Hand:
        """See :class:`auditor.executors.dealing.Engine`."""
        hand = self.idle.pop() if self.idle else self._start()
        self.answers[hand] = self.actors[hand].open.remote(work)
        return hand

    def give(self, hand: Hand, piece: str) -> None:
        """See :class:`auditor.executors.dealing.Engine`."""
        self.answers[hand] = self.actors[hand].piece.remote(piece)

    def wait(self, hands: Sequence[Hand]) -> list[tuple[Hand, Outcome]]:
        """See :class:`auditor.executors.dealing.Engine`."""
        asked = {self.answers[hand]: hand for hand in hands}
        ready, _ = self.ray.wait(list(asked), num_returns=1)
        return [(asked[answer], self._get(answer)) for answer in ready]

    def rest(self, hand: Hand) -> None:
        """See :class:`auditor.executors.dealing.Engine`."""
        self.idle.append(hand)

    def stop(self, hand: Hand) -> None:
        """See :class:`auditor.executors.dealing.Engine`."""
        self.answers.pop(hand, None)
        if hand in self.idle:
            self.idle.remove(hand)
        self.ray.kill(self.actors.pop(hand))

    def _get(self, answer: Any) -> Outcome:
        try:
            outcome: Outcome = self.ray.get(answer)
        except self.ray.exceptions.RayError as error:  # the actor died, or its node did
            return Outcome("died", reason=" ".join(str(error).split())[:300])
        return outcome

    def _start(self) -> Hand:
        actor = self.ray.remote(Workplace).options(max_restarts=0, max_task_retries=0, **self.options).remote()
        hand: str = actor._actor_id.hex()
        self.actors[hand] = actor
        return hand

    def _join(self) -> int:
        """Be connected to a cluster; how many actors it has room for when nothing else runs there."""
        if not self.ray.is_initialized():
            self.connected = True
            try:
                self.ray.init(address=os.environ.get("RAY_ADDRESS", "auto"), log_to_driver=False)
            except ConnectionError:
                if "RAY_ADDRESS" in os.environ:
                    raise _unreachable() from None
                os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # an audit reports to nobody but its user
                self.ray.init(**QUIET)
        nodes = [node["Resources"] for node in self.ray.nodes() if node["Alive"]]
        gpus = int(sum(node.get("GPU", 0) for node in nodes))
        if gpus:
            self.options = {"num_cpus": 1, "num_gpus": 1}
            return gpus
        each = max(1, min(self.threads, int(max(node.get("CPU", 1) for node in nodes))))
        self.options = {"num_cpus": each}
        return max(1, sum(int(node.get("CPU", 1)) // each for node in nodes))


def import_ray() -> Any:
    """The module ``ray``.

    Raises:
      ConfigError: It is not installed.
    """
    try:
        import ray
    except ImportError as error:
        remedy = "Run pip install 'diffusion-auditor[ray]', or take the executor \"processes\"."
        raise ConfigError("execution.executor: ray", f"no usable module ({error})", "Ray installed", remedy) from error
    return ray


def _unreachable() -> ConfigError:
    got = os.environ["RAY_ADDRESS"]
    return ConfigError("RAY_ADDRESS", got, "a cluster that answers", "Start it, or remove the variable.")
