"""Whether an approximate index finds enough for its silence to mean something."""

from __future__ import annotations

from auditor.policy.ruling import combine, ruling
from auditor.policy.schema import Policy
from auditor.store.parts import Estimate, Outcomed
from auditor.store.wording import missing, percent

EXACTLY = "Search exactly, which misses nothing"


def recall_rule(recall: Estimate, policy: Policy) -> Outcomed:
    """Whether "no near duplicate was found" may be concluded from an approximate search.

    Args:
      recall: As measured on the very index (:func:`auditor.search.recall.measure_recall`).
      policy: ``search.min_recall`` and ``power.min_level``.

    Returns:
      Pass, or *cannot conclude*: never measured, a lower bound under the policy's, or an interval of a lower level.
      It bears on silence alone: what was found has an exact similarity and stays a finding.
    """
    title, wanted = "Recall of the index", percent(policy.search.min_recall)
    if recall.lower is None or recall.value is None:
        statement = f"It is not known what the approximate index misses: {missing(recall)}."
        rule = ruling("search.recall", title, "cannot conclude", statement, f"Measure its recall. {EXACTLY}.")
        return combine([rule])
    level = percent(recall.level or 0)
    statement = (
        f"The approximate index finds at least {percent(recall.lower)} of nearest rows ({level} confidence, "
        f"{recall.n:,} queries); the policy asks for {wanted}."
    )
    if (recall.level or 0) < policy.power.min_level:
        statement = f"{statement[:-1]} at {percent(policy.power.min_level)} confidence."
        remedy = "Measure its recall at the level that the policy asks for."
        return combine([ruling("search.recall", title, "cannot conclude", statement, remedy)])
    if recall.lower < policy.search.min_recall:
        more = "measure it on more queries" if recall.value >= policy.search.min_recall else "search more of its lists"
        remedy = f"{EXACTLY}; or {more}, and measure again."
        return combine([ruling("search.recall", title, "cannot conclude", statement, remedy)])
    return combine([ruling("search.recall", title, "pass", statement)])
