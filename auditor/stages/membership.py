"""Membership: all attacks in one sweep over members and non-members, judged beside a baseline that sees no model."""

from __future__ import annotations

from dataclasses import dataclass

from auditor.store.record import Check, Membership

PART = 128  # images per ledger entry


@dataclass(frozen=True)
class Tested:
    """What membership testing found, and the checks that go with it."""

    membership: Membership | None
    checks: list[Check]
