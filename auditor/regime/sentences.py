"""The regime verdict's sentences, for a reader who was not there: short, with the numbers in them."""

from __future__ import annotations

import math
from collections.abc import Sequence

from auditor.stats.intervals import clopper_pearson
from auditor.store.comparison import Reproducibility
from auditor.store.parts import Estimate
from auditor.store.regime import MemorizerAgreement
from auditor.store.wording import count, missing, percent

OTHER_ENCODER = "Compare under an encoder that separates these images: sscd for photographs, pixel for small ones."
GENERATE = "Find out why the column gave no finite image: check the checkpoint, its dtype and its sampler."
HOLD_OUT = "Give a held-out set of at least as many images as the training set, drawn in the same way."
OTHER_PARTNER = "Compare with a checkpoint trained equally well on equally many other images of the same kind."
TRAIN = "Look at the generations: train longer, or check the sampler, the number of steps and the preprocessing."
MOST_PROBES = 10_000_000


def not_resolving(agreement: MemorizerAgreement) -> str:
    return (
        f"Under {agreement.encoder} different images are as alike as copies are, so landing on one says nothing about "
        "memorization."
    )


def no_share(agreement: MemorizerAgreement) -> str:
    return f"Agreement with the memorizer could not be measured: {missing(agreement.share)}."


def memorization(agreement: MemorizerAgreement) -> list[str]:
    """Most probes land on training images, and what that is to be read against."""
    reproduced = agreement.reproduced
    landed = ""
    if reproduced.value is not None:
        landed = f"{_share(reproduced)} of probes land on training images beyond what held-out images explain, and "
    return [
        f"It memorises: {landed}{_share(agreement.share)} of probes land on the very training image that the "
        f"closed-form memorizer reaches from the same noise; by chance {percent(agreement.chance)} would.",
        *_control(agreement),
        *_reproduced(agreement),
    ]


def transition(agreement: MemorizerAgreement) -> list[str]:
    """Some probes do, more than held-out images explain."""
    return [
        f"It memorises some: {_share(agreement.share)} of probes land on the very training image that the closed-form "
        f"memorizer reaches from the same noise; by chance {percent(agreement.chance)} would.",
        *_favoured(agreement),
        *_reproduced(agreement),
        *_clusters(agreement),
    ]


def generalization(
    agreement: MemorizerAgreement, outside: Sequence[Reproducibility], agree: Sequence[bool]
) -> list[str]:
    """Nothing is memorised beyond what held-out images give, and what else was or was not tested."""
    alike = [_alike(pair, agreement.column) for pair, yes in zip(outside, agree, strict=True) if yes]
    unlike = [_unlike(pair, agreement.column) for pair, yes in zip(outside, agree, strict=True) if not yes]
    first = alike or ["Agreement with a checkpoint trained on disjoint data was not tested."]
    return [
        *first,
        f"{_share(agreement.share)} of probes land on the training image that the closed-form memorizer reaches.",
        *_favoured(agreement),
        f"{_share(agreement.plausible)} of generations are as near to real images as held-out images are.",
        *unlike,
    ]


def known(agreement: MemorizerAgreement) -> list[str]:
    """What is known where nothing can be concluded."""
    return [
        f"{_share(agreement.share)} of probes land on the training image that the closed-form memorizer reaches.",
        *_control(agreement),
        *_favoured(agreement),
        *_clusters(agreement),
    ]


def no_control(agreement: MemorizerAgreement) -> str:
    return f"Whether training images are favoured over held-out ones is unknown: {missing(agreement.p_value)}."


def no_competition(agreement: MemorizerAgreement) -> str:
    return f"How many training images are reproduced is unknown: {missing(agreement.lower_bound)}."


def share_too_wide(agreement: MemorizerAgreement, limit: float) -> tuple[str, str]:
    """Reason and remedy where the share may be too large for generalization."""
    estimate = agreement.share
    reason = (
        f"Up to {percent(estimate.upper or 1.0)} of probes may land where the memorizer does; generalization allows "
        f"{percent(limit)}."
    )
    needed = probes_needed(estimate.value or 0.0, limit, estimate.level or 0.95, agreement.probes)
    if needed is None:
        remedy = "Generate from more probes, and give more held-out images: the share itself is above the limit."
    else:
        remedy = f"Generate from about {needed:,} probes: if the share stays, its upper bound is then below the limit."
    return reason, remedy


