"""What the samplers share: the ladder they walk, the network on it, and the step of constant x0."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import torch

from auditor.diffusion.denoiser import Denoiser, widest_dtype
from auditor.diffusion.prediction import PredictionType, read_output
from auditor.diffusion.schedule import CLEAN, NoiseSchedule
from auditor.errors import ConfigError


class Rung(NamedTuple):
    """One training time with its scales as Python floats."""

    t: int
    signal: float
    noise: float

    @property
    def sigma(self) -> float:
        return self.noise / self.signal


class BoundNetwork:
    """The denoiser bound to one batch: ``x0(x, rung)`` is one evaluation, read in the trajectory's dtype."""

    def __init__(
        self,
        denoiser: Denoiser,
        rungs: Sequence[Rung],
        like: torch.Tensor,
        condition: torch.Tensor | None,
        clip: float | None,
    ) -> None:
        self.denoiser, self.condition, self.clip = denoiser, condition, clip
        times = torch.tensor([rung.t for rung in rungs], device=like.device)
        self.times = dict(zip((rung.t for rung in rungs), times[:, None].repeat(1, len(like)), strict=True))

    def x0(self, x: torch.Tensor, rung: Rung) -> torch.Tensor:
        output = self.denoiser(x.float(), self.times[rung.t], self.condition).to(x.dtype)
        x0 = read_output(self.denoiser.prediction_type, output, x, rung.signal, rung.noise).x0
        return x0 if self.clip is None else x0.clamp(-self.clip, self.clip)


def start(schedule: NoiseSchedule, noise: torch.Tensor) -> torch.Tensor:
    """The trajectory's first state: noise at the schedule's start scale, in the widest dtype of its device."""
    return noise.to(widest_dtype(noise.device)) * schedule.start_scale


def towards(x: torch.Tensor, x0: torch.Tensor, here: Rung, there: Rung) -> torch.Tensor:
    """The exact solution of the probability-flow ODE from ``here`` to ``there`` if x0 stayed constant.

    x' = (s'/s) x + (a' - a s'/s) x0: the noise (x - a x0) / s that x is made of is kept. This is DDIM's step and, with
    an extrapolated x0, DPM-Solver++'s: s'/s and a' - a s'/s are its sigma ratio and its -alpha (e^-h - 1).
    """
    ratio = there.noise / here.noise
    return ratio * x + (there.signal - here.signal * ratio) * x0


def read_ladder(denoiser: Denoiser, ladder: Sequence[int]) -> list[Rung]:
    """The rungs of a descending ladder, checked before the first network call.

    Raises:
      ConfigError: Not strictly descending training times closed by CLEAN; a time without noise; or, from an
        epsilon network, a time without signal, where its output says nothing about x0.
    """
    schedule, times = denoiser.schedule, list(ladder)
    valid = len(times) > 1 and times[-1] == CLEAN and times[0] < len(schedule)
    if not valid or any(t <= t_prev for t, t_prev in pairwise(times)):
        expected = f"descending times below {len(schedule)}, closed by {CLEAN}"
        raise ConfigError("ladder", times, expected, "Take it from NoiseSchedule.ladder.")
    rungs = [Rung(t, float(schedule.signal_scale[t]), float(schedule.noise_scale[t])) for t in times[:-1]]
    if rungs[-1].noise == 0:
        raise ConfigError("ladder", f"noise scale 0 at t={rungs[-1].t}", "noise on every rung", "Drop that rung.")
    if rungs[0].signal == 0 and denoiser.prediction_type is PredictionType.EPSILON:
        remedy = "Correct prediction_type or rescale_betas_zero_snr of the scheduler."
        raise ConfigError("ladder", f"no signal at t={rungs[0].t}", "signal, for an epsilon network", remedy)
    return [*rungs, Rung(CLEAN, 1.0, 0.0)]
