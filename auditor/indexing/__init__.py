"""The embeddings of a training set, made once, for the audits of many checkpoints."""

from auditor.indexing.build import add_to_index, build_index
from auditor.indexing.merge import merge_indexes
from auditor.indexing.read import IndexInfo, index_info
from auditor.indexing.verify import verify_index

__all__ = ["IndexInfo", "add_to_index", "build_index", "index_info", "merge_indexes", "verify_index"]
