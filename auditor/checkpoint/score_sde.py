"""Score-SDE, variance exploding (Song et al. 2021, arXiv 2011.13456): ScoreSdeVePipeline.

x_t = x0 + sigma eps. The network is called with the noise level and gives the score, whose exact reading as noise is
eps = -sigma * score. Images are in [0, 1], the range to which the pipeline clamps.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from auditor.checkpoint.components import SAVE_AGAIN, load_network
from auditor.checkpoint.family import OpenNetwork, Parts, Trained, families
from auditor.checkpoint.latents import PixelScaling
from auditor.checkpoint.scan import Scan
from auditor.checkpoint.unet import num_classes, sample_shape
from auditor.diffusion.prediction import PredictionType
from auditor.diffusion.schedule import NoiseSchedule
from auditor.errors import CheckpointError


@dataclass(frozen=True)
class ScoreDenoiser(OpenNetwork):
    """A network that gives the score at a noise level, read as epsilon at a training time."""

    network: Any  # diffusers.UNet2DModel
    schedule: NoiseSchedule
    sample_shape: tuple[int, int, int]
    prediction_type: PredictionType = PredictionType.EPSILON

    def __call__(self, x_t: torch.Tensor, t: torch.Tensor, condition: torch.Tensor | None = None) -> torch.Tensor:
        """See :class:`auditor.diffusion.denoiser.Denoiser`; unconditional."""
        if condition is not None:
            raise ValueError("condition: got labels; expected no labels")
        _, sigma = self.schedule.scales_at(t, x_t)
        score: torch.Tensor = self.network(x_t, sigma.flatten()).sample
        return -sigma * score


@families.register("ScoreSdeVePipeline")
def load_score_sde(scan: Scan, trained: Trained, device: str) -> Parts:
    """A pixel-space score network over a variance-exploding schedule."""
    if not trained.schedule.exploding:
        raise CheckpointError(f"{scan.path}: scheduler", "a variance-preserving one", "ScoreSdeVeScheduler", SAVE_AGAIN)
    network = load_network(scan, "unet", "UNet2DModel", device)
    shape, notes = sample_shape(scan, network)
    if num_classes(scan, network) is not None or network.config.out_channels != shape[0]:
        got = f"{network.config.out_channels} output channels, {network.config.num_class_embeds or 0} classes"
        expected = f"{shape[0]} output channels and no classes"
        raise CheckpointError(f"{scan.path}: unet", got, expected, SAVE_AGAIN)
    denoiser = ScoreDenoiser(network, trained.schedule, shape)
    return Parts(denoiser, PixelScaling(shape, device, low=0.0), network, notes=notes)
