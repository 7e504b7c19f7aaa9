"""A stream of embeddings has the bits of the encoder itself, and says what it waited for."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from auditor.config import EncoderConfig
from auditor.data import Geometry, ImageBatch, open_source
from auditor.data.survey import pixel_digest
from auditor.encoders.base import Encoder
from auditor.encoders.build import build_encoder
from auditor.encoders.pixel import PixelEncoder
from auditor.errors import DataError
from auditor.indexing.stream import Timing, embed_stream
from tests.indexing.pictures import RGB, write_pictures


@pytest.fixture(scope="module")
def clip(fixtures: Path) -> Encoder:
    config = EncoderConfig(name="clip", model=f"local-dir:{fixtures / 'tiny-clip'}")
    return build_encoder(config, channels=3, height=12, width=10)


@pytest.mark.parametrize("workers", [0, 1, 3])
@pytest.mark.parametrize("kind", ["clip", "pixel"])
def test_rows_are_those_of_the_encoder_called_in_turn(tmp_path: Path, clip: Encoder, kind: str, workers: int) -> None:
    encoder = clip if kind == "clip" else PixelEncoder(3, 12, 10)
    source = open_source(write_pictures(tmp_path, 45, unreadable=(3,)), RGB)
    batches = list(source.batches(16))
    stream = embed_stream(source, encoder, 16, workers, digests=True)
    found = list(stream)
    assert [batch.ids for batch in found] == [batch.ids for batch in batches]
    assert [batch.captions for batch in found] == [batch.captions for batch in batches]
    for got, batch in zip(found, batches, strict=True):
        assert np.array_equal(got.vectors, encoder(batch.pixels))
        assert got.digests == [pixel_digest(pixels) for pixels in batch.pixels]
    assert stream.timing.images == 44 and stream.timing.waiting > 0 and stream.timing.encoding > 0


def test_only_the_ids_asked_for(tmp_path: Path) -> None:
    source = open_source(write_pictures(tmp_path, 9), RGB)
    stream = embed_stream(source, PixelEncoder(3, 12, 10), only={"0002", "0007", "absent"})
    assert [batch.ids for batch in stream] == [["0002", "0007"]]


class Slow:
    """A source or an encoder that takes its time, to be told from the other."""

    path, unreadable, spec = "slow", [], PixelEncoder(3, 12, 10).spec

    def __init__(self, decoding: float, encoding: float) -> None:
        self.decoding, self.encoding = decoding, encoding
        self.pixels = np.random.default_rng(0).integers(0, 256, (4, 3, 12, 10), dtype=np.uint8)

    def __len__(self) -> int:
        return 24

    def batches(self, size: int, only: Collection[str] | None = None) -> Iterator[ImageBatch]:
        for start in range(0, 24, 4):
            time.sleep(self.decoding)
            yield ImageBatch([f"{start + i}" for i in range(4)], self.pixels, [None] * 4)

    def __call__(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        time.sleep(self.encoding)
        return PixelEncoder(3, 12, 10)(pixels)


def test_seconds_are_entered_where_they_were_spent() -> None:
    slow = Slow(decoding=0.02, encoding=0.01)
    stream = embed_stream(slow, slow, 4, workers=0)
    assert sum(len(batch.ids) for batch in stream) == 24
    assert stream.timing.waiting >= 6 * 0.02 and stream.timing.encoding >= 6 * 0.01  # a sleep lasts at least so long


def test_the_bottleneck_is_decoding_from_a_twentieth_of_the_time_on() -> None:
    assert Timing(100, waiting=4.9, encoding=95.1).bottleneck == "encoder"
    assert Timing(100, waiting=5.0, encoding=95.0).bottleneck == "decoding"
    assert Timing().bottleneck == "encoder"


def test_a_wrong_shape_and_a_wrong_norm_are_refused(tmp_path: Path) -> None:
    source = open_source(write_pictures(tmp_path, 5), Geometry(3, 9, 9))
    with pytest.raises(DataError, match="image 0000: got 3 channels of 12x10"):
        list(embed_stream(source, PixelEncoder(3, 9, 9)))

    class Faulty:
        spec = PixelEncoder(3, 12, 10).spec

        def __call__(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
            return np.full((len(pixels), self.spec.dim), np.nan, np.float32)

    with pytest.raises(DataError, match="an embedding of norm nan"):
        list(embed_stream(open_source(tmp_path, RGB), Faulty()))
