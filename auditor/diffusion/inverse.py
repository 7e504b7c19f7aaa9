"""Deterministic solvers of inverse problems: an image x0 with measurement y = A x0, from the same noise as sampling.

All walk the ladder of :mod:`auditor.diffusion.samplers` with DDIM's step, without any draw of their own, so that the
result is a pure function of (denoiser, y, start noise), comparable between checkpoints like an ordinary sample. Each
result has the measurement y, exactly for inpainting, to float32's rounding otherwise.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Protocol

import torch

from auditor.diffusion.denoiser import Denoiser
from auditor.diffusion.measurement import Measurement
from auditor.diffusion.steps import BoundNetwork, Rung, read_ladder, start, towards
from auditor.errors import ConfigError
from auditor.registry import Registry

GUIDANCE_STEP = 1.0  # zeta of posterior sampling, for some 50 steps; decisions/0026


class SolveFunction(Protocol):
    """The shape that solvers share."""

    def __call__(
        self,
        denoiser: Denoiser,
        noise: torch.Tensor,
        ladder: Sequence[int],
        measurement: Measurement,
        y: torch.Tensor,
        *,
        condition: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """x0 as Float32[B C H W] with measurement y, from standard normal noise Float32[B C H W]."""


@dataclass(frozen=True)
class Solver:
    """A solver, and how many denoiser evaluations one image costs at a number of steps."""

    solve: SolveFunction
    evaluations: Callable[[int], int]
    gradients: bool  # whether each evaluation but the last is followed by a backward pass, about as costly again


SOLVERS: Registry[Solver] = Registry("solver")


@torch.inference_mode()
def solve_replacement(
    denoiser: Denoiser,
    noise: torch.Tensor,
    ladder: Sequence[int],
    measurement: Measurement,
    y: torch.Tensor,
    *,
    condition: torch.Tensor | None = None,
) -> torch.Tensor:
    """x0 as Float32[B C H W] with measurement y: DDIM whose every predicted x0 is projected onto A x0 = y.

    The x0-projection is that of DDNM (Wang et al. 2022, arXiv 2212.00490, equation 13). DDIM's step keeps the noise
    that x_t is made of, hence what A sees of the state is ``a y + s A eps`` at every rung, eps being the start noise:
    the replacement of the known part by its noised self (Song et al. 2021, arXiv 2011.13456, appendix I.2; Lugmayr
    et al. 2022, arXiv 2201.09865, without resampling), with the one eps instead of a fresh draw per step. One form
    therefore serves every linear A. What is hidden follows the probability-flow ODE beside a prescribed known part.
    That is no draw from the posterior, and it often ends at an image of which the network does not believe y:
    :func:`solve_null_space` restores much more of what a checkpoint has memorised.

    Args:
      denoiser: Network and schedule; called once per step.
      noise: Standard normal Float32[B C H W], the probe's start noise; known and hidden part share it.
      ladder: Descending training times, closed by CLEAN.
      measurement: A.
      y: A x0 of the image to restore, one per row of noise, in model space.
      condition: Labels Int64[B] of a conditional denoiser.

    Raises:
      ConfigError: A ladder that no sampler walks, or images of another size than the measurement is made for.
      ValueError: y is not one measurement per row of noise.
    """
    rungs = read_ladder(denoiser, ladder)
    network = BoundNetwork(denoiser, rungs[:-1], noise, condition, None)
    x, y = _begin(denoiser, noise, measurement, y)
    x = measurement.project(x, rungs[0].signal * y + rungs[0].noise * measurement.measure(noise.to(x.dtype)))
    for here, there in pairwise(rungs):
        x = towards(x, measurement.project(network.x0(x, here), y), here, there)
    return measurement.project(x, y).float()


@torch.inference_mode()
def solve_null_space(
    denoiser: Denoiser,
    noise: torch.Tensor,
    ladder: Sequence[int],
    measurement: Measurement,
    y: torch.Tensor,
    *,
    condition: torch.Tensor | None = None,
) -> torch.Tensor:
    """x0 as Float32[B C H W] with measurement y: x_{t'} = a' (x0 projected onto A x0 = y) + s' eps, both predicted.

    DDNM (Wang et al. 2022, arXiv 2212.00490, equations 13 and 14) with DDIM's deterministic step, whose noise is the
    network's own instead of partly fresh. It differs from :func:`solve_replacement` in what becomes of the predicted
    image's error e = y - A x0: there the known part stays ``a y + s A eps`` whatever the network believes; here
    A eps grows by ``a e / s`` at every step, so that the error is fed back until the network predicts y by itself.
    Arguments and errors as :func:`solve_replacement`; the start is the sampler's own.
    """
    rungs = read_ladder(denoiser, ladder)
    network = BoundNetwork(denoiser, rungs[:-1], noise, condition, None)
    x, y = _begin(denoiser, noise, measurement, y)
    for here, there in pairwise(rungs):
        x0 = network.x0(x, here)
        # DDIM's step from x0, then A^+ (y - A x0) at the signal scale of the next rung
        x = towards(x, x0, here, there) + there.signal * (measurement.project(x0, y) - x0)
    return measurement.project(x, y).float()


@torch.inference_mode(False)
@torch.enable_grad()
def solve_posterior(
    denoiser: Denoiser,
    noise: torch.Tensor,
    ladder: Sequence[int],
    measurement: Measurement,
    y: torch.Tensor,
    *,
    condition: torch.Tensor | None = None,
    step: float = GUIDANCE_STEP,
) -> torch.Tensor:
    """x0 as Float32[B C H W] with measurement y, by diffusion posterior sampling (Chung et al. 2023, arXiv 2209.14687).

        x_{t'} = DDIM(x_t, x0_hat) - step * a_t / r * d r^2 / d x_t,   r = |y - A x0_hat(x_t)|

    Algorithm 1 with DDIM's step in place of the ancestral one and the gradient through the denoiser. The paper's step
    size zeta_t is here step * a_t: of an epsilon network, d x0_hat / d x_t has a factor 1 / a_t, some 160 at the
    start, and a constant zeta small enough for that does nothing later. The last step is not guided, since a gradient
    of fixed length would leave its mark on a clean image; there x0_hat is projected onto A x0 = y. That the result has
    the measurement y is thus by construction, not evidence of the guidance. It moves by a fixed length per step, so
    that few steps guide weakly; another number of steps asks for another ``step``.

    Args:
      denoiser, noise, ladder, measurement, y, condition: As :func:`solve_replacement`; the start is the sampler's own.
      step: zeta of the paper, in model-space units, at least 0; 0 is an unguided sample, projected at the end.

    Raises:
      ConfigError: As :func:`solve_replacement`, or the denoiser's output has no gradient.
      ValueError: As :func:`solve_replacement`.
    """
    rungs = read_ladder(denoiser, ladder)
    noise, y = noise.clone(), y.clone()  # tensors made under inference mode take no part in gradients, copies do
    network = BoundNetwork(denoiser, rungs[:-1], noise, None if condition is None else condition.clone(), None)
    x, y = _begin(denoiser, noise, measurement, y)
    for here, there in pairwise(rungs[:-1]):
        x = _guided_step(network, x, measurement, y, step, here, there)
    with torch.no_grad():
        return measurement.project(network.x0(x, rungs[-2]), y).float()


def _guided_step(
    network: BoundNetwork,
    x: torch.Tensor,
    measurement: Measurement,
    y: torch.Tensor,
    step: float,
    here: Rung,
    there: Rung,
) -> torch.Tensor:
    """DDIM's step, then one of fixed size down the gradient of each row's squared residual."""
    x = x.detach().requires_grad_()
    x0 = network.x0(x, here)
    if not x0.requires_grad or x0.grad_fn is None:
        remedy = "Use the solver replacement."
        raise ConfigError("solver posterior", "a denoiser without gradients", "a differentiable one", remedy)
    squared = (y - measurement.measure(x0)).flatten(1).square().sum(1)  # rows do not interact: one gradient for all
    (gradient,) = torch.autograd.grad(squared.sum(), x)
    with torch.no_grad():
        size = squared.sqrt().clamp_min(torch.finfo(x.dtype).tiny)  # no residual, no gradient: 0 rather than 0 / 0
        return towards(x, x0, here, there) - step * here.signal * gradient / size.view(-1, 1, 1, 1)


def _begin(
    denoiser: Denoiser, noise: torch.Tensor, measurement: Measurement, y: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """The sampler's own first state, and y in its dtype, once y is seen to be one measurement per row."""
    expected = measurement.measure(noise).shape
    if y.shape != expected:
        raise ValueError(f"y: got shape {list(y.shape)}; expected {list(expected)}, one measurement per row of noise")
    x = start(denoiser.schedule, noise)
    return x, y.to(x.device, x.dtype)


SOLVERS.register("replacement")(Solver(solve_replacement, lambda num_steps: num_steps, gradients=False))
SOLVERS.register("null_space")(Solver(solve_null_space, lambda num_steps: num_steps, gradients=False))
SOLVERS.register("posterior")(Solver(solve_posterior, lambda num_steps: num_steps, gradients=True))
