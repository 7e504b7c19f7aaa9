"""What both kinds of report share: the templates, whole files, link targets, and which pictures are wanted."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Literal

from jinja2 import Environment, PackageLoader, StrictUndefined

from auditor.errors import ConfigError

Images = Literal["full", "none"]


def templates() -> Environment:
    """Where the templates are, with everything escaped that is not markup made here."""
    return Environment(
        loader=PackageLoader("auditor.report", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def write_whole(out: Path, text: str) -> Path:
    """``out``, written whole or not at all."""
    partial_file = out.with_suffix(f"{out.suffix}.part")
    partial_file.write_text(text, encoding="utf-8")
    partial_file.replace(out)
    return out


def link(path: str) -> str:
    """A relative path as a link target; anything that could leave the page or the folder is cut to harmless bytes."""
    return re.sub(r"[^A-Za-z0-9_./-]|\.\.|^/+", lambda m: "".join(f"%{byte:02X}" for byte in m[0].encode()), path)


def known_images(images: str) -> Images:
    """``full`` or ``none``.

    Raises:
      ConfigError: Another word.
    """
    if images == "full":
        return "full"
    if images == "none":
        return "none"
    raise ConfigError("report images", repr(images), "full or none", "Correct the value.")
