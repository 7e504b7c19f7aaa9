"""A set chosen by a list of ids gives exactly those images, and refuses lists that do not fit."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from auditor.data import Geometry, open_source, read_ids, select
from auditor.errors import ConfigError
from auditor.stages.inputs import open_images

GEOMETRY = Geometry(1, 4, 4)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Six pictures, one of them damaged."""
    root = tmp_path / "images"
    root.mkdir()
    for number in range(6):
        Image.fromarray(np.full((4, 4), 10 * number, np.uint8)).save(root / f"i{number}.png")
    (root / "i5.png").write_bytes(b"no picture")
    return root


def listed(tmp_path: Path, *names: str) -> Path:
    file = tmp_path / "ids.txt"
    file.write_text("".join(f"{name}\n" for name in names))
    return file


def test_only_the_listed_images_come_in_the_order_of_ids(folder, tmp_path):
    chosen = select(open_source(folder, GEOMETRY), listed(tmp_path, "i4", "i1", "i2"))
    batches = list(chosen.batches(2))
    assert [batch.ids for batch in batches] == [["i1", "i2"], ["i4"]]
    assert batches[1].pixels[0, 0, 0, 0] == 40
    assert len(chosen) == 3
    assert [b.ids for b in chosen.batches(9, only={"i0", "i2"})] == [["i2"]]
    assert "ids.txt" in chosen.path


def test_the_first_of_a_list(folder, tmp_path):
    images = open_images(folder, GEOMETRY, ids=listed(tmp_path, "i4", "i1", "i2"), first=2)
    assert list(images.digests) == ["i1", "i4"]
    assert images.info.images == 2


def test_a_selection_is_another_set_than_the_whole(folder, tmp_path):
    whole = open_images(folder, GEOMETRY)
    part = open_images(folder, GEOMETRY, ids=listed(tmp_path, "i0", "i1"))
    everything = open_images(folder, GEOMETRY, ids=listed(tmp_path, *whole.digests))
    assert part.info.digest != whole.info.digest == everything.info.digest


def test_unreadable_images_of_the_list_are_named_and_no_others(folder, tmp_path):
    assert open_images(folder, GEOMETRY, ids=listed(tmp_path, "i0", "i1")).info.unreadable == []
    named = open_images(folder, GEOMETRY, ids=listed(tmp_path, "i0", "i5")).info.unreadable
    assert [name for name, _ in named] == ["i5"]


@pytest.mark.parametrize(
    ("names", "first", "message"),
    [
        ((), None, "0 ids"),
        (("i0",), 2, "1 ids"),
        (("i0", "i1", "i0"), None, "'i0' twice"),
        (("i0", "elsewhere"), None, "'elsewhere'"),
    ],
)
def test_lists_that_do_not_fit_are_refused(folder, tmp_path, names, first, message):
    with pytest.raises(ConfigError, match=message):
        open_images(folder, GEOMETRY, ids=listed(tmp_path, *names), first=first)


def test_a_missing_or_binary_list_is_refused(folder, tmp_path):
    with pytest.raises(ConfigError, match="one id a line"):
        read_ids(tmp_path / "nowhere.txt")
    (tmp_path / "ids.txt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match="UTF-8"):
        read_ids(tmp_path / "ids.txt")
