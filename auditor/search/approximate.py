"""Approximate search, for looking single records up among billions; never for a verdict, which is exact.

An index is built from our own embeddings, kept as plain arrays under a manifest of SHA-256 digests, and only proposes:
every similarity that it reports is the float64 inner product of the embeddings. What it finds is therefore real; what
it misses is not known, so its recall is measured on this very index, and a policy says whether that is enough to
conclude that nothing is there (``search.min_recall``).

    folder/approximate.json  the manifest, written last: without it there is no index
    folder/lists/*.npy       see :mod:`auditor.search.lists`
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from auditor.errors import AuditError, ConfigError, DataError
from auditor.probes import generator
from auditor.progress import Progress, Silent
from auditor.search.choice import LEAST_PER_CODEBOOK, Factory, choose_factory, parse_factory
from auditor.search.exact import BLOCK_ROWS, Neighbours, nearest_neighbours, ranked
from auditor.search.index import check_comparable, inner_products, unit_blocks
from auditor.search.lists import inverted, new_index, read_lists, write_lists
from auditor.search.manifest import MANIFEST, Manifest, read_manifest
from auditor.search.rows import Rows
from auditor.store.atomic import partial_of
from auditor.store.digest import file_digest
from auditor.store.parts import Estimate
from auditor.store.run_directory import write_json

AUTO = "auto"
MEMORY_BYTES = 8 * 2**30
PROBED = 64  # one list in so many is searched, at least LEAST_PROBES of them
LEAST_PROBES = 16
RERANKED, LEAST_RERANKED = 10, 128  # candidates per neighbour wanted that float64 ranks, and at least


class ApproximateIndex:
    """An index over the rows of ``vectors``, which it reads to rank what it found; see :func:`open_approximate`."""

    def __init__(self, folder: Path, manifest: Manifest, vectors: Rows, index: Any) -> None:
        self.folder, self.manifest, self.vectors, self._index = folder, manifest, vectors, index

    def __len__(self) -> int:
        return self.manifest.rows

    def search(self, queries: NDArray[np.float32], k: int) -> Neighbours:
        """The most similar rows that the index comes upon, ranked by exact similarity.

        Args:
          queries: Unit vectors, Float32[Q D].
          k: Neighbours wanted, at least 1.

        Returns:
          min(k, N) columns; descending float64 similarity, ties by lower index. Rows may be missing that an exact
          search would have found, with the frequency that :meth:`recall` says.

        Raises:
          DataError: Not float32, not unit vectors, or of another D.
          ConfigError: k < 1.
        """
        check_comparable(queries=queries, index=self.vectors)
        if k < 1:
            raise ConfigError("k", k, "at least 1", "Ask for one neighbour or more.")
        if self._index is None:
            return nearest_neighbours(queries, self.vectors, k)
        k = min(k, len(self))
        parts = [self._ranked(block, k) for _, block in unit_blocks(queries, 1_024, "queries")]
        empty = Neighbours(np.empty((0, k)), np.empty((0, k), np.int64))
        return Neighbours(
            np.concatenate([part.similarity for part in parts or [empty]]),
            np.concatenate([part.index for part in parts or [empty]]),
        )

    def recall(self, k: int) -> Estimate:
        """Share of the k nearest rows that a search finds, as last measured on this index; unscored if it never was."""
        unmeasured = Estimate(name=f"recall at {k}", value=None, unscored="recall was never measured on this index")
        return self.manifest.recall.get(k, unmeasured)

    def keep(self, *, recall: dict[int, Estimate] | None = None, probes: int | None = None) -> None:
        """Write a recall to the manifest, or another number of lists to search, which voids every recall measured."""
        change: dict[str, Any] = {"recall": self.manifest.recall | (recall or {})}
        if probes is not None and probes != self.manifest.probes:
            lists = parse_factory(self.manifest.factory, self.manifest.dim).lists
            if not 1 <= probes <= lists:
                raise ConfigError("probes", probes, f"1 to {lists}, the number of lists", "Ask for another number.")
            change = {"recall": {}, "probes": probes}
        self.manifest = self.manifest.model_copy(update=change)
        write_json(self.folder / MANIFEST, self.manifest.model_dump(mode="json"))

    def _ranked(self, queries: NDArray[np.float32], k: int) -> Neighbours:
        depth = min(len(self), max(RERANKED * k, LEAST_RERANKED))
        rows = self._proposed(queries, depth, self.manifest.probes)
        short = np.flatnonzero(rows[:, k - 1] < 0)  # the lists searched held fewer than k rows
        if len(short):
            lists = parse_factory(self.manifest.factory, self.manifest.dim).lists
            rows[short] = self._proposed(queries[short], depth, lists)
        similarity = np.full(rows.shape, -np.inf)
        for query in range(len(queries)):
            found = np.flatnonzero(rows[query] >= 0)
            there = np.asarray(self.vectors[rows[query, found]])
            similarity[query, found] = inner_products(queries, there, np.arange(len(found)), np.full(len(found), query))
        best = ranked(Neighbours(similarity, rows), k)
        lost = np.flatnonzero(best.index[:, -1] < 0)  # a graph of lists that does not lead to all of them
        if len(lost):
            exact = nearest_neighbours(np.ascontiguousarray(queries[lost]), self.vectors, k)
            best.similarity[lost], best.index[lost] = exact.similarity, exact.index
        return best

    def _proposed(self, queries: NDArray[np.float32], depth: int, probes: int) -> NDArray[np.int64]:
        """Rows Int64[Q depth] by the index's own approximate similarity, -1 where it found no more."""
        inverted(self._index).nprobe = probes
        rows: NDArray[np.int64] = self._index.search(queries, depth)[1]
        return rows


