"""Captions that a folder of images lists, as trainers of adapters read them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from auditor.data import Geometry, open_source
from auditor.errors import DataError

NAMES = ("a.png", "b.png", "sub/c.png")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for place, name in enumerate(NAMES):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.fromarray(np.full((4, 4, 3), 40 * place, np.uint8)).save(tmp_path / name)
    return tmp_path


def captions(folder: Path) -> dict[str, str | None]:
    source = open_source(folder, Geometry(3, 4, 4))
    return {
        name: caption for batch in source.batches(8) for name, caption in zip(batch.ids, batch.captions, strict=True)
    }


def listed(folder: Path, rows: list[dict[str, object]], name: str = "metadata.jsonl") -> None:
    (folder / name).write_text("".join(json.dumps(row) + "\n" for row in rows))


def test_captions_of_a_list_in_json_lines(folder: Path) -> None:
    assert captions(folder) == {"a": None, "b": None, "sub/c": None}
    rows = [
        {"file_name": "a.png", "text": " a dog "},
        {"file_name": "sub/c.png", "text": "a cat"},
        {"file_name": "b.png"},
    ]
    listed(folder, [*rows, {"file_name": "../b.png", "text": "elsewhere"}, {"file_name": "gone.png", "text": "gone"}])
    assert captions(folder) == {"a": "a dog", "b": None, "sub/c": "a cat"}


def test_captions_of_a_table_and_of_a_list_below(folder: Path) -> None:
    (folder / "metadata.csv").write_text('file_name,caption\na.png,"one, two"\n')
    listed(folder / "sub", [{"file_name": "c.png", "prompt": "a cat"}])
    assert captions(folder) == {"a": "one, two", "b": None, "sub/c": "a cat"}


def test_a_file_beside_an_image_wins(folder: Path) -> None:
    listed(folder, [{"file_name": "a.png", "text": "listed"}])
    (folder / "a.txt").write_text("beside")
    assert captions(folder)["a"] == "beside"


def test_another_list_is_another_set_of_files(folder: Path) -> None:
    listed(folder, [{"file_name": "a.png", "text": "one"}])
    before = open_source(folder, Geometry(3, 4, 4)).files_digest()
    listed(folder, [{"file_name": "a.png", "text": "another"}])
    assert open_source(folder, Geometry(3, 4, 4)).files_digest() != before


@pytest.mark.parametrize("content", ["{", "[1]\n", '"text"\n'])
def test_a_damaged_list_is_refused_by_name(folder: Path, content: str) -> None:
    (folder / "metadata.jsonl").write_text(content)
    with pytest.raises(DataError, match=r"metadata\.jsonl"):
        open_source(folder, Geometry(3, 4, 4))
