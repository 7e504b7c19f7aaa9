"""The fixtures are what their README says: digests, sizes, disjoint sets, truth."""

from __future__ import annotations

import hashlib
import io
import json
from pathlib import Path

import pytest

from auditor.data import Geometry, open_source, survey
from auditor.store.digest import file_digest

GREY = Geometry(1, 16, 16)
SETS = {
    "memorized/train": ("memorized/train", 128, 128),
    "memorized/holdout": ("memorized/holdout", 3500, None),
    "partial/train": ("partial/train.tar", 3560, 2000),
    "partial/holdout": ("partial/holdout.tar", 4000, None),
    "general/train-a": ("general/train-a.parquet", 20000, None),
    "general/train-b": ("general/train-b.parquet", 20000, None),
    "general/holdout": ("general/holdout.parquet", 20000, None),
}


def ids_and_digests(fixtures: Path, name: str) -> dict[str, bytes]:
    id_column = "id" if name.startswith("general") else None
    return survey(open_source(fixtures / SETS[name][0], GREY, id_column=id_column)).digests


def test_files_have_their_digests(fixtures: Path) -> None:
    lines = (fixtures / "SHA256SUMS").read_text().splitlines()
    assert len(lines) > 20
    for line in lines:
        digest, _, name = line.partition("  ")
        assert file_digest(fixtures / name) == digest, name


@pytest.mark.parametrize("name", SETS)
def test_sizes(fixtures: Path, name: str) -> None:
    digests = ids_and_digests(fixtures, name)
    _, images, distinct = SETS[name]
    assert len(digests) == images
    assert distinct is None or len(set(digests.values())) == distinct


def test_no_image_is_in_two_sets(fixtures: Path) -> None:
    seen: dict[bytes, str] = {}
    for name in SETS:
        for digest in set(ids_and_digests(fixtures, name).values()):
            assert seen.setdefault(digest, name) == name


def test_image_folders_have_the_digest_of_images_json(fixtures: Path) -> None:
    expected = json.loads((fixtures / "images.json").read_text())
    for name in ("memorized/train", "memorized/holdout"):
        stream = io.BytesIO()
        for file in sorted((fixtures / name).iterdir()):
            stream.write(file.stem.encode() + file.read_bytes())
        assert hashlib.sha256(stream.getvalue()).hexdigest() == expected[name]["sha256_of_ids_and_png_bytes"]


def test_truth_names_the_repeated_images(fixtures: Path) -> None:
    truth = json.loads((fixtures / "partial" / "truth.json").read_text())
    digests = ids_and_digests(fixtures, "partial/train")
    count: dict[bytes, int] = {}
    for digest in digests.values():
        count[digest] = count.get(digest, 0) + 1
    repeated = {name for name, digest in digests.items() if count[digest] > 1 and "-r" not in name}
    assert repeated == set(truth["repeated"]) and len(repeated) == 40
    assert {count[digests[name]] for name in repeated} == {40}


@pytest.mark.parametrize("name", ["memorized", "partial", "canary", "general-a", "general-b"])
def test_trainings_are_accounted_for(fixtures: Path, name: str) -> None:
    account = json.loads((fixtures / name / "training.json").read_text())
    assert account["losses"][-1]["step"] == account["recipe"]["steps"]
    assert account["final_loss"] == account["losses"][-1]["mean_loss_of_last_1000"]


@pytest.mark.parametrize("letter", ["a", "b"])
def test_the_curve_is_trained_on_images_of_its_own_set(fixtures: Path, letter: str) -> None:
    ids = (fixtures / "curve" / f"{letter}.txt").read_text().split()
    known = ids_and_digests(fixtures, f"general/train-{letter}")
    assert len(set(ids)) == len(ids) == 16384
    assert set(ids) <= set(known)
    for size in (64, 256, 1024, 4096, 16384):
        training = json.loads((fixtures / "curve" / f"{letter}-{size}" / "training.json").read_text())
        assert training["images_in_training_set"] == training["recipe"]["first"] == size
