"""An audit's inputs and run directory, opened: to begin it, to go on with it, or to take part from another process."""

from __future__ import annotations

import functools
from dataclasses import asdict, dataclass, replace
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from auditor.config import AuditConfig, resolve_paths
from auditor.data import Survey
from auditor.executors import Executor
from auditor.probes import draw_salt, root_seed
from auditor.stages.black_box import open_given
from auditor.stages.given import remember_given
from auditor.stages.inputs import Inputs, open_inputs
from auditor.stages.pieces import Spread
from auditor.stages.prompting import describe_prompts, prompted
from auditor.stages.remembered import remember
from auditor.store.digest import value_digest
from auditor.store.run_directory import RunDirectory


@dataclass(frozen=True)
class Opened:
    """What every stage works from."""

    run: RunDirectory
    inputs: Inputs
    config: AuditConfig
    seed: str  # root seed of all probes


def begin(config: AuditConfig, run_dir: Path, *, survey: bool = True) -> Opened:
    """Check all inputs, and begin the run or go on with it.

    Args:
      config: What to audit and how.
      run_dir: A new folder, or that of an earlier run of the same audit.
      survey: Whether to read all images, to find out whether they are still those of the run. If not, what is kept of
        an earlier survey serves, and an image is checked when it is used.

    Raises:
      AuditError: See :func:`auditor.stages.inputs.open_inputs` and :meth:`RunDirectory.open`.
    """
    if config.threads:
        torch.set_num_threads(config.threads)
    known = not survey and (run_dir / "run.json").is_file()
    inputs = (open_given if config.images else open_inputs)(config, RunDirectory.join(run_dir) if known else None)
    run = RunDirectory.open(run_dir, specification(config, inputs), config.generation.salt or draw_salt())
    for which, images in (("train", inputs.train), ("holdout", inputs.holdout)):
        remember(run, which, Survey(images.info, images.digests))
    if inputs.given is not None:
        remember_given(run, inputs.given)
    seed = root_seed(run.salt, inputs.scan.digest)
    return Opened(run, prompted(inputs, run, config, seed), config, seed)


@functools.lru_cache(maxsize=1)  # one audit's networks at a time
def reopen(config: str, run_dir: Path, threads: int) -> Opened:
    """The same in a worker, once per process.

    Args:
      config: The audit's, as JSON.
      run_dir: Of a run that was begun.
      threads: CPU threads of the process that asks, since kernels may sum in another order on fewer.

    Raises:
      ConfigError: No run there, or one of other inputs.
    """
    torch.set_num_threads(threads)
    RunDirectory.join(run_dir)
    asked = AuditConfig.model_validate_json(config)
    return begin(asked.model_copy(update={"threads": threads}), run_dir, survey=False)


def shared(opened: Opened, executor: Executor) -> Opened:
    """The same, with an executor whose workers make the pieces of its stages."""
    placed = resolve_paths(opened.config, Path.cwd())  # workers may stand elsewhere
    there = partial(reopen, placed.model_dump_json(), opened.run.path.absolute(), torch.get_num_threads())
    return replace(opened, inputs=replace(opened.inputs, spread=Spread(executor, there)))


def specification(config: AuditConfig, inputs: Inputs) -> dict[str, Any]:
    """Everything that determines the result, as plain values; paths count through the digests of what lies there."""
    asked = config.model_dump(mode="json", include={"generation", "copies", "membership", "regime"})
    asked["membership"]["references"] = [reference.describe() for reference in inputs.references]
    asked["membership"]["control"] = inputs.control.digest if inputs.control else None
    asked["membership"]["suspects"] = value_digest(inputs.suspects) if inputs.suspects else None
    if inputs.checkpoint.text is not None:
        asked["prompts"] = describe_prompts(config)
    if inputs.given is not None:
        asked["images"] = inputs.given.digest
    if inputs.groups:
        asked["groups"] = value_digest(sorted(inputs.groups.items()))
    if inputs.canaries:
        asked["canaries"] = inputs.canaries.describe() | {"delta": config.canaries.delta}
    return asked | {
        "tool": version("diffusion-auditor"),
        "split": config.data.split,
        "resize": config.data.resize,
        "encoders": [asdict(encoder.spec) for encoder in inputs.encoders],
        "checkpoint": inputs.scan.digest,
        "train": inputs.train.info.digest,
        "holdout": inputs.holdout.info.digest,
    }
