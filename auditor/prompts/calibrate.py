"""From scores to calls: tested prompts beside control prompts of the same length and style.

Without controls a score measures prompts as much as memorisation: long, concrete, oddly written ones move a denoiser
more. So what length and style explain is taken out of every score first, blind to which prompt is a control, and a
tested prompt's p-value is its rank among the controls by what is left.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from auditor.stats.conformal import conformal_p_values, unexplained
from auditor.stats.multiple import benjamini_hochberg


@dataclass(frozen=True)
class Calibrated:
    """Of N tested prompts, in their order; NaN where a prompt has no score."""

    adjusted: NDArray[np.float64]  # score less what length and style explain
    p_values: NDArray[np.float64]
    q_values: NDArray[np.float64]


def calibrate(
    tested: NDArray[np.float64],
    controls: NDArray[np.float64],
    tested_features: NDArray[np.float32],
    control_features: NDArray[np.float32],
) -> Calibrated:
    """p-values by rank among the controls, and q-values over the tested prompts.

    If no tested prompt is memorised, p-values are exact given that tested prompts and controls are exchangeable once
    length and style are known; calling q <= a keeps the expected share of false calls at a (Marandon et al. 2022, arXiv
    2208.06685, theorem 3.1).

    Args:
      tested: Float64[N], larger = more likely memorised; NaN = unscored.
      controls: Float64[M]; those that are NaN are left out.
      tested_features: Float32[N D] of :func:`auditor.prompts.style.style_features`.
      control_features: Float32[M D].
    """
    ours, theirs = np.isfinite(tested), np.isfinite(controls)
    left = unexplained(
        np.concatenate([tested[ours], controls[theirs]]),
        np.concatenate([tested_features[ours], control_features[theirs]]),
    )
    adjusted, p_values, q_values = (np.full(len(tested), np.nan) for _ in range(3))
    count = int(ours.sum())
    adjusted[ours] = left[:count]
    p_values[ours] = conformal_p_values(left[:count], left[count:])
    q_values[ours] = benjamini_hochberg(p_values[ours])
    return Calibrated(adjusted, p_values, q_values)
