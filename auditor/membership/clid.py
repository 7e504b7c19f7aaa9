"""Conditional likelihood discrepancy: a caption helps more where it was learnt with its image (Zhai et al. 2024)."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from auditor.diffusion.evaluations import Given
from auditor.diffusion.sweep import Rounds, Samples
from auditor.membership.base import ATTACKS, mean_power, noised

SHUFFLED = "clid_shuffled"  # the control: the same with the captions of other images
BY_CAPTION = frozenset({"clid", SHUFFLED})  # attacks that a checkpoint asked by text alone allows


@dataclass(frozen=True)
class ConditionalDiscrepancy:
    """How much the caption lowers the error of eps, D = E |eps(x_t, t, none) - eps|^2 - E |eps(x_t, t, c) - eps|^2.

    Zhai et al. 2024 (arXiv 2405.14800), equation 10 with the empty caption as the only reduced one: two evaluations
    for each of three times, instead of five. The times are theirs. Instead of D and the loss joined by a weight from a
    shadow model, ``relative`` is D as a share of the error without caption, which needs no such model; this package's
    combined score joins attacks otherwise. ``given`` "other" scores every image under another one's caption: what
    remains of a signal then is not about the pair.

    Only for a checkpoint that is asked by text, every image with its caption.
    """

    times: tuple[int, ...] = (440, 450, 460)
    given: Given = "own"
    name: str = "clid"

    def rounds(self, samples: Samples) -> Rounds:
        """One round: all times, with and without caption, under the same noise."""
        asked = [noised(samples, samples.x0, published) for published in self.times]
        requests = [request._replace(given=kind) for request, _ in asked for kind in (self.given, "none")]
        answers = yield requests
        errors = torch.stack(
            [mean_power(answer.eps - asked[place // 2][1], 2) for place, answer in enumerate(answers)]
        ).view(len(self.times), 2, -1)
        with_caption, without = errors[:, 0].mean(0), errors[:, 1].mean(0)
        return {"discrepancy": without - with_caption, "relative": (without - with_caption) / without}


ATTACKS.register("clid")(ConditionalDiscrepancy())
ATTACKS.register(SHUFFLED)(ConditionalDiscrepancy(given="other", name=SHUFFLED))
