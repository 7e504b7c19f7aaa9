"""Which regime a checkpoint is in, from its numbers alone: a pure function of the record.

    memorization      most probes land on training images: where the memorizer of the set does, or on others
    transition        not most, but training images are favoured: it memorises some
    generalization    neither, it draws from the population, and what it draws does not depend on the samples it saw
    cannot conclude   anything else, with what would settle it

More agreement with the memorizer moves the regime only upwards: generalization, cannot conclude, transition,
memorization (Zhang et al. 2024, arXiv 2310.05264; Kadkhodaie et al. 2024, arXiv 2310.02557).
"""

from __future__ import annotations

from collections.abc import Sequence

from auditor.regime import sentences
from auditor.store.comparison import Reproducibility
from auditor.store.parts import Estimate
from auditor.store.regime import MemorizerAgreement, Regime, RegimeVerdict

MOST = 0.5  # lower bound of the share from which on a checkpoint memorises
LIMIT = 0.02  # upper bound of the share, beyond what held-out images give, up to which it may generalise
MOST_LIMIT = 0.10  # where held-out images give more than 8%, the sets are too small for the share to say anything


def regime_verdict(agreement: MemorizerAgreement, partners: Sequence[Reproducibility] = ()) -> RegimeVerdict:
    """Regime of a column with its reasons, the most important first.

    Memorization needs the lower bound of the share at 1/2 or more, and above the control's upper bound and chance: of
    two training images a coin reaches the right one half of the time. Or the lower bound of what is reproduced beyond
    held-out images at 1/2 or more, where training images are favoured and the share is above chance: a network that
    learnt its images by heart need not send each noise to the very one that the closed form does. Transition needs a
    sign test over items, or at least one image that the copy competition shows to be reproduced, each at 5% divided by
    twice the number of columns: of a comparison where nothing is memorised at most 5% call a transition anywhere.
    Generalization needs all of: both of those known and silent; the share's upper bound at most 2% above what
    held-out images in the training set's place give; at least half of the generations plausible (an untrained network
    neither memorises nor draws from the population); and where checkpoints of disjoint data are among the partners,
    agreement with one of them: intervals of matched and mismatched similarity apart, identification above chance. One
    suffices, because a partner that memorises disagrees through no fault of this column.

    Args:
      agreement: The column against its memorizer.
      partners: Pairs with other columns; only those with `data` disjoint and this column on one side are read.
    """
    outside = [pair for pair in partners if _is_partner(pair, agreement)]
    if not agreement.resolving:
        return _verdict(agreement, "cannot conclude", [sentences.not_resolving(agreement)], [sentences.OTHER_ENCODER])
    if agreement.share.value is None:
        return _verdict(agreement, "cannot conclude", [sentences.no_share(agreement)], [sentences.GENERATE])
    if _memorises(agreement):
        return _verdict(agreement, "memorization", sentences.memorization(agreement))
    if _favours(agreement):
        return _verdict(agreement, "transition", sentences.transition(agreement))
    lacking = _lacking(agreement, outside)
    if lacking:
        reasons, remedies = zip(*lacking, strict=True)
        reasons = (*reasons, *sentences.known(agreement))
        return _verdict(agreement, "cannot conclude", _once(reasons), _once(remedies))
    return _verdict(agreement, "generalization", sentences.generalization(agreement, outside, _agree(outside)))


def allowed_share(agreement: MemorizerAgreement) -> float:
    """Upper bound of the share that generalization allows: 2% more than held-out images give, 10% at most.

    The control's value and not its upper bound, which few probes would make as wide as anybody likes.
    """
    return min(LIMIT + (agreement.control.value or 0.0), MOST_LIMIT)


def _verdict(
    agreement: MemorizerAgreement, regime: Regime, reasons: Sequence[str], remedies: Sequence[str] = ()
) -> RegimeVerdict:
    return RegimeVerdict(
        column=agreement.column,
        encoder=agreement.encoder,
        regime=regime,
        reasons=list(reasons),
        remedies=list(remedies),
        memorised=agreement.share,
    )


def _is_partner(pair: Reproducibility, agreement: MemorizerAgreement) -> bool:
    mine = agreement.column in (pair.left, pair.right) and pair.left != pair.right
    return mine and pair.data == "disjoint" and pair.encoder == agreement.encoder


def _memorises(agreement: MemorizerAgreement) -> bool:
    share, beside = agreement.share.lower or 0.0, max(agreement.chance, agreement.control.upper or 0.0)
    by_heart = (agreement.reproduced.lower or 0.0) >= MOST and _favours(agreement)
    return share > beside and (share >= MOST or by_heart)


def _favours(agreement: MemorizerAgreement) -> bool:
    """Whether training images are favoured: by the sign test, or by the copy competition."""
    p_value, bound = agreement.p_value.value, agreement.shared_bound.value
    significant = p_value is not None and p_value <= agreement.significance
    return significant or (bound is not None and bound >= 1)


def _lacking(agreement: MemorizerAgreement, outside: Sequence[Reproducibility]) -> list[tuple[str, str]]:
    """What stands between the numbers and generalization: (reason, remedy), the most important first."""
    lacking = []
    if agreement.p_value.value is None:
        lacking.append((sentences.no_control(agreement), sentences.HOLD_OUT))
    if agreement.lower_bound.value is None:
        lacking.append((sentences.no_competition(agreement), sentences.HOLD_OUT))
    limit = allowed_share(agreement)
    if (agreement.share.upper or 0.0) > limit:
        lacking.append(sentences.share_too_wide(agreement, limit))
    if (agreement.plausible.lower or 0.0) < MOST:
        lacking.append(sentences.not_plausible(agreement.plausible, MOST))
    tested = [pair for pair in outside if pair.matched.value is not None]
    if tested and not any(_agree(tested)):
        lacking.append((sentences.partners_disagree(agreement.column, tested), sentences.OTHER_PARTNER))
    return lacking


def _agree(outside: Sequence[Reproducibility]) -> list[bool]:
    """For each pair whether its two columns clearly give like answers to like noise."""
    return [
        _above(pair.matched, pair.mismatched.upper) and _above(pair.identified, 1 / max(pair.probes, 1))
        for pair in outside
    ]


def _above(estimate: Estimate, bound: float | None) -> bool:
    return estimate.lower is not None and bound is not None and estimate.lower > bound


def _once(sentences_: Sequence[str]) -> list[str]:
    """Each sentence once, in the order of first mention."""
    return list(dict.fromkeys(sentence for sentence in sentences_ if sentence))
