"""Image files looked up in an index: exactly, and among what an approximate index proposes."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import auditor
from auditor.cli.main import main
from auditor.errors import ConfigError, DataError
from auditor.indexing import IndexInfo, add_to_index
from auditor.indexing.approximate import build_lookup
from tests.indexing.pictures import write_pictures

Build = Callable[..., IndexInfo]


@pytest.fixture
def index(build: Build, pictures: Path, tmp_path: Path) -> Path:
    build(pictures, tmp_path / "index")
    return tmp_path / "index"


def test_a_picture_its_mirror_image_and_a_stranger(index: Path, pictures: Path, tmp_path: Path) -> None:
    pixels = np.asarray(Image.open(pictures / "0007.png"))
    Image.fromarray(pixels[:, ::-1].copy()).save(tmp_path / "turned.png")
    rng = np.random.default_rng(5)
    Image.fromarray(rng.integers(0, 256, pixels.shape, dtype=np.uint8)).save(tmp_path / "other.png")
    asked = [pictures / "0007.png", tmp_path / "turned.png", tmp_path / "other.png", tmp_path / "absent.png"]
    found = auditor.find_in_index(index, asked)
    itself, turned, other, absent = found.found
    assert (itself.nearest[0].id, itself.nearest[0].same_pixels, itself.nearest[0].mirrored) == ("0007", True, False)
    assert itself.nearest[0].similarity == pytest.approx(1)
    assert (turned.nearest[0].id, turned.nearest[0].same_pixels, turned.nearest[0].mirrored) == ("0007", False, True)
    assert len(other.nearest) == 5 and not any(near.same_pixels for near in other.nearest)
    assert other.nearest[0].similarity < 0.9
    assert absent.unscored == "no such file" and absent.nearest == []
    assert found.silence == "pass" and found.recall is None and found.images == 67


def test_an_approximate_index_says_what_its_silence_is_worth(index: Path, pictures: Path, tmp_path: Path) -> None:
    whole = build_lookup(index, tmp_path / "whole", factory="IVF8,Flat", probes=8)
    few = build_lookup(index, tmp_path / "few", factory="IVF8,Flat", probes=1)
    assert whole.recall(1).value == 1 and (few.recall(1).value or 0) < 1
    exact = auditor.find_in_index(index, [pictures / "0007.png"])
    found = auditor.find_in_index(index, [pictures / "0007.png"], approximate=tmp_path / "whole")
    assert found.found == exact.found and found.recall is not None
    doubtful = auditor.find_in_index(index, [pictures / "0007.png"], approximate=tmp_path / "few")
    assert doubtful.silence == "cannot conclude" and doubtful.remedies
    assert doubtful.found[0].nearest[0].id == "0007"  # what is found is found


def test_an_approximate_index_of_another_state_is_refused(index: Path, pictures: Path, tmp_path: Path) -> None:
    build_lookup(index, tmp_path / "lookup", factory="Flat")
    add_to_index(index, str(write_pictures(tmp_path / "more", 20, seed=3, prefix="new")))
    with pytest.raises(DataError, match="Build it again"):
        auditor.find_in_index(index, [pictures / "0007.png"], approximate=tmp_path / "lookup")


def test_nothing_asked_for_is_refused(index: Path) -> None:
    with pytest.raises(ConfigError, match="image files"):
        auditor.find_in_index(index, [])


def test_the_command_says_the_same(index: Path, pictures: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["index", "find", str(index), str(pictures / "0007.png"), "--neighbours", "2"]) == 0
    text = capsys.readouterr().out
    assert "0007 (the very picture)" in text and "what was not found: pass" in text
    assert main(["index", "find", str(index), str(pictures / "0007.png"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["found"][0]["nearest"][0]["same_pixels"] is True
