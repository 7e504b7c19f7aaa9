"""Which memorised prompts a fine-tune added: calls on it, beside what its base says of the same prompts.

That a fine-tune added a prompt is two claims at once: the prompt stands out among controls under the fine-tune, and its
score rose from the base to the fine-tune by more than the controls' did, since fine-tuning moves prompts that it did
not see, too. A prompt is called added only where both tests say so.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from auditor.prompts.calibrate import Calibrated, calibrate
from auditor.stats.multiple import benjamini_hochberg

Origin = Literal["added", "base", "undecided", "base alone", "none"]


@dataclass(frozen=True)
class Contrast:
    """Of N tested prompts, in their order, under one detector; NaN where either checkpoint has no score."""

    base: Calibrated  # of the base's scores
    rise: Calibrated  # of the fine-tune's scores less the base's
    p_values: NDArray[np.float64]  # of "added": the larger of both tests', 1 where the base calls the prompt itself
    q_values: NDArray[np.float64]
    origin: tuple[Origin, ...]


def contrast(
    scores: tuple[NDArray[np.float64], NDArray[np.float64]],
    base_scores: tuple[NDArray[np.float64], NDArray[np.float64]],
    features: tuple[NDArray[np.float32], NDArray[np.float32]],
    alpha: float,
) -> Contrast:
    """Who knows each prompt: the fine-tune by what it added, or its base already.

    ``base``: both call it, each at the level ``alpha``, and it is not charged to the fine-tune. ``added``: q <= alpha
    of the larger p-value of two tests, of the fine-tune's score and of its rise, and the base does not call it.
    ``undecided``: the fine-tune calls it, and neither is shown. ``base alone``: the base calls it, the fine-tune no
    longer. ``none``: neither does.

    A prompt that is not added is a control's like in one of the two scores, so that the p-value of that test, and with
    it the larger, is at most x with probability at most x (Berger 1982, Technometrics 24: intersection-union test).
    Setting it to 1 where the base calls the prompt only makes it larger. q-values are Benjamini and Hochberg's over all
    tested prompts.

    Args:
      scores: Of the fine-tune, of tested prompts Float64[N] and of controls [M], larger = more likely memorised.
      base_scores: Of the base under the same noises, likewise.
      features: Of their style, Float32[N D] and [M D].
      alpha: False discovery rate of each kind of call.
    """
    own = calibrate(*scores, *features)
    base = calibrate(*base_scores, *features)
    rise = calibrate(scores[0] - base_scores[0], scores[1] - base_scores[1], *features)
    here, there = own.q_values <= alpha, base.q_values <= alpha  # NaN is not called
    p_values = np.where(there, 1.0, np.maximum(own.p_values, rise.p_values))
    p_values[np.isnan(own.p_values) | np.isnan(base.p_values)] = np.nan
    known = np.isfinite(p_values)
    q_values = np.full(len(p_values), np.nan)
    q_values[known] = benjamini_hochberg(p_values[known])
    added = q_values <= alpha
    origin = np.select(
        [here & there, added, here, there], ["base", "added", "undecided", "base alone"], default="none"
    ).tolist()
    return Contrast(base, rise, p_values, q_values, tuple(origin))
