"""From scores to what the record says: variants chosen on the calibration slice, numbers from the other."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from auditor.diffusion.score_table import ScoreTable
from auditor.errors import ConfigError
from auditor.probes import generator
from auditor.stats.delong import OUT_OF_FOLD_VARIANCE, auc_interval, excess_interval
from auditor.stats.multiple import holm
from auditor.stats.rank_sum import rank_sum_p_value
from auditor.stats.roc import auc, roc_curve, tpr_at_fpr
from auditor.store.membership import Attack, Membership
from auditor.store.parts import Curve
from auditor.store.wording import percent

CURVE_RATES = np.unique(np.concatenate([[0.0], np.geomspace(1e-3, 1, 91), np.linspace(0, 1, 101)]))
BINS = 40
LEAST_A_SLICE = 2  # images of either side, for calibration and for the report


@dataclass(frozen=True)
class Side:
    """Members, or non-members: their scores, and beside each what the blind baseline gave the same image.

    Every image is a unit of its own: near-duplicates count once a side, and not at all where they lie on both.

    Attributes:
      table: Scores under all attacks.
      blind: Float64[N], aligned with ``table.ids`` (index by ``table.positions``).
      calibration: Bool[N], the images that choose variants and are not reported.
    """

    table: ScoreTable
    blind: NDArray[np.float64]
    calibration: NDArray[np.bool_]


def calibration_slice(ids: list[str], share: float, seed: str) -> NDArray[np.bool_]:
    """A random Bool[N] mask of round(share * N) images; it depends on the set of ids and the seed, not on the order."""
    order = np.argsort(np.array(ids))
    mask = np.zeros(len(ids), bool)
    drawn = generator(seed, "membership/calibration").permutation(len(ids))[: calibration_size(len(ids), share)]
    mask[order[drawn]] = True
    return mask


def calibration_size(images: int, share: float) -> int:
    """How many of a side's images choose variants: round(share * images)."""
    return round(share * images)


def evaluate(members: Side, nonmembers: Side, *, level: float = 0.95) -> list[Attack]:
    """One entry per attack, in the order of the sweep.

    The variant is the one with the largest AUC on the calibration slice (the first declared among equals); all
    estimates come from the other images. The direction is the attack's definition, never chosen: an AUC below 1/2 is
    reported as such. Lower bounds hold for all attacks together (Bonferroni), so that the best of several attacks is
    not mistaken for evidence; the claim that all are weak needs no correction. P-values are adjusted over the attacks
    (Holm).

    Raises:
      ConfigError: Fewer than two members or non-members in either slice.
    """
    for side, name in ((members, "members"), (nonmembers, "nonmembers")):
        chosen, reported = int(side.calibration.sum()), int((~side.calibration).sum())
        if min(chosen, reported) < LEAST_A_SLICE:
            got = f"{chosen} for calibration and {reported} for the report"
            raise ConfigError(f"membership.{name}", got, "at least 2 of each", f"Raise membership.{name}.")
    names = list(members.table.scores)
    attacks = [_evaluate_attack(name, members, nonmembers, level, len(names)) for name in names]
    adjusted = holm([1.0 if attack.p_value is None else attack.p_value for attack in attacks])
    return [attack.model_copy(update={"p_adjusted": float(p)}) for attack, p in zip(attacks, adjusted, strict=True)]


def choose_variant(name: str, members: Side, nonmembers: Side) -> str:
    """The attack's variant with the largest AUC on the calibration slice."""
    ours, theirs = members.table.scores[name], nonmembers.table.scores[name]
    return max(
        ours, key=lambda variant: auc(ours[variant][members.calibration], theirs[variant][nonmembers.calibration])
    )


def _evaluate_attack(name: str, members: Side, nonmembers: Side, level: float, sharing: int) -> Attack:
    variant = choose_variant(name, members, nonmembers)
    ours, theirs = (side.table.scores[name][variant][~side.calibration] for side in (members, nonmembers))
    blind_ours, blind_theirs = (side.blind[~side.calibration] for side in (members, nonmembers))
    tenth, hundredth, thousandth = (
        tpr_at_fpr(ours, theirs, rate, level=level, sharing=sharing, name=f"TPR at {percent(rate)} FPR")
        for rate in (0.1, 0.01, 0.001)
    )
    return Attack(
        name=name,
        variant=variant,
        evaluations_per_image=members.table.per_image[name],
        auc=auc_interval(ours, theirs, level=level, sharing=sharing),
        tpr_at_10pct_fpr=tenth,
        tpr_at_1pct_fpr=hundredth,
        tpr_at_01pct_fpr=thousandth,
        excess_over_blind=excess_interval(
            (ours, theirs),
            (blind_ours, blind_theirs),
            level=level,
            sharing=sharing,
            name="AUC excess over blind",
            baseline_variance_factor=OUT_OF_FOLD_VARIANCE,
        ),
        roc=Curve(
            x=CURVE_RATES.tolist(),
            series={
                "attack": roc_curve(ours, theirs).tpr_within(CURVE_RATES).tolist(),
                "blind": roc_curve(blind_ours, blind_theirs).tpr_within(CURVE_RATES).tolist(),
            },
        ),
        scores=_histogram(ours, theirs),
        p_value=rank_sum_p_value(ours, theirs),
    )


def _histogram(members: NDArray[np.float64], nonmembers: NDArray[np.float64]) -> Curve:
    """Shares of each side per bin; bins span the central 99% of all scores, the end bins take the rest."""
    pooled = np.concatenate([members, nonmembers])
    low, high = np.quantile(pooled, [0.005, 0.995])
    edges = np.linspace(low, high if high > low else low + 1, BINS + 1)
    centres = (edges[:-1] + edges[1:]) / 2
    series = {
        name: (np.histogram(np.clip(side, edges[0], edges[-1]), edges)[0] / len(side)).tolist()
        for name, side in (("members", members), ("non-members", nonmembers))
    }
    return Curve(x=centres.tolist(), series=series)


def membership_record(members: Side, nonmembers: Side, *, level: float = 0.95) -> Membership:
    """The record's membership part; the blind AUC is of the reported images, as the attacks' are."""
    tables = members.table, nonmembers.table
    blind = [side.blind[~side.calibration] for side in (members, nonmembers)]
    return Membership(
        members=len(members.table.ids),
        nonmembers=len(nonmembers.table.ids),
        calibration_members=int(members.calibration.sum()),
        calibration_nonmembers=int(nonmembers.calibration.sum()),
        unscored=[row for table in tables for row in table.unscored],
        blind_auc=auc_interval(*blind, level=level, name="blind AUC", variance_factor=OUT_OF_FOLD_VARIANCE),
        attacks=evaluate(members, nonmembers, level=level),
        denoiser_evaluations=sum(table.evaluations for table in tables),
        evaluations_unshared=sum(table.evaluations_unshared for table in tables),
    )
