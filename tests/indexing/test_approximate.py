"""An index's embeddings looked up approximately: the same rows, ids and digest, through the command line too."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from auditor.cli.main import main
from auditor.errors import ConfigError, DataError
from auditor.indexing import IndexInfo, add_to_index, index_info
from auditor.indexing.approximate import build_lookup, index_ids, index_vectors, open_lookup
from auditor.indexing.read import read_embeddings, read_rows
from auditor.search.exact import nearest_neighbours
from auditor.search.manifest import MANIFEST
from tests.indexing.pictures import write_pictures

Build = Callable[..., IndexInfo]


def test_vectors_and_ids_are_those_of_the_partitions(build: Build, pictures: Path, tmp_path: Path) -> None:
    build(pictures, tmp_path / "index")
    vectors, digest = index_vectors(tmp_path / "index")
    folders = sorted((tmp_path / "index" / "partitions").iterdir())
    assert np.array_equal(np.asarray(vectors), np.concatenate([read_embeddings(folder) for folder in folders]))
    assert index_ids(tmp_path / "index") == [name for folder in folders for name in read_rows(folder).ids]
    assert digest == index_info(tmp_path / "index").digest


def test_a_lookup_finds_what_exact_search_finds_and_is_void_once_the_index_grows(
    build: Build, pictures: Path, tmp_path: Path
) -> None:
    build(pictures, tmp_path / "index")
    built = build_lookup(tmp_path / "index", tmp_path / "lookup", factory="IVF8,Flat", probes=8, neighbours=3)
    assert built.recall(3).value == 1.0  # all eight lists are searched
    vectors, _ = index_vectors(tmp_path / "index")
    queries = np.asarray(vectors[:9])
    found = open_lookup(tmp_path / "index", tmp_path / "lookup").search(queries, 4)
    assert np.array_equal(found.index, nearest_neighbours(queries, vectors, 4).index)
    add_to_index(tmp_path / "index", write_pictures(tmp_path / "more", 5, seed=1, prefix="b"), partition_size=16)
    with pytest.raises(DataError, match="from these embeddings"):
        open_lookup(tmp_path / "index", tmp_path / "lookup")


def test_an_incomplete_index_has_no_vectors(build: Build, pictures: Path, tmp_path: Path) -> None:
    build(pictures, tmp_path / "index")
    shutil.rmtree(tmp_path / "index" / "partitions" / "00002")
    with pytest.raises(ConfigError, match="00002"):
        index_vectors(tmp_path / "index")


def test_the_command_says_what_the_recall_is_worth(
    build: Build, pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    build(pictures, tmp_path / "index")
    asked = ["index", "approximate", str(tmp_path / "index"), "--queries", "60", "--out"]
    assert main([*asked, str(tmp_path / "exact")]) == 0
    shown = capsys.readouterr().out
    assert "Flat: exact search" in shown and "67 of" in shown
    assert "cannot conclude" in shown  # none of 60 missed: the lower bound is 0.940, and 0.95 is asked for
    (tmp_path / "policy.toml").write_text("[search]\nmin_recall = 0.9\n")
    assert main([*asked, str(tmp_path / "lenient"), "--policy", str(tmp_path / "policy.toml")]) == 0
    assert "pass: " in capsys.readouterr().out
    assert json.loads((tmp_path / "exact" / MANIFEST).read_text())["factory"] == "Flat"
    assert main([*asked, str(tmp_path / "exact")]) == 4  # it exists
    assert main([*asked, str(tmp_path / "bad"), "--factory", "HNSW32"]) == 4
    assert not (tmp_path / "bad").exists()
