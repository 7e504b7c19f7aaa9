"""Regeneration: an image noised part of the way, and sampled down again without a further draw."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from auditor.diffusion.denoiser import Denoiser
from auditor.diffusion.samplers import Sampler
from auditor.diffusion.schedule import CLEAN
from auditor.errors import ConfigError


def ladder_from(ladder: Sequence[int], training_times: int, level: float) -> list[int]:
    """The rungs of a ladder at or below a share of the training times, closed by CLEAN.

    Args:
      ladder: A whole one, from :meth:`auditor.diffusion.schedule.NoiseSchedule.ladder`.
      training_times: T.
      level: In (0, 1).

    Raises:
      ConfigError: No rung is that low: too few steps for the level.
    """
    below = [t for t in ladder if t <= level * (training_times - 1)]
    if below == [CLEAN]:
        got = f"{level:g} with {len(ladder) - 1} steps"
        raise ConfigError("extraction level", got, "a rung of the ladder below it", "Take more steps, or more noise.")
    return below


@torch.inference_mode()
def regenerate(
    denoiser: Denoiser,
    sampler: Sampler,
    x0: torch.Tensor,
    noise: torch.Tensor,
    ladder: Sequence[int],
    *,
    condition: torch.Tensor | None = None,
) -> torch.Tensor:
    """What the sampler makes of x_t = a x0 + s noise, t the first rung; Float32[B C H W].

    Args:
      x0: Images in model space, Float32[B C H W].
      noise: Standard normal, likewise.
      ladder: Descending training times from that rung on, closed by CLEAN.
      condition: Labels Int64[B] of a conditional denoiser.

    Source:
      Meng et al. 2022, arXiv 2108.01073 (SDEdit). Differs: the way down is a deterministic sampler's.
    """
    t = torch.full((len(x0),), ladder[0], dtype=torch.int64)
    x_t = denoiser.schedule.add_noise(x0.double(), noise.double(), t)
    # samplers scale what they are given by the schedule's start scale
    return sampler.sample(denoiser, x_t / denoiser.schedule.start_scale, ladder, condition=condition)
