"""Do generations stand clear of the training images, and do they look like the population at all?

s_i     similarity of generation i to its nearest image of a set; larger = closer
GL      share of generations that no training image comes too near to (1 = nothing copied)
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from auditor.regime.shares import CALIBRATION, REPORTED, share, unscored
from auditor.search.exact import nearest_neighbours
from auditor.search.rows import Rows
from auditor.store.parts import Estimate

GL_PUBLISHED = 0.6
TAIL = 0.01

Similarity = NDArray[np.float64]


def nearest_similarity(generations: NDArray[np.float32], images: Rows) -> Similarity:
    """Float64[G]: similarity of each generation, Float32[G D], to its nearest image, Float32[N D], N >= 1; exact."""
    return nearest_neighbours(generations, images, 1).similarity[:, 0]


def gl_published(to_training: Similarity, *, level: float = 0.95) -> Estimate:
    """Share of generations with no training image above a cosine of 0.6; from Float64[G], for comparison only.

    Source:
      Zhang et al. 2024, arXiv 2310.05264 (GL score; SSCD features as they come). Differs: embeddings of unit length.
    """
    clear = int((to_training <= GL_PUBLISHED).sum())
    return share("GL score at 0.6", clear, len(to_training), level, method="uncalibrated threshold; Clopper-Pearson")


def gl_score(to_training: Similarity, to_control: Similarity | None, *, level: float = 0.95) -> Estimate:
    """GL at a threshold that 1% of generations exceed with as many held-out images in the training set's place.

    The threshold must come from generations: a generation is smoother than a real image and so nearer to everything,
    hence held-out images compared with each other would put it too low, and every checkpoint would seem to copy. And
    the control must have the size of the training set, since the nearest of more images is nearer. Half of the
    generations choose the threshold, the other half is reported. The threshold is the conformal one: if both sets are
    exchangeable, a further generation exceeds it with probability at most 1%, so that GL is about 0.99.

    Args:
      to_training: Float64[G] similarity of each generation to its nearest training image.
      to_control: Float64[G] to the nearest of equally many held-out images; None without such.

    Returns:
      Clopper-Pearson given the threshold; unscored without a control, or with fewer than 99 calibrating generations.
    """
    name = "GL score, calibrated"
    if to_control is None:
        return unscored(name, "there are not as many held-out images as training images")
    calibration = np.sort(to_control[CALIBRATION])
    rank = math.ceil((1 - TAIL) * (len(calibration) + 1) - 1e-9)
    if rank > len(calibration):
        return unscored(name, f"{len(to_training)} generations are too few to calibrate a threshold: 198 are needed")
    reported = to_training[REPORTED]
    clear = int((reported <= calibration[rank - 1]).sum())
    method = f"threshold {calibration[rank - 1]:.4f} from the other half; Clopper-Pearson"
    return share(name, clear, len(reported), level, method=method)


def plausible(to_real: Similarity, between_real: Similarity, *, level: float = 0.95) -> Estimate:
    """Share of generations as near to a real image as all but 1% of held-out images are to another real image.

    Noise and fragments fail it. Smooth averages of images pass, and so do copies: it is a necessary sign of drawing
    from the population, not a sufficient one.

    Args:
      to_real: Float64[G] similarity of each generation to its nearest real image, training or held-out.
      between_real: Float64[M] similarity of held-out images to their nearest other real image.

    Returns:
      Clopper-Pearson, the threshold taken as given; unscored with fewer than 100 held-out images.
    """
    name, needed = "as near to real images as held-out ones", round(1 / TAIL)
    if len(between_real) < needed:
        return unscored(name, f"{len(between_real)} held-out images are too few for their 1% quantile: {needed} needed")
    threshold = float(np.quantile(between_real, TAIL, method="lower"))
    method = f"threshold {threshold:.4f} from {len(between_real):,} held-out images; Clopper-Pearson"
    return share(name, int((to_real >= threshold).sum()), len(to_real), level, method=method)
