"""Whether a prompt brings one picture back from every noise (Carlini et al. 2023, arXiv 2301.13188, section 4.2)."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from auditor.prompts.base import DETECTORS, Answer, Batch, Need, Rounds
from auditor.prompts.one_step import mean_cosine
from auditor.prompts.paths import walk


@dataclass(frozen=True)
class Regeneration:
    """Mean cosine between what whole guided paths from different noises end in, in model space.

    They generate 500 times under a prompt and call it where ten results are within a distance of each other that was
    chosen by eye; here few noises, and control prompts, say what is alike. The dearest detector, and the only one that
    sees results: what the others take for signs shows here.
    """

    name: str = "regeneration"
    needs: frozenset[Need] = frozenset()

    def rounds(self, batch: Batch) -> Rounds:
        """One round per step."""

        def alike(given: Answer, null: Answer) -> torch.Tensor:
            x0 = batch.guided(given.prediction, null.prediction)
            return mean_cosine(x0.flatten(1).view(-1, batch.noises, x0[0].numel()))

        # The last step goes to the clean rung: it ends in its x0.
        return (yield from walk(batch, alike))[-1]


DETECTORS.register("regeneration")(Regeneration())
