"""What a membership attack is: a name, its variants, and the predictions that it asks for."""

from __future__ import annotations

from typing import Protocol

import numpy as np
import torch

from auditor.diffusion.evaluations import Request
from auditor.diffusion.schedule import NoiseSchedule
from auditor.diffusion.sweep import Rounds, Samples
from auditor.errors import ConfigError
from auditor.registry import Registry

REFERENCE_TIMES = 1000  # published times count on DDPM's schedule: T = 1000, beta linear from 1e-4 to 0.02


class Attack(Protocol):
    """A score per image and variant, larger = more likely a member; sees neither labels nor ids.

    A variant is a choice that the attack leaves open, such as the training time. The one reported is chosen on the
    calibration slice (:mod:`auditor.membership.evaluate`).
    """

    @property
    def name(self) -> str:
        """Registry name."""

    def rounds(self, samples: Samples) -> Rounds:
        """Yield rounds of requests; return Float[B] scores by variant."""


ATTACKS: Registry[Attack] = Registry("attack")


def training_time(schedule: NoiseSchedule, published: int) -> int:
    """The training time of ``schedule`` that corresponds to a published time of DDPM's 1,000.

    Variance-preserving: the same fraction of T. Variance-exploding, and flows: the time of the same noise-to-signal
    ratio, since a fraction of a geometric or a straight schedule is quite another amount of noise.

    Raises:
      ConfigError: Fewer than 100 training times, where steps of ten thousandths no longer exist.
    """
    if len(schedule) < REFERENCE_TIMES // 10:
        remedy = "Leave membership out (membership.enabled = false)."
        raise ConfigError("membership attacks", f"{len(schedule)} training times", "at least 100", remedy)
    if schedule.preserving:
        return min(round(published * len(schedule) / REFERENCE_TIMES), len(schedule) - 1)
    alpha_bar = np.cumprod(1 - np.linspace(1e-4, 0.02, REFERENCE_TIMES))[published]
    return int(np.argmin(np.abs(np.log(schedule.sigma) - 0.5 * np.log(1 / alpha_bar - 1))))


def noised(samples: Samples, x0: torch.Tensor, published: int, draw: int = 0) -> tuple[Request, torch.Tensor]:
    """The request for a x0 + s eps at a published time, and its eps.

    The noise belongs to (image, published time, draw), whichever attack asks: attacks that noise the same image at the
    same time share the evaluation.

    Args:
      samples: Whose noise and schedule to take.
      x0: The images themselves or a changed version of them, Float[B C H W].
      published: A time of DDPM's 1,000.
      draw: Which of several independent noises.
    """
    t = training_time(samples.schedule, published)
    signal, noise = float(samples.schedule.signal_scale[t]), float(samples.schedule.noise_scale[t])
    eps = samples.noise(f"membership/loss/{published}/{draw}")
    return Request(signal * x0 + noise * eps, t), eps


def mean_power(error: torch.Tensor, power: int) -> torch.Tensor:
    """Mean of |error|^power over each sample, Float[B]."""
    return error.abs().pow(power).flatten(1).mean(1)
