"""Local, processes, Ray, or one shard of many: the same pieces, the same bytes."""

from auditor.executors.base import Executor, Lost, Work
from auditor.executors.local import LocalExecutor

__all__ = ["Executor", "LocalExecutor", "Lost", "Work"]
