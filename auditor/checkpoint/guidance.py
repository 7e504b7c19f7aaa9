"""Classifier-free guidance as a denoiser around a denoiser."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from auditor.diffusion.denoiser import Denoiser
from auditor.diffusion.prediction import PredictionType
from auditor.diffusion.schedule import NoiseSchedule


@dataclass(frozen=True)
class Guided:
    """raw = raw_null + scale * (raw_label - raw_null), both from one call of twice the batch.

    Ho and Salimans 2022 (arXiv 2207.12598), equation 6, with scale = 1 + w. Scale 1 is the plain conditional model
    and 0 the unconditional one. The weights sum to 1, and x0 and epsilon are affine in the raw output at a given x_t,
    so that guiding the raw output guides both alike, whatever the network predicts.
    """

    denoiser: Denoiser
    null_class: int
    scale: float

    @property
    def prediction_type(self) -> PredictionType:
        return self.denoiser.prediction_type

    @property
    def schedule(self) -> NoiseSchedule:
        return self.denoiser.schedule

    @property
    def sample_shape(self) -> tuple[int, int, int]:
        return self.denoiser.sample_shape

    def __call__(self, x_t: torch.Tensor, t: torch.Tensor, condition: torch.Tensor | None = None) -> torch.Tensor:
        """See :class:`auditor.diffusion.denoiser.Denoiser`.

        Raises:
          ValueError: No labels.
        """
        if condition is None:
            raise ValueError("condition: got none; expected labels to guide towards")
        labels = torch.cat([condition, torch.full_like(condition, self.null_class)])
        towards, null = self.denoiser(torch.cat([x_t, x_t]), torch.cat([t, t]), labels).chunk(2)
        return null + self.scale * (towards - null)
