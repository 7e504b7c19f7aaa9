"""Every format gives the same stream: complete, sorted, in batches of any size, and again on a second pass."""

from __future__ import annotations

import os
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from numpy.typing import NDArray
from PIL import Image

from auditor.data import Geometry, ImageSource, open_source, pixels_of, survey
from auditor.errors import ConfigError, DataError

Write = Callable[[Path, NDArray[np.uint8]], Path]


def gather(source: ImageSource, size: int = 4, only: set[str] | None = None) -> dict[str, NDArray[np.uint8]]:
    batches = list(source.batches(size, only))
    assert all(len(batch.ids) == len(batch.pixels) == len(batch.captions) <= size for batch in batches)
    assert all(len(batch.ids) == size for batch in batches[:-1])
    pairs = [pair for batch in batches for pair in zip(batch.ids, batch.pixels, strict=True)]
    assert [name for name, _ in pairs] == sorted({name for name, _ in pairs})
    return dict(pairs)


def as_set(images: object) -> list[bytes]:
    return sorted(np.ascontiguousarray(image).tobytes() for image in images)


def test_stream_is_complete_sorted_and_repeatable(
    write: Write, pixels: NDArray[np.uint8], grey: Geometry, tmp_path: Path
) -> None:
    source = open_source(write(tmp_path, pixels), grey)
    first = gather(source)
    assert len(source) == len(first) == len(pixels)
    assert as_set(first.values()) == as_set(pixels)
    assert all(image.shape == (1, 6, 5) and image.dtype == np.uint8 for image in first.values())
    for size in (1, 100):
        again = gather(source, size)
        assert list(again) == list(first) and all(np.array_equal(again[name], first[name]) for name in first)
    assert source.unreadable == []


def test_subsets_and_single_images(write: Write, pixels: NDArray[np.uint8], grey: Geometry, tmp_path: Path) -> None:
    path = write(tmp_path, pixels)
    whole = gather(open_source(path, grey))
    names = list(whole)
    source = open_source(path, grey)  # fresh: the subset is the first thing it reads
    part = gather(source, 2, {names[9], names[2], names[5], "not there"})
    assert list(part) == [names[2], names[5], names[9]]
    assert all(np.array_equal(part[name], whole[name]) for name in part)
    assert gather(source, 2, set()) == {}
    wanted = [names[7], names[0], names[7]]
    assert np.array_equal(pixels_of(source, wanted), np.stack([whole[name] for name in wanted]))
    with pytest.raises(DataError, match="nobody: got no such image"):
        pixels_of(source, ["nobody"])


def test_two_passes_at_a_time_do_not_disturb_each_other(
    write: Write, pixels: NDArray[np.uint8], grey: Geometry, tmp_path: Path
) -> None:
    source = open_source(write(tmp_path, pixels), grey)
    pairs = list(zip(source.batches(2), source.batches(2), strict=True))
    assert all(a.ids == b.ids and np.array_equal(a.pixels, b.pixels) for a, b in pairs)


def test_id_column_out_of_order_is_served_in_order(
    pixels: NDArray[np.uint8], grey: Geometry, tmp_path: Path, make_table: Callable[..., object]
) -> None:
    ids = [f"{(7 * i) % 11:02d}" for i in range(11)]  # a permutation, since 7 and 11 share no divisor
    pq.write_table(make_table(pixels, ids), tmp_path / "a.parquet", row_group_size=4)
    source = open_source(tmp_path / "a.parquet", grey, id_column="key")
    for only in (None, set(ids[:5])):
        expected = sorted(ids if only is None else only)
        batches = list(source.batches(3, only))
        assert [name for batch in batches for name in batch.ids] == expected
        for name, image in gather(source, 3, only).items():
            assert np.array_equal(image[0], pixels[ids.index(name)])
        assert [c for batch in batches for c in batch.captions] == [f"number {ids.index(name)}" for name in expected]


def test_npz_with_an_id_array(pixels: NDArray[np.uint8], grey: Geometry, tmp_path: Path) -> None:
    ids = [f"{(7 * i) % 11:02d}" for i in range(11)]
    np.savez(tmp_path / "a.npz", data=pixels, key=np.array(ids), labels=np.arange(11) * 10)
    batch = next(open_source(tmp_path / "a.npz", grey, id_column="key").batches(11))
    assert batch.ids == sorted(ids)
    assert batch.captions == [str(ids.index(name) * 10) for name in batch.ids]
    assert all(
        np.array_equal(image[0], pixels[ids.index(name)]) for name, image in zip(batch.ids, batch.pixels, strict=True)
    )


