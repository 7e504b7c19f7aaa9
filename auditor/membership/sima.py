"""SimA: at a member itself the denoiser sees little to remove (Rao, Qu, Moyer 2025, arXiv 2509.25003)."""

from __future__ import annotations

from dataclasses import dataclass

from auditor.diffusion.evaluations import Request
from auditor.diffusion.sweep import Rounds, Samples
from auditor.membership.base import ATTACKS, mean_power, training_time


@dataclass(frozen=True)
class SimA:
    """Minus the norm |eps(x0, t)|_p of the noise predicted at the clean, unscaled image, at several (t, p).

    The optimal prediction is (x - a m) / s with m a mean of training images weighted by their nearness to x; at a
    member m is the member. Their code sums |eps|^4 over the pixels and scans t = 0, 20, ..., 100, reporting the best
    time; we take three of these times (0 asks about less noise than networks resolve) and a root mean as for PIA. As x0
    is not multiplied by a, a part of the score, |x0| (1 - a) / s, is the image's own and grows with t; there is none on
    an exploding schedule.
    """

    times: tuple[int, ...] = (20, 60, 100)
    powers: tuple[int, ...] = (2, 4)
    name: str = "sima"

    def rounds(self, samples: Samples) -> Rounds:
        """One round: all times together."""
        answers = yield [Request(samples.x0, training_time(samples.schedule, time)) for time in self.times]
        return {
            f"t={t}, p={p}": -mean_power(answer.eps, p).pow(1 / p)
            for t, answer in zip(self.times, answers, strict=True)
            for p in self.powers
        }


ATTACKS.register("sima")(SimA())
