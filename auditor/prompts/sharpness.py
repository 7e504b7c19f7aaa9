"""How sharply the density bends where a prompt pulls (Jeon, Kim, Kim and Song 2025, ICML)."""

from __future__ import annotations

from dataclasses import dataclass

from auditor.prompts.base import DETECTORS, Ask, Batch, Need, Rounds, norms


@dataclass(frozen=True)
class Sharpness:
    """|(J_prompt - J_empty) d|_2 at the first step, mean over noises.

    d = s_prompt - s_empty is the difference of the scores s = -eps / noise_scale, and J the Jacobian of s by x_t, that
    is, the Hessian of the log density. Two evaluations for d, and two derivatives along d of about two each: six; no
    Jacobian is formed.
    """

    name: str = "sharpness"
    needs: frozenset[Need] = frozenset()

    def rounds(self, batch: Batch) -> Rounds:
        """Two rounds: the difference, then how it changes along itself."""
        x, t, scale = batch.start, batch.first.t, batch.first.noise
        given, null = yield [Ask(x, t), Ask(x, t, prompted=False)]
        pull = -(given.prediction.eps - null.prediction.eps) / scale
        given, null = yield [Ask(x, t, along=pull), Ask(x, t, prompted=False, along=pull)]
        return batch.per_prompt(norms((given.prediction.eps - null.prediction.eps) / scale))


DETECTORS.register("sharpness")(Sharpness())
