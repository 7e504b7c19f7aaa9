"""What a policy makes of parts and blends: a checkpoint that shows pieces of its training images shows those images."""

from __future__ import annotations

from collections.abc import Sequence

from auditor.policy.ruling import RETRAIN, Ruling, ruling
from auditor.policy.schema import Policy
from auditor.store.kinds import KindSearch
from auditor.store.record import Competition
from auditor.store.wording import count, percent

DONE = {"parts": "repeated in part or whole", "blends": "blended with other pictures"}
SURE = 0.025  # the rate at which an item must be certified to withhold a pass without a bound: 5% over both searches


def closer_rulings(primary: Competition, policy: Policy) -> list[Ruling]:
    """A rule for each search that shows something; none where nothing is shown, or nobody looked.

    Fails if the lower bound exceeds ``max_copies``; cannot conclude if it does not, but is above zero, or if an item is
    certified at 2.5% even. Items certified at the audit's own rate alone are findings: these lists come on top of that
    of whole copies, and any call on any of three at 0.10 would withhold a pass from a quarter of clean checkpoints.
    """
    return [found for search in primary.closer for found in _rulings(search, policy.copies.max_copies)]


def _rulings(search: KindSearch, allowed: int) -> Sequence[Ruling]:
    least, done = int(search.lower_bound.value or 0), DONE[search.what]
    level = percent(search.lower_bound.level or 0.0)
    id, title = f"copies.{search.what}", f"No training image {done}"
    if least > 0:
        images = f"{count(least, 'distinct training image')} {'is' if least == 1 else 'are'}"
        statement = f"At least {images} {done} ({level} confidence); the policy allows {allowed:,}."
        return [ruling(id, title, "fail" if least > allowed else "cannot conclude", statement, RETRAIN)]
    sure = [item for item in search.evidence if item.certified and item.q_value is not None and item.q_value <= SURE]
    if not sure:
        return []
    images = f"{count(len(sure), 'training image')} {'is' if len(sure) == 1 else 'are'}"
    statement = f"{images} certified as {done} (false discovery rate {percent(SURE)}), without a bound above zero."
    return [ruling(id, title, "cannot conclude", statement, f"Look at the pairs. {RETRAIN}")]
