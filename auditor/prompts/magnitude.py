"""How much a prompt changes the predicted noise (Wen, Liu, Chen and Lyu 2024, arXiv 2407.21720)."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from auditor.prompts.base import DETECTORS, Ask, Batch, Need, Rounds, norms
from auditor.prompts.paths import walk


@dataclass(frozen=True)
class Magnitude:
    """|eps(x_T, T, prompt) - eps(x_T, T, empty)|_2 of the first step, mean over noises.

    At the first step x_T is all but pure noise: whatever a prompt changes, it changes before there is a picture to
    change. Two evaluations, of which that under the empty prompt serves every prompt.
    """

    name: str = "magnitude"
    needs: frozenset[Need] = frozenset()

    def rounds(self, batch: Batch) -> Rounds:
        """One round."""
        t = batch.first.t
        given, null = yield [Ask(batch.start, t), Ask(batch.start, t, prompted=False)]
        return batch.per_prompt(norms(given.prediction.eps - null.prediction.eps))


@dataclass(frozen=True)
class PathMagnitude:
    """The same, mean over the steps of a guided path too: the authors' score.

    They take 50 DDIM steps at guidance 7.5 and 4 noises, 400 evaluations a prompt; steps and noises are the caller's.
    The weak side: once x_t itself shows a picture that is known by heart, the denoiser needs no prompt to see it, and
    the difference vanishes. On `fixtures/twemoji` that ranks repeated captions last (reports/prompts.md).
    """

    name: str = "path_magnitude"
    needs: frozenset[Need] = frozenset()

    def rounds(self, batch: Batch) -> Rounds:
        """One round per step."""
        steps = yield from walk(batch, lambda given, null: norms(given.prediction.eps - null.prediction.eps))
        return batch.per_prompt(torch.stack(steps).mean(0))


DETECTORS.register("magnitude")(Magnitude())
DETECTORS.register("path_magnitude")(PathMagnitude())