def test_folder_ids_keep_the_extension_only_where_they_must(
    pixels: NDArray[np.uint8], grey: Geometry, tmp_path: Path, png: Callable[..., bytes]
) -> None:
    (tmp_path / "deep" / "er").mkdir(parents=True)
    for name in ("b.png", "a.png", "deep/er/c.v2.png", ".hidden.png"):
        (tmp_path / name).write_bytes(png(pixels[0]))
    (tmp_path / "a.webp").write_bytes(png(pixels[1], "WEBP", lossless=True))
    (tmp_path / "b.txt").write_text("a caption\n")
    (tmp_path / "README.md").write_text("not an image")
    batch = next(open_source(tmp_path, Geometry(3, 6, 5, resize=True)).batches(9))
    assert batch.ids == ["a.png", "a.webp", "b", "deep/er/c.v2"]
    assert batch.captions == [None, None, "a caption", None]


def test_a_pipe_among_the_images_is_unreadable_rather_than_waited_for(
    pixels: NDArray[np.uint8], grey: Geometry, tmp_path: Path
) -> None:
    Image.fromarray(pixels[0]).save(tmp_path / "a.png")
    os.mkfifo(tmp_path / "pipe.png")
    found = survey(open_source(tmp_path, grey)).images
    assert found.images == 1
    assert found.unreadable == [("pipe", "a pipe, socket or device, not a file")]


def test_tar_captions_and_keys(
    pixels: NDArray[np.uint8], grey: Geometry, tmp_path: Path, png: Callable[..., bytes], tar: Callable[..., Path]
) -> None:
    members = {
        "./x/1.png": png(pixels[0]), "./x/1.txt": b"plain", "./x/1.json": b'{"caption": "not this"}',
        "2.img.png": png(pixels[1]), "2.json": b'{"caption": "from json"}',
        "3.PNG": png(pixels[2]), "3.cls": b"7", "4.png": png(pixels[3]), "4.json": b"[broken", "5.mp3": b"sound",
    }  # fmt: skip
    file = tar(tmp_path / "a.tar", members)
    batch = next(open_source(file, grey).batches(9))
    assert dict(zip(batch.ids, batch.captions, strict=True)) == {"2": "from json", "3": "7", "4": None, "x/1": "plain"}
    assert np.array_equal(batch.pixels[:, 0], pixels[[1, 2, 3, 0]])
    assert next(open_source(file, grey, image_column=".img.png").batches(9)).ids == ["2"]


def test_repeated_ids_are_refused(
    pixels: NDArray[np.uint8], grey: Geometry, tmp_path: Path, png: Callable[..., bytes], tar: Callable[..., Path],
    make_table: Callable[..., object],
) -> None:  # fmt: skip
    tar(tmp_path / "a.tar", {"1.png": png(pixels[0]), "1.jpg": png(pixels[1], "JPEG")})
    with pytest.raises(ConfigError, match="two images with the id '1'"):
        open_source(tmp_path / "a.tar", grey)
    pq.write_table(make_table(pixels, ["k"] * 11), tmp_path / "a.parquet")
    with pytest.raises(ConfigError, match="two images with the id 'k'"):
        open_source(tmp_path / "a.parquet", grey, id_column="key")


def test_memory_does_not_grow_with_the_set(tmp_path: Path, make_table: Callable[..., object]) -> None:
    """Noise of 64x64 pixels does not compress: 2,000 images are 8 MB, in one row group and out of order."""
    images = np.random.default_rng(0).integers(0, 256, (2000, 64, 64), dtype=np.uint8)
    ids = [f"{(7 * i) % 2000:04d}" for i in range(2000)]
    pq.write_table(make_table(images, ids), tmp_path / "a.parquet")
    for options in ({}, {"id_column": "key"}):
        source = open_source(tmp_path / "a.parquet", Geometry(1, 64, 64), **options)
        tracemalloc.start()
        assert sum(len(batch.ids) for batch in source.batches(16)) == 2000
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert peak < 2e6  # a batch is 65 kB, a block of 64 encoded images 270 kB; the whole set 8.2 MB


def test_fixture_sets_are_read_whole(fixtures: Path) -> None:
    for name, images, distinct in (("memorized/train", 128, 128), ("partial/train.tar", 3560, 2000)):
        info = survey(open_source(fixtures / name, Geometry(1, 16, 16))).images
        assert (info.images, info.distinct, info.unreadable) == (images, distinct, [])
