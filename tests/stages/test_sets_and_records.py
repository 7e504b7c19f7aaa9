"""A micro-audit's dataset inference of listed suspects, and its table of records, as files that others read."""

from __future__ import annotations

from pathlib import Path

import pyarrow.parquet as pq
import pytest

import auditor
from auditor.errors import ConfigError
from auditor.stages.suspects import read_suspects
from auditor.store.digest import file_digest
from auditor.store.record import Record
from tests.micro import micro_config, write_micro_inputs


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("sets")
    write_micro_inputs(path)
    names = sorted(file.stem for file in (path / "train").iterdir())
    (path / "train" / "twin.png").write_bytes((path / "train" / f"{names[5]}.png").read_bytes())
    ids = sorted(file.stem for file in (path / "train").iterdir())
    (path / "suspects.txt").write_text("\n".join(ids[:30]) + "\n")
    return path


@pytest.fixture(scope="module")
def record(folder: Path) -> Record:
    """Every training image a member, and thirty of them suspects."""
    asked = {"members": 10_000, "suspects": str(folder / "suspects.txt")}
    return auditor.run(micro_config(folder, membership=asked), folder / "run")


def test_listed_suspects_are_tested_and_not_convicted_by_an_untrained_network(record: Record):
    found = record.membership.dataset_inference
    assert found.listed and 20 <= found.suspects <= 30
    assert found.outcome == "not shown" and found.p_value > 0.01
    assert 0 < found.blind_p_value <= 1 and found.permutations == 999
    assert found.sizes == [] and found.caught_at_1pct is None  # fewer than 40 suspects
    scores = record.membership.attacks
    assert found.signals >= len(scores) - 1  # every variant of every attack but the combined one


def test_every_training_image_has_its_row(record: Record, folder: Path):
    file = folder / "run" / record.membership.records.file
    assert file_digest(file) == record.membership.records.sha256
    rows = pq.read_table(file).to_pylist()
    assert len(rows) == record.membership.records.records == record.membership.members
    assert len(rows) >= 90  # 96 distinct ones but for near-duplicates of others
    assert sorted(row["times_in_set"] for row in rows)[-2:] == [1, 2]  # the twin
    assert sum(row["slice"] == "calibration" for row in rows) == record.membership.calibration_members
    assert [row["id"] for row in rows[:20]] == [entry.id for entry in record.membership.exposed]


def test_what_the_record_says_of_its_resolution(record: Record):
    """n / (alpha / 2 (m + 1)) in the slice with the most non-members for its members: each has half of the rate."""
    m = record.membership
    records = m.records
    slices = [
        (m.calibration_members, m.calibration_nonmembers),
        (m.members - m.calibration_members, m.nonmembers - m.calibration_nonmembers),
    ]
    least = min(ours / (records.alpha / 2 * (theirs + 1)) for ours, theirs in slices)
    assert records.needed - 1 < least <= records.needed
    assert records.called == 0 and records.score == "combined"


def test_the_set_is_asked_again_only_if_it_changes(record: Record, folder: Path):
    asked = {"members": 10_000, "suspects": str(folder / "suspects.txt")}
    again = auditor.run(micro_config(folder, membership=asked), folder / "run")
    assert again.membership == record.membership
    other = folder / "others.txt"
    other.write_text("\n".join((folder / "suspects.txt").read_text().splitlines()[:25]) + "\n")
    with pytest.raises(ConfigError, match="suspects"):
        auditor.run(micro_config(folder, membership=asked | {"suspects": str(other)}), folder / "run")


def test_without_dataset_inference_there_is_none(folder: Path):
    asked = {"dataset_inference": False, "attacks": ["loss"]}
    found = auditor.run(micro_config(folder, membership=asked), folder / "without").membership
    assert found.dataset_inference is None
    assert [attack.name for attack in found.attacks] == ["loss", "combined"]  # four variants of one attack


def test_bad_lists_are_refused(tmp_path: Path):
    digests = {f"a{row}": bytes([row]) for row in range(30)} | {"twin": bytes([3])}
    file = tmp_path / "ids.txt"
    file.write_text("\n".join([*digests][:25]))
    assert read_suspects(file, digests) == [f"a{row}" for row in range(25)]
    file.write_text("\n".join(["twin", *(f"a{row}" for row in range(25))]))
    assert read_suspects(file, digests) == [f"a{row}" for row in range(25)]  # the twin is image 3 again
    file.write_text("\n".join(["b1", *list(digests)[:25]]))
    with pytest.raises(ConfigError, match="'b1'"):
        read_suspects(file, digests)
    file.write_text("\n".join(list(digests)[:19]))
    with pytest.raises(ConfigError, match="at least 20"):
        read_suspects(file, digests)
    with pytest.raises(ConfigError, match="one id a line"):
        read_suspects(tmp_path / "none.txt", digests)
    assert read_suspects(None, digests) == []
