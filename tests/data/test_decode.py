"""Decoding: the file's own pixels or a refusal that says what to do; hostile bytes are counted, never fatal."""

from __future__ import annotations

import contextlib
import io
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from auditor.data import Geometry, open_source, survey
from auditor.data.base import Payload
from auditor.data.decode import Unreadable, decode
from auditor.errors import DataError

RGB = Geometry(3, 4, 6)
GREY = Geometry(1, 4, 6)


def png_of(image: Image.Image, kind: str = "PNG", **options: object) -> Payload:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return Payload(stream.getvalue())


def picture(mode: str, size: tuple[int, int] = (6, 4)) -> Image.Image:
    shape = (size[1], size[0], 3)
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)).convert(mode)


def bomb(width: int, height: int) -> bytes:
    """A PNG of a few hundred bytes that claims width x height grey pixels."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    data = chunk(b"IDAT", zlib.compress(b"\0" * 1000))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + data + chunk(b"IEND", b"")


def test_pixels_are_the_files_own() -> None:
    rgb, grey = picture("RGB"), picture("L")
    assert np.array_equal(decode("a", png_of(rgb), RGB), np.asarray(rgb).transpose(2, 0, 1))
    assert np.array_equal(decode("a", png_of(grey), GREY)[0], np.asarray(grey))
    palette, bits = picture("P"), picture("1")
    assert np.array_equal(decode("a", png_of(palette), RGB), np.asarray(palette.convert("RGB")).transpose(2, 0, 1))
    assert np.array_equal(decode("a", png_of(bits), GREY)[0], np.asarray(bits.convert("L")))
    assert np.array_equal(decode("a", Payload(np.asarray(rgb)), RGB), np.asarray(rgb).transpose(2, 0, 1))


@pytest.mark.parametrize(
    ("image", "geometry", "got"),
    [
        (picture("L"), RGB, "1 channel of 4x6"),
        (picture("RGB"), GREY, "3 channels of 4x6"),
        (picture("RGBA"), RGB, "4 channels of 4x6"),
        (picture("RGB", (6, 5)), RGB, "3 channels of 5x6"),
    ],
)
def test_another_shape_is_refused_unless_resizing(image: Image.Image, geometry: Geometry, got: str) -> None:
    with pytest.raises(DataError, match=f"image a: got {got}.*expected {geometry.channels} channel.*--resize"):
        decode("a", png_of(image), geometry)
    resized = Geometry(geometry.channels, geometry.height, geometry.width, resize=True)
    assert decode("a", png_of(image), resized).shape == (geometry.channels, 4, 6)


def test_resizing_is_antialiased_and_bilinear() -> None:
    # Stripes one pixel wide, 32 to 8 columns: a support of 4 pixels to either side averages them out, while sampling
    # without antialiasing would return 0 or 255. Expected mean: (0 + 255) / 2, within rounding and the kernel's ends.
    stripes = np.tile(np.array([0, 255], np.uint8), (32, 16))
    shrunk = decode("a", Payload(stripes), Geometry(1, 8, 8, resize=True))
    assert np.abs(shrunk[0].astype(float) - 127.5).max() < 20
    grown = decode("a", Payload(np.array([[0, 200]], np.uint8)), Geometry(1, 1, 4, resize=True))
    # Centres of the four new pixels lie at -0.25, 0.25, 0.75, 1.25 in old ones: 0, a quarter, three quarters, all.
    assert grown[0, 0].tolist() == [0, 50, 150, 200]


def test_alpha_is_composited_on_white() -> None:
    pixels = np.zeros((4, 6, 4), np.uint8)
    pixels[..., 3] = 51  # a fifth of black over white leaves 204
    out = decode("a", png_of(Image.fromarray(pixels)), Geometry(3, 4, 6, resize=True))
    assert out.min() == out.max() == 204
    clear = Image.new("P", (6, 4), 0)
    out = decode("a", png_of(clear, transparency=0), Geometry(1, 4, 6, resize=True))
    assert out.min() == 255


def test_sixteen_bits_are_refused() -> None:
    deep = Image.fromarray(np.full((4, 6), 40_000, np.uint16))
    with pytest.raises(DataError, match="8 bits per channel"):
        decode("a", png_of(deep), Geometry(1, 4, 6, resize=True))


SOUND = png_of(picture("L")).content
assert isinstance(SOUND, bytes)
UNREADABLE = {
    "empty": b"",
    "text": b"not an image",
    "gif": png_of(picture("L"), "GIF").content,
    "truncated": SOUND[:60],
    "damaged": SOUND[:45] + b"\xff\xff\xff" + SOUND[48:],
    "bomb": bomb(60_000, 60_000),
    "wide": bomb(2**26 + 1, 1),
    "short of data": bomb(4000, 4000),
}


@pytest.mark.parametrize("fault", UNREADABLE)
def test_unreadable_images_give_a_reason(fault: str) -> None:
    decode("a", Payload(SOUND), GREY)  # negative control
    with pytest.raises(Unreadable, match=r"\w"):
        decode("a", Payload(UNREADABLE[fault]), GREY)


@settings(max_examples=200, deadline=None)
@given(st.integers(0, len(SOUND) - 1), st.binary(min_size=1, max_size=8))
def test_damaged_bytes_never_escape_as_another_error(position: int, patch: bytes) -> None:
    damaged = SOUND[:position] + patch + SOUND[position + len(patch) :]
    with contextlib.suppress(Unreadable, DataError):
        assert decode("a", Payload(damaged), GREY).shape == (1, 4, 6)


def test_unreadable_images_are_counted_and_the_rest_is_read(tmp_path: Path) -> None:
    for fault, content in UNREADABLE.items():
        (tmp_path / f"{fault}.png").write_bytes(content)
    (tmp_path / "sound.png").write_bytes(SOUND)
    (tmp_path / "old.bmp").write_bytes(png_of(picture("L"), "BMP").content)
    source = open_source(tmp_path, GREY)
    info, digests, _ = survey(source)
    assert list(digests) == ["sound"] and info.images == 1
    assert [name for name, _ in info.unreadable] == sorted([*UNREADABLE, "old"])
    assert all(reason for _, reason in info.unreadable) and source.unreadable == info.unreadable
    (tmp_path / "sound.png").unlink()
    with pytest.raises(DataError, match="none readable"):
        survey(open_source(tmp_path, GREY))


def test_unreadable_rows_of_every_format_are_counted(
    tmp_path: Path, tar: Callable[..., Path], make_table: Callable[..., object]
) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    blobs = [SOUND, b"junk", None, SOUND]
    pq.write_table(pa.table({"image": blobs, "key": list("dcba")}), tmp_path / "a.parquet")
    for options in ({}, {"id_column": "key"}):
        source = open_source(tmp_path / "a.parquet", GREY, **options)
        for _ in range(2):
            assert sum(len(batch.ids) for batch in source.batches(2)) == 2
        assert len(source) == 4 and len(source.unreadable) == 2
        assert "no image bytes" in dict(source.unreadable)["b" if options else "a/00000002"]
    source = open_source(tar(tmp_path / "a.tar", {"a.png": SOUND, "b.png": b"junk", "c.tiff": b"II*"}), GREY)
    assert sum(len(batch.ids) for batch in source.batches(2)) == 1
    assert [name for name, _ in source.unreadable] == ["b", "c"]
