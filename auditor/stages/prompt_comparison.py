"""Are tested prompts and controls alike but for what the checkpoint does with them?"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.stats import ks_2samp

from auditor.errors import DataError
from auditor.probes import generator
from auditor.prompts.style import style_distances
from auditor.stages.prompts import Listed
from auditor.stats.delong import OUT_OF_FOLD_VARIANCE, auc_exceeds, auc_interval
from auditor.stats.energy import energy_p_value
from auditor.store.prompts import Comparison
from auditor.validity.blind import ALLOWED_AUC, ERROR_RATE, blind_scores

WITHHELD_AUC = 0.65  # a blind AUC surely beyond this: length and style differ too much to be taken out of a score
LEAST = 20  # prompts a side before a classifier of texts means anything
MOST = 1_000  # prompts a side that are compared where the other one has fewer than that


def compare_lists(
    tested: Sequence[Listed],
    controls: Sequence[Listed],
    tested_features: NDArray[np.float32],
    control_features: NDArray[np.float32],
    seed: str,
) -> Comparison:
    """A blind classifier of the texts, and the lengths.

    ``too different``, and nothing may be called, when its AUC is above :data:`WITHHELD_AUC` with 99% confidence;
    ``differ`` when it is above 0.52 with as much, or the lengths are not of one distribution (p <= 1%): scores are then
    adjusted for more than chance, and calls lean on that. With fewer than :data:`LEAST` prompts on a side there is no
    classifier; ``too different`` then is what a permutation test of how the texts are written finds at 1%, which of so
    few prompts takes a gross difference.
    """
    lengths = [np.array([one.tokens for one in side]) for side in (tested, controls)]
    medians = [float(np.median(side)) for side in lengths]
    lengths_p = float(ks_2samp(*lengths).pvalue)
    told = f"Lengths in tokens: median {medians[0]:g} tested, {medians[1]:g} control (p = {lengths_p:.2g})."
    if min(len(tested), len(controls)) < LEAST:
        style_p = few_apart(tested_features, control_features, seed)
        said = (
            f"{len(tested):,} tested and {len(controls):,} control prompts are too few for a classifier of texts; they "
            f"are written as differently as this by chance with p = {style_p:.2g}. "
        )
        status = "too different" if style_p <= ERROR_RATE else "differ" if lengths_p <= ERROR_RATE else "not tested"
        few = {"status": status, "statement": said + told, "style_p": style_p}
        return Comparison.model_validate(few | {"lengths_p": lengths_p, "median_tokens": medians})
    is_tested = np.arange(len(tested) + len(controls)) < len(tested)
    features, groups = np.concatenate([tested_features, control_features]), np.arange(len(is_tested), dtype=np.int64)
    try:
        scores = blind_scores(features, is_tested, groups, seed)
    except DataError as error:
        return Comparison(status="not tested", statement=f"{error} {told}", lengths_p=lengths_p, median_tokens=medians)
    ours, theirs = scores[is_tested], scores[~is_tested]
    auc = auc_interval(ours, theirs, level=0.95, name="blind AUC", variance_factor=OUT_OF_FOLD_VARIANCE)
    above = [
        auc_exceeds(ours, theirs, bound, variance_factor=OUT_OF_FOLD_VARIANCE) <= ERROR_RATE
        for bound in (WITHHELD_AUC, ALLOWED_AUC)
    ]
    status = "too different" if above[0] else "differ" if above[1] or lengths_p <= ERROR_RATE else "alike"
    said = (
        f"A classifier that sees the texts alone tells {len(ours):,} tested from {len(theirs):,} control prompts with "
        f"AUC {auc.value:.3f} [{auc.lower:.3f}, {auc.upper:.3f}]. "
    )
    return Comparison.model_validate(
        {"status": status, "statement": said + told, "blind_auc": auc, "lengths_p": lengths_p, "median_tokens": medians}
    )


def few_apart(tested: NDArray[np.float32], controls: NDArray[np.float32], seed: str) -> float:
    """p-value of prompts and controls being written alike, small = they are not, where one side has few.

    Args:
      tested: Float32[N D] of :func:`auditor.prompts.style.style_features`.
      controls: Float32[M D].
      seed: Of the ranking, for the deals, and for which :data:`MOST` are taken of a longer list.
    """
    draw = generator(seed, "prompts/style")
    sides = [side[draw.permutation(len(side))[:MOST]] for side in (tested, controls)]
    first = np.arange(sum(map(len, sides))) < len(sides[0])
    return energy_p_value(style_distances(np.concatenate(sides)), first, draw)