def build_approximate(
    folder: Path,
    vectors: Rows,
    *,
    source: str,
    factory: str = AUTO,
    memory_bytes: int = MEMORY_BYTES,
    probes: int | None = None,
    seed: str = "approximate",
    show: Progress | None = None,
) -> ApproximateIndex:
    """Train an index on a seeded sample of the rows, add all of them, and keep it in a new folder.

    Args:
      folder: Must not exist; appears whole or not at all.
      vectors: Unit vectors, Float32[N D], N >= 1; stream through twice.
      source: Digest of what the embeddings are, asked for again on opening.
      factory: A form of :func:`auditor.search.choice.parse_factory`, or ``"auto"``: by size and memory.
      memory_bytes: Budget of the finished index; half of it bounds the training sample.
      probes: Lists that a query searches; a 64th of them by default, at least 16.
      seed: Of the training sample.
      show: Progress.

    Raises:
      ConfigError: The folder exists, the factory is none of ours, or the budget is too small.
      DataError: Not float32 unit vectors.
      AuditError: The disk is full, or cannot be written.
    """
    check_comparable(vectors=vectors)
    if len(vectors) == 0:
        raise DataError("vectors", "no rows", "at least one", "Embed the images first.")
    if folder.exists():
        raise ConfigError("folder", folder, "a path where nothing is", "Name another folder, or delete this one.")
    rows, dim = vectors.shape
    chosen = choose_factory(rows, dim, memory_bytes) if factory == AUTO else parse_factory(factory, dim)
    if chosen.lists > rows or ("PQ" in chosen.text and rows < LEAST_PER_CODEBOOK):
        expected = f"at most {rows:,} lists, and no PQ below {LEAST_PER_CODEBOOK:,} rows"
        raise ConfigError("index factory", chosen.text, expected, "Leave it at auto, or use Flat: exact search.")
    least = max(chosen.lists, LEAST_PER_CODEBOOK if "PQ" in chosen.text else 0)
    training = max(least, min(chosen.training_rows(rows), memory_bytes // 2 // (4 * dim)))
    index = _trained(chosen, vectors, training, seed, show or Silent()) if chosen.lists else None
    manifest = Manifest(
        factory=chosen.text, rows=rows, dim=dim, source=source, seed=seed, training_rows=training if index else 0,
        probes=min(chosen.lists, probes or max(LEAST_PROBES, chosen.lists // PROBED)), files={},
    )  # fmt: skip
    return ApproximateIndex(folder, _written(folder, index, manifest), vectors, index)


def _trained(factory: Factory, vectors: Rows, training: int, seed: str, show: Progress) -> Any:
    """A FAISS index that holds every row."""
    index = new_index(factory, vectors.shape[1])
    sample = np.sort(generator(seed, "approximate").choice(len(vectors), training, replace=False))
    index.train(np.ascontiguousarray(vectors[sample]))
    with show.stage("index", len(vectors), "row") as meter:
        for _, block in unit_blocks(vectors, BLOCK_ROWS, "vectors"):
            index.add(block)
            meter(len(block))
    return index


def _written(folder: Path, index: Any, manifest: Manifest) -> Manifest:
    """Put an index's files and manifest, completed with their digests, into a folder that appears whole."""
    partial = partial_of(folder)
    try:
        (partial / "lists").mkdir(parents=True)
        files = [] if index is None else write_lists(index, partial / "lists")
        manifest = manifest.model_copy(update={"files": {path.name: file_digest(path) for path in files}})
        write_json(partial / MANIFEST, manifest.model_dump(mode="json"))
        partial.rename(folder)
    except OSError as error:
        got = error.strerror or type(error).__name__
        remedy = "Free some space or name another folder, and build again."
        raise AuditError(str(folder), got, "a folder that can be written", remedy) from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return manifest


def open_approximate(folder: Path, vectors: Rows, *, source: str) -> ApproximateIndex:
    """The index in a folder, whose files are checked against its manifest before a byte of them is used.

    Args:
      folder: As :func:`build_approximate` left it.
      vectors: The rows that it was built from, Float32[N D]; every similarity is computed from them.
      source: Their digest; an index of other embeddings is refused.

    Raises:
      ConfigError: No index there.
      DataError: Damaged or exchanged files, or an index of other embeddings.
    """
    manifest = read_manifest(folder)
    check_comparable(vectors=vectors)
    if (manifest.rows, manifest.dim, manifest.source) != (*vectors.shape, source):
        got = f"{manifest.rows:,} rows of {manifest.dim}, of {manifest.source[:16]}"
        expected = f"{len(vectors):,} rows of {vectors.shape[1]}, of {source[:16]}"
        raise DataError(str(folder), got, expected, "Build it again from these embeddings.")
    factory = parse_factory(manifest.factory, manifest.dim)
    for name, digest in manifest.files.items():
        file = folder / "lists" / name
        if not file.is_file() or file_digest(file) != digest:
            raise DataError(str(file), "missing or changed", f"SHA-256 {digest[:16]}...", "Build the index again.")
    present = {path.name for path in (folder / "lists").iterdir()}
    if present != set(manifest.files):
        extra = ", ".join(sorted(present - set(manifest.files)))
        raise DataError(str(folder), f"files it does not list: {extra}", "only its own", "Build the index again.")
    index = read_lists(factory, manifest.dim, manifest.rows, folder / "lists") if factory.lists else None
    return ApproximateIndex(folder, manifest, vectors, index)
