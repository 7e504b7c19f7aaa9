"""PIAN: PIA with the predicted noise brought to unit Gaussian scale (Kong et al. 2024, arXiv 2305.18355)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from auditor.membership.base import ATTACKS, mean_power
from auditor.membership.pia import PIA


@dataclass(frozen=True)
class PIAN(PIA):
    """PIA with e0 scaled per image to E|e0| = sqrt(2/pi), the mean modulus of a standard normal.

    Equation 10 of the paper prints the reciprocal constant, sqrt(pi/2), which would give a deviation of 1.57; the
    authors' code and this use the one that is right. A prediction of exactly zero noise stays zero.
    """

    name: str = "pian"

    def start_noise(self, eps: torch.Tensor) -> torch.Tensor:
        """The predicted noise over its mean modulus, times sqrt(2/pi)."""
        modulus = mean_power(eps, 1).view(-1, *[1] * (eps.dim() - 1))
        return eps * (math.sqrt(2 / math.pi) / torch.where(modulus > 0, modulus, 1))


ATTACKS.register("pian")(PIAN())
