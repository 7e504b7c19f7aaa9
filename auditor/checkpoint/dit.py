"""Class-conditional diffusion transformers over the latents of a KL autoencoder: DiTPipeline.

Peebles and Xie 2023 (arXiv 2212.09748).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from auditor.checkpoint.components import SAVE_AGAIN, image_size, load_network, refuse_shift
from auditor.checkpoint.family import OpenNetwork, Parts, Trained, families
from auditor.checkpoint.latents import KlAutoencoder
from auditor.checkpoint.scan import Scan
from auditor.checkpoint.unet import refuse_exploding
from auditor.diffusion.prediction import PredictionType
from auditor.diffusion.schedule import NoiseSchedule
from auditor.errors import CheckpointError


@dataclass(frozen=True)
class DiTDenoiser(OpenNetwork):
    """A DiTTransformer2DModel as a denoiser; the channels of a learned variance are cut off."""

    network: Any  # diffusers.DiTTransformer2DModel
    prediction_type: PredictionType
    schedule: NoiseSchedule
    sample_shape: tuple[int, int, int]
    num_classes: int  # also the label that stands for no label

    def __call__(self, x_t: torch.Tensor, t: torch.Tensor, condition: torch.Tensor | None = None) -> torch.Tensor:
        """See :class:`auditor.diffusion.denoiser.Denoiser`; without labels, the network's own null label."""
        labels = torch.full_like(t, self.num_classes) if condition is None else condition
        output: torch.Tensor = self.network(x_t, timestep=t, class_labels=labels).sample
        return output[:, : self.sample_shape[0]]


@families.register("DiTPipeline")
def load_dit(scan: Scan, trained: Trained, device: str) -> Parts:
    """A transformer over the latents of its autoencoder; the label after the last class is the null label."""
    refuse_exploding(scan, trained)
    network = load_network(scan, "transformer", "DiTTransformer2DModel", device)
    autoencoder = load_network(scan, "vae", "AutoencoderKL", device)
    refuse_shift(scan, autoencoder)
    channels, out = network.config.in_channels, network.out_channels
    if out not in (channels, 2 * channels) or autoencoder.config.latent_channels != channels:
        got = f"{channels} channels in, {out} out, {autoencoder.config.latent_channels} of the autoencoder's latents"
        expected = "as many out as in (or twice, with a learned variance), and as many as latents"
        raise CheckpointError(f"{scan.path}: transformer", got, expected, SAVE_AGAIN)
    height, width = image_size(scan, "transformer", network.config.sample_size)
    codec = KlAutoencoder(autoencoder, pixel_shape(autoencoder, height, width), device)
    classes = network.config.num_embeds_ada_norm
    shape = (channels, height, width)
    denoiser = DiTDenoiser(network, trained.prediction_type, trained.schedule, shape, classes)
    notes = [f"learned variance: channels {channels}..{out - 1} of the output are not used"] if out > channels else []
    return Parts(denoiser, codec, network, classes, classes, notes)


def pixel_shape(autoencoder: Any, height: int, width: int) -> tuple[int, int, int]:
    """(C, H, W) of images whose latents are height x width: every level but the last halves the size."""
    factor = 2 ** (len(autoencoder.config.block_out_channels) - 1)
    return autoencoder.config.out_channels, height * factor, width * factor
