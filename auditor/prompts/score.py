"""All detectors over many prompts, in lockstep, so that they share the network's evaluations."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from auditor.diffusion.attention import AttentionMaps
from auditor.diffusion.denoiser import Denoiser
from auditor.prompts.base import Answer, Ask, Batch, Detector, Rounds, path
from auditor.prompts.evaluations import PromptEvaluations

ToPixels = Callable[[torch.Tensor], torch.Tensor]


@dataclass(frozen=True)
class Scored:
    """Scores of P prompts, and what they cost."""

    scores: dict[str, NDArray[np.float64]]  # by detector, [P]; larger = more likely memorised; NaN where not finite
    evaluations: dict[str, int]  # by detector, as if it were alone
    made: int  # in all, shared ones once


@dataclass(frozen=True)
class Setting:
    """How prompts are looked at."""

    noise: torch.Tensor  # Float32[S C H W], the same for every prompt
    steps: int  # of the paths
    guidance_scale: float
    batch_size: int = 64  # rows in one call of the network
    to_pixels: ToPixels | None = None


@torch.no_grad()
def score_prompts(
    denoiser: Denoiser, places: Sequence[int], null: int, detectors: Sequence[Detector], setting: Setting
) -> Iterator[Scored]:
    """Scores of a few prompts at a time, in their order.

    A prompt's score depends on the prompt, the noises and the setting alone, not on the others (but for the last
    digits: kernels sum in another order at another batch size).

    Args:
      denoiser: Conditional on places in a list of prompts; an AttentionMaps where a detector needs attention.
      places: Of the prompts to score.
      null: The place of the empty prompt.
      detectors: Distinct ones.
      setting: Noises, steps, guidance.
    """
    shared = PromptEvaluations(denoiser, null, setting.batch_size)
    noise = setting.noise
    rungs = path(denoiser.schedule, setting.steps)
    size = max(1, setting.batch_size // len(noise))
    attends = any("attention" in detector.needs for detector in detectors)
    for begin in range(0, len(places), size):
        condition = torch.tensor(places[begin : begin + size], device=noise.device).repeat_interleave(len(noise))
        start = noise.double().repeat(len(condition) // len(noise), 1, 1, 1) * denoiser.schedule.start_scale
        tokens = None
        if attends and isinstance(denoiser, AttentionMaps):
            tokens = denoiser.tokens(condition, len(condition))
        batch = Batch(
            start, len(noise), rungs, denoiser.schedule, setting.guidance_scale,
            closing=None if tokens is None else tokens.closing, ends=None if tokens is None else tokens.ends,
            to_pixels=setting.to_pixels,
        )  # fmt: skip
        before, shared.used = shared.evaluations, {}
        found = drive({detector.name: detector.rounds(batch) for detector in detectors}, shared, condition)
        yield Scored(
            {name: _finite(scores) for name, scores in found.items()},
            {name: sum(shared.used[name].values()) for name in found},
            shared.evaluations - before,
        )
        shared.forget(rungs[0].t)


def drive(running: dict[str, Rounds], shared: PromptEvaluations, condition: torch.Tensor) -> dict[str, torch.Tensor]:
    """Every detector's scores, round by round together."""
    scores: dict[str, torch.Tensor] = {}
    answers: dict[str, list[Answer]] = {}
    while running:
        asked: dict[str, list[Ask]] = {}
        for name, rounds in list(running.items()):
            try:
                asked[name] = rounds.send(answers[name]) if name in answers else next(rounds)
            except StopIteration as end:
                scores[name] = end.value
                del running[name]
        answers = shared.answer(asked, condition) if asked else {}
    return scores


def _finite(scores: torch.Tensor) -> NDArray[np.float64]:
    """As NumPy; infinities as NaN."""
    values = scores.double().cpu().numpy()
    return np.where(np.isfinite(values), values, np.nan)
