"""Streaming into a .npy file: same rows, whole or not at all, memory of one batch."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from auditor.data.base import ImageBatch
from auditor.encoders.base import EncoderSpec
from auditor.encoders.embed import embed
from auditor.encoders.pixel import PixelEncoder
from auditor.errors import DataError


def stream(pixels: np.ndarray, size: int) -> Iterator[ImageBatch]:
    for start in range(0, len(pixels), size):
        part = pixels[start : start + size]
        yield ImageBatch([f"image-{start + i}" for i in range(len(part))], part, [None] * len(part))


@pytest.mark.parametrize("size", [1, 7, 64, 1000])
def test_rows_and_ids_are_those_of_the_stream(tmp_path: Path, size: int) -> None:
    pixels = np.random.default_rng(1).integers(0, 256, (130, 1, 8, 8), dtype=np.uint8)
    encode = PixelEncoder(1, 8, 8)
    result = embed(stream(pixels, size), encode, tmp_path / "training.npy")
    assert np.array_equal(result.vectors, encode(pixels))
    assert result.ids == [f"image-{i}" for i in range(130)]
    assert isinstance(result.vectors, np.memmap) and not result.vectors.flags.writeable
    assert np.array_equal(np.load(tmp_path / "training.npy"), encode(pixels))  # a plain .npy file
    assert [p.name for p in tmp_path.iterdir()] == ["training.npy"]


def test_an_empty_stream_gives_no_rows(tmp_path: Path) -> None:
    result = embed(iter(()), PixelEncoder(1, 8, 8), tmp_path / "none.npy")
    assert result.vectors.shape == (0, 65) and result.ids == []


def test_a_stream_that_breaks_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    pixels = np.random.default_rng(2).integers(0, 256, (20, 1, 8, 8), dtype=np.uint8)
    encode, out = PixelEncoder(1, 8, 8), tmp_path / "a.npy"
    embed(stream(pixels, 5), encode, out)

    def broken() -> Iterator[ImageBatch]:
        yield from stream(pixels[:5], 5)
        raise OSError("disk gone")

    with pytest.raises(OSError, match="disk gone"):
        embed(broken(), encode, out)
    assert np.load(out).shape == (20, 65)
    assert [p.name for p in tmp_path.iterdir()] == ["a.npy"]


class Faulty:
    """The pixel encoder with one coordinate of image 3 replaced after encoding, as broken weights would."""

    def __init__(self, value: float) -> None:
        self.value, self.encode = value, PixelEncoder(1, 8, 8)

    @property
    def spec(self) -> EncoderSpec:
        return self.encode.spec

    def __call__(self, pixels: np.ndarray) -> np.ndarray:
        vectors = self.encode(pixels)
        vectors[3, 0] = self.value
        return vectors


@pytest.mark.parametrize("value", [np.nan, np.inf, 2.0])
def test_what_is_no_unit_vector_is_refused_by_name(tmp_path: Path, value: float) -> None:
    pixels = np.random.default_rng(3).integers(0, 256, (6, 1, 8, 8), dtype=np.uint8)
    with pytest.raises(DataError, match="encoder pixel: image image-3: got an embedding of norm"):
        embed(stream(pixels, 6), Faulty(value), tmp_path / "a.npy")
    assert list(tmp_path.iterdir()) == []


def test_memory_is_one_batch(tmp_path: Path) -> None:
    count, encode = 12_000, PixelEncoder(1, 16, 16)  # 12.3 MB of embeddings

    def drawn() -> Iterator[ImageBatch]:
        rng = np.random.default_rng(4)
        for start in range(0, count, 250):
            pixels = rng.integers(0, 256, (250, 1, 16, 16), dtype=np.uint8)
            yield ImageBatch([str(start + i) for i in range(250)], pixels, [None] * 250)

    tracemalloc.start()
    embed(drawn(), encode, tmp_path / "a.npy")
    streamed = tracemalloc.get_traced_memory()[1]
    tracemalloc.reset_peak()
    whole = np.concatenate([encode(batch.pixels) for batch in drawn()])  # negative control: all in memory
    gathered = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert whole.nbytes > 12e6
    # a batch: 250 * 257 * (4 + a few float64 copies of 8) = 2-3 MB; 12,000 short ids: 0.8 MB
    assert streamed < 6e6 < gathered
