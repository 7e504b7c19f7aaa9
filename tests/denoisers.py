"""Schedules and small denoisers, as fixtures that several test folders import into their conftest."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import pytest
import torch
from diffusers import UNet2DModel

from auditor.diffusion.prediction import PredictionType
from auditor.diffusion.schedule import NoiseSchedule


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Networks this small lose time on a second thread."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


class NetworkDenoiser:
    """A diffusers UNet behind the Denoiser protocol, as the checkpoint package provides it."""

    def __init__(self, network: UNet2DModel, kind: PredictionType, schedule: NoiseSchedule) -> None:
        self.network, self.prediction_type, self.schedule = network, kind, schedule
        self.sample_shape = (1, 8, 8)

    def __call__(self, x_t: torch.Tensor, t: torch.Tensor, condition: torch.Tensor | None = None) -> torch.Tensor:
        return self.network(x_t, t).sample


class AffineDenoiser:
    """The exact denoiser of Gaussian data N(mean, deviation^2) per pixel, in any reading."""

    sample_shape = (1, 4, 4)

    def __init__(self, mean: float, deviation: float, kind: PredictionType, schedule: NoiseSchedule) -> None:
        self.mean, self.deviation, self.prediction_type, self.schedule = mean, deviation, kind, schedule

    def __call__(self, x_t: torch.Tensor, t: torch.Tensor, condition: torch.Tensor | None = None) -> torch.Tensor:
        x = x_t.double()
        a, s = self.schedule.scales_at(t, x)
        # Posterior mean of x0 given x = a x0 + s eps: mean + cov / var (x - a mean)
        variance = (a * self.deviation).square() + s.square()
        x0 = self.mean + a * self.deviation**2 / variance * (x - a * self.mean)
        eps = (x - a * x0) / s
        read = {PredictionType.EPSILON: eps, PredictionType.SAMPLE: x0, PredictionType.V_PREDICTION: a * eps - s * x0}
        read[PredictionType.FLOW] = eps - x0
        return read[self.prediction_type].float()


@pytest.fixture(scope="session")
def linear() -> NoiseSchedule:
    """DDPM's schedule: 1,000 times, beta linear from 1e-4 to 0.02."""
    return NoiseSchedule.from_alphas_cumprod(np.cumprod(1 - np.linspace(1e-4, 0.02, 1000)))


@pytest.fixture(scope="session")
def exploding() -> NoiseSchedule:
    """A variance-exploding schedule: sigma geometric from 0.01 to 50 over 1,000 times."""
    return NoiseSchedule(np.ones(1000), np.geomspace(0.01, 50, 1000))


@pytest.fixture(scope="session")
def network_denoiser() -> Callable[[PredictionType, NoiseSchedule], NetworkDenoiser]:
    """Builds denoisers around one small untrained UNet with seeded weights."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = UNet2DModel(
            sample_size=8, in_channels=1, out_channels=1, layers_per_block=1, block_out_channels=(8, 16),
            norm_num_groups=4, down_block_types=("DownBlock2D",) * 2, up_block_types=("UpBlock2D",) * 2,
        ).eval().requires_grad_(False)  # fmt: skip
    return lambda kind, schedule: NetworkDenoiser(network, kind, schedule)


@pytest.fixture(scope="session")
def affine_denoiser() -> type[AffineDenoiser]:
    """The closed-form denoiser of Gaussian data."""
    return AffineDenoiser


@pytest.fixture(scope="session")
def normal() -> Callable[..., torch.Tensor]:
    """``normal(seed, *shape)``: standard normal Float32 from a generator of its own."""
    return lambda seed, *shape: torch.randn(shape, generator=torch.Generator().manual_seed(seed))
