"""One currency for every network: raw output at (x_t, t, condition), and its reading as (x0, eps)."""

from __future__ import annotations

from typing import Protocol

import torch

from auditor.diffusion.prediction import Prediction, PredictionType, read_output
from auditor.diffusion.schedule import NoiseSchedule


class Denoiser(Protocol):
    """A network with its noise schedule, ready to be called; attacks and samplers see nothing else.

    Works in *model space*: pixels scaled to [-1, 1], or the latents of an autoencoder.
    """

    @property
    def prediction_type(self) -> PredictionType:
        """What the raw output means."""

    @property
    def schedule(self) -> NoiseSchedule:
        """Scales of each training time."""

    @property
    def sample_shape(self) -> tuple[int, int, int]:
        """(C, H, W) of one sample in model space."""

    def __call__(self, x_t: torch.Tensor, t: torch.Tensor, condition: torch.Tensor | None = None) -> torch.Tensor:
        """Raw output Float32[B C H W] for Float32[B C H W] at Int64[B] training times; condition Int64[B] labels."""


def predict(
    denoiser: Denoiser, x_t: torch.Tensor, t: torch.Tensor, condition: torch.Tensor | None = None
) -> Prediction:
    """One denoiser call, read as (x0, eps) in x_t's dtype; exactly one evaluation of the network.

    The network runs in float32, the conversion in x_t's own dtype, so that a float64 trajectory stays float64.
    """
    signal, noise = denoiser.schedule.scales_at(t, x_t)
    output = denoiser(x_t.float(), t, condition).to(x_t.dtype)
    return read_output(denoiser.prediction_type, output, x_t, signal, noise)


def widest_dtype(device: torch.device) -> torch.dtype:
    """The dtype that trajectories are carried in: float64, or float32 on devices without it (Apple's MPS)."""
    return torch.float32 if device.type == "mps" else torch.float64


class CountingDenoiser:
    """A denoiser that counts its calls: ``calls`` (batches) and ``evaluations`` (samples)."""

    def __init__(self, inner: Denoiser) -> None:
        self.inner, self.calls, self.evaluations = inner, 0, 0

    @property
    def prediction_type(self) -> PredictionType:
        return self.inner.prediction_type

    @property
    def schedule(self) -> NoiseSchedule:
        return self.inner.schedule

    @property
    def sample_shape(self) -> tuple[int, int, int]:
        return self.inner.sample_shape

    def __call__(self, x_t: torch.Tensor, t: torch.Tensor, condition: torch.Tensor | None = None) -> torch.Tensor:
        self.calls += 1
        self.evaluations += len(x_t)
        return self.inner(x_t, t, condition)
