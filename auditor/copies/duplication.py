"""Exposure against duplication: repeated images are the first to be memorised, and this says how steeply.

An item counts as reproduced if it is verbatim, or certified; an item that may not compete (its duplicates were not
split by group) if it scores as high as the last certified one, or where none is certified, higher than every held-out
item. Held-out items that score as high stand for 0 times; where the threshold was laid above all of them, they show
nothing. Then, too, items that may not compete are counted by a more lenient rule than those that may, and as their
times differ, a curve through both would rise in a model that repeats nothing: none is fitted.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from auditor.copies.evidence import Tiers
from auditor.copies.groups import GroupClass, Groups
from auditor.copies.items import ItemScores
from auditor.copies.landing import Landing
from auditor.copies.pool import Pool
from auditor.stats.firth import LogisticLine, fit_line
from auditor.stats.intervals import clopper_pearson
from auditor.store.duplication import DuplicateCluster, Duplication, RepeatBin
from auditor.store.parts import Curve, Estimate

LISTED = 20  # duplicate clusters
GRID = 17  # points of the fitted curve
TWO_RULES = "no item is certified, and items that do not compete are counted by a more lenient rule than the others"
NO_CONTROL = "the threshold was laid above all of them"
METHOD = "logistic in log2 of the times, Firth's penalised likelihood, profile interval"


def exposure_by_repeats(
    pool: Pool,
    groups: Groups,
    competes: NDArray[np.bool_],
    items: ItemScores,
    tiers: Tiers,
    landing: Landing,
    level: float,
    prompts: NDArray[np.int64] | None = None,
    unit: str = "prompts",
) -> Duplication:
    """Rates per times seen and per duplicate cluster, and the curve through them.

    Args:
      competes: Bool[I]: items that were in the competition.
      level: Confidence of every interval, one at a time.
      prompts: Int64[G], which prompt each generation was made under; None = each stands for itself.
      unit: What these numbers count, in words.
    """
    trained = groups.kind == GroupClass.TRAINING
    held = competes & (groups.kind == GroupClass.HELD_OUT)
    certified = tiers.is_certified & trained
    threshold = _threshold(items, certified, held)
    as_high = items.is_hit & (items.score >= threshold)
    reproduced = trained & (tiers.is_verbatim | tiers.is_certified | (as_high & ~competes))
    shown = np.bincount(landing.item[landing.on_item], minlength=len(groups))
    times = groups.images[trained]
    line = _fit(times, reproduced[trained], level)
    above_all = np.isfinite(threshold) and not certified.any()
    if above_all and (trained & competes).any() and (trained & ~competes).any():
        line = TWO_RULES
    control = "held-out items that score as high"
    as_near = _share(control, int((as_high & held).sum()), int(held.sum()), level)
    if above_all:
        as_near = Estimate(name=control, value=None, unit=as_near.unit, unscored=NO_CONTROL)
    return Duplication(
        threshold=threshold if np.isfinite(threshold) else None,
        certified=bool(certified.any()),
        bins=_bins(times, reproduced[trained], shown[trained], level),
        held_out=as_near,
        doubling=_doubling(line, level),
        half=_half(line, times, level),
        curve=_curve(line, times),
        clusters=_clusters(pool, groups, trained, reproduced, trials_of(landing, len(groups), prompts, unit), level),
    )


@dataclass(frozen=True)
class Trials:
    """How many independent trials land on each item."""

    hits: NDArray[np.int64]  # [I]
    total: int
    unit: str  # what they are, in words


def trials_of(landing: Landing, items: int, prompts: NDArray[np.int64] | None, unit: str) -> Trials:
    """Generations that land on each item; where they were prompted, prompts under which one does."""
    item = landing.item[landing.on_item]
    if prompts is None:
        return Trials(np.bincount(item, minlength=items), len(landing.item), "generations")
    once = np.unique(np.stack([item, prompts[landing.on_item]]), axis=1)[0]
    return Trials(np.bincount(once, minlength=items), len(np.unique(prompts)), unit)


def _threshold(items: ItemScores, certified: NDArray[np.bool_], held: NDArray[np.bool_]) -> float:
    """Score of the last certified item; without one, just above that of every held-out hit; without those, infinity."""
    if certified.any():
        return float(items.score[certified].min())
    beyond = items.score[held & items.is_hit]
    return float(np.nextafter(beyond.max(), np.inf)) if len(beyond) else np.inf


def _fit(times: NDArray[np.int64], reproduced: NDArray[np.bool_], level: float) -> LogisticLine | str:
    """The curve, or why there is none."""
    distinct, place = np.unique(times, return_inverse=True)
    if len(distinct) < 2:
        return "all training items stand in the set equally often" if len(distinct) else "no training items"
    if not reproduced.any():
        return "no training item is known to be reproduced"
    hits = np.bincount(place, weights=reproduced).astype(np.int64)
    return fit_line(np.log2(distinct), hits, np.bincount(place), level)


def _bins(
    times: NDArray[np.int64], reproduced: NDArray[np.bool_], shown: NDArray[np.int64], level: float
) -> list[RepeatBin]:
    """1, 2, 3 to 4, 5 to 8 times and so on; empty ones left out."""
    bins, number = [], np.ceil(np.log2(times)).astype(np.int64)
    for power in np.unique(number):
        here = number == power
        share = _share("reproduced", int(reproduced[here].sum()), int(here.sum()), level)
        bins.append(
            RepeatBin(
                least=int(times[here].min()), most=int(times[here].max()), items=int(here.sum()), reproduced=share,
                generations_per_item=float(shown[here].mean()),
            )
        )  # fmt: skip
    return bins


def _share(name: str, hits: int, trials: int, level: float) -> Estimate:
    if trials == 0:
        return Estimate(name=name, value=None, unit="share of items", unscored="there are no such items")
    ends = clopper_pearson(hits, trials, level)
    return Estimate(
        name=name, value=hits / trials, lower=ends.lower, upper=ends.upper, level=level, method="Clopper-Pearson",
        n=trials, unit="share of items",
    )  # fmt: skip


def _doubling(line: LogisticLine | str, level: float) -> Estimate:
    name, unit = "odds of being reproduced, per doubling", "factor"
    if isinstance(line, str):
        return Estimate(name=name, value=None, unit=unit, unscored=line)
    value, lower, upper = line.slope_ends()
    finite = float(np.exp(upper)) if np.isfinite(upper) else None
    return Estimate(
        name=name, value=float(np.exp(value)), lower=float(np.exp(lower)), upper=finite, level=level, method=METHOD,
        n=int(line.trials.sum()), unit=unit,
    )  # fmt: skip


def _half(line: LogisticLine | str, times: NDArray[np.int64], level: float) -> Estimate:
    """Times at which the curve passes one half, between 1 and twice the largest seen; its ends where the band does."""
    name, unit = "times at which half are reproduced", "times in the training set"
    if isinstance(line, str):
        return Estimate(name=name, value=None, unit=unit, unscored=line)
    n, most = int(line.trials.sum()), 2 * int(times.max())
    where = -line.intercept / line.slope if line.slope > 0 else np.inf
    if not 0 <= where <= np.log2(most):
        said = f"the curve does not pass one half between 1 and {most:,} times"
        return Estimate(name=name, value=None, n=n, unit=unit, unscored=said)
    grid = np.linspace(0.0, np.log2(most), 2 * GRID)
    band = [line.at(float(x)) for x in grid]
    first = next((x for x, ends in zip(grid, band, strict=True) if ends.upper >= 0.5), grid[0])
    last = next((x for x, ends in zip(grid, band, strict=True) if ends.lower >= 0.5), None)
    return Estimate(
        name=name, value=float(2**where), lower=float(2 ** min(first, where)),
        upper=None if last is None else float(2 ** max(last, where)), level=level,
        method=f"{METHOD}, to the next of {2 * GRID} points", n=n, unit=unit,
    )  # fmt: skip


def _curve(line: LogisticLine | str, times: NDArray[np.int64]) -> Curve:
    if isinstance(line, str):
        return Curve(x=[], series={})
    grid = np.linspace(0.0, np.log2(times.max()), GRID)
    band = [line.at(float(x)) for x in grid]
    series = {
        "fitted": [ends.value for ends in band],
        "lower": [ends.lower for ends in band],
        "upper": [ends.upper for ends in band],
    }
    return Curve(x=(2.0**grid).tolist(), series=series)


def _clusters(
    pool: Pool,
    groups: Groups,
    trained: NDArray[np.bool_],
    reproduced: NDArray[np.bool_],
    trials: Trials,
    level: float,
) -> list[DuplicateCluster]:
    """Those of most images first, ties by item number, which knows no labels."""
    several = np.flatnonzero(trained & (groups.images > 1))
    order = several[np.lexsort((several, -groups.images[several]))][:LISTED]
    first = {int(item): int(np.flatnonzero(groups.group == item)[0]) for item in order}
    clusters = []
    for item in order.tolist():
        landing = _share(f"{trials.unit} that land on it", int(trials.hits[item]), trials.total, level)
        clusters.append(
            DuplicateCluster(
                id=pool.ids[first[item]], times=int(groups.images[item]), distinct=int(groups.distinct[item]),
                reproduced=bool(reproduced[item]),
                generations=landing.model_copy(update={"unit": f"share of {trials.unit}"}),
            )
        )  # fmt: skip
    return clusters
