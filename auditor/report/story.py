"""The sentences and key figures that every format tells, each a pure function of the record."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from auditor.report import regime
from auditor.report.canaries import canary_estimates
from auditor.store.membership import Attack, Membership
from auditor.store.parts import Estimate, Outcome
from auditor.store.record import Competition, CopyEvidence, Record, Tier
from auditor.store.wording import attack_name, bringing, count, decimal, missing, percent, trials

TIER_WORDS: dict[Tier, str] = {"verbatim": "Verbatim copy", "certified": "Certified near-copy", "suspect": "Suspect"}
MAX_SHOWN = 48  # items with pictures per encoder; the rest is listed without
MAX_SUSPECTS = 6

MEANINGS: dict[Outcome, str] = {
    "pass": "A pass means that the tests below had the power to find what the policy forbids, and did not find it.",
    "fail": "A fail means that the tests below found what the policy forbids.",
    "cannot conclude": "The evidence supports neither a pass nor a fail; treat the checkpoint as not cleared.",
}
REMEDY_TITLES: dict[Outcome, str] = {
    "pass": "",
    "fail": "What to do",
    "cannot conclude": "What would settle it",
}


@dataclass(frozen=True)
class Verdict:
    """What stands on the first screen."""

    word: str
    reason: str
    further: list[str]  # other rules that came out the same way
    remedies: list[str]
    remedies_title: str
    meaning: str
    policy: str


@dataclass(frozen=True)
class KeyFigure:
    title: str
    value: str
    note: str


def verdict(record: Record) -> Verdict:
    """The judgement in words; a record that was not judged says so."""
    judgement = record.judgement
    if judgement is None:
        reason = "No policy was applied to this record; `auditor gate` gives a verdict."
        return Verdict("Not judged", reason, [], [], "", "", "none")
    outcome = judgement.outcome
    alike = [rule.statement for rule in judgement.rules if rule.outcome == outcome != "pass"]
    return Verdict(
        word=outcome.capitalize(),
        reason=judgement.reason,
        further=[statement for statement in alike if statement.removesuffix(".") not in judgement.reason],
        remedies=judgement.remedies,
        remedies_title=REMEDY_TITLES[outcome],
        meaning=MEANINGS[outcome],
        policy=judgement.policy,
    )


def primary(copies: list[Competition]) -> Competition | None:
    """The competition that decides: the first whose encoder resolves."""
    return next((competition for competition in copies if competition.resolving), None)


def key_figures(record: Record) -> list[KeyFigure]:
    """Four figures that a reader takes away, each with its interval or the reason why there is none."""
    return [*_copy_figures(primary(record.copies)), _membership_figure(record.membership), _check_figure(record)]


def _copy_figures(decisive: Competition | None) -> list[KeyFigure]:
    titles = ("Distinct training images reproduced", rate_title(decisive))
    if decisive is None:
        return [KeyFigure(title, "unknown", "no encoder tells copies from look-alikes here") for title in titles]
    found = decisive.lower_bound
    tiers = f"{decisive.certified:,} certified, {decisive.verbatim:,} verbatim"
    if found.value is None:
        first = KeyFigure(titles[0], "unknown", missing(found))
    elif found.value > 0:
        first = KeyFigure(
            titles[0], f"at least {found.value:,.0f}", f"{percent(found.level or 0.95)} confidence; {tiers}"
        )
    else:
        shown = "none shown" if decisive.certified == decisive.verbatim == 0 else "not bounded"
        first = KeyFigure(titles[0], shown, f"{tiers}; it would take {decisive.floor:,} to certify any")
    rate = decisive.copy_rate
    if rate.value is None or rate.upper is None:
        return [first, KeyFigure(titles[1], "unknown", missing(rate))]
    if rate.value == 0:
        none = "none certified" if found.value else "none"  # where X is not 0, some are copies, but not known which
        among = f"{none} among {rate.n or 0:,} {trials(rate)}"
        return [first, KeyFigure(titles[1], f"at most {percent(rate.upper)}", among)]
    spread = f"interval [{percent(rate.lower or 0.0)}, {percent(rate.upper)}]"
    return [first, KeyFigure(titles[1], percent(rate.value), spread)]


def rate_title(competition: Competition | None) -> str:
    """What the copy rate is a share of."""
    if competition is None:
        return "Share of generations that are copies"
    return f"Share of {trials(competition.copy_rate)} that {bringing(competition.copy_rate)}"


def _membership_figure(membership: Membership | None) -> KeyFigure:
    title = "Best membership attack (AUC)"
    best = strongest(membership)
    if membership is None or best is None:
        return KeyFigure(title, "not tested", "0.5 would be chance, 1 certainty")
    blind = membership.blind_auc
    beside = "unknown" if blind.value is None else decimal(blind.value)
    name = attack_name(best.name)
    note = f"{name}, interval {interval(best.auc)}; blind baseline {beside}, chance 0.5"
    return KeyFigure(title, decimal(best.auc.value or 0.0), note)


def _check_figure(record: Record) -> KeyFigure:
    passed = sum(check.status == "passed" for check in record.checks)
    others = [
        f"{check.status}: {check.title}{f' ({check.encoder})' if check.encoder else ''}"
        for check in record.checks
        if check.status != "passed"
    ]
    note = "; ".join(others) or "placebo, blind baseline, controls" if record.checks else "no check was made"
    return KeyFigure("Checks of the audit itself", f"{passed} of {len(record.checks)} passed", note)


def strongest(membership: Membership | None) -> Attack | None:
    """The attack with the largest AUC, ``None`` if none has one."""
    attacks = [attack for attack in membership.attacks if attack.auc.value is not None] if membership else []
    return max(attacks, key=lambda attack: attack.auc.value or 0.0, default=None)


def copies_sentence(competition: Competition) -> str:
    """What the competition under one encoder shows."""
    bound, level = competition.lower_bound, percent(competition.lower_bound.level or 0.95)
    verbatim = f" {count(competition.verbatim, 'image')} came back verbatim." if competition.verbatim else ""
    if not competition.resolving:
        return (
            f"This encoder cannot tell copies from look-alikes on this data: what it finds are suspects only.{verbatim}"
        )
    if bound.value is None:
        return f"The number of reproduced training images could not be bounded: {missing(bound)}.{verbatim}"
    if bound.value > 0:
        images = "image is" if bound.value == 1 else "images are"
        more = verbatim if competition.certified or competition.verbatim else f" {_unnamed(competition)}"
        return f"At least {bound.value:,.0f} distinct training {images} reproduced ({level} confidence).{more}"
    if competition.certified:
        images = f"{count(competition.certified, 'training image')} {'is' if competition.certified == 1 else 'are'}"
        return f"{images} certified as near-copies, too few for a lower bound above zero.{verbatim}"
    return f"No training image is shown to be reproduced beyond what chance explains.{verbatim}"


def _unnamed(competition: Competition) -> str:
    """Why a number of images is reproduced, and none of them by name."""
    return (
        f"Which of the {count(competition.suspects, 'suspect')} they are is not shown: their number is beyond chance, "
        f"but no list of them meets the false discovery rate of {percent(competition.alpha)}."
    )


def resolution_sentence(competition: Competition) -> str:
    """Whether the encoder tells copies from look-alikes, with the two percentiles that decide it."""
    planted, pool = competition.planted_p05, competition.pool_p99
    verdict = "so the encoder tells them apart" if competition.resolving else "so the encoder does not tell them apart"
    return (
        f"Altered copies keep a similarity of {planted:.4f} to their original (95% of them), different real images "
        f"stay below {pool:.4f} (99% of them), {verdict}."
    )


def membership_sentence(membership: Membership) -> str:
    """What the strongest attack achieves, beside the blind baseline."""
    best = strongest(membership)
    if best is None:
        return "No membership attack could be scored."
    return (
        f"The strongest attack, {attack_name(best.name)}, reaches an AUC of {estimate_text(best.auc)}; "
        f"it exceeds the blind baseline by {estimate_text(best.excess_over_blind)}."
    )


def estimates(record: Record) -> Iterator[tuple[str, Estimate]]:
    """Every estimate of the record with where it comes from."""
    for competition in record.copies:
        for estimate in (competition.lower_bound, competition.copy_rate, competition.planted_recall):
            yield f"copies, {competition.encoder}", estimate
        for estimate in competition.uncalibrated:
            yield f"uncalibrated, {competition.encoder}", estimate
    if record.membership is not None:
        yield "membership", record.membership.blind_auc
        for attack in record.membership.attacks:
            tails = (attack.tpr_at_10pct_fpr, attack.tpr_at_1pct_fpr, attack.tpr_at_01pct_fpr)
            for estimate in (attack.auc, attack.excess_over_blind, *filter(None, tails)):
                yield f"membership, {attack_name(attack.name)}", estimate
    yield from regime.estimates(record)
    if record.canaries is not None:
        yield from canary_estimates(record.canaries)
    for check in record.checks:
        for estimate in check.estimates:
            yield f"check, {check.title}", estimate


def shown_evidence(competition: Competition) -> tuple[list[CopyEvidence], list[CopyEvidence]]:
    """Evidence to show with pictures, and the rest: copies first, then a few suspects, the strongest of each."""
    copies = [evidence for evidence in competition.evidence if evidence.tier != "suspect"]
    suspects = [evidence for evidence in competition.evidence if evidence.tier == "suspect"]
    shown = [*copies[:MAX_SHOWN], *suspects[:MAX_SUSPECTS]]
    return shown, [*copies[MAX_SHOWN:], *suspects[MAX_SUSPECTS:]]


def interval(estimate: Estimate, share: bool = False) -> str:
    """``[lower, upper]``, or ``at least``/``at most`` where one end is missing; empty without either."""
    write = percent if share else decimal
    if estimate.lower == estimate.value and estimate.upper is None:
        return ""  # a bound is its own value
    lower, upper = estimate.lower, estimate.upper
    if lower is not None and upper is not None:
        return f"[{write(lower)}, {write(upper)}]"
    if lower is not None:
        return f"(at least {write(lower)})"
    return f"(at most {write(upper)})" if upper is not None else ""


def estimate_text(estimate: Estimate, share: bool = False) -> str:
    """Value and interval on one line, or why there is no value."""
    if estimate.value is None:
        return f"not measured: {missing(estimate)}"
    return f"{(percent if share else decimal)(estimate.value)} {interval(estimate, share)}".rstrip()
