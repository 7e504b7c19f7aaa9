"""Audit image diffusion checkpoints for training-data exposure.

import auditor
config = auditor.read_config("audit.toml")
record = auditor.run(config, "runs/mine")
record.judgement.outcome                      # "pass", "fail" or "cannot conclude"
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from auditor.audit import judge_run, read_record, run
    from auditor.canaries.make import make_canaries
    from auditor.cliques import CliquesConfig, find_cliques, read_cliques
    from auditor.comparing import compare, read_compared
    from auditor.comparison_config import ComparisonConfig, read_comparison
    from auditor.config import AuditConfig, EncoderConfig, read_config
    from auditor.extracting import extract
    from auditor.extraction_config import ExtractionConfig
    from auditor.finding import find_in_index
    from auditor.indexing import IndexInfo, add_to_index, build_index, index_info, merge_indexes, verify_index
    from auditor.looking_up import lookup
    from auditor.planning import plan
    from auditor.policy import Policy, judge, read_policy
    from auditor.ranking import rank_prompts
    from auditor.ranking_config import RankingConfig
    from auditor.splitting import split
    from auditor.store.comparison import Comparison
    from auditor.store.record import Record

__all__ = [
    "AuditConfig", "CliquesConfig", "Comparison", "ComparisonConfig", "ExtractionConfig", "Policy", "Record", "compare",
    "extract", "find_cliques", "find_in_index", "RankingConfig", "rank_prompts",
    "judge", "judge_run", "lookup", "make_canaries", "plan", "read_cliques", "read_compared", "read_comparison",
    "read_config", "read_policy", "read_record", "run", "split",
    "EncoderConfig", "IndexInfo", "add_to_index", "build_index", "index_info", "merge_indexes", "verify_index",
]  # fmt: skip

_HOME = {
    "EncoderConfig": "auditor.config", "IndexInfo": "auditor.indexing", "add_to_index": "auditor.indexing",
    "build_index": "auditor.indexing", "index_info": "auditor.indexing", "merge_indexes": "auditor.indexing",
    "verify_index": "auditor.indexing",
    "AuditConfig": "auditor.config", "read_config": "auditor.config", "Record": "auditor.store.record",
    "Policy": "auditor.policy", "judge": "auditor.policy", "read_policy": "auditor.policy",
    "make_canaries": "auditor.canaries.make", "plan": "auditor.planning", "split": "auditor.splitting",
    "Comparison": "auditor.store.comparison", "ComparisonConfig": "auditor.comparison_config",
    "read_comparison": "auditor.comparison_config",
    "CliquesConfig": "auditor.cliques", "find_cliques": "auditor.cliques", "read_cliques": "auditor.cliques",
    "compare": "auditor.comparing", "read_compared": "auditor.comparing",
    "lookup": "auditor.looking_up", "extract": "auditor.extracting", "ExtractionConfig": "auditor.extraction_config",
    "find_in_index": "auditor.finding",
    "rank_prompts": "auditor.ranking", "RankingConfig": "auditor.ranking_config",
    "run": "auditor.audit", "judge_run": "auditor.audit", "read_record": "auditor.audit",
}  # fmt: skip


def __getattr__(name: str) -> Any:
    """Load a public name on first use: torch and diffusers cost seconds that `auditor --help` need not spend."""
    if name not in _HOME:
        raise AttributeError(f"module 'auditor' has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)
