"""The noise schedule a checkpoint was trained with, from its own scheduler configuration.

Arithmetic is that of diffusers in float32, so that the values are bit for bit those of the training; they are widened
to float64 afterwards.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray

from auditor.checkpoint.allowed import VE_SCHEDULERS, VP_SCHEDULERS
from auditor.diffusion.prediction import PredictionType
from auditor.diffusion.schedule import NoiseSchedule
from auditor.errors import CheckpointError

BETA_SCHEDULES = ("linear", "scaled_linear", "squaredcos_cap_v2", "sigmoid")
MAX_BETA = 0.999  # of the cosine schedule (Nichol and Dhariwal 2021, arXiv 2102.09672)
UNSUPPORTED = "Checkpoints with other schedulers are not audited by this version."

Config = Mapping[str, object]


def noise_schedule(config: Config) -> NoiseSchedule:
    """Signal and noise scales of every training time.

    Variance-preserving schedulers: from :func:`alphas_cumprod`. Score-SDE VE: signal 1, noise from
    :func:`exploding_sigmas`.

    Args:
      config: A scheduler configuration with every default filled in.

    Raises:
      CheckpointError: A scheduler or beta schedule that is not supported, or values out of range.
    """
    kind = config.get("_class_name")
    if kind in VE_SCHEDULERS:
        sigmas = exploding_sigmas(config)
        return NoiseSchedule(np.ones_like(sigmas), sigmas)
    if kind not in VP_SCHEDULERS:
        supported = ", ".join(sorted(VP_SCHEDULERS | VE_SCHEDULERS))
        raise CheckpointError("scheduler: _class_name", repr(kind), f"one of {supported}", UNSUPPORTED)
    return NoiseSchedule.from_alphas_cumprod(alphas_cumprod(config))


def prediction_type(config: Config) -> PredictionType:
    """What the network was trained to predict; schedulers without the entry mean epsilon.

    Raises:
      CheckpointError: Another type; flow_prediction, of a scheduler that walks no flow; v_prediction of a network that
        is told the logarithm of its noise level (EulerDiscreteScheduler's continuous times).
    """
    value = config.get("prediction_type", "epsilon")
    known = [str(kind) for kind in PredictionType if kind is not PredictionType.FLOW]
    if value not in known:
        expected = f"one of {', '.join(known)}"
        raise CheckpointError("scheduler: prediction_type", repr(value), expected, UNSUPPORTED)
    if value == PredictionType.V_PREDICTION and config.get("timestep_type") == "continuous":
        expected = "discrete: networks that are told training times"
        raise CheckpointError("scheduler: timestep_type", "'continuous'", expected, UNSUPPORTED)
    return PredictionType(str(value))


def alphas_cumprod(config: Config) -> NDArray[np.float64]:
    """Float64[T] cumulative products of 1 - beta, non-increasing in [0, 1]; the last is 0 after zero-SNR rescaling."""
    beta = betas(config)
    if config.get("rescale_betas_zero_snr", False):
        beta = zero_terminal_snr(beta)
    cumulative: NDArray[np.float64] = torch.cumprod(1.0 - beta, dim=0).double().numpy()
    if not np.isfinite(cumulative).all() or beta.min() < 0 or beta.max() > 1:
        got = f"betas from {float(beta.min()):.3g} to {float(beta.max()):.3g}"
        raise CheckpointError("scheduler: betas", got, "finite betas in [0, 1]", "Correct scheduler_config.json.")
    return cumulative


def betas(config: Config) -> torch.Tensor:
    """Float32[T] noise variances per step, before any rescaling."""
    total = train_timesteps(config)
    trained = config.get("trained_betas")
    if trained is not None:
        try:
            beta = torch.tensor(trained, dtype=torch.float32)
        except (TypeError, ValueError, RuntimeError) as error:
            got = repr(trained)[:80]
            raise CheckpointError("scheduler: trained_betas", got, f"{total} numbers", "Correct the list.") from error
        if beta.shape != (total,):
            raise CheckpointError("scheduler: trained_betas", list(beta.shape), f"[{total}]", "Correct the list.")
        return beta
    name, start, end = config.get("beta_schedule"), number(config, "beta_start"), number(config, "beta_end")
    if name == "linear":
        return torch.linspace(start, end, total, dtype=torch.float32)
    if name == "scaled_linear":
        return torch.linspace(start**0.5, end**0.5, total, dtype=torch.float32) ** 2
    if name == "squaredcos_cap_v2":
        return cosine_betas(total)
    if name == "sigmoid":
        return torch.sigmoid(torch.linspace(-6, 6, total)) * (end - start) + start
    expected = f"one of {', '.join(BETA_SCHEDULES)}, or trained_betas"
    raise CheckpointError("scheduler: beta_schedule", repr(name), expected, UNSUPPORTED)


def cosine_betas(total: int) -> torch.Tensor:
    """Float32[total]: beta_i = min(1 - f((i+1)/T) / f(i/T), 0.999), f(u) = cos^2(pi/2 (u + 0.008) / 1.008).

    Nichol and Dhariwal 2021 (arXiv 2102.09672), equation 17.
    """

    def alpha_bar(time: float) -> float:
        return math.cos((time + 0.008) / 1.008 * math.pi / 2) ** 2

    steps = [1 - alpha_bar((i + 1) / total) / alpha_bar(i / total) for i in range(total)]
    return torch.tensor([min(step, MAX_BETA) for step in steps], dtype=torch.float32)


def zero_terminal_snr(beta: torch.Tensor) -> torch.Tensor:
    """Betas whose last cumulative alpha is 0 and whose first is unchanged.

    Lin et al. 2024 (arXiv 2305.08891), Algorithm 1.
    """
    scale = torch.cumprod(1.0 - beta, dim=0).sqrt()
    first, last = scale[0].clone(), scale[-1].clone()
    scale = (scale - last) * (first / (first - last))
    alpha_bar = scale**2
    return 1 - torch.cat([alpha_bar[:1], alpha_bar[1:] / alpha_bar[:-1]])


def exploding_sigmas(config: Config) -> NDArray[np.float64]:
    """Float64[T]: sigma_min (sigma_max / sigma_min)^(i / (T - 1)), Song et al. 2021 (arXiv 2011.13456), appendix C."""
    low, high = number(config, "sigma_min"), number(config, "sigma_max")
    if not 0 < low < high:
        got = f"sigma_min {low}, sigma_max {high}"
        raise CheckpointError("scheduler", got, "0 < sigma_min < sigma_max", "Correct scheduler_config.json.")
    sigmas: NDArray[np.float64] = np.geomspace(low, high, train_timesteps(config))
    return sigmas


def train_timesteps(config: Config) -> int:
    """Training times T."""
    value = config.get("num_train_timesteps")
    if type(value) is not int or not 1 < value <= 1_000_000:
        expected = "a whole number from 2 to 1000000"
        raise CheckpointError("scheduler: num_train_timesteps", repr(value), expected, "Correct scheduler_config.json.")
    return value


def number(config: Config, key: str) -> float:
    """A finite number of the configuration."""
    value = config.get(key)
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise CheckpointError(f"scheduler: {key}", repr(value), "a number", "Correct scheduler_config.json.")
    return float(value)
