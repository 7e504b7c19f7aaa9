"""What each model family hands over, and the registry of families by pipeline class."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import torch

from auditor.checkpoint.latents import LatentCodec
from auditor.checkpoint.offload import bring
from auditor.checkpoint.scan import Scan
from auditor.diffusion.denoiser import Denoiser
from auditor.diffusion.prediction import PredictionType
from auditor.diffusion.schedule import NoiseSchedule
from auditor.registry import Registry


@dataclass(frozen=True)
class OpenNetwork:
    """Makes a family's denoiser a :class:`auditor.diffusion.white_box.WhiteBox`: it hands out what training changed."""

    network: Any  # torch.nn.Module

    def parameters(self) -> dict[str, torch.Tensor]:
        """The network's parameters by name, sharing memory with it."""
        bring(self.network)
        return {name: parameter.detach() for name, parameter in self.network.named_parameters()}

    def with_parameters(self, parameters: Mapping[str, torch.Tensor]) -> Any:
        """This denoiser around the network with other parameters."""
        return replace(self, network=OtherWeights(self.network, parameters))


@dataclass(frozen=True)
class OtherWeights:
    """A network computing with other parameters than its own."""

    network: Any  # torch.nn.Module
    parameters: Mapping[str, torch.Tensor]

    def __call__(self, *arguments: Any, **named: Any) -> Any:
        bring(self.network)  # not during the call, when other parameters stand in for its own
        return torch.func.functional_call(self.network, dict(self.parameters), arguments, named)

    @property
    def config(self) -> Any:
        """What the network was built from."""
        return self.network.config


@dataclass(frozen=True)
class Parts:
    """A loaded model: what audits call, and what the record says of it."""

    denoiser: Denoiser
    codec: LatentCodec
    network: Any  # torch.nn.Module that the denoiser calls
    num_classes: int | None = None  # labels are 0..num_classes-1; None = unconditional
    null_class: int | None = None  # label that stands for no label; None = no classifier-free guidance
    notes: list[str] = field(default_factory=list)
    encoders: dict[str, Any] = field(default_factory=dict)  # text encoders by their component's name


@dataclass(frozen=True)
class Trained:
    """What the scheduler's configuration says of the training, and at what size the user wants it tested."""

    schedule: NoiseSchedule
    prediction_type: PredictionType
    config: Mapping[str, object]  # with every default filled in: what a flow's steps further depend on
    asked_size: tuple[int, int] | None = None  # height and width of images in pixels; None = as configured


FamilyLoader = Callable[[Scan, Trained, str], Parts]  # (scan, trained, device)
families: Registry[FamilyLoader] = Registry("pipeline")
