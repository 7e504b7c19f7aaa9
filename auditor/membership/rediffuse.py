"""ReDiffuse: a member is the average of its own variations (Li, Dong, He, Zhang 2025, arXiv 2405.20771)."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from auditor.diffusion.evaluations import Request
from auditor.diffusion.sweep import Rounds, Samples
from auditor.membership.base import ATTACKS, mean_power, noised, training_time
from auditor.membership.secmi import transport


@dataclass(frozen=True)
class ReDiffuse:
    """Minus the distance |x0 - mean of n variations|_2, at several t.

    A variation is x0 noised to t, then denoised by deterministic (DDIM) steps of k down to time 0; averaging takes the
    noise out and leaves what the model makes of the image. Their code takes n = 10, t = 200, k = 100 for DDIM models.
    They ask a service for the variations; we make them with the denoiser, and compare by root mean square, without the
    classifier that they train on |x0 - mean|.
    """

    times: tuple[int, ...] = (100, 200)  # multiples of step
    step: int = 100
    variations: int = 10
    name: str = "rediffuse"

    def rounds(self, samples: Samples) -> Rounds:
        """One round per step: all variations at all times together."""
        schedule, scores = samples.schedule, {}
        running = {
            time: [noised(samples, samples.x0, time, draw)[0] for draw in range(self.variations)] for time in self.times
        }
        for number in range(1, max(self.times) // self.step + 1):
            answers = iter((yield [request for requests in running.values() for request in requests]))
            for time, requests in list(running.items()):
                below = training_time(schedule, time - number * self.step)
                states = [transport(next(answers), schedule, below) for _ in requests]
                running[time] = [Request(x, below) for x in states]
                if time == number * self.step:
                    del running[time]
                    average = torch.stack(states).mean(0)
                    scores[f"t={time}, n={self.variations}"] = -mean_power(samples.x0 - average, 2).sqrt()
        return scores


ATTACKS.register("rediffuse")(ReDiffuse())
