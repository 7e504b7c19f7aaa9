"""How widely a prompt's tokens are attended to (Ren, Li, Zeng, Xu, Lyu, Xing and Tang 2024, arXiv 2403.11052).

a_i is the attention to token i, mean over heads and pixels, and H = -sum_i a_i log a_i. Under a memorised prompt the
denoiser keeps looking at tokens that do not matter, so H stays large to the end.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch

from auditor.prompts.base import DETECTORS, Answer, Ask, Batch, Need, Rounds
from auditor.prompts.paths import walk

TINY = 1e-12  # below which a log a counts as 0


@dataclass(frozen=True)
class FirstEntropy:
    """H of one layer at the first step: one evaluation.

    The fourth layer that attends to text in the network's order, as theirs, or the last where there are fewer.
    """

    layer: int = 3
    name: str = "first_entropy"
    needs: frozenset[Need] = frozenset({"attention"})

    def rounds(self, batch: Batch) -> Rounds:
        """One round."""
        (given,) = yield [Ask(batch.start, batch.first.t, attention=True)]
        layers = list(given.attention.values())
        return batch.per_prompt(token_entropies(layers[min(self.layer, len(layers) - 1)]).sum(1))


@dataclass(frozen=True)
class Entropy:
    """H over the last fifth of a guided path, plus by how much H of the closing tokens has risen since the first step.

    Their D over the last 10 of 50 steps. Closing tokens are the end of text and the padding behind it: of SD3 those of
    CLIP and T5; of PixArt the end alone and of Sana none, where padding is out of sight. Mean over all layers that
    attend to text; the difference is signed, as in their code.
    """

    share: float = 0.2
    name: str = "entropy"
    needs: frozenset[Need] = frozenset({"attention"})

    def rounds(self, batch: Batch) -> Rounds:
        """One round per step."""
        assert batch.closing is not None  # see ``needs``
        closing_tokens = batch.closing

        def entropies(given: Answer, null: Answer) -> tuple[torch.Tensor, torch.Tensor]:
            terms = mean_terms(given.attention)
            return terms.sum(1), (terms * closing_tokens).sum(1)

        steps = yield from walk(batch, entropies, attention=True)
        last = steps[-max(1, round(self.share * len(steps))) :]
        whole = torch.stack([every for every, _ in last]).mean(0)
        closing = torch.stack([closing for _, closing in last]).mean(0) - steps[0][1]
        return batch.per_prompt(whole + closing)


def token_entropies(attention: torch.Tensor) -> torch.Tensor:
    """-a_i log a_i of each token: Float32[R pixels tokens], mean over heads, to Float64[R tokens]."""
    share = attention.double().mean(1)
    return -share * share.clamp_min(TINY).log()


def mean_terms(layers: Mapping[str, torch.Tensor]) -> torch.Tensor:
    """:func:`token_entropies`, mean over layers, Float64[R tokens]."""
    return torch.stack([token_entropies(attention) for attention in layers.values()]).mean(0)


DETECTORS.register("first_entropy")(FirstEntropy())
DETECTORS.register("entropy")(Entropy())
