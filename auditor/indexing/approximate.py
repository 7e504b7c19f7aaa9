"""Approximate search over an index: its embeddings as one stack of shards, and a folder beside it that finds rows.

The rows of the approximate index are those of the partitions, one after the other; :func:`index_ids` names them.
"""

from __future__ import annotations

from pathlib import Path

from auditor.indexing.layout import EMBEDDINGS, Manifest, place, read_manifest
from auditor.indexing.read import entries_of, index_digest, read_column
from auditor.progress import Progress
from auditor.search.approximate import AUTO, MEMORY_BYTES, ApproximateIndex, build_approximate, open_approximate
from auditor.search.recall import SAMPLE, measure_recall
from auditor.search.rows import ShardFile, Stacked


def index_vectors(folder: Path | str) -> tuple[Stacked, str]:
    """(embeddings Float32[N D] of a complete index, read where they lie; digest of the index).

    Raises:
      ConfigError: No index there, or partitions missing.
      DataError: A damaged manifest or file.
    """
    folder, manifest = _open(folder)
    entries = [entry for _, entry in entries_of(folder, manifest, manifest.sources)]
    shards = [ShardFile(place(folder, portion) / EMBEDDINGS) for _, portion in manifest.portions]
    return Stacked(shards), index_digest(manifest, entries)


def index_ids(folder: Path | str) -> list[str]:
    """Ids of an index's images, in the order of :func:`index_vectors`."""
    folder, manifest = _open(folder)
    return [name for _, portion in manifest.portions for name in read_column(place(folder, portion), "id")]


def build_lookup(
    folder: Path | str,
    out: Path | str,
    *,
    factory: str = AUTO,
    memory_bytes: int = MEMORY_BYTES,
    probes: int | None = None,
    neighbours: int = 1,
    queries: int = SAMPLE,
    progress: Progress | None = None,
) -> ApproximateIndex:
    """An approximate index over an index's embeddings, with its recall measured; see :func:`build_approximate`.

    Args:
      folder: A complete index.
      out: A folder that does not exist.
      neighbours: k of the recall that is measured.
      queries: Rows of the index that are looked up for it, each without itself.

    Raises:
      ConfigError: An incomplete index, an existing ``out``, or a factory or budget that cannot be.
    """
    vectors, digest = index_vectors(folder)
    index = build_approximate(
        Path(out), vectors, source=digest, factory=factory, memory_bytes=memory_bytes, probes=probes, show=progress
    )
    measure_recall(index, neighbours, sample=queries)
    return index


def open_lookup(folder: Path | str, out: Path | str) -> ApproximateIndex:
    """The approximate index ``out`` of the index in ``folder``, checked; see :func:`open_approximate`."""
    vectors, digest = index_vectors(folder)
    return open_approximate(Path(out), vectors, source=digest)


def _open(folder: Path | str) -> tuple[Path, Manifest]:
    return Path(folder), read_manifest(Path(folder))
