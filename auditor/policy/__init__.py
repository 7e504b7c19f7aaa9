"""What a release needs, and what a record is worth under it: the one place where verdicts are made."""

from auditor.policy.copies import copies_rule, primary_competition
from auditor.policy.membership import membership_rule
from auditor.policy.schema import DEFAULT_NAME, Policy, default_policy_text, read_policy
from auditor.policy.search import recall_rule
from auditor.policy.verdict import judge

__all__ = [
    "DEFAULT_NAME",
    "Policy",
    "copies_rule",
    "default_policy_text",
    "judge",
    "membership_rule",
    "primary_competition",
    "read_policy",
    "recall_rule",
]
