"""What an attack may ask of a denoiser beyond its output: the parameters, to take gradients by."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol, runtime_checkable

import torch

from auditor.diffusion.denoiser import Denoiser


@runtime_checkable
class WhiteBox(Denoiser, Protocol):
    """A denoiser made of trained parameters. The closed-form memorizers have none and do not satisfy it."""

    def parameters(self) -> dict[str, torch.Tensor]:
        """Every parameter that training may change, by name and in the network's order; not to be written to."""

    def with_parameters(self, parameters: Mapping[str, torch.Tensor]) -> Denoiser:
        """The same denoiser computing with other values, differentiable by them; this one stays as it was."""
