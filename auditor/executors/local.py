"""Pieces one after the other in this process."""

from __future__ import annotations

from collections.abc import Sequence

from auditor.executors.base import Lost, Work
from auditor.progress import Meter


class LocalExecutor:
    """An :class:`auditor.executors.base.Executor` without any worker; an error is raised where it occurs."""

    name = "local"

    def run(self, work: Work, pieces: Sequence[str], meter: Meter) -> list[Lost]:
        """See :class:`auditor.executors.base.Executor`."""
        if pieces:
            make = work.open()
            for piece in pieces:
                meter(make(piece))
        return []

    def close(self) -> None:
        """Nothing to end."""
