"""Local, processes, Ray, or one shard of many: the same pieces, the same bytes."""

from auditor.executors.base import Executor, Lost, Work
from auditor.executors.local import LocalExecutor
from auditor.executors.processes import ProcessExecutor
from auditor.executors.ray import RayExecutor
from auditor.executors.shard import ShardExecutor

__all__ = ["Executor", "LocalExecutor", "Lost", "ProcessExecutor", "RayExecutor", "ShardExecutor", "Work"]
