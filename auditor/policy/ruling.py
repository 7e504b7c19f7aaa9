"""One rule applied to a record, and how several of them combine."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum

from auditor.store.parts import Outcome, Outcomed
from auditor.store.record import Rule

RETRAIN = (
    "Remove the listed images or their repeats from the training set (repeated images are the first to be "
    "memorised), train again, and audit the new checkpoint."
)


class Precedence(IntEnum):
    """What decides when rules disagree: the lowest one present.

    An unsafe artifact and an error come before all of these; they end an audit with an exception, so no record of
    such an audit exists. Verbatim evidence stands above the checks because it needs no held-out set: a bad held-out
    set, supplied by mistake or on purpose, cannot turn it into "cannot conclude".
    """

    VERBATIM = 0
    BLOCKED = 1
    FAIL = 2
    CANNOT_CONCLUDE = 3
    PASS = 4


BY_OUTCOME: dict[Outcome, Precedence] = {
    "fail": Precedence.FAIL,
    "cannot conclude": Precedence.CANNOT_CONCLUDE,
    "pass": Precedence.PASS,
}


@dataclass(frozen=True)
class Ruling:
    """A rule with its outcome, what could be done about it, and its rank among the others."""

    rule: Rule
    precedence: Precedence
    remedy: str = ""


def ruling(
    id: str, title: str, outcome: Outcome, statement: str, remedy: str = "", precedence: Precedence | None = None
) -> Ruling:
    """A ruling ranked by its outcome, unless it has a rank of its own."""
    rule = Rule(id=id, title=title, outcome=outcome, statement=statement)
    return Ruling(rule, BY_OUTCOME[outcome] if precedence is None else precedence, remedy)


def combine(rulings: Sequence[Ruling]) -> Outcomed:
    """The outcome of several rulings: that of the first by precedence; its like give the reasons.

    Raises:
      ValueError: No ruling at all, from which nothing follows.
    """
    if not rulings:
        raise ValueError("nothing was ruled")
    deciding = min(ruling.precedence for ruling in rulings)
    outcome = next(ruling.rule.outcome for ruling in rulings if ruling.precedence == deciding)
    alike = [ruling for ruling in rulings if ruling.rule.outcome == outcome]
    alike.sort(key=lambda ruling: ruling.precedence)  # stable: the order of the rules holds within a rank
    remedies = [] if outcome == "pass" else [ruling.remedy for ruling in alike if ruling.remedy]
    return Outcomed(
        outcome=outcome, reasons=[ruling.rule.statement for ruling in alike], remedies=list(dict.fromkeys(remedies))
    )
