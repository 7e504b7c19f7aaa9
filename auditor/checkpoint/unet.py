"""UNet2DModel in pixel space, unconditional or class-conditional: DDPM, DDIM and PNDM pipelines."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from auditor.checkpoint.components import SAVE_AGAIN, image_size, load_network
from auditor.checkpoint.family import OpenNetwork, Parts, Trained, families
from auditor.checkpoint.latents import PixelScaling
from auditor.checkpoint.scan import Scan
from auditor.diffusion.flow import FlowSchedule
from auditor.diffusion.prediction import PredictionType
from auditor.diffusion.schedule import NoiseSchedule
from auditor.errors import CheckpointError


@dataclass(frozen=True)
class UNetDenoiser(OpenNetwork):
    """A UNet2DModel as a denoiser; of a network that also predicts its variance, the mean's channels only."""

    network: Any  # diffusers.UNet2DModel
    prediction_type: PredictionType
    schedule: NoiseSchedule
    sample_shape: tuple[int, int, int]
    num_classes: int | None = None

    def __call__(self, x_t: torch.Tensor, t: torch.Tensor, condition: torch.Tensor | None = None) -> torch.Tensor:
        """See :class:`auditor.diffusion.denoiser.Denoiser`.

        Raises:
          ValueError: Labels for an unconditional network, or none for a conditional one.
        """
        if (condition is None) != (self.num_classes is None):
            wanted = "no labels" if self.num_classes is None else f"labels 0..{self.num_classes - 1}"
            raise ValueError(f"condition: got {'none' if condition is None else 'labels'}; expected {wanted}")
        output: torch.Tensor = self.network(x_t, t, class_labels=condition).sample
        return output[:, : self.sample_shape[0]]


@families.register("DDPMPipeline")
@families.register("DDIMPipeline")
@families.register("PNDMPipeline")
def load_unet(scan: Scan, trained: Trained, device: str) -> Parts:
    """A pixel-space UNet over a variance-preserving schedule; its pipelines show x0 in [-1, 1]."""
    refuse_exploding(scan, trained)
    network = load_network(scan, "unet", "UNet2DModel", device)
    shape, notes = sample_shape(scan, network)
    classes = num_classes(scan, network)
    denoiser = UNetDenoiser(network, trained.prediction_type, trained.schedule, shape, classes)
    return Parts(denoiser, PixelScaling(shape, device), network, classes, notes=notes)


def sample_shape(scan: Scan, network: Any) -> tuple[tuple[int, int, int], list[str]]:
    """(C, H, W) of a sample, and a note if the variance's channels are cut off."""
    channels, out = network.config.in_channels, network.config.out_channels
    if out not in (channels, 2 * channels):
        expected = f"{channels}, or {2 * channels} with a learned variance"
        raise CheckpointError(f"{scan.path}: unet: out_channels", out, expected, SAVE_AGAIN)
    notes = [f"learned variance: channels {channels}..{out - 1} of the output are not used"] if out > channels else []
    return (channels, *image_size(scan, "unet", network.config.sample_size)), notes


def num_classes(scan: Scan, network: Any) -> int | None:
    """Number of class labels, None for an unconditional network."""
    kind = network.config.class_embed_type
    if kind is not None:
        remedy = "Other conditions are not audited by this version."
        raise CheckpointError(f"{scan.path}: unet: class_embed_type", repr(kind), "none: class labels only", remedy)
    count: int | None = network.config.num_class_embeds
    return count


def refuse_exploding(scan: Scan, trained: Trained) -> None:
    """Raise CheckpointError if a network that takes training times comes with a schedule of noise levels, or a flow."""
    if isinstance(trained.schedule, FlowSchedule):
        raise CheckpointError(f"{scan.path}: scheduler", "one of a flow", "a variance-preserving one", SAVE_AGAIN)
    if trained.schedule.exploding:
        expected = "a variance-preserving scheduler, or ScoreSdeVePipeline"
        raise CheckpointError(f"{scan.path}: scheduler", "a variance-exploding one", expected, SAVE_AGAIN)
