"""Which attributes occur how often: in the training set, in the held-out set, and in what a checkpoint generates.

One and the same classifier sees every set, so that its mistakes are on both sides of a comparison. It still may
mistake generations more often than photographs, and its accuracy on labelled images stands beside the shares.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from auditor.errors import DataError
from auditor.regime.ratio import koopman
from auditor.regime.shares import bonferroni, share, unscored
from auditor.search.exact import nearest_neighbours
from auditor.store.comparison import AttributeDistribution, AttributeShare
from auditor.store.parts import Estimate

NEIGHBOURS = 10

Labels = NDArray[np.int64]


def knn_labels(
    queries: NDArray[np.float32],
    reference: NDArray[np.float32],
    labels: Labels,
    *,
    k: int = NEIGHBOURS,
    own_row: Labels | None = None,
) -> Labels:
    """The most frequent label among each query's k nearest reference images; exact.

    Where labels are equally frequent, the one whose image is nearest wins.

    Args:
      queries: Unit vectors Float32[Q D].
      reference: Unit vectors Float32[N D] of labelled images.
      labels: Int64[N], 0..C-1.
      k: Neighbours; fewer where there are fewer.
      own_row: Int64[Q], the reference row that a query itself is, -1 if none. It has no vote; without this a labelled
        image would be its own nearest neighbour, and be classified better than a generation ever can be.

    Returns:
      Int64[Q] labels.

    Raises:
      DataError: Vectors that cannot be compared, no reference image but a query's own, or labels of another length.
    """
    if len(labels) != len(reference):
        raise DataError("labels", len(labels), f"{len(reference)}, one per image", "Label every reference image.")
    if len(reference) < (1 if own_row is None else 2):
        raise DataError("reference", f"{len(reference)} images", "labelled images to compare with", "Label more.")
    found = nearest_neighbours(queries, reference, k if own_row is None else k + 1).index
    if own_row is not None:
        found = _without_own(found, own_row)[:, :k]
    votes = labels[found]
    # Place of the first vote for each vote's label, and how many votes that label has: most votes, then first place
    same = votes[:, :, None] == votes[:, None, :]
    weight = same.sum(axis=2) * (votes.shape[1] + 1) - same.argmax(axis=2)
    winner: Labels = votes[np.arange(len(votes)), weight.argmax(axis=1)]
    return winner


def zero_shot_labels(queries: NDArray[np.float32], texts: NDArray[np.float32]) -> Labels:
    """Int64[Q]: the text, of C given as unit vectors Float32[C D], most similar to each query, Float32[Q D].

    Equal similarities go to the first text.

    Source:
      Radford et al. 2021, arXiv 2103.00020, section 3.1; one prompt per class.
    """
    return nearest_neighbours(queries, texts, 1).index[:, 0]


def distribution(
    predicted: Labels,
    values: Sequence[str],
    *,
    encoder: str,
    source: str,
    truth: Labels | None = None,
    training: Labels | None = None,
    level: float = 0.95,
) -> AttributeDistribution:
    """Shares of every attribute value in one set, the classifier's accuracy there, and amplification.

    Amplification is the share among generations divided by that in the training set, both as the classifier sees them:
    above 1 the checkpoint exaggerates the value. All intervals of one kind hold together (Bonferroni over values).

    Args:
      predicted: Int64[N] labels 0..C-1 that the classifier gives the images of this set.
      values: Names of the C values.
      encoder: The encoder that the classifier rests on.
      source: Name of the set, such as "training of X", "held-out", or a column.
      truth: Int64[N] true labels, where known.
      training: Int64[n] labels that the classifier gives the training images, for generations; None for real images.
      level: Coverage.

    Returns:
      Shares with Clopper-Pearson intervals, ratios with Koopman's; a ratio is unscored where no training image has the
      value; accuracy is unscored without true labels.
    """
    counts, each = np.bincount(predicted, minlength=len(values)), bonferroni(level, len(values))
    method = f"Clopper-Pearson, Bonferroni over {len(values)} values"
    shares = [
        share(f"share of {value}", int(hits), len(predicted), each, unit="share of images", method=method)
        for value, hits in zip(values, counts, strict=True)
    ]
    ratios = [] if training is None else _amplification(predicted, training, values, each)
    return AttributeDistribution(
        encoder=encoder,
        source=source,
        shares=[AttributeShare(value=value, share=part) for value, part in zip(values, shares, strict=True)],
        accuracy=_accuracy(predicted, truth, level),
        amplification=[AttributeShare(value=value, share=ratio) for value, ratio in zip(values, ratios, strict=False)],
    )


def _without_own(found: Labels, own_row: Labels) -> Labels:
    """Rows of neighbours with the query itself taken out, or the last one where it is not among them."""
    own = found == own_row[:, None]
    own[~own.any(axis=1), -1] = True
    others: Labels = found[~own].reshape(len(found), -1)
    return others


def _accuracy(predicted: Labels, truth: Labels | None, level: float) -> Estimate:
    if truth is None:
        return unscored("classifier accuracy", "these images carry no labels", unit="share of images")
    hits = int((predicted == truth).sum())
    return share("classifier accuracy", hits, len(predicted), level, unit="share of images")


def _amplification(predicted: Labels, training: Labels, values: Sequence[str], level: float) -> list[Estimate]:
    """One ratio per value."""
    generated = np.bincount(predicted, minlength=len(values))
    trained = np.bincount(training, minlength=len(values))
    ratios = []
    for value, hits, base in zip(values, generated.tolist(), trained.tolist(), strict=True):
        ratios.append(_ratio(f"amplification of {value}", hits, len(predicted), base, len(training), level))
    return ratios


def _ratio(name: str, hits: int, trials: int, base: int, base_trials: int, level: float) -> Estimate:
    if base == 0:
        return unscored(name, "the classifier sees this value in no training image", unit="ratio")
    if trials == 0:
        return unscored(name, "no finite generation to judge", unit="ratio")
    interval = koopman(hits, trials, base, base_trials, level)
    return Estimate(
        name=name,
        value=(hits / trials) / (base / base_trials),
        lower=interval.lower,
        upper=interval.upper,
        level=level,
        method="Koopman's score interval, Bonferroni over values",
        n=trials + base_trials,
        unit="ratio",
    )
