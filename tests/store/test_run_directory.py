"""The run directory keeps finished work, redoes unfinished work, and refuses another specification."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from auditor.errors import ConfigError, DataError
from auditor.store.digest import file_digest, value_digest
from auditor.store.run_directory import RunDirectory, differences

SPECIFICATION = {"generation": {"steps": 50, "sampler": "ddim"}, "inputs": {"train": "ab"}}


def open_run(path: Path, specification: dict[str, object] = SPECIFICATION, salt: str = "s") -> RunDirectory:
    return RunDirectory.open(path, specification, salt)


def test_finished_work_is_not_done_again(tmp_path: Path) -> None:
    calls = []

    def compute() -> dict[str, np.ndarray]:
        calls.append(1)
        return {"x": np.arange(3)}

    for _ in range(3):
        assert open_run(tmp_path / "r").arrays("stage/0", {"a": 1}, compute)["x"].tolist() == [0, 1, 2]
    assert len(calls) == 1


def test_another_key_is_computed_anew(tmp_path: Path) -> None:
    run = open_run(tmp_path / "r")
    assert run.value("stage", {"a": 1}, lambda: "first") == "first"
    assert run.value("stage", {"a": 2}, lambda: "second") == "second"


@pytest.mark.parametrize("damage", ["delete", "change", "truncate"])
def test_damaged_files_are_computed_anew(tmp_path: Path, damage: str) -> None:
    run = open_run(tmp_path / "r")
    run.arrays("stage", 1, lambda: {"x": np.arange(100)})
    file = tmp_path / "r" / "stage" / "x.npy"
    content = file.read_bytes()
    if damage == "delete":
        file.unlink()
    else:
        file.write_bytes(content[:-8] if damage == "truncate" else content[:-1] + b"\x01")
    assert run.arrays("stage", 1, lambda: {"x": np.arange(100)})["x"].tolist() == list(range(100))
    assert file.read_bytes() == content


def test_work_without_a_ledger_entry_is_computed_anew(tmp_path: Path) -> None:
    """A kill between the files and their entry must not leave half a piece that counts as done."""
    run = open_run(tmp_path / "r")
    run.arrays("stage", 1, lambda: {"x": np.zeros(2)})
    (tmp_path / "r" / "ledger" / "stage.json").unlink()
    assert run.arrays("stage", 1, lambda: {"x": np.ones(2)})["x"].tolist() == [1, 1]


@pytest.mark.parametrize("content", [b"", b"\xff", b"[]", b"{}", b'{"key": 1, "files": 2}', b'{"key": 1}'])
def test_a_damaged_ledger_entry_counts_as_none(tmp_path: Path, content: bytes) -> None:
    run = open_run(tmp_path / "r")
    run.arrays("stage", 1, lambda: {"x": np.zeros(2)})
    (tmp_path / "r" / "ledger" / "stage.json").write_bytes(content)
    assert run.arrays("stage", 1, lambda: {"x": np.ones(2)})["x"].tolist() == [1, 1]


@pytest.mark.parametrize("content", [b"", b"\xff", b"[]", b"{}", b'{"specification": {}, "salt": 1, "started": "x"}'])
def test_a_damaged_state_is_refused(tmp_path: Path, content: bytes) -> None:
    open_run(tmp_path / "r")
    (tmp_path / "r" / "run.json").write_bytes(content)
    with pytest.raises(DataError, match=r"run\.json: got damaged content"):
        open_run(tmp_path / "r")


def test_salt_is_that_of_the_beginning(tmp_path: Path) -> None:
    assert open_run(tmp_path / "r", salt="first").salt == "first"
    assert open_run(tmp_path / "r", salt="second").salt == "first"


def test_changed_option_is_refused_with_its_old_and_new_value(tmp_path: Path) -> None:
    open_run(tmp_path / "r")
    changed = {"generation": {"steps": 20, "sampler": "ddim"}, "inputs": {"train": "ab"}}
    with pytest.raises(ConfigError, match=r"generation\.steps: 50 -> 20") as caught:
        open_run(tmp_path / "r", changed)
    assert caught.value.exit_code == 4
    assert "sampler" not in str(caught.value)


def test_foreign_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").touch()
    with pytest.raises(ConfigError, match="empty folder"):
        open_run(tmp_path)


def test_differences_name_added_and_removed_keys() -> None:
    assert differences({"a": 1, "b": {"c": 2}}, {"b": {"c": 2, "d": 3}}) == [
        "a: 1 -> 'absent'", "b.d: 'absent' -> 3",
    ]  # fmt: skip
    assert differences(SPECIFICATION, SPECIFICATION) == []


def test_value_digest_ignores_key_order_only() -> None:
    assert value_digest({"a": 1, "b": 2}) == value_digest({"b": 2, "a": 1})
    assert value_digest({"a": 1}) != value_digest({"a": 2})
    assert value_digest({"a": 1}) != value_digest({"a": "1"})


def test_file_digest_is_sha256(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"abc")
    # FIPS 180-4, example for the one-block message "abc"
    assert file_digest(tmp_path / "f") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
