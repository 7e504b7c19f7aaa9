"""Several guidance scales in one audit: which probe was made under which, and how many of each scale's land on copies.

Guidance pulls towards what a prompt was trained with, so that how much is copied depends on it. Probes take the scales
in turn, every prompt or class once under each before any comes again; the copy decision is one for all.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from auditor.config import GenerationConfig
from auditor.copies.decide import CopyDecision
from auditor.copies.queries import Queries
from auditor.copies.rates import copy_rate
from auditor.copies.summary import landed_generations
from auditor.errors import ConfigError
from auditor.store.prompting import GuidanceRate


def scales_of(probes: NDArray[np.int64], labels: int, scales: Sequence[float]) -> NDArray[np.float64]:
    """The scale that each probe was made under, Float64[G].

    Args:
      probes: Int64[G].
      labels: How many prompts or classes are asked for.
      scales: In the order given; at least one.
    """
    return np.array(scales, np.float64)[probes // labels % len(scales)]


def whole_rounds(probes: NDArray[np.int64], labels: int, scales: int, asked: int) -> NDArray[np.bool_]:
    """Bool[G]: probes of rounds in which every prompt was asked for under every scale.

    What is left of another round is under the first scales alone: their prompts would have one try more to land, and
    stand beside the others with a higher rate that is not guidance's.

    Args:
      probes: Int64[G].
      labels: How many prompts are asked for.
      scales: How many scales; a round is a probe for each of both.
      asked: How many probes there are in all.
    """
    whole = max(1, asked // (labels * scales)) * labels * scales
    return np.asarray(probes < whole)


def one_scale(config: GenerationConfig) -> float | None:
    """The guidance scale where no more than one makes sense.

    Raises:
      ConfigError: Several.
    """
    scales = config.guidance_scales
    if len(scales) > 1:
        raise ConfigError("generation.guidance_scale", scales, "one scale", "`auditor run` alone takes several.")
    return scales[0] if scales else None


def rates_by_guidance(
    decision: CopyDecision, asked: Queries, scale: NDArray[np.float64], counted: NDArray[np.bool_]
) -> list[GuidanceRate]:
    """The copy rate among the generations of each scale, smallest first, under the decision made for all.

    Args:
      decision: Under one encoder.
      asked: What it was made on.
      scale: Float64[G] of each generation.
      counted: Bool[G], those that are counted; see :func:`whole_rounds`.
    """
    landed, possible = landed_generations(decision)
    level, rates = decision.competition.lower_bound.level or 0.95, []
    for value in np.unique(scale[counted]):
        own = counted & (scale == value)
        prompts = None if asked.prompts is None else asked.prompts[own]
        rate = copy_rate(landed[own], possible[own], decision.recall, level, prompts, asked.unit)
        images = np.unique(decision.landing.item[own & landed])
        rates.append(GuidanceRate(scale=float(value), generations=int(own.sum()), images=len(images), copy_rate=rate))
    return rates
