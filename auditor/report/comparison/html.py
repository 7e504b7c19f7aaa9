"""comparison.html: one file that loads nothing and runs nothing."""

from __future__ import annotations

import base64
import hashlib
import io
import math
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from importlib.resources import files
from pathlib import Path
from typing import Any

from jinja2 import Environment
from markupsafe import Markup
from PIL import Image

from auditor.report.comparison import story
from auditor.report.comparison.blocks import Sheet
from auditor.report.comparison.curve import curve_sentence
from auditor.report.comparison.sections import sections
from auditor.report.pages import Images, templates
from auditor.report.pictures import Picture, embed_picture
from auditor.report.story import interval
from auditor.store.comparison import Comparison
from auditor.store.regime import Regime
from auditor.store.wording import decimal, missing, percent

MARKS: dict[Regime, dict[str, str]] = {
    "memorization": {"glyph": "●", "tone": "fail"},
    "transition": {"glyph": "◐", "tone": "open"},
    "generalization": {"glyph": "○", "tone": "pass"},
    "cannot conclude": {"glyph": "?", "tone": "open"},
}
UNJUDGED = {"glyph": "–", "tone": "open"}
PIXEL_BUDGET = 900_000  # of all pictures of a sheet together: some 3 MB once embedded
LARGEST, SMALLEST = 160, 40  # sides of a picture in pixels, whatever the budget says
SPACIOUS = 8  # columns of a sheet whose headings are written across
CROWDED = 17  # columns of a sheet beyond which pictures are drawn smaller, so that a page holds them


@dataclass(frozen=True)
class Shown:
    """A cell of the sheet."""

    alt: str
    picture: Picture


def html(comparison: Comparison, run_dir: Path, *, images: Images = "full") -> str:
    """The report as a string; the same comparison and pictures give the same bytes.

    Args:
      comparison: What was found.
      run_dir: Where its picture paths start. Pictures that are missing are said, never an error.
      images: ``none`` leaves every picture out, for readers who may not see the training data.
    """
    style = Markup(files("auditor.report").joinpath("templates/report.css").read_text(encoding="utf-8"))
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    head = story.headline(comparison)
    return (
        environment()
        .get_template("comparison.html.j2")
        .render(
            comparison=comparison,
            headline=head,
            turning=curve_sentence(comparison) if comparison.curve else "",
            look=MARKS[head.gravest] if head.gravest else UNJUDGED,
            verdicts=[(v, story.verdict_sentence(comparison, v)) for v in story.decisive_regimes(comparison)],
            sections=sections(comparison),
            sheet=filled_sheet(run_dir) if images == "full" else None,
            style=style,
            style_hash=f"sha256-{digest}",
        )
    )


def environment() -> Environment:
    """Where the templates are, with everything escaped that is not markup made here."""
    environment = templates()
    environment.filters |= {
        "missing": missing,
        "bounds": interval,
        "number": lambda value, share: percent(value) if share else decimal(value),
    }
    environment.globals |= {"marks": MARKS, "spacious": SPACIOUS, "crowded": CROWDED}
    environment.tests |= {"block": lambda block, name: type(block).__name__ == name}
    return environment


def filled_sheet(run_dir: Path) -> Callable[[Sheet], dict[str, Any]]:
    """Fills a sheet with pictures, and counts the reasons for those that are not there."""

    def fill(sheet: Sheet) -> dict[str, Any]:
        cells = max(1, len(sheet.columns) * len(sheet.rows))
        side = min(LARGEST, max(SMALLEST, math.isqrt(PIXEL_BUDGET // cells)))
        rows, absent = [], Counter[str]()
        for name, paths in sheet.rows:
            shown = [_reduced(embed_picture(run_dir, path), side) for path in paths]
            absent.update("no finite image" if path is None else p.absent for path, p in zip(paths, shown, strict=True))
            named = zip(sheet.columns, shown, strict=True)
            rows.append((name, [Shown(f"{name}, {column}", picture) for column, picture in named]))
        del absent[""]
        return {"rows": rows, "absent": sorted(absent.items())}

    return fill


def _reduced(picture: Picture, side: int) -> Picture:
    """A picture of at most ``side`` pixels; a tiny one stays as it is, since its pixels are drawn as squares."""
    if not picture.uri or picture.tiny:
        return picture
    head, _, encoded = picture.uri.partition(",")
    with Image.open(io.BytesIO(base64.b64decode(encoded)), formats=["PNG"]) as image:
        image.thumbnail((side, side))
        written = io.BytesIO()
        image.save(written, format="PNG", optimize=True)
    return replace(picture, uri=f"{head},{base64.b64encode(written.getvalue()).decode()}")
