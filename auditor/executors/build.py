"""Executors by name."""

from __future__ import annotations

import os
from collections.abc import Callable

from auditor.config import ExecutionConfig
from auditor.executors.base import Executor
from auditor.executors.devices import cuda_devices
from auditor.executors.local import LocalExecutor
from auditor.executors.processes import ProcessExecutor
from auditor.executors.ray import RayExecutor
from auditor.registry import Registry

Build = Callable[[ExecutionConfig, int], Executor]

EXECUTORS: Registry[Build] = Registry("execution.executor")


@EXECUTORS.register("local")
def _local(config: ExecutionConfig, threads: int) -> Executor:
    return LocalExecutor()


@EXECUTORS.register("processes")
def _processes(config: ExecutionConfig, threads: int) -> Executor:
    return ProcessExecutor(config.workers or len(cuda_devices()) or max(1, (os.cpu_count() or 1) // threads))


@EXECUTORS.register("ray")
def _ray(config: ExecutionConfig, threads: int) -> Executor:
    return RayExecutor(config.workers, threads)


def crowded(executor: Executor, threads: int) -> str | None:
    """What to say of more threads than cores: they wait for each other, and take many times as long."""
    cores = os.cpu_count() or 1
    if not isinstance(executor, ProcessExecutor) or executor.devices or executor.workers * threads <= cores:
        return None
    return (
        f"{executor.workers} workers of {threads} CPU threads on {cores} cores: they hold each other up. "
        f"Set threads = {max(1, cores // executor.workers)} before the run begins."
    )


def build_executor(config: ExecutionConfig, threads: int) -> Executor:
    """The executor that a configuration asks for; no worker is started yet.

    Args:
      config: Its name and the number of workers; where that is left open, as many as there are GPUs, else as many as
        this machine's cores (or the cluster's) have room for.
      threads: CPU threads that each worker computes with.

    Raises:
      ConfigError: An unknown name, or an engine that is not installed.
    """
    return EXECUTORS[config.executor](config, threads)
