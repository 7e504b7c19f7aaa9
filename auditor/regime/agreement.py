"""What the closed-form memorizer says about a checkpoint: do both reach the same image from the same noise?

    item        a duplicate group of real images
    landing     item on which the checkpoint lands, -1 where on none
    reached     item that the memorizer of the training set, or of as many held-out images, reaches from the same noise
    together    landing = reached

Two statements with two units. The *share* of probes together is about fresh probes for these two fixed sets; probes
are independent draws, so it has a binomial interval. Whether *training* images are favoured is a statement about the
sets: where many probes run into one popular image, and the memorizer's do too, they are one coin. So there the item is
the unit, as in the copy competition: distinct items reached together, training against held-out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binom

from auditor.regime.shares import bonferroni, share, unscored
from auditor.store.parts import Estimate
from auditor.store.regime import ClusterShare, MemorizerAgreement

Items = NDArray[np.int64]


@dataclass(frozen=True)
class Reached:
    """What each of G probes leads to, among I items."""

    landing: Items  # [G] -1 where the checkpoint lands on no real image
    memorizer: Items  # [G] reached by the memorizer of the training set
    control: Items | None  # [G] reached by the memorizer of held-out images; None without
    training: NDArray[np.bool_]  # [I] items with a training image
    holdout: NDArray[np.bool_]  # [I] items with a held-out image; both hold for a mixed duplicate group
    control_set: NDArray[np.bool_] | None  # [I] items with an image of the control's set; None without


def together(landing: Items, reached: Items) -> NDArray[np.bool_]:
    """Bool[G]: probes that land on the very item that the memorizer reaches."""
    result: NDArray[np.bool_] = (landing >= 0) & (landing == reached)
    return result


def mismatched_chance(landing: Items, reached: Items) -> float:
    """Share of all pairs of different probes whose landing and reached item agree; exact, 0 for fewer than two probes.

    With c_i probes landing on item i and d_i reaching it: (sum_i c_i d_i - together) / (G (G - 1)). Popular items make
    it larger than 1 / items.
    """
    g = len(landing)
    if g < 2:
        return 0.0
    pairs = int(_landing_counts(landing, reached)[reached].sum())
    return (pairs - int(together(landing, reached).sum())) / (g * (g - 1))


def memorizer_agreement(
    reached: Reached,
    *,
    encoder: str,
    column: str,
    resolving: bool,
    plausible: Estimate,
    gl_published: Estimate,
    gl: Estimate,
    certified: int,
    lower_bound: Estimate,
    shared_bound: Estimate,
    significance: float,
    clusters: Sequence[ClusterShare] = (),
    level: float = 0.95,
) -> MemorizerAgreement:
    """A column against its memorizer, as the record holds it.

    Args:
      reached: Where each probe leads.
      resolving: Whether the encoder tells copies from look-alikes on these images.
      plausible: From :func:`auditor.regime.gl.plausible`; the GL scores from there, too.
      certified: Training items certified by the copy competition; `lower_bound` is its X.
      significance: From :func:`auditor.regime.shares.significance` of the columns judged; `shared_bound` is X at one
        minus that.
      clusters: From :func:`auditor.regime.clusters.cluster_shares`.

    Returns:
      Shares with Clopper-Pearson intervals. `control` and `p_value` are unscored without a control. Mixed duplicate
      groups count for both sides in `landed` and `landed_holdout`, and for neither in what is reached together.
    """
    landing, g = reached.landing, len(reached.landing)
    agrees = together(landing, reached.memorizer)
    training, control, p_value = _sides(reached)
    name = "lands where the memorizer of held-out images does"
    if reached.control is None:
        by_control = unscored(name, _NO_CONTROL)
    else:
        by_control = share(name, int(together(landing, reached.control).sum()), g, level)
    return MemorizerAgreement(
        encoder=encoder,
        column=column,
        resolving=resolving,
        probes=g,
        items=int(reached.training.sum()),
        share=share("lands where the memorizer does", int(agrees.sum()), g, level),
        chance=mismatched_chance(landing, reached.memorizer),
        control=by_control,
        training_reached=training,
        control_reached=control,
        p_value=p_value,
        landed=_landed("lands on a training image", landing, reached.training, level),
        reproduced=reproduced(reached, level),
        landed_holdout=_landed("lands on a held-out image", landing, reached.holdout, level),
        plausible=plausible,
        gl_published=gl_published,
        gl=gl,
        certified=certified,
        lower_bound=lower_bound,
        significance=significance,
        shared_bound=shared_bound,
        clusters=list(clusters),
    )


_NO_CONTROL = "no held-out images served as a control"
_SIGN_TEST = "training images favoured"


def sign_test(training: int, control: int, n: int, m: int) -> Estimate:
    """One-sided p-value that of the items reached together no more are training items than held-out ones.

    If a checkpoint treats both sets alike, each of the T + D items is a training item with probability 1/2 for sets of
    one size. For others it lies between 1/2, where the memorizers' noise says nothing about the landing (each reaches
    one item per probe, however many it has), and n / (n + m), where it decides it. The larger of both is taken, so a
    control larger than the training set makes no false claims.

    Args:
      training: T, distinct training items reached together with their memorizer.
      control: D, the same of held-out items and theirs.
      n: Training items.
      m: Items of the control's set.

    Returns:
      P(Binomial(T + D, max(1/2, n / (n + m))) >= T); 1 where nothing is reached.
    """
    null = max(0.5, n / (n + m)) if n + m else 0.5
    value = float(binom.sf(training - 1, training + control, null))
    method = f"one-sided sign test over items, null share {null:.3g}"
    return Estimate(name=_SIGN_TEST, value=value, method=method, n=training + control, unit="p-value")


def _sides(reached: Reached) -> tuple[int, int, Estimate]:
    """(distinct training items, distinct control items, p-value), mixed items left out."""
    training = _distinct(reached.landing, reached.memorizer, reached.training & ~reached.holdout)
    if reached.control is None or reached.control_set is None:
        return training, 0, unscored(_SIGN_TEST, _NO_CONTROL, unit="p-value")
    pure = reached.control_set & ~reached.training
    control = _distinct(reached.landing, reached.control, pure)
    n, m = int((reached.training & ~reached.holdout).sum()), int(pure.sum())
    return training, control, sign_test(training, control, n, m)


def reproduced(reached: Reached, level: float = 0.95) -> Estimate:
    """Share of probes that land on a training image beyond what held-out images explain.

    A generation may land on a real image without having been copied from it, the more easily the fewer images there
    are. If training images were like any others, n of them would catch n / m times the probes that m held-out ones do.
    The estimate is landed - (n / m) landed_holdout, cut to [0, 1], over items of one side only; its interval takes each
    of the two shares at its worse end, both at once with probability ``level`` at least (Bonferroni).
    """
    name = "lands on training images beyond what held-out images explain"
    pure, other = reached.training & ~reached.holdout, reached.holdout & ~reached.training
    n, m = int(pure.sum()), int(other.sum())
    if m == 0:
        return unscored(name, "there are no held-out images")
    each = bonferroni(level, 2)
    on, off = (_landed(name, reached.landing, items, each) for items in (pure, other))
    if on.value is None or off.value is None:
        return unscored(name, on.unscored or "no finite generation to judge")
    low = (on.lower or 0.0) - n / m * (1.0 if off.upper is None else off.upper)
    high = (1.0 if on.upper is None else on.upper) - n / m * (off.lower or 0.0)
    return Estimate(
        name=name,
        value=min(max(on.value - n / m * off.value, 0.0), 1.0),
        lower=max(low, 0.0),
        upper=min(max(high, 0.0), 1.0),
        level=level,
        method=f"difference of two Clopper-Pearson intervals, {n:,} training and {m:,} held-out images",
        n=on.n,
        unit="share of probes",
    )


def _distinct(landing: Items, memorizer: Items, counted: NDArray[np.bool_]) -> int:
    items = np.unique(landing[together(landing, memorizer)])
    return int(counted[items].sum())


def _landed(name: str, landing: Items, counted: NDArray[np.bool_], level: float) -> Estimate:
    return share(name, int(counted[landing[landing >= 0]].sum()), len(landing), level)


def _landing_counts(landing: Items, reached: Items) -> NDArray[np.int64]:
    """Probes that land on each item, up to the highest item that is reached."""
    least = int(reached.max(initial=-1)) + 1
    return np.bincount(landing[landing >= 0], minlength=least).astype(np.int64)
