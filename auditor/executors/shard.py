"""One shard of the pieces, for schedulers that start the same command many times: Slurm arrays, Kubernetes jobs."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from auditor.errors import ConfigError
from auditor.executors.base import Lost, Work
from auditor.executors.dealing import RETRIES
from auditor.executors.workplace import attempt
from auditor.progress import Meter


class ShardExecutor:
    """An :class:`auditor.executors.base.Executor` that makes pieces i, i + n, i + 2n, ... in this process.

    Shards know nothing of each other: each lists the same pieces and takes its own, so n commands with i = 0 ... n - 1
    make all of them, at the same time or one after the other, and any of them may be given again.

    Args:
      index: i, counted from 0.
      count: n.

    Raises:
      ConfigError: Not 0 <= i < n.
    """

    name = "shard"

    def __init__(self, index: int, count: int) -> None:
        if not 0 <= index < count:
            raise ConfigError("shard", f"{index}/{count}", "i/n with 0 <= i < n", "Count shards from 0: 0/3, 1/3, 2/3.")
        self.index, self.count = index, count

    @classmethod
    def parse(cls, text: str) -> ShardExecutor:
        """The shard that ``i/n`` names.

        Raises:
          ConfigError: It names none.
        """
        index, slash, count = text.partition("/")
        if not (slash and index.isdecimal() and count.isdecimal()):
            raise ConfigError("shard", repr(text), "i/n, such as 0/8", "Count from 0 to n - 1.")
        return cls(int(index), int(count))

    def run(self, work: Work, pieces: Sequence[str], meter: Meter) -> list[Lost]:
        """See :class:`auditor.executors.base.Executor`; pieces of other shards are not made."""
        own = list(pieces)[self.index :: self.count]
        lost = []
        make = work.open() if own else int
        for piece in own:
            for _ in range(1 + RETRIES):
                outcome = attempt(partial(make, piece))
                if outcome.kind != "failed":
                    break
            if outcome.error is not None:
                raise outcome.error
            if outcome.kind == "made":
                meter(outcome.items)
            else:
                lost.append(Lost(piece, outcome.reason))
        return lost

    def close(self) -> None:
        """Nothing to end."""