def not_plausible(estimate: Estimate, wanted: float) -> tuple[str, str]:
    """Reason and remedy where too few generations are known to look like the population."""
    if estimate.value is None:
        return f"Whether generations look like real images is unknown: {missing(estimate)}.", HOLD_OUT
    if (estimate.upper or 0.0) < wanted:
        reason = (
            f"It neither memorises nor draws from the population: only {_share(estimate)} of generations are as near "
            "to real images as held-out images are."
        )
        return reason, TRAIN
    reason = (
        f"{_share(estimate)} of generations are as near to real images as held-out images are; at least "
        f"{percent(wanted)} must be."
    )
    return reason, "Generate from more probes."


def partners_disagree(column: str, pairs: Sequence[Reproducibility]) -> str:
    return " ".join(_unlike(pair, column) for pair in pairs)


def probes_needed(rate: float, limit: float, level: float, known_too_few: int) -> int | None:
    """Probes at which an unchanged share has its upper Clopper-Pearson end at or below a limit, to two digits.

    Returns:
      None where no number of probes would do: the share is at the limit, or needs more than ten million.
    """
    probes, enough = max(known_too_few, 1), False
    while not enough and probes < MOST_PROBES:
        probes = math.ceil(probes * 1.02) + 1
        enough = clopper_pearson(math.ceil(rate * probes - 1e-9), probes, level).upper <= limit
    if not enough:
        return None
    digit = 10 ** max(0, math.floor(math.log10(probes)) - 1)
    return int(math.ceil(probes / digit) * digit)


def _share(estimate: Estimate) -> str:
    """``52% [48%, 56%]``, to three digits."""
    if estimate.value is None:
        return "an unknown share"
    if estimate.lower is None or estimate.upper is None:
        return percent(estimate.value)
    return f"{percent(estimate.value)} [{percent(estimate.lower)}, {percent(estimate.upper)}]"


def _control(agreement: MemorizerAgreement) -> list[str]:
    if agreement.control.value is None:
        return []
    return [f"With as many held-out images in the training set's place it is {_share(agreement.control)}."]


def _favoured(agreement: MemorizerAgreement) -> list[str]:
    """The sign test, in words."""
    p_value = agreement.p_value.value
    if p_value is None:
        return []
    training = count(agreement.training_reached, "training image")
    held_out = count(agreement.control_reached, "held-out image")
    p = "p < 0.0001" if p_value < 1e-4 else f"p = {p_value:.2g}"
    test = f"sign test over images, {p}, where {agreement.significance:.2g} counts"
    return [f"{training} and {held_out} are reached together with their memorizers ({test})."]


def _reproduced(agreement: MemorizerAgreement) -> list[str]:
    bound = agreement.lower_bound
    if not bound.value:
        return []
    least = int(bound.value)
    images = "1 distinct training image is" if least == 1 else f"{least:,} distinct training images are"
    return [f"At least {images} reproduced ({percent(bound.level or 0.95)} confidence)."]


def _clusters(agreement: MemorizerAgreement) -> list[str]:
    """The cluster with the highest lower bound, if that is clearly above the whole."""
    scored = [part for part in agreement.clusters if part.share.lower is not None]
    if not scored:
        return []
    worst = max(scored, key=lambda part: part.share.lower or 0.0)
    if (worst.share.lower or 0.0) <= (agreement.share.upper or 1.0):
        return []
    return [f"Most of all in {worst.cluster}: {_share(worst.share)} of its probes."]


def _alike(pair: Reproducibility, column: str) -> str:
    return (
        f"It gives what {_other(pair, column)}, trained on disjoint data, gives to the same noise: similarity "
        f"{_mean(pair.matched)}, against {_mean(pair.mismatched)} on different noise; {_share(pair.identified)} of "
        f"answers identified, by chance {percent(1 / pair.probes)}."
    )


def _unlike(pair: Reproducibility, column: str) -> str:
    if pair.matched.value is None:
        return f"Agreement with {_other(pair, column)} was not tested: {missing(pair.matched)}."
    return (
        f"It does not clearly give what {_other(pair, column)}, trained on disjoint data, gives to the same noise: "
        f"similarity {_mean(pair.matched)}, against {_mean(pair.mismatched)} on different noise; "
        f"{_share(pair.identified)} of answers identified, by chance {percent(1 / pair.probes)}."
    )


def _other(pair: Reproducibility, column: str) -> str:
    return pair.right if pair.left == column else pair.left


def _mean(estimate: Estimate) -> str:
    if estimate.value is None or estimate.lower is None or estimate.upper is None:
        return "unknown"
    return f"{estimate.value:.2f} [{estimate.lower:.2f}, {estimate.upper:.2f}]"
