"""Classifier-free guidance as a denoiser around a denoiser, at one scale or several.

A condition is then a label and a scale: condition c asks for label c modulo their number, under scale c divided by it.
Labels are classes, or places of prompts.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch

from auditor.diffusion.denoiser import Denoiser
from auditor.diffusion.prediction import PredictionType
from auditor.diffusion.schedule import NoiseSchedule


class TellsGuidance(Denoiser, Protocol):
    """A network distilled from its guided self, whose guidance is an input."""

    def told(self, scale: float | torch.Tensor) -> Denoiser | None:
        """The network under this guidance, Float32[B] or one for all; None if it must be guided from outside."""


@dataclass(frozen=True)
class AtScales:
    """What both ways of guiding share."""

    denoiser: Denoiser
    labels: int  # how many there are
    scales: tuple[float, ...]

    @property
    def prediction_type(self) -> PredictionType:
        return self.denoiser.prediction_type

    @property
    def schedule(self) -> NoiseSchedule:
        return self.denoiser.schedule

    @property
    def sample_shape(self) -> tuple[int, int, int]:
        return self.denoiser.sample_shape

    def read(self, condition: torch.Tensor | None) -> tuple[torch.Tensor, torch.Tensor]:
        """Labels Int64[B] and scales Float32[B] of conditions Int64[B].

        Raises:
          ValueError: No conditions.
        """
        if condition is None:
            raise ValueError("condition: got none; expected labels to guide towards")
        scales = torch.tensor(self.scales, device=condition.device)
        return condition % self.labels, scales[condition // self.labels]


@dataclass(frozen=True)
class Guided(AtScales):
    """raw = raw_null + scale * (raw_label - raw_null), both from one call of twice the batch.

    Ho and Salimans 2022 (arXiv 2207.12598), equation 6, with scale = 1 + w. Scale 1 is the plain conditional model
    and 0 the unconditional one. The weights sum to 1, and x0 and epsilon are affine in the raw output at a given x_t,
    so that guiding the raw output guides both alike, whatever the network predicts.
    """

    null_class: int

    def __call__(self, x_t: torch.Tensor, t: torch.Tensor, condition: torch.Tensor | None = None) -> torch.Tensor:
        """See :class:`auditor.diffusion.denoiser.Denoiser`.

        Raises:
          ValueError: No labels.
        """
        label, scale = self.read(condition)
        labels = torch.cat([label, torch.full_like(label, self.null_class)])
        towards, null = self.denoiser(torch.cat([x_t, x_t]), torch.cat([t, t]), labels).chunk(2)
        return null + scale[:, None, None, None] * (towards - null)


@dataclass(frozen=True)
class Told(AtScales):
    """The scale is an input of the network: one evaluation."""

    denoiser: TellsGuidance

    def __call__(self, x_t: torch.Tensor, t: torch.Tensor, condition: torch.Tensor | None = None) -> torch.Tensor:
        """See :class:`auditor.diffusion.denoiser.Denoiser`.

        Raises:
          ValueError: No labels.
        """
        label, scale = self.read(condition)
        told = self.denoiser.told(scale)
        assert told is not None  # such networks alone are wrapped in this
        return told(x_t, t, label)
