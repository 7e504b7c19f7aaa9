"""Approximate search: what it reports is exact, what it misses is measured, and its files are checked first."""

from __future__ import annotations

import json
import resource
import signal
from pathlib import Path

import numpy as np
import pytest

from auditor.errors import AuditError, ConfigError, DataError
from auditor.policy import Policy, recall_rule
from auditor.search.approximate import ApproximateIndex, build_approximate, open_approximate
from auditor.search.exact import nearest_neighbours
from auditor.search.manifest import MANIFEST
from auditor.search.recall import measure_recall
from auditor.search.rows import Stacked

ROWS, DIM = 10_240, 32


def unit(rng: np.random.Generator, rows: int, dim: int = DIM) -> np.ndarray:
    vectors = rng.standard_normal((rows, dim)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


@pytest.fixture(scope="module")
def clustered() -> np.ndarray:
    """Rows around 64 centres, as embeddings of images are; the first 20 occur twice."""
    rng = np.random.default_rng(0)
    centres = unit(rng, 64)
    rows = centres[rng.integers(0, 64, ROWS)] + 0.5 * unit(rng, ROWS)
    rows[-20:] = rows[:20]
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


@pytest.mark.parametrize("factory", ["Flat", "IVF32,Flat", "IVF32,SQ8", "IVF32_HNSW8,PQ2", "OPQ2_8,IVF16,PQ2x8"])
def test_a_reopened_index_reports_the_same_exact_similarities(
    tmp_path: Path, clustered: np.ndarray, factory: str
) -> None:
    built = build_approximate(tmp_path / "index", clustered, source="digest", factory=factory)
    again = open_approximate(tmp_path / "index", clustered, source="digest")
    queries = unit(np.random.default_rng(1), 40)
    first, second = built.search(queries, 7), again.search(queries, 7)
    assert np.array_equal(first.index, second.index) and np.array_equal(first.similarity, second.similarity)
    for query, (similarity, index) in enumerate(zip(second.similarity, second.index, strict=True)):
        exact = np.einsum("nd,d->n", clustered[index].astype(np.float64), queries[query].astype(np.float64))
        assert np.abs(similarity - exact).max() < 1e-14  # float64 sums of 32 products
        assert len(set(index.tolist())) == 7
        assert np.array_equal(np.lexsort((index, -similarity)), np.arange(7))


def test_all_lists_searched_give_the_exact_neighbours(tmp_path: Path, clustered: np.ndarray) -> None:
    index = build_approximate(tmp_path / "index", clustered, source="s", factory="IVF32,Flat", probes=32)
    queries = np.concatenate([unit(np.random.default_rng(2), 30), clustered[:5]])
    exact, found = nearest_neighbours(queries, clustered, 9), index.search(queries, 9)
    assert np.array_equal(found.index, exact.index) and np.array_equal(found.similarity, exact.similarity)
    assert found.index[-5:, :2].tolist() == [[row, ROWS - 20 + row] for row in range(5)]  # both copies, lower first


def test_more_neighbours_than_the_lists_searched_hold_are_found_in_the_others(
    tmp_path: Path, clustered: np.ndarray
) -> None:
    few = clustered[:300]
    index = build_approximate(tmp_path / "index", few, source="s", factory="IVF100,Flat", probes=1)
    found = index.search(clustered[:4], 500)  # more than there are
    assert all(sorted(row) == list(range(300)) for row in found.index.tolist())


def test_an_index_is_the_same_over_shards(tmp_path: Path, clustered: np.ndarray) -> None:
    whole = build_approximate(tmp_path / "whole", clustered, source="s", factory="IVF32,SQ8")
    shards = Stacked(np.split(clustered, [100, 100, 7_000]))
    parts = build_approximate(tmp_path / "parts", shards, source="s", factory="IVF32,SQ8")
    assert whole.manifest == parts.manifest
    queries = unit(np.random.default_rng(3), 20)
    assert np.array_equal(whole.search(queries, 5).index, parts.search(queries, 5).index)


def true_recall(index: ApproximateIndex, queries: np.ndarray, k: int) -> float:
    exact, found = nearest_neighbours(queries, np.asarray(index.vectors), k), index.search(queries, k)
    pairs = zip(exact.index.tolist(), found.index.tolist(), strict=True)
    return float(np.mean([len({*true} & {*listed}) / k for true, listed in pairs]))


def test_measured_recall_is_the_true_recall(tmp_path: Path) -> None:
    rng = np.random.default_rng(4)
    vectors, queries = unit(rng, 4_000), unit(rng, 1_500)
    index = build_approximate(tmp_path / "index", vectors, source="s", factory="IVF40,Flat", probes=8)
    all_of_them = measure_recall(index, 1, queries=queries, sample=1_500)
    assert all_of_them.value == pytest.approx(true_recall(index, queries, 1), abs=1e-12)  # no sampling left
    for k in (1, 10):
        truth = true_recall(index, queries, k)
        assert 0.3 < truth < 0.98  # so that there is something to measure
        # 40 measurements at 95%: fewer than 33 that cover it have a probability below 0.1%
        measured = [measure_recall(index, k, queries=queries, sample=200, seed=str(seed)) for seed in range(40)]
        assert sum(estimate.lower <= truth <= estimate.upper for estimate in measured) >= 33
        # the mean of 8,000 trials has a standard error of 0.0056; queries repeat among them
        assert np.mean([estimate.value for estimate in measured]) == pytest.approx(truth, abs=0.025)


def test_rows_asked_for_their_neighbours_leave_themselves_out(tmp_path: Path) -> None:
    # in 32 dimensions random rows have no near neighbours: every row finds itself, few find their nearest other
    vectors = unit(np.random.default_rng(5), 4_000)
    index = build_approximate(tmp_path / "index", vectors, source="s", factory="IVF200,Flat", probes=2)
    assert measure_recall(index, 1, queries=vectors, sample=500).value == 1.0
    assert measure_recall(index, 1, sample=500).upper < 0.5


def test_a_bad_index_cannot_conclude_and_a_good_one_can(tmp_path: Path, clustered: np.ndarray) -> None:
    spread = unit(np.random.default_rng(6), 4_000)
    bad = build_approximate(tmp_path / "bad", spread, source="s", factory="IVF400,Flat", probes=1)
    good = build_approximate(tmp_path / "good", clustered, source="s", factory="IVF32,Flat", probes=16)
    assert recall_rule(bad.recall(1), Policy()).outcome == "cannot conclude"  # not measured yet
    assert measure_recall(bad, 1).upper < 0.5
    assert recall_rule(bad.recall(1), Policy()).outcome == "cannot conclude"
    measure_recall(good, 1)
    assert recall_rule(good.recall(1), Policy()).outcome == "pass"


def test_recall_is_kept_until_the_search_changes(tmp_path: Path, clustered: np.ndarray) -> None:
    index = build_approximate(tmp_path / "index", clustered, source="s", factory="IVF32,Flat")
    estimate = measure_recall(index, 3, sample=100)
    again = open_approximate(tmp_path / "index", clustered, source="s")
    assert again.recall(3) == estimate
    again.keep(probes=4)
    assert again.recall(3).value is None
    assert open_approximate(tmp_path / "index", clustered, source="s").manifest.probes == 4
    with pytest.raises(ConfigError, match="probes: got 33"):
        again.keep(probes=33)


def test_recall_of_a_single_row_is_unscored(tmp_path: Path) -> None:
    index = build_approximate(tmp_path / "index", unit(np.random.default_rng(7), 1), source="s")
    assert measure_recall(index, 5).value is None
    assert recall_rule(measure_recall(index, 5), Policy()).outcome == "cannot conclude"


@pytest.mark.parametrize("name", ["codes.npy", "ids.npy", "centroids.npy", "sizes.npy", "codebook.npy"])
def test_a_changed_file_is_refused(tmp_path: Path, clustered: np.ndarray, name: str) -> None:
    build_approximate(tmp_path / "index", clustered, source="s", factory="IVF32,SQ8")
    file = tmp_path / "index" / "lists" / name
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    with pytest.raises(DataError, match=name):
        open_approximate(tmp_path / "index", clustered, source="s")
    file.unlink()
    with pytest.raises(DataError, match=name):
        open_approximate(tmp_path / "index", clustered, source="s")


def test_arrays_that_do_not_fit_are_refused_even_if_the_manifest_vouches_for_them(
    tmp_path: Path, clustered: np.ndarray
) -> None:
    from auditor.store.digest import file_digest

    folder = tmp_path / "index"
    build_approximate(folder, clustered, source="s", factory="IVF32,Flat")
    manifest = json.loads((folder / MANIFEST).read_text())
    for name, wrong in {
        "ids": np.full(ROWS, 2**40),
        "sizes": np.full(32, -1),
        "codes": np.zeros((ROWS, 7), np.uint8),
        "centroids": np.zeros((31, DIM), np.float32),
    }.items():
        file = folder / "lists" / f"{name}.npy"
        before = file.read_bytes()
        np.save(file, wrong)
        changed = manifest | {"files": manifest["files"] | {file.name: file_digest(file)}}
        (folder / MANIFEST).write_text(json.dumps(changed))
        with pytest.raises(DataError, match=r"other arrays|no permutation"):
            open_approximate(folder, clustered, source="s")
        file.write_bytes(before)
    (folder / MANIFEST).write_text(json.dumps(manifest))
    assert len(open_approximate(folder, clustered, source="s")) == ROWS  # negative control: restored, it opens


def test_a_file_that_is_not_its_own_is_refused(tmp_path: Path, clustered: np.ndarray) -> None:
    import faiss

    build_approximate(tmp_path / "index", clustered, source="s", factory="IVF32,Flat")
    foreign = faiss.IndexFlatIP(DIM)
    faiss.write_index(foreign, str(tmp_path / "index" / "lists" / "foreign.index"))
    with pytest.raises(DataError, match="foreign"):
        open_approximate(tmp_path / "index", clustered, source="s")


def test_an_index_of_other_embeddings_is_refused(tmp_path: Path, clustered: np.ndarray) -> None:
    build_approximate(tmp_path / "index", clustered, source="one", factory="IVF32,Flat")
    for vectors, source in ((clustered, "two"), (clustered[:-1], "one")):
        with pytest.raises(DataError, match="from these embeddings"):
            open_approximate(tmp_path / "index", vectors, source=source)
    with pytest.raises(ConfigError, match="Build the index first"):
        open_approximate(tmp_path / "nothing", clustered, source="one")
    (tmp_path / "index" / MANIFEST).write_text("{")
    with pytest.raises(DataError, match="damaged"):
        open_approximate(tmp_path / "index", clustered, source="one")


def test_what_cannot_be_built_is_refused_and_leaves_nothing(tmp_path: Path, clustered: np.ndarray) -> None:
    for factory, match in (
        ("IVF99999,Flat", "at most 10,240 lists"),
        ("IVF8,PQ5", "divide 32"),
        ("IVF0,Flat", "at least one list"),
        ("HNSW32", "or"),
        ("IVF8,Flat;rm", "or"),
    ):
        with pytest.raises(ConfigError, match=match):
            build_approximate(tmp_path / "index", clustered, source="s", factory=factory)
    with pytest.raises(ConfigError, match="no PQ below"):
        build_approximate(tmp_path / "index", clustered[:500], source="s", factory="IVF8,PQ8")
    with pytest.raises(DataError, match="no rows"):
        build_approximate(tmp_path / "index", clustered[:0], source="s")
    wrong = clustered.copy()
    wrong[9_000] = np.nan
    with pytest.raises(DataError, match="9000"):
        build_approximate(tmp_path / "index", wrong, source="s", factory="IVF8,Flat")
    assert list(tmp_path.iterdir()) == []
    build_approximate(tmp_path / "index", clustered, source="s", factory="IVF8,Flat")
    with pytest.raises(ConfigError, match="nothing is"):
        build_approximate(tmp_path / "index", clustered, source="s", factory="IVF8,Flat")


def test_a_full_disk_is_an_error_that_leaves_nothing(tmp_path: Path, clustered: np.ndarray) -> None:
    # files of this process may take 200,000 bytes: the codes take 1.3 MB
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, before[1]))
    try:
        with pytest.raises(AuditError, match="can be written"):
            build_approximate(tmp_path / "index", clustered, source="s", factory="IVF32,Flat")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, ignored)
    assert list(tmp_path.iterdir()) == []
