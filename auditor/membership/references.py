"""Attacks that set the audited checkpoint's scores beside those of other checkpoints, on the same noise.

A denoising loss says how hard an image is as much as whether it was trained on. What other networks make of the same
image takes the hardness out: the checkpoint that a fine-tune began with (:func:`difference`), or references trained
alike on other images of the population (:func:`lira`, :func:`rmia`).

    score[N]            the audited checkpoint's, larger = more likely a member
    references[R N]     the same score under each reference; the noise is the image's own, so it is the same
    trained[R N]        whether reference r was trained on image n
    used[R N]           the references that did not train on an image and are counted for it
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from auditor.probes import generator

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]
LEAST_REFERENCES = 2  # of LiRA, which needs a deviation; RMIA takes one
OWN_DEVIATION = 4  # references from which an image's own deviation is offered beside the pooled one
OFFLINE_SCALE = 0.3  # RMIA's a, as published for CIFAR-10
GAMMA = 1.0


def difference(score: Floats, base: Floats) -> Floats:
    """How much more the checkpoint favours each image than its base does: score - base, Float64[N].

    What the training run from base to checkpoint added. An image that the base was trained on already gains less: a
    base trained on members hides them. A base trained on the *non-members* lowers those, and everyone else looks like a
    member beside them; audits refuse it where they are told.
    """
    return score - base


def relative_difference(score: Floats, base: Floats) -> Floats:
    """The same for scores that are minus an error: log(error under the base / error), Float64[N].

    Where the errors of a long fine-tune are small beside the base's, their difference is the base's own spread; their
    ratio is not.
    """
    return np.log(base / score)


def lira(score: Floats, references: Floats, trained: Flags, used: Flags) -> dict[str, Floats]:
    """Likelihood-ratio attack (Carlini et al. 2022, arXiv 2112.03570): Float64[N] by variant.

    Offline: z = (score - mean) / deviation of the references that did not train on the image, which orders images as
    their one-sided test does. Online, where every image has two references of either kind: the log ratio of the two
    normal densities. Pooled deviations, one for all images, are theirs for few references; an image's own comes as a
    variant of its own from four references on.

    The signal is the denoising loss itself, as for diffusion models in Carlini et al. 2023 (arXiv 2301.13188); they
    take a classifier's logit. Pooling runs over members and non-members together: a deviation of each side would tell
    the sides apart.

    Raises:
      ValueError: An image has fewer than two references that did not train on it.
    """
    if used.sum(0).min() < LEAST_REFERENCES:
        raise ValueError("lira: expected two references for every image")
    mean, variance = _moments(references, used)
    pooled = float(variance.mean())
    scores = {"offline": (score - mean) / _root(np.full_like(variance, pooled))}
    if used.sum(0).min() >= OWN_DEVIATION:
        scores["offline, own deviation"] = (score - mean) / _root(variance)
    if min(trained.sum(0).min(), (~trained).sum(0).min()) >= LEAST_REFERENCES:
        outside, inside = (_moments(references, kind) for kind in (~trained, trained))
        deviations = _root(np.array([outside[1].mean(), inside[1].mean()]))
        densities = [
            -0.5 * ((score - moments[0]) / deviation) ** 2 - np.log(deviation)
            for moments, deviation in zip((outside, inside), deviations, strict=True)
        ]
        scores["online"] = densities[1] - densities[0]
    return scores


def rmia(
    score: Floats, references: Floats, trained: Flags, used: Flags, population: Flags, gamma: float = GAMMA
) -> dict[str, Floats]:
    """Relative membership (Zarifzadeh, Liu, Shokri 2024, arXiv 2312.03262): Float64[N] in [0, 1] by variant.

    The share of population images z with (p(x | checkpoint) / p(x)) / (p(z | checkpoint) / p(z)) >= gamma. Offline,
    p(x) = ((1 + a) mean of the references that did not train on x + 1 - a) / 2, a = 0.3; online, where every image has
    references of either kind, the mean of both means. An image of the population is not compared with itself.

    Differences: p is exp(score / unit), a classifier's confidence in theirs, with the unit the median loss of the
    population under the references, so that p spans the same range whatever the loss. gamma is 1, where they mostly
    take 2: one image's ratios against all z are ordered by its own ratio, so that gamma moves the steps and not the
    order, and with few z the steps matter.

    Args:
      score: Minus a loss, Float64[N].
      references, trained, used: See above; at least one used reference per image.
      population: Bool[N], non-members of the calibration slice.
      gamma: How much more likely than z; 1 or more.

    Raises:
      ValueError: An image has no reference that did not train on it, or there is no population.
    """
    if used.sum(0).min() < 1 or population.sum() < 1:
        raise ValueError("rmia: expected a reference for every image, and a population")
    unit = max(float(np.median(-_moments(references, used)[0][population])), np.finfo(np.float64).tiny)
    p, p_references = np.exp(score / unit), np.exp(references / unit)
    outside = _moments(p_references, used)[0]
    alike = ((1 + OFFLINE_SCALE) * outside + 1 - OFFLINE_SCALE) / 2
    scores = {"offline": _share_beaten(p / alike, population, gamma)}
    if min(trained.sum(0).min(), (~trained).sum(0).min()) >= 1:
        inside, outside = (_moments(p_references, kind)[0] for kind in (trained, ~trained))
        scores["online"] = _share_beaten(p / ((inside + outside) / 2), population, gamma)
    return scores


def levelled(references: Floats, trained: Flags, population: Flags) -> Floats:
    """The references on one level: each moved so that its mean over the population is the mean of all, Float64[R N].

    A reference that fits everything better or worse is otherwise told by which images it counts for. Only population
    images that it did not train on set its level; one that trained on all of them stays where it is.

    Args:
      references, trained: See above.
      population: Bool[N], non-members of the calibration slice.
    """
    counted = population & ~trained
    held = counted.any(1)
    if not held.any():
        return references
    level = np.where(counted, references, 0).sum(1) / np.maximum(counted.sum(1), 1)
    return references - np.where(held, level - level[held].mean(), 0)[:, None]


def balanced(trained: Flags, is_member: Flags, ids: list[str], seed: str) -> Flags:
    """Which references count for each image, alike for members and non-members: Bool[R N].

    Where references were trained on parts of the training set, a member is left with those that missed it and a
    non-member with all of them. Others mean another level, and more of them a steadier mean. So every image is treated
    as if its references had also trained on what those of an image of the other side did, drawn at random, and of the
    references left everyone gets as many as the image with the fewest, chosen at random for each by its id: on both
    sides, the same sets are counted equally often. Where that would leave too few for an attack, only the numbers are
    made equal, and the level is all that :func:`levelled` takes out.

    Args:
      trained: Bool[R N].
      is_member: Bool[N].
      ids: Of the images.
      seed: The audit's root seed.
    """
    order = sorted(range(len(ids)), key=lambda column: (ids[column], is_member[column]))
    sides = [np.array([column for column in order if is_member[column] == side], np.int64) for side in (True, False)]
    left, excluded = int((~trained).sum(0).min()), trained.copy()
    draws = [generator(seed, f"membership/references/{name}") for name in ids]
    for column, (draw, member) in enumerate(zip(draws, is_member, strict=True)):
        others = sides[int(member)]
        if len(others):
            excluded[:, column] |= trained[:, others[draw.integers(len(others))]]
    if (~excluded).sum(0).min() < min(left, LEAST_REFERENCES):
        excluded = trained
    fewest = int((~excluded).sum(0).min())
    used = np.zeros_like(trained)
    for column, draw in enumerate(draws):
        used[draw.permutation(np.flatnonzero(~excluded[:, column]))[:fewest], column] = True
    return used


def _share_beaten(ratio: Floats, population: Flags, gamma: float) -> Floats:
    """Share of the population's other images z with ratio[x] >= gamma ratio[z]; one half if there is no other."""
    ordered = np.sort(ratio[population])
    beaten = np.searchsorted(ordered, ratio / gamma, side="right") - (population & (gamma <= 1))
    others = len(ordered) - population
    return np.where(others > 0, beaten / np.maximum(others, 1), 0.5)


def _moments(values: Floats, used: Flags) -> tuple[Floats, Floats]:
    """Mean and unbiased variance of the used references of each image, Float64[N] each; variance 0 of a single one."""
    count = used.sum(0)
    mean = np.where(used, values, 0).sum(0) / count
    square = (np.where(used, values - mean, 0) ** 2).sum(0)
    return mean, square / np.maximum(count - 1, 1)


def _root(variance: Floats) -> Floats:
    """The deviation, positive even where all references agree to the last bit."""
    return np.sqrt(np.maximum(variance, np.finfo(np.float64).tiny))
