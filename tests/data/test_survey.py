"""Digests identify a set by its ids, pixels and captions, and exact duplicates by their pixels."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from auditor.data import Geometry, describe, open_source, pixel_digests, pixels_of, survey
from auditor.data.survey import pixel_digest


def save(folder: Path, images: dict[str, bytes]) -> Path:
    folder.mkdir(exist_ok=True)
    for name, content in images.items():
        (folder / f"{name}.png").write_bytes(content)
    return folder


def test_digest_is_the_documented_one(
    pixels: NDArray[np.uint8], grey: Geometry, tmp_path: Path, png: Callable[..., bytes]
) -> None:
    images = {f"{i:02d}": png(image) for i, image in enumerate(pixels)}
    info = describe(open_source(save(tmp_path / "a", images), grey))
    lines = [
        json.dumps([f"{i:02d}", hashlib.sha256(b"1x6x5\n" + image.tobytes()).hexdigest(), None]) + "\n"
        for i, image in enumerate(pixels)
    ]
    assert info.digest == hashlib.sha256("".join(lines).encode()).hexdigest()
    assert (info.images, info.distinct, info.path) == (11, 11, str(tmp_path / "a"))


def test_duplicates_share_a_digest_and_others_do_not(
    pixels: NDArray[np.uint8], grey: Geometry, tmp_path: Path, png: Callable[..., bytes]
) -> None:
    nudged = pixels[0].copy()
    nudged[3, 3] ^= 1
    images = {"a": png(pixels[0]), "b": png(pixels[0], compress_level=0), "c": png(nudged), "d": png(pixels[1])}
    source = open_source(save(tmp_path / "a", images), grey)
    info, digests, _ = survey(source)
    assert digests["a"] == digests["b"] and len({digests[name] for name in "acd"}) == 3
    assert (info.images, info.distinct) == (4, 3)
    assert digests == pixel_digests(source) and all(len(digest) == 16 for digest in digests.values())


def test_shape_enters_the_digest() -> None:
    flat = np.zeros(12, np.uint8)
    assert pixel_digest(flat.reshape(1, 3, 4)) != pixel_digest(flat.reshape(1, 4, 3))


def test_set_digest_depends_on_ids_pixels_and_captions_but_not_on_format(
    pixels: NDArray[np.uint8], grey: Geometry, tmp_path: Path, png: Callable[..., bytes], tar: Callable[..., Path]
) -> None:
    def digest(path: Path) -> str:
        return describe(open_source(path, grey)).digest

    two = {"a": png(pixels[0]), "b": png(pixels[1])}
    base = digest(save(tmp_path / "1", two))
    assert digest(tar(tmp_path / "a.tar", {f"{name}.png": content for name, content in reversed(two.items())})) == base
    assert digest(save(tmp_path / "2", {"a": two["a"], "c": two["b"]})) != base
    assert digest(save(tmp_path / "3", {"a": two["b"], "b": two["a"]})) != base
    (tmp_path / "1" / "a.txt").write_text("a caption")
    assert digest(tmp_path / "1") != base


def test_no_ids_is_a_programming_error(
    pixels: NDArray[np.uint8], grey: Geometry, tmp_path: Path, png: Callable[..., bytes]
) -> None:
    with pytest.raises(ValueError, match="at least one"):
        pixels_of(open_source(save(tmp_path / "a", {"a": png(pixels[0])}), grey), [])
