"""The flow that a checkpoint was trained on, from its own scheduler configuration."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from auditor.checkpoint.allowed import FLOW_SCHEDULERS
from auditor.checkpoint.components import SAVE_AGAIN
from auditor.checkpoint.family import Trained
from auditor.checkpoint.scan import Scan
from auditor.checkpoint.schedule import number, train_timesteps
from auditor.diffusion.flow import FlowSchedule, shifted
from auditor.errors import CheckpointError

Config = Mapping[str, object]
OTHER_SPACINGS = ("use_karras_sigmas", "use_exponential_sigmas", "use_beta_sigmas", "invert_sigmas")
ONLY_EULER = ("use_dynamic_shifting", "shift_terminal")  # of solvers, some pipelines heed them and some do not
TIMES = 1000  # that networks of flows are told sigma in


def is_flow(config: Config) -> bool:
    """Whether the scheduler walks a flow rather than a diffusion."""
    return config.get("_class_name") in FLOW_SCHEDULERS or bool(config.get("use_flow_sigmas", False))


def flow_schedule(config: Config, tokens: int = 0, *, to_noise: bool = False) -> FlowSchedule:
    """The sampler's sigmas that diffusers takes from this configuration.

    Args:
      config: A scheduler configuration with every default filled in: FlowMatchEulerDiscreteScheduler, or a multistep
        solver with ``use_flow_sigmas``.
      tokens: Patches of one image, which a shift by resolution depends on.
      to_noise: Whether the family's pipeline spaces its N steps from 1 to 1/N rather than leaving it to the scheduler.

    Raises:
      CheckpointError: Sigmas spaced in another way, or values out of range.
    """
    solver = config.get("_class_name") not in FLOW_SCHEDULERS
    for key in OTHER_SPACINGS + (ONLY_EULER if solver else ()):
        if config.get(key):
            remedy = "Checkpoints with other spacings of a flow are not audited by this version."
            raise CheckpointError(f"scheduler: {key}", repr(config[key]), "none", remedy)
    if config.get("prediction_type", "flow_prediction") != "flow_prediction":
        remedy = "Correct scheduler_config.json."
        raise CheckpointError("scheduler: prediction_type", repr(config["prediction_type"]), "flow_prediction", remedy)
    total = train_timesteps(config)
    if total != TIMES:
        remedy = "Flows over other times are not audited by this version."
        raise CheckpointError("scheduler: num_train_timesteps", total, f"{TIMES}, for a flow", remedy)
    smallest = 1 / total
    if solver:
        # Solvers keep their times as whole numbers, so that their pipelines' networks are told no others.
        return FlowSchedule.of(positive(config, "flow_shift"), highest=1 - smallest, whole=total)
    dynamic = bool(config.get("use_dynamic_shifting"))
    shift = resolution_shift(config, tokens) if dynamic else positive(config, "shift")
    # The scheduler shifts its smallest sigma once when it is built, and again with the others.
    lowest = None if to_noise else smallest if dynamic else float(shifted(np.array(smallest), shift))
    terminal = number(config, "shift_terminal") if config.get("shift_terminal") else None
    return FlowSchedule.of(shift, lowest=lowest, terminal=terminal)


def resolution_shift(config: Config, tokens: int) -> float:
    """The shift of an image of so many patches: the larger the image, the more of its steps are noisy.

    mu goes in a straight line from ``base_shift`` to ``max_shift`` over the numbers of patches; the shift is e^mu, or
    mu itself for ``time_shift_type`` linear (Esser et al. 2024, arXiv 2403.03206, section 5.3.2).
    """
    low, high = number(config, "base_image_seq_len"), number(config, "max_image_seq_len")
    if low >= high:
        remedy = "Correct scheduler_config.json."
        raise CheckpointError("scheduler: base_image_seq_len", low, "less than max_image_seq_len", remedy)
    slope = (number(config, "max_shift") - number(config, "base_shift")) / (high - low)
    mu = number(config, "base_shift") + slope * (tokens - low)
    return mu if config.get("time_shift_type") == "linear" else math.exp(mu)


def positive(config: Config, key: str) -> float:
    """A number above 0 of the configuration."""
    value = number(config, key)
    if value <= 0:
        raise CheckpointError(f"scheduler: {key}", value, "a number above 0", "Correct scheduler_config.json.")
    return value


def refuse_no_flow(scan: Scan, trained: Trained) -> None:
    """Raise CheckpointError if a network of a flow comes with the scheduler of a diffusion."""
    if not isinstance(trained.schedule, FlowSchedule):
        expected = f"{', '.join(FLOW_SCHEDULERS)}, or a solver with use_flow_sigmas"
        raise CheckpointError(f"{scan.path}: scheduler", "one of a diffusion", expected, SAVE_AGAIN)
