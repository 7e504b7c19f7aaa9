"""Regeneration against the closed-form denoiser of known points."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from auditor.diffusion.ideal import IdealDenoiser
from auditor.diffusion.regenerate import ladder_from, regenerate
from auditor.diffusion.samplers import SAMPLERS
from auditor.diffusion.schedule import CLEAN, NoiseSchedule
from auditor.errors import ConfigError

SCHEDULES = {
    "preserving": NoiseSchedule.from_alphas_cumprod(np.cumprod(1 - np.linspace(1e-4, 0.02, 1000))),
    "exploding": NoiseSchedule(np.ones(1000), np.geomspace(0.01, 50, 1000)),
}


def points(count: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(count, 1, 6, 6, generator=torch.Generator().manual_seed(seed)).clamp(-1, 1)


@pytest.mark.parametrize("schedule", SCHEDULES.values(), ids=SCHEDULES)
@pytest.mark.parametrize("sampler", ["ddim", "heun"])
def test_a_memorizer_gives_its_own_point_back_and_pulls_others_onto_its_points(
    schedule: NoiseSchedule, sampler: str
) -> None:
    known, other = points(5), points(5, seed=1)
    denoiser = IdealDenoiser(known, schedule)
    ladder = ladder_from(schedule.ladder(100), len(schedule), 0.4)
    noise = torch.randn(5, 1, 6, 6, generator=torch.Generator().manual_seed(2))
    own = regenerate(denoiser, SAMPLERS[sampler], known, noise, ladder)
    assert torch.allclose(own, known, atol=0.02)
    pulled = regenerate(denoiser, SAMPLERS[sampler], other, noise, ladder)
    nearest = torch.cdist(pulled.flatten(1), known.flatten(1)).min(1).values
    assert (nearest < 0.1).all() and (pulled - other).flatten(1).norm(dim=1).min() > 1


def test_little_noise_leaves_little_to_do_and_all_noise_is_a_sample() -> None:
    schedule = SCHEDULES["preserving"]
    ladder = schedule.ladder(50)
    assert ladder_from(ladder, 1000, 0.999999)[0] == ladder[0] or ladder_from(ladder, 1000, 0.999999)[0] == ladder[1]
    assert ladder_from(ladder, 1000, 0.5)[0] <= 0.5 * 999 and ladder_from(ladder, 1000, 0.5)[-1] == CLEAN
    with pytest.raises(ConfigError, match="more noise"):
        ladder_from(schedule.ladder(2), 1000, 0.1)
