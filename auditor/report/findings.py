"""What an audit found, one finding per fact, in plain words, the most severe first."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Literal

from auditor.report import kinds
from auditor.report.given import probe_name
from auditor.store.record import Check, Competition, CopyEvidence, Judgement, Record
from auditor.store.wording import count

Severity = Literal["critical", "high", "medium", "low", "note"]
SEVERITIES: tuple[Severity, ...] = ("critical", "high", "medium", "low", "note")
TIER_SEVERITY: dict[str, Severity] = {"verbatim": "critical", "certified": "high", "suspect": "low"}


@dataclass(frozen=True)
class Finding:
    """One fact about a checkpoint or about its audit.

    ``id`` is the same in every rendering and every repetition of the audit: a digest of rule, training id and probe.
    """

    id: str
    rule: str
    severity: Severity
    statement: str
    training_id: str | None = None
    probe: int | None = None


def finding(
    rule: str, severity: Severity, statement: str, training_id: str | None = None, probe: int | None = None
) -> Finding:
    """A finding with the id that follows from its rule, training id and probe."""
    key = "\0".join(str(part) for part in (rule, training_id, probe))
    return Finding(hashlib.sha256(key.encode()).hexdigest()[:16], rule, severity, statement, training_id, probe)


def findings(record: Record) -> list[Finding]:
    """Copies, failed rules and failed checks of a record, most severe first; within a severity, in record order.

    A training image that several encoders point at is one finding, under the first encoder that gives it its
    highest tier. Rules need ``record.judgement``; without one, only what the record itself states is listed.
    """
    rules = _rules(record.judgement) if record.judgement else ()
    name = partial(probe_name, record)
    found = [*rules, *_copies(record.copies, name), *_closer(record.copies, name), *_checks(record.checks)]
    return sorted(found, key=lambda item: SEVERITIES.index(item.severity))


def _copies(copies: list[Competition], name: Callable[[int], str]) -> Iterator[Finding]:
    best: dict[str, tuple[CopyEvidence, Competition]] = {}
    tiers = list(TIER_SEVERITY)
    for competition in copies:
        for evidence in competition.evidence:
            kept = best.get(evidence.id)
            if kept is None or tiers.index(evidence.tier) < tiers.index(kept[0].tier):
                best[evidence.id] = (evidence, competition)
    for evidence, competition in best.values():
        statement = copy_statement(evidence, competition, name(evidence.probe))
        severity = TIER_SEVERITY[evidence.tier]
        yield finding(f"copies.{evidence.tier}", severity, statement, evidence.id, evidence.probe)


def _closer(copies: list[Competition], name: Callable[[int], str]) -> Iterator[Finding]:
    """Certified parts and blends, once per training image and kind of search; grave only where their bound says so."""
    seen: set[tuple[str, str]] = set()
    for competition in copies:
        for search in competition.closer:
            severity: Severity = "high" if (search.lower_bound.value or 0) > 0 else "medium"
            for item in search.evidence:
                if item.certified and (search.what, item.id) not in seen:
                    seen.add((search.what, item.id))
                    said = f"Training image {item.id} in {name(item.probe)}: {kinds.statement(item)}."
                    yield finding(f"copies.{search.what}.item", severity, said, item.id, item.probe)


def copy_statement(evidence: CopyEvidence, competition: Competition, generation: str) -> str:
    """One sentence on a training image and the generation nearest to it, which is called ``generation``."""
    times = f", which stands {len(evidence.members)} times in the training set," if len(evidence.members) > 1 else ""
    subject = f"Training image {evidence.id}{times}"
    measured = f"similarity {evidence.similarity:.4f} under {competition.encoder}, margin {evidence.margin:+.4f}"
    if evidence.tier == "verbatim":
        turned = ", mirrored," if evidence.kind == "mirrored" else ""
        return f"{subject} came back verbatim{turned} from {generation} ({measured})."
    if evidence.tier == "certified":
        rank = "" if evidence.q_value is None else f", q = {evidence.q_value:.3g}"
        landing = count(evidence.probes_landing, "generation")
        kind = kinds.WORDS[evidence.kind or "near"]
        return f"{subject} is a certified {kind} of {generation} ({measured}{rank}; {landing} nearest to it)."
    return f"{subject} resembles {generation} ({measured}), but is not certified: {evidence.why}"


def _checks(checks: list[Check]) -> Iterator[Finding]:
    for check in checks:
        under = f".{check.encoder}" if check.encoder else ""
        if check.status == "failed":
            yield finding(f"validity.{check.id}{under}", "medium", f"{check.title} failed: {check.statement}")
        if check.status == "not tested":
            yield finding(f"validity.{check.id}{under}", "note", f"{check.title} was not tested: {check.statement}")


def _rules(judgement: Judgement) -> Iterator[Finding]:
    """Failed rules about the model as a whole; those about images and checks are listed one by one above."""
    for rule in judgement.rules:
        if rule.outcome == "fail" and rule.id != "copies.verbatim":
            yield finding(rule.id, "high", rule.statement)
        if rule.outcome == "cannot conclude" and not rule.id.startswith("validity."):
            yield finding(rule.id, "note", rule.statement)
