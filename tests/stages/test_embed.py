"""Embedding in blocks: same rows as in one piece, in the order of ids, resumable, and on disk."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from auditor.data import Geometry, open_source, survey
from auditor.encoders.pixel import PixelEncoder
from auditor.progress import Silent
from auditor.stages import embed, embedding
from auditor.stages.inputs import Images
from auditor.store.run_directory import RunDirectory

ENCODER = PixelEncoder(1, 8, 8)


@pytest.fixture
def images(tmp_path: Path) -> Images:
    rng = np.random.default_rng(0)
    (tmp_path / "images").mkdir()
    for index in range(50):
        Image.fromarray(rng.integers(0, 256, (8, 8), dtype=np.uint8)).save(tmp_path / "images" / f"{index:03d}.png")
    source = open_source(tmp_path / "images", Geometry(1, 8, 8))
    known = survey(source)
    return Images(source, known.images, known.digests)


def whole(images: Images) -> np.ndarray:
    return ENCODER(np.concatenate([batch.pixels for batch in images.source.batches(50)]))


@pytest.mark.parametrize("block", [1, 7, 50, 1000])
def test_blocks_give_the_rows_of_the_whole(
    images: Images, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, block: int
) -> None:
    monkeypatch.setattr(embedding, "BLOCK", block)
    run = RunDirectory.open(tmp_path / "run", {}, "s")
    vectors = embed.embed_images(run, "pixel/train", images, ENCODER, Silent())
    assert np.array_equal(vectors, whole(images))
    assert isinstance(vectors, np.memmap) and not vectors.flags.writeable


def test_finished_blocks_are_not_embedded_again(
    images: Images, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedding, "BLOCK", 20)
    run = RunDirectory.open(tmp_path / "run", {}, "s")
    embed.embed_images(run, "pixel/train", images, ENCODER, Silent())
    (tmp_path / "run" / "ledger" / "embed" / "pixel" / "train" / "00001.json").unlink()
    (tmp_path / "run" / "embed" / "pixel" / "train" / "all.npy").unlink()
    seen: list[int] = []

    class Watched:
        spec = ENCODER.spec

        def __call__(self, pixels: np.ndarray) -> np.ndarray:
            seen.append(len(pixels))
            return ENCODER(pixels)

    assert np.array_equal(embed.embed_images(run, "pixel/train", images, Watched(), Silent()), whole(images))
    assert seen == [20]  # the one block whose entry was lost
