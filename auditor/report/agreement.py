"""Do the tests of one audit agree? Copies, membership, dataset inference and regime side by side.

They ask different questions, so that they may differ without any of them being wrong: a checkpoint can give a repeated
image back while the average member cannot be told (Kim 2025, arXiv 2509.25705), and membership can be told where no
image is reproduced.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal, NamedTuple

from auditor.policy.validity import SPLIT_CHECKS
from auditor.report import story
from auditor.store.membership import Attack, Membership
from auditor.store.record import Record
from auditor.store.wording import attack_name

Sign = Literal["exposes", "no sign", "open"]


class Said(NamedTuple):
    """One test's answer to: is training data exposed?"""

    test: str
    sign: Sign
    why: str


def side_by_side(record: Record) -> list[Said]:
    """What each kind of test says, in the order of their weight as evidence."""
    told = (_copies(record), _regime(record), _canaries(record), *_membership(record))
    return [said for said in told if said is not None]


def sentence(told: list[Said]) -> str:
    """Whether they agree, and what a disagreement means."""
    exposing = [said.test for said in told if said.sign == "exposes"]
    silent = [said.test for said in told if said.sign == "no sign"]
    if exposing and silent:
        shown = f"{_list(exposing)} {_shows(exposing)} exposure, {_list(silent)} {_shows(silent)} no sign of it"
        return f"They differ: {shown}. {_meaning(exposing)}"
    if exposing:
        return f"They agree: {_list(exposing)} {_shows(exposing)} exposure."
    if silent:
        return f"None shows exposure: {_list(silent)} {_shows(silent)} no sign of it."
    return "None of them could tell."


def _meaning(exposing: list[str]) -> str:
    if "copies" in exposing or "regime" in exposing:
        return (
            "What is reproduced weighs more than what cannot be told: tests of membership average over records, and a "
            "few copied images hardly move an average."
        )
    return (
        "No image was reproduced by free generation, yet records leave a trace: somebody who holds a record may learn "
        "that it was trained on."
    )


def _copies(record: Record) -> Said | None:
    primary = story.primary(record.copies)
    if primary is None:
        return None
    bound = primary.lower_bound.value
    if bound is None:
        return Said("copies", "open", story.estimate_text(primary.lower_bound))
    found = primary.verbatim + primary.certified
    why = f"at least {bound:,.0f} training images reproduced, {found:,} certified or verbatim"
    return Said("copies", "exposes" if bound > 0 or found else "no sign", why)


def _regime(record: Record) -> Said | None:
    if record.regime is None:
        return None
    regime = record.regime.verdict.regime
    signs: dict[str, Sign] = {"memorization": "exposes", "transition": "exposes", "generalization": "no sign"}
    return Said("regime", signs.get(regime, "open"), regime)


def _canaries(record: Record) -> Said | None:
    if record.canaries is None:
        return None
    bounds = [(tier.epsilon.value or 0.0, tier.repetitions) for tier in record.canaries.tiers]
    most, repetitions = max(bounds)
    if most <= 0:
        return Said("canaries", "no sign", "no tier gives a lower bound on epsilon above 0")
    return Said("canaries", "exposes", f"epsilon at least {most:.2f} for canaries that stand there {repetitions} times")


def _membership(record: Record) -> Iterator[Said]:
    found = record.membership
    best = story.strongest(found)
    if found is None or best is None:
        return
    unlike = [check.title for check in record.checks if check.id in SPLIT_CHECKS and check.status == "failed"]
    if unlike:
        yield Said("membership", "open", f"the two sets differ by themselves: {unlike[0].lower()}, failed")
        return
    telling = [attack for attack in found.attacks if _tells(attack)]
    shown = max(telling, key=lambda attack: attack.auc.value or 0.0, default=best)
    blunt = shown.auc.lower is None or (found.power is not None and found.power.detectable_auc is None)
    sign: Sign = "exposes" if telling else "open" if blunt else "no sign"
    why = (
        f"{attack_name(shown.name)}: AUC {story.estimate_text(shown.auc)}, beyond blind "
        f"{story.estimate_text(shown.excess_over_blind)}, TPR at 1% FPR "
        f"{story.estimate_text(shown.tpr_at_1pct_fpr, share=True)}"
    )
    yield Said("membership", sign, why)
    yield from _dataset_inference(found)


def _tells(attack: Attack) -> bool:
    """Whether an attack knows more than the images alone: on average, or of a few members at 1% false positives."""
    average = (attack.auc.lower or 0) > 0.5 and (attack.excess_over_blind.lower or 0) > 0
    return average or (attack.tpr_at_1pct_fpr.lower or 0) > 0.01


def _dataset_inference(membership: Membership) -> Iterator[Said]:
    found = membership.dataset_inference
    if found is None or found.outcome == "not tested":
        return
    signs: dict[str, Sign] = {"used": "exposes", "not shown": "no sign"}
    p_value = "" if found.p_value is None else f" (p = {found.p_value:.3g})"
    why = f"{found.outcome}, {found.suspects:,} records{p_value}"
    yield Said("dataset inference", signs.get(found.outcome, "open"), why)


def _list(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def _shows(names: list[str]) -> str:
    return "shows" if len(names) == 1 else "show"
