"""What a detector of memorised prompts is: a name, what it needs, and the predictions that it asks for.

Rows: a batch of P prompts, each under the same S start noises, is P * S rows, the noises of a prompt side by side. The
same noises serve every prompt, so that prompts differ in nothing but their text, and the unconditional prediction of
the first step is made once for all.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, Protocol

import torch

from auditor.diffusion.prediction import Prediction
from auditor.diffusion.schedule import NoiseSchedule
from auditor.diffusion.steps import Rung
from auditor.registry import Registry

LEAST_SIGNAL = 0.05  # signal scale of the first step at least: where there is none, eps says nothing of the prompt

# Beyond predictions: attention to text, a token that ends the text, an autoencoder or a pixel-space model.
Need = Literal["attention", "ending", "pixels"]


class Ask(NamedTuple):
    """The prediction at x_t, Float64[R C H W], every row at training time t."""

    x_t: torch.Tensor
    t: int
    prompted: bool = True  # False: under the empty prompt
    attention: bool = False  # attention to text too
    along: torch.Tensor | None = None  # the derivative of eps in this direction instead, Float[R C H W]


class Answer(NamedTuple):
    """What the network said; Float64 throughout."""

    prediction: Prediction  # for an Ask with ``along``: the derivative in ``eps``, and no x0 worth reading
    attention: Mapping[str, torch.Tensor]  # mean over heads by layer, Float32[R pixels tokens]; empty unless asked for


Rounds = Generator[list[Ask], list[Answer], torch.Tensor]


@dataclass(frozen=True)
class Batch:
    """What a detector sees of some prompts: no text."""

    start: torch.Tensor  # Float64[R C H W], the sampler's first state
    noises: int  # S, rows of each prompt
    rungs: Sequence[Rung]  # of a sampler's path, closed by the clean one
    schedule: NoiseSchedule
    guidance_scale: float
    closing: torch.Tensor | None = None  # Bool[R T], tokens that end the text or pad it; None without attention
    ends: torch.Tensor | None = None  # Int64[R], places of the end-of-text token; None also of text without one
    to_pixels: Callable[[torch.Tensor], torch.Tensor] | None = None  # model space to Float32[B 3 or 1 H W] in [0, 1]

    @property
    def first(self) -> Rung:
        """The first step: nearly all noise."""
        return self.rungs[0]

    def per_prompt(self, rows: torch.Tensor) -> torch.Tensor:
        """Mean over each prompt's noises: Float64[R] to Float64[P]."""
        return rows.view(-1, self.noises).mean(1)

    def guided(self, given: Prediction, null: Prediction) -> torch.Tensor:
        """x0 under classifier-free guidance (Ho and Salimans 2022, arXiv 2207.12598): null + scale (given - null)."""
        return null.x0 + self.guidance_scale * (given.x0 - null.x0)


class Detector(Protocol):
    """A score per prompt, larger = more likely memorised; sees neither the text nor whether it is a control."""

    @property
    def name(self) -> str:
        """Registry name."""

    @property
    def needs(self) -> frozenset[Need]:
        """What a checkpoint must offer."""

    def rounds(self, batch: Batch) -> Rounds:
        """Yield rounds of requests; return Float64[P]."""


DETECTORS: Registry[Detector] = Registry("detector")


def first_time(schedule: NoiseSchedule) -> int:
    """The noisiest training time with a signal of :data:`LEAST_SIGNAL` left; for Stable Diffusion, the last."""
    return max(t for t in range(len(schedule)) if schedule.signal_scale[t] >= LEAST_SIGNAL)


def path(schedule: NoiseSchedule, steps: int) -> list[Rung]:
    """Rungs of ``steps`` sampler steps from :func:`first_time` down to the clean one."""
    ladder = schedule.ladder(steps)
    ladder = [first_time(schedule), *(t for t in ladder[1:] if t < first_time(schedule))]
    signal, noise = schedule.signal_scale, schedule.noise_scale
    return [*(Rung(t, float(signal[t]), float(noise[t])) for t in ladder[:-1]), CLEAN_RUNG]


CLEAN_RUNG = Rung(-1, 1.0, 0.0)


def norms(rows: torch.Tensor) -> torch.Tensor:
    """Euclidean norm of each row: Float[R ...] to Float[R]."""
    length: torch.Tensor = torch.linalg.vector_norm(rows.flatten(1), dim=1)
    return length
