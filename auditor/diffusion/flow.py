"""Flow matching as a noise schedule: x_t = (1 - sigma) x0 + sigma eps, and the sigmas that samplers stop at.

A flow has no training times of its own: its networks take any sigma in (0, 1]. Here a time t is the millionth t + 1 of
sigma, so that whatever walks Int64 times walks flows too. With signal 1 - sigma and noise sigma, DDIM's step is Euler's
on the flow: (s'/s) x + (1 - s'/s) x0 = x + (s' - s) u for u = (x - x0) / s.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from auditor.diffusion.schedule import CLEAN, NoiseSchedule, Spacing

MILLIONTHS = 1_000_000


@dataclass(frozen=True)
class FlowSchedule(NoiseSchedule):
    """The straight path, and where a sampler's steps lie on it: equally spaced, then pushed towards noise.

    N steps begin at N equally spaced values u from ``highest`` to ``lowest``, each moved to
    sigma = shift u / (1 + (shift - 1) u) (Esser et al. 2024, arXiv 2403.03206, equation 23), and 1 - sigma is then
    stretched so that the last is ``terminal``.
    """

    shift: float
    highest: float = 1.0
    lowest: float | None = None  # None = highest / N
    terminal: float | None = None  # None = not stretched
    whole: int | None = None  # networks are told sigma rounded down to one of so many parts; None = sigma itself

    @classmethod
    def of(
        cls,
        shift: float,
        highest: float = 1.0,
        lowest: float | None = None,
        terminal: float | None = None,
        whole: int | None = None,
    ) -> FlowSchedule:
        """The schedule whose scales are those of every millionth of sigma."""
        sigma = np.arange(1, MILLIONTHS + 1, dtype=np.float64) / MILLIONTHS
        return cls(1.0 - sigma, sigma, shift, highest, lowest, terminal, whole)

    def network_time(self, t: torch.Tensor, scale: float) -> torch.Tensor:
        """Float32[B]: ``scale`` times sigma at Int64[B] times, as the network takes it."""
        if self.whole is None:
            return (t + 1).float() * (scale / MILLIONTHS)
        return ((t + 1) * self.whole // MILLIONTHS).float() * (scale / self.whole)

    def sigmas(self, num_steps: int) -> NDArray[np.float64]:
        """Float64[N], descending: where each of N steps begins."""
        low = self.highest / num_steps if self.lowest is None else self.lowest
        sigma = shifted(np.linspace(self.highest, low, num_steps), self.shift)
        if self.terminal is None:
            return sigma
        stretched: NDArray[np.float64] = 1 - (1 - sigma) * (1 - self.terminal) / (1 - sigma[-1])
        return stretched

    def ladder(self, num_steps: int, spacing: Spacing = "trailing") -> list[int]:
        """Descending times of ``num_steps`` steps, closed by CLEAN: the sigmas that diffusers takes, in millionths.

        ``spacing`` is that of schedules with training times; a flow has its own.
        """
        if not 1 <= num_steps <= len(self):
            raise ValueError(f"num_steps: got {num_steps}; expected 1..{len(self)}")
        return [*map(int, np.rint(self.sigmas(num_steps) * MILLIONTHS) - 1), CLEAN]


def shifted(u: NDArray[np.float64], shift: float) -> NDArray[np.float64]:
    """shift u / (1 + (shift - 1) u): 0 and 1 stay, what is between moves up for a shift above 1."""
    return shift * u / (1 + (shift - 1) * u)
