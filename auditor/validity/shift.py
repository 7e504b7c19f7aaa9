"""Are members and non-members from one distribution? A permutation test that never sees the model.

    X     Float64[N D] standardised features of members and non-members together
    y     Float64[N] centred labels, members above
    H     hat matrix of ridge regression, X (X'X + penalty)^-1 X' ; it does not depend on y

The statistic is the agreement of the labels with what a classifier says of each image that it has not seen: leave-one-
out predictions (H y - h y) / (1 - h), h the diagonal of H, for three penalties. As H is fixed, another assignment of
the labels costs one product with it, so that a thousand whole cross-validations take about a second.

Lopez-Paz and Oquab 2017 (arXiv 1610.06545) test with a classifier on a held-out half; leaving one out spends no half,
and permuting labels makes the p-value exact where theirs is asymptotic.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from auditor.errors import DataError
from auditor.probes import generator
from auditor.store.membership import Feature, Shift
from auditor.validity.image_statistics import CONTENT, LEVEL

PERMUTATIONS = 1_000
PENALTIES = (1e-4, 1e-2, 1.0)  # of the ridge, times the number of images, features scaled to one unit of variance
MOST_IMAGES = 5_000  # a side; beyond, take a sample
SHOWN = 5  # named features listed
CHUNK = 128  # label assignments at a time
OUTLIER = 8.0  # standard deviations to which a feature is pulled in

Matrix = NDArray[np.float64]


@dataclass(frozen=True)
class Basis:
    """Everything about the images that no label changes; one serves any number of splits."""

    axes: Matrix  # [N R] left singular vectors of X
    power: Matrix  # [R] squared singular values, scaled so that they sum to N
    named: Matrix  # [N F] standardised features that have a name
    names: list[str]

    def __len__(self) -> int:
        return len(self.axes)


def describe(
    statistics: NDArray[np.float32], names: Sequence[str], embeddings: NDArray[np.float32] | None = None
) -> Basis:
    """The basis of some images.

    Args:
      statistics: Float32[N D] of :func:`auditor.validity.image_statistics.image_statistics`.
      names: Of their D columns; those of the picture's content serve the classifier, and are not listed.
      embeddings: Float32[N E] of the same images, with as much weight as all statistics together.

    Raises:
      DataError: Names and columns, or images, do not match; fewer than four images.
    """
    if len(names) != statistics.shape[1] or (embeddings is not None and len(embeddings) != len(statistics)):
        got = f"{len(names)} names for {statistics.shape[1]} statistics"
        raise DataError("shift test", got, "a name per statistic and an embedding per image", "Correct the call.")
    if len(statistics) < 4:
        raise DataError("shift test", f"{len(statistics)} images", "at least 4", "Give more images.")
    columns = _standardise(statistics)
    blocks = [columns] if embeddings is None else [columns, _standardise(embeddings)]
    x = np.concatenate([block / max(np.sqrt((block**2).sum(1).mean()), 1e-12) for block in blocks], axis=1)
    axes, power = _axes(x)
    listed = [column for column, name in enumerate(names) if not name.startswith(CONTENT)]
    return Basis(axes, power, columns[:, listed], [names[column] for column in listed])


def shift_test(basis: Basis, is_member: NDArray[np.bool_], seed: str, permutations: int = PERMUTATIONS) -> Shift:
    """Whether the labels can be told from the images alone, and by which named statistics.

    Each image must be a unit of its own: of near-duplicates one a side, none where they lie on both sides.

    Args:
      basis: Of the images, in the order of ``is_member``.
      is_member: Bool[N], at least two of either kind.
      seed: The audit's root seed, for the permutations.
      permutations: Other assignments of the labels, B; the least p-value is 1 / (B + 1).

    Returns:
      The p-value of exchangeable labels, exact at any size, and the named statistics that differ most, each with the
      share of assignments under which any named statistic differs as much (Westfall and Young 1993): with B = 1,000
      Holm's method over 60 of them could not go below 0.06.

    Raises:
      DataError: Fewer than two members or non-members.
    """
    members = int(is_member.sum())
    if min(members, len(basis) - members) < 2:
        got = f"{members} members and {len(basis) - members} non-members"
        raise DataError("shift test", got, "at least 2 of each", "Give more images that are no near-duplicates.")
    agreement: list[Matrix] = []
    differences: list[Matrix] = []
    draw = generator(seed, "shift/permutations")
    for count in _chunks(permutations):
        labels = draw.permuted(np.tile(is_member, (count, 1)), axis=1).T
        if not agreement:
            labels[:, 0] = is_member  # the first column is the assignment at hand
        y = labels - is_member.mean()
        agreement.append(_agreement(basis, y))
        differences.append(basis.named.T @ y * (len(basis) / members / (len(basis) - members)))
    seen, gap = np.concatenate(agreement, axis=1), np.concatenate(differences, axis=1)
    deviation = np.maximum(seen.std(axis=1, keepdims=True), 1e-12)
    statistic = ((seen - seen.mean(axis=1, keepdims=True)) / deviation).max(axis=0)
    return Shift(
        members=members,
        nonmembers=len(basis) - members,
        p_value=_add_one(statistic),
        permutations=permutations,
        features=_most_telling(basis.names, gap),
    )


def _axes(x: Matrix) -> tuple[Matrix, Matrix]:
    """Left singular vectors of Float64[N D] and their squared singular values, which are scaled to sum to N."""
    if len(x) <= x.shape[1]:
        power, axes = np.linalg.eigh(x @ x.T)
    else:
        power, directions = np.linalg.eigh(x.T @ x)
        axes = x @ directions / np.sqrt(np.maximum(power, 1e-300))
    kept = power > 1e-9 * max(float(power.max()), 1e-12)
    return axes[:, kept], power[kept] * len(x) / max(float(power[kept].sum()), 1e-12)


def _agreement(basis: Basis, y: Matrix) -> Matrix:
    """Cosine between labels and leave-one-out predictions, Float64[penalties B] for Float64[N B] centred labels."""
    projected = basis.axes.T @ y
    rows = []
    for penalty in PENALTIES:
        shrink = basis.power / (basis.power + penalty * len(basis))
        own = ((basis.axes**2) @ shrink)[:, None]
        predicted = (basis.axes @ (shrink[:, None] * projected) - own * y) / np.maximum(1 - own, 1e-9)
        length = np.sqrt((predicted**2).sum(0) * (y**2).sum(0))
        rows.append((predicted * y).sum(0) / np.maximum(length, 1e-12))
    return np.stack(rows)


def _most_telling(names: Sequence[str], gap: Matrix) -> list[Feature]:
    """The named features that differ most, one grey level at most; in Float64[F B] the case at hand comes first."""
    if not names:
        return []
    largest = np.abs(gap).max(axis=0)
    order = np.argsort(-np.abs(gap[:, 0]), kind="stable").tolist()
    levels = [row for row in order if names[row].startswith(LEVEL)]
    dull = set(levels[1:])  # one grey level stands for all: a list of levels would tell a reader nothing more
    return [
        Feature(
            name=names[row],
            difference=float(gap[row, 0]),
            p_adjusted=float((largest >= abs(gap[row, 0]) * (1 - 1e-12)).mean()),
        )
        for row in [row for row in order if row not in dull][:SHOWN]
    ]


def _add_one(statistic: Matrix) -> float:
    """Share of assignments that reach the statistic of the first, the one at hand; rounding counts as a tie."""
    return float((statistic >= statistic[0] - 1e-9).mean())


def _chunks(permutations: int) -> list[int]:
    """Sizes of the batches of assignments, the one at hand included."""
    total = permutations + 1
    return [min(CHUNK, total - start) for start in range(0, total, CHUNK)]


def _standardise(features: NDArray[np.float32]) -> Matrix:
    """Deviations from the mean in standard deviations; constant columns are 0."""
    x = features.astype(np.float64)
    deviation = x.std(0)
    deviation[deviation < 1e-9] = np.inf
    return np.asarray(np.clip((x - x.mean(0)) / deviation, -OUTLIER, OUTLIER))
