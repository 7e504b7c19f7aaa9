"""Folders of small real PNG files for the tests of indexing."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

import numpy as np
from PIL import Image

from auditor.data import Geometry

RGB = Geometry(3, 12, 10)


def write_pictures(
    folder: Path, count: int, *, seed: int = 0, prefix: str = "", unreadable: Collection[int] = ()
) -> Path:
    """``count`` PNG files of blocks of colour with captions, ``<prefix>0000.png`` and so on; some are no images."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    for number in range(count):
        coarse = rng.integers(0, 256, (4, 5, 3), dtype=np.uint8)
        file = folder / f"{prefix}{number:04d}.png"
        Image.fromarray(coarse.repeat(3, axis=0).repeat(2, axis=1)).save(file)
        file.with_suffix(".txt").write_text(f"picture {number}")
        if number in unreadable:
            file.write_bytes(b"not an image")
    return folder
