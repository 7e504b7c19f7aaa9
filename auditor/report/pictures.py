"""Pictures of a run directory as data URIs, so that a report is one file."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, UnidentifiedImageError

MAX_SIDE = 320  # larger pictures are reduced: a report shows, the run directory keeps the original
MAX_BYTES = 32 << 20
TINY = 64  # up to this side, pixels are drawn as squares instead of being smoothed


@dataclass(frozen=True)
class Picture:
    """An embedded picture, or the reason why there is none (``uri`` is empty then)."""

    uri: str
    tiny: bool = False
    absent: str = ""


def embed_picture(run_dir: Path, relative: str | None) -> Picture:
    """The PNG at ``run_dir/relative`` as a ``data:`` URI, re-encoded, at most 320 pixels a side.

    Never raises for a bad path or file: the report says what is missing. A path that leaves the run directory is not
    followed, since a record may have been written by someone else.
    """
    if relative is None:
        return Picture("", absent="not kept")
    path = (run_dir / relative).resolve()
    if not path.is_relative_to(run_dir.resolve()):
        return Picture("", absent="outside the run directory")
    if not path.is_file():
        return Picture("", absent="file missing")
    if path.stat().st_size > MAX_BYTES:
        return Picture("", absent="file too large")
    try:
        with Image.open(path, formats=["PNG"]) as image:
            side = max(image.size)
            image.thumbnail((MAX_SIDE, MAX_SIDE))
            encoded = io.BytesIO()
            image.save(encoded, format="PNG", optimize=True)
    except (UnidentifiedImageError, OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return Picture("", absent="not a readable PNG")
    return Picture(f"data:image/png;base64,{base64.b64encode(encoded.getvalue()).decode()}", tiny=side <= TINY)
