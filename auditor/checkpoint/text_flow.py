"""What families of flows with text share: a network that is told sigma rather than a training time."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from auditor.checkpoint.text import TextDenoiser
from auditor.diffusion.flow import FlowSchedule


@dataclass(frozen=True)
class FlowDenoiser(TextDenoiser):
    """A network of a flow as a denoiser; it gives eps - x0."""

    schedule: FlowSchedule

    def time(self, t: torch.Tensor, scale: float) -> torch.Tensor:
        """Float32[B]: sigma at Int64[B] times, in the unit that the family's network takes."""
        return self.schedule.network_time(t, scale)
