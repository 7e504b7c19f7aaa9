"""The verdict: what a policy makes of a record."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from auditor.errors import EXIT_CANNOT_CONCLUDE, EXIT_FAIL, EXIT_PASS
from auditor.policy.copies import copies_rulings, primary_competition
from auditor.policy.membership import membership_rulings
from auditor.policy.ruling import Precedence, Ruling, combine
from auditor.policy.schema import DEFAULT_NAME, Policy
from auditor.policy.validity import probes_ruling, validity_rulings
from auditor.store.parts import Outcome
from auditor.store.record import Judgement, Record
from auditor.store.wording import percent

WITHHOLD = "Do not publish this checkpoint."
WITHHOLD_MAKER = "Do not publish the model that made these images."

EXIT_CODES: dict[Outcome, int] = {"pass": EXIT_PASS, "fail": EXIT_FAIL, "cannot conclude": EXIT_CANNOT_CONCLUDE}


def judge(record: Record, policy: Policy, name: str = DEFAULT_NAME) -> Judgement:
    """The judgement of a record under a policy, from the record's numbers alone.

    Precedence: fail by verbatim evidence, failed blocking check, fail, cannot conclude, pass. An unsafe artifact and
    an error precede all of them; they leave no record to judge.

    Args:
      record: A complete record; outcomes it already carries are not consulted.
      policy: The limits to judge by, which need not be those of the audit.
      name: How to call the policy in the judgement: its path, or "default".

    Returns:
      Outcome, exit code (0 pass, 1 fail, 3 cannot conclude), one sentence of reason, every rule, and remedies.
    """
    rulings = [
        *copies_rulings(record.copies, policy),
        *membership_rulings(record.membership, policy, asked=membership_asked(record), network=record.images is None),
        *validity_rulings(record, policy),
        probes_ruling(record, policy),
    ]
    combined = combine(rulings)
    withhold = WITHHOLD_MAKER if record.images else WITHHOLD
    return Judgement(
        policy=name,
        outcome=combined.outcome,
        exit_code=EXIT_CODES[combined.outcome],
        reason=_reason(record, rulings, combined.reasons),
        rules=[ruling.rule for ruling in rulings],
        remedies=[withhold, *combined.remedies] if combined.outcome == "fail" else combined.remedies,
    )


def membership_asked(record: Record) -> bool:
    """Whether the audit's configuration had membership tested; no for a record that does not say."""
    section = record.config.get("membership")
    return isinstance(section, Mapping) and section.get("enabled") is True


def _reason(record: Record, rulings: Sequence[Ruling], reasons: Sequence[str]) -> str:
    """One sentence: what decided, in the words of the rule that did."""
    deciding = min(ruling.precedence for ruling in rulings)
    if deciding == Precedence.PASS:
        return _reason_to_pass(record)
    if deciding == Precedence.BLOCKED:
        return f"The audit cannot be relied on: {_lower_first(reasons[0])}"
    further = len(reasons) - 1
    if further == 0:
        return reasons[0]
    return f"{reasons[0].removesuffix('.')} ({further} further reason{'s' if further > 1 else ''} below)."


def _reason_to_pass(record: Record) -> str:
    """What a pass rests on; the primary competition exists, for without it nothing passes."""
    primary = primary_competition(record.copies)
    if primary is None or primary.copy_rate.upper is None:
        raise ValueError("a pass without a resolving encoder")
    found = (
        f"No training image is shown to be reproduced in {record.generation.probes:,} "
        f"{'images made elsewhere' if record.images else 'generations'} (copies make up at "
        f"most {percent(primary.copy_rate.upper)} of them)"
    )
    if record.membership is None:
        return f"{found}; membership was not tested, and the policy does not ask for it."
    return f"{found}, and no membership attack exceeds the policy."


def _lower_first(sentence: str) -> str:
    return sentence[:1].lower() + sentence[1:]
