"""What a network's raw output means, and its exact reading as (x0, eps).

x_t = a * x0 + s * eps        a = signal_scale[t], s = noise_scale[t]
v   = a * eps - s * x0        (Salimans and Ho 2022, arXiv 2202.00512, for a^2 + s^2 = 1)
u   = eps - x0                (flow matching: Lipman et al. 2023, arXiv 2210.02747; Liu et al. 2023, arXiv 2209.03003)

The papers on flows run time from noise to data and so learn -u; u is what diffusers' networks give, the slope of x_t in
s on the straight path a = 1 - s.
"""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple

import torch

Scale = torch.Tensor | float


class PredictionType(StrEnum):
    """diffusers' own names."""

    EPSILON = "epsilon"
    SAMPLE = "sample"
    V_PREDICTION = "v_prediction"
    FLOW = "flow_prediction"


class Prediction(NamedTuple):
    """Both readings of one denoiser call: the clean image and the noise it believes x_t is made of."""

    x0: torch.Tensor
    eps: torch.Tensor


def read_output(
    kind: PredictionType, model_output: torch.Tensor, x_t: torch.Tensor, signal: Scale, noise: Scale
) -> Prediction:
    """Both readings of a raw output Float[B, ...], with scales that broadcast against it.

    ``v_prediction`` presumes a variance-preserving schedule. Where the wanted quantity does not show in x_t (x0 at
    signal 0 from epsilon, eps at noise 0 from sample) the result is not finite; samplers refuse such ladders before
    the first call, and the sweep counts such scores as unscored.
    """
    if kind is PredictionType.EPSILON:
        return Prediction((x_t - noise * model_output) / signal, model_output)
    if kind is PredictionType.SAMPLE:
        return Prediction(model_output, (x_t - signal * model_output) / noise)
    if kind is PredictionType.FLOW:
        # solves x_t = a x0 + s eps with eps = x0 + u; a + s is 1 on the straight path
        both = signal + noise
        return Prediction((x_t - noise * model_output) / both, (x_t + signal * model_output) / both)
    return Prediction(signal * x_t - noise * model_output, noise * x_t + signal * model_output)


def true_output(kind: PredictionType, x0: torch.Tensor, eps: torch.Tensor, signal: Scale, noise: Scale) -> torch.Tensor:
    """The raw output that training asks for at x_t = signal x0 + noise eps; :func:`read_output` reads it back."""
    if kind is PredictionType.EPSILON:
        return eps
    if kind is PredictionType.SAMPLE:
        return x0
    if kind is PredictionType.FLOW:
        return eps - x0
    return signal * eps - noise * x0
