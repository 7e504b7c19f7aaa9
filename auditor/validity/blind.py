"""The blind baseline: can training images be told from held-out ones without the model?

If so, the two sets differ by themselves, and whatever tells them apart with the model's help may owe it to that
difference (Das, Zhang and Tramer 2024, arXiv 2406.16201; Duan et al. 2024, arXiv 2402.07841).
"""

from __future__ import annotations

import math
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from auditor.errors import DataError
from auditor.probes import generator
from auditor.stats.delong import OUT_OF_FOLD_VARIANCE, auc_exceeds, auc_interval
from auditor.stats.power import detectable_auc_excess
from auditor.stats.ridge import ridge_scores
from auditor.store.parts import Estimate
from auditor.store.record import Check

ALLOWED_AUC = 0.52  # a difference this small does not block an audit
ERROR_RATE = 0.01  # of the check alone; the family shares it by Holm's method
Seen = Literal["images", "captions"]
TITLES: dict[Seen, str] = {
    "images": "Training and held-out images look alike",
    "captions": "Captions of training and held-out images are written alike",
}
UNDERPOWERED = 0.65  # "not tested" where only an AUC beyond this would be seen with 80% power


def blind_scores(
    features: NDArray[np.float32], is_member: NDArray[np.bool_], groups: NDArray[np.int64], seed: str, folds: int = 5
) -> NDArray[np.float64]:
    """Out-of-fold scores, larger = looks more like a training image: Float64[N] in [0, 1].

    A ridge regression of the label on standardised features (equivalent to regularised linear discriminant analysis),
    its penalty chosen by generalised cross-validation inside the training folds. An image's score is its rank among
    the distinct images of its own fold. Ranks, and folds with the same share of members, keep the pooled AUC of a
    split that means nothing centred on 1/2: raw scores of different folds do not compare (each classifier's
    intercept leans away from the fold left out), which would push the AUC below 1/2.

    Args:
      features: Float32[N D], such as :func:`auditor.validity.image_statistics.image_statistics` or embeddings.
      is_member: Bool[N].
      groups: Int64[N] duplicate groups; a group stays in one fold and counts once per side.
      seed: The audit's root seed, for the folds.
      folds: Most folds; fewer if a side has fewer groups.

    Raises:
      DataError: A side has fewer than two groups.
    """
    side_of, fold_of = _distinct(is_member, groups), _deal_folds(is_member, groups, seed, folds)
    scores = np.empty(len(features))
    for fold in range(int(fold_of.max()) + 1):
        here = fold_of == fold
        training = side_of & ~here
        raw = ridge_scores(features[training], is_member[training], features[here])
        peers = np.sort(raw[side_of[here]])
        below, upto = np.searchsorted(peers, raw, "left"), np.searchsorted(peers, raw, "right")
        scores[here] = (below + upto) / (2 * len(peers))
    return scores


def blind_check(
    scores: NDArray[np.float64],
    is_member: NDArray[np.bool_],
    groups: NDArray[np.int64],
    level: float = 0.95,
    seen: Seen = "images",
) -> Check:
    """Whether the blind AUC exceeds 0.52, over distinct images that lie on one side only.

    Blocks when the one-sided p-value of "AUC <= 0.52" is at most 1%; within a family, Holm's method replaces that by
    the adjusted one. With too few images to see a large difference the check says "not tested", whatever the p-value:
    it is carried all the same, and can block after adjustment.

    Args:
      scores: Of :func:`blind_scores`.
      is_member: Bool[N].
      groups: Int64[N] duplicate groups.
      level: Of the AUC's interval.
      seen: What the classifier saw of each image.
    """
    counted = _distinct(is_member, groups) & ~_mixed(is_member, groups)
    members, nonmembers = scores[counted & is_member], scores[counted & ~is_member]
    auc = blind_auc(members, nonmembers, level)
    if auc.value is None:
        return _check("not tested", f"{auc.unscored} for a blind classifier.", None, "", auc, seen)
    p_value = auc_exceeds(members, nonmembers, ALLOWED_AUC, variance_factor=OUT_OF_FOLD_VARIANCE)
    excess = detectable_auc_excess(len(members), len(nonmembers), level=1 - ERROR_RATE)
    least = ALLOWED_AUC + math.sqrt(OUT_OF_FOLD_VARIANCE) * excess
    power = f"With these numbers a blind AUC of {min(least, 1):.2f} is found with 80% power."
    statement = (
        f"A classifier that sees only the {seen} tells {len(members):,} training from {len(nonmembers):,} held-out "
        f"images with AUC {auc.value:.3f} [{auc.lower:.3f}, {auc.upper:.3f}]; up to {ALLOWED_AUC} is allowed."
    )
    if least > UNDERPOWERED:
        return _check("not tested", statement, p_value, power, auc, seen)
    return _check("failed" if p_value <= ERROR_RATE else "passed", statement, p_value, power, auc, seen)


def blind_auc(members: ArrayLike, nonmembers: ArrayLike, level: float = 0.95) -> Estimate:
    """The AUC of out-of-fold blind scores, its interval widened for their dependence."""
    return auc_interval(members, nonmembers, level=level, name="blind AUC", variance_factor=OUT_OF_FOLD_VARIANCE)


def _check(status: str, statement: str, p_value: float | None, power: str, auc: Estimate, seen: Seen) -> Check:
    return Check.model_validate(
        {
            "id": "blind" if seen == "images" else seen,
            "title": TITLES[seen],
            "encoder": None,
            "status": status,
            "statement": statement,
            "p_value": p_value,
            "power": power,
            "estimates": [auc],
        }
    )


def _distinct(is_member: NDArray[np.bool_], groups: NDArray[np.int64]) -> NDArray[np.bool_]:
    """The first image of each group on each side, Bool[N]."""
    first = np.zeros(len(groups), bool)
    first[np.unique(np.column_stack([groups, is_member]), axis=0, return_index=True)[1]] = True
    return first


def _mixed(is_member: NDArray[np.bool_], groups: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Images whose group lies on both sides, Bool[N]."""
    return np.isin(groups, np.intersect1d(groups[is_member], groups[~is_member]))


def _deal_folds(is_member: NDArray[np.bool_], groups: NDArray[np.int64], seed: str, folds: int) -> NDArray[np.int64]:
    """The fold of each image, Int64[N]: whole groups, dealt at random, members and non-members evenly."""
    mixed = np.intersect1d(groups[is_member], groups[~is_member])
    sides = [np.setdiff1d(groups[is_member], mixed), np.setdiff1d(groups[~is_member], mixed)]
    fewest = min(len(side) for side in sides)
    if fewest < 2:
        got = f"{fewest} distinct images on one side (near-duplicates count once, those on both sides not)"
        raise DataError("blind baseline", got, "at least 2", "Give more images that are no near-duplicates.")
    draw = generator(seed, "blind/folds")
    fold_of_group: dict[int, int] = {}
    for side in (*sides, mixed):
        fold_of_group |= {int(group): place % min(folds, fewest) for place, group in enumerate(draw.permutation(side))}
    return np.array([fold_of_group[int(group)] for group in groups], np.int64)
