"""Noise schedules as arrays: x_t = signal_scale[t] * x0 + noise_scale[t] * eps.

    signal_scale[t]   sqrt(alphas_cumprod[t]) for a variance-preserving schedule, 1 for a variance-exploding one
    noise_scale[t]    sqrt(1 - alphas_cumprod[t]), or the noise level itself
    sigma[t]          noise_scale / signal_scale (Karras et al. 2022, arXiv 2206.00364): noise-to-signal only
    t                 training index 0..T-1, larger = noisier

Arrays come from the checkpoint's own scheduler configuration (``auditor/checkpoint``), never from guessed betas.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

Spacing = Literal["leading", "linspace", "trailing"]
CLEAN = -1  # the ladder's last rung: no noise left


@dataclass(frozen=True)
class NoiseSchedule:
    """Signal and noise scale of every training time, Float64[T] each."""

    signal_scale: NDArray[np.float64]
    noise_scale: NDArray[np.float64]

    @classmethod
    def from_alphas_cumprod(cls, alphas_cumprod: ArrayLike) -> NoiseSchedule:
        """The variance-preserving schedule of Float[T] cumulative alphas in [0, 1]."""
        alpha_bar = np.asarray(alphas_cumprod, np.float64)
        return cls(np.sqrt(alpha_bar), np.sqrt(1.0 - alpha_bar))

    def __len__(self) -> int:
        return len(self.signal_scale)

    @property
    def sigma(self) -> NDArray[np.float64]:
        """Noise-to-signal ratio, Float64[T]; infinite where no signal is left."""
        with np.errstate(divide="ignore"):
            return self.noise_scale / self.signal_scale

    @property
    def start_scale(self) -> float:
        """Standard deviation of the sampler's start noise: 1 when variance-preserving, else the top noise scale."""
        return float(self.noise_scale[-1]) if self.exploding else 1.0

    @property
    def preserving(self) -> bool:
        """Whether the variance of unit data stays 1 (VP): signal^2 + noise^2 = 1 at the middle time."""
        middle = len(self) // 2
        return bool(abs(self.signal_scale[middle] ** 2 + self.noise_scale[middle] ** 2 - 1) < 1e-6)

    @property
    def exploding(self) -> bool:
        """Whether the signal keeps its scale while the noise grows (VE), rather than VP."""
        return bool(self.signal_scale[-1] == 1.0)

    def scales_at(self, t: torch.Tensor, like: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """(signal_scale, noise_scale) at Int64[B] times, shaped [B, 1, 1, ...] for ``like``'s rank and dtype.

        The rung :data:`CLEAN` gives (1, 0).
        """
        shape = (-1,) + (1,) * (like.dim() - 1)
        index = t.cpu().numpy()
        clean = index == CLEAN
        signal = np.where(clean, 1.0, self.signal_scale[index])
        noise = np.where(clean, 0.0, self.noise_scale[index])
        return (
            torch.from_numpy(signal).to(like.device, like.dtype).view(shape),
            torch.from_numpy(noise).to(like.device, like.dtype).view(shape),
        )

    def add_noise(self, x0: torch.Tensor, eps: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        """x_t at Int64[B] times; x0 and eps are Float[B, ...]."""
        signal, noise = self.scales_at(t, x0)
        return signal * x0 + noise * eps

    def ladder(self, num_steps: int, spacing: Spacing = "trailing") -> list[int]:
        """Descending training times of ``num_steps`` sampler steps, closed by :data:`CLEAN`.

        The step from rung k is (t, t_prev) = (ladder[k], ladder[k + 1]): neighbours, never arithmetic. Spacings are
        those of Lin et al. 2024 (arXiv 2305.08891), Table 2; ``trailing`` starts at the last training time.
        """
        total = len(self)
        times: NDArray[np.float64]
        if not 1 <= num_steps <= total:
            raise ValueError(f"num_steps: got {num_steps}; expected 1..{total}")
        if spacing == "leading":
            times = np.arange(num_steps, dtype=np.float64)[::-1] * (total // num_steps)
        elif spacing == "linspace":
            times = np.round(np.linspace(0, total - 1, num_steps))[::-1]
        else:
            times = np.round(np.arange(total, 0, -total / num_steps))[:num_steps] - 1
        return [*map(int, times), CLEAN]
