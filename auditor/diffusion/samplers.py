"""Deterministic samplers: pure functions from start noise to a clean image.

Each walks a ladder of training times, ``(t, t_prev) = (ladder[k], ladder[k + 1])``, neighbours and never arithmetic,
down to the rung CLEAN. The trajectory x is carried in float64 (float32 on devices without it) over Python-float scales
of the float64 schedule; the network runs in float32. A step costs a handful of elementwise operations beside it.

Predictions of x0 are not clipped unless ``clip`` asks for it: a clipped trajectory is no longer the probability-flow
ODE, so it would not be comparable between samplers, with latent models, or with the closed-form memorizer; pixels are
clamped once, when they are written. ``clip`` reproduces pipelines that clip, with eps made consistent with the clipped
x0 (diffusers: ``use_clipped_model_output=True``).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Protocol

import torch

from auditor.diffusion.denoiser import Denoiser
from auditor.diffusion.schedule import CLEAN
from auditor.diffusion.steps import BoundNetwork, Rung, read_ladder, start, towards
from auditor.errors import ConfigError
from auditor.registry import Registry

OnStep = Callable[[int, torch.Tensor], None]  # (step just taken, state after it), for progress and evidence


class SampleFunction(Protocol):
    """The shape all samplers share."""

    def __call__(
        self,
        denoiser: Denoiser,
        noise: torch.Tensor,
        ladder: Sequence[int],
        *,
        condition: torch.Tensor | None = None,
        on_step: OnStep | None = None,
        clip: float | None = None,
    ) -> torch.Tensor:
        """x0 as Float32[B C H W] from standard normal noise Float32[B C H W]; labels Int64[B] if conditional."""


@dataclass(frozen=True)
class Sampler:
    """A sampler, and how many denoiser evaluations one sample costs at a number of steps."""

    sample: SampleFunction
    evaluations: Callable[[int], int]


SAMPLERS: Registry[Sampler] = Registry("sampler")


@torch.inference_mode()
def sample_ddim(
    denoiser: Denoiser,
    noise: torch.Tensor,
    ladder: Sequence[int],
    *,
    condition: torch.Tensor | None = None,
    on_step: OnStep | None = None,
    clip: float | None = None,
) -> torch.Tensor:
    """x0 as Float32[B C H W], by DDIM with eta 0 (Song et al. 2021, arXiv 2010.02502, equation 12).

    Args:
      denoiser: Network and schedule; called once per step.
      noise: Standard normal Float32[B C H W]; scaled to the schedule's start here.
      ladder: Descending training times, closed by CLEAN.
      condition: Labels Int64[B] of a conditional denoiser.
      on_step: Called after each step with its number, from 0, and the state.
      clip: Clamp every predicted x0 to [-clip, clip].

    Raises:
      ConfigError: The ladder is not one, or starts where the network's output does not determine x0.
    """
    rungs = read_ladder(denoiser, ladder)
    network = BoundNetwork(denoiser, rungs[:-1], noise, condition, clip)
    x = start(denoiser.schedule, noise)
    for step, (here, there) in enumerate(pairwise(rungs)):
        x = towards(x, network.x0(x, here), here, there)
        if on_step is not None:
            on_step(step, x)
    return x.float()


@torch.inference_mode()
def sample_dpmpp_2m(
    denoiser: Denoiser,
    noise: torch.Tensor,
    ladder: Sequence[int],
    *,
    condition: torch.Tensor | None = None,
    on_step: OnStep | None = None,
    clip: float | None = None,
) -> torch.Tensor:
    """x0 as Float32[B C H W], by DPM-Solver++(2M) (Lu et al. 2022, arXiv 2211.01095, Algorithm 2).

    The first step and the one to CLEAN (where the log signal-to-noise step is infinite) are of first order. Arguments
    and errors as :func:`sample_ddim`; one evaluation per step.
    """
    rungs = read_ladder(denoiser, ladder)
    network = BoundNetwork(denoiser, rungs[:-1], noise, condition, clip)
    x, older = start(denoiser.schedule, noise), None
    for step, (here, there) in enumerate(pairwise(rungs)):
        x0 = network.x0(x, here)
        target = x0
        if older is not None and there.t != CLEAN:
            # r = h_last / h, with h the step in lambda = -log(sigma); 0 weight on the past if h_last is infinite
            r = _log_ratio(rungs[step - 1], here) / _log_ratio(here, there)
            target = x0 + (x0 - older) / (2 * r)
        x, older = towards(x, target, here, there), x0
        if on_step is not None:
            on_step(step, x)
    return x.float()


@torch.inference_mode()
def sample_heun(
    denoiser: Denoiser,
    noise: torch.Tensor,
    ladder: Sequence[int],
    *,
    condition: torch.Tensor | None = None,
    on_step: OnStep | None = None,
    clip: float | None = None,
) -> torch.Tensor:
    """x0 as Float32[B C H W], by Heun's method in sigma (Karras et al. 2022, arXiv 2206.00364, Algorithm 1).

    The state is x_t / signal_scale, so that a variance-preserving schedule is walked as the exploding one that it
    is equivalent to; the last step, to sigma = 0, is Euler's. Two evaluations per step, one for the last. Arguments
    and errors as :func:`sample_ddim`; a first rung without signal (infinite sigma) is refused too.
    """
    rungs = read_ladder(denoiser, ladder)
    if rungs[0].signal == 0:
        raise ConfigError("sampler heun", f"signal scale 0 at t={rungs[0].t}", "finite sigma", "Use ddim or dpmpp_2m.")
    network = BoundNetwork(denoiser, rungs[:-1], noise, condition, clip)
    x = start(denoiser.schedule, noise) / rungs[0].signal
    for step, (here, there) in enumerate(pairwise(rungs)):
        slope = (x - network.x0(x * here.signal, here)) / here.sigma
        euler = x + (there.sigma - here.sigma) * slope
        if there.t == CLEAN:
            x = euler
        else:
            slope_there = (euler - network.x0(euler * there.signal, there)) / there.sigma
            x = x + (there.sigma - here.sigma) * 0.5 * (slope + slope_there)
        if on_step is not None:
            on_step(step, x)
    return x.float()


def _log_ratio(here: Rung, there: Rung) -> float:
    """lambda' - lambda = log(sigma / sigma'), infinite from a rung without signal."""
    if here.signal == 0:
        return math.inf
    return math.log(here.sigma / there.sigma)


SAMPLERS.register("ddim")(Sampler(sample_ddim, lambda num_steps: num_steps))
SAMPLERS.register("dpmpp_2m")(Sampler(sample_dpmpp_2m, lambda num_steps: num_steps))
SAMPLERS.register("heun")(Sampler(sample_heun, lambda num_steps: 2 * num_steps - 1))
