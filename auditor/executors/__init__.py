"""Local, processes, Ray, or one shard of many: the same pieces, the same bytes."""

from auditor.executors.base import Executor, Lost, Work
from auditor.executors.local import LocalExecutor
from auditor.executors.processes import ProcessExecutor

__all__ = ["Executor", "LocalExecutor", "Lost", "ProcessExecutor", "Work"]
