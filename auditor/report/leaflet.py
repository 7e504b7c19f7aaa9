"""Short reports: a title, a sentence, and sections of blocks, as one inert HTML file and as Markdown."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Literal

from markupsafe import Markup

from auditor.report.comparison.blocks import Section
from auditor.report.comparison.html import environment, filled_sheet
from auditor.report.comparison.markdown import section_lines
from auditor.report.markdown_text import escape
from auditor.report.pages import Images, write_whole

LOOKS = {"fail": "✕", "open": "–"}  # nothing found is no pass: it says what was tried


@dataclass(frozen=True)
class Leaflet:
    """A whole short report."""

    kind: str  # such as "Cliques among generations"
    title: str
    lead: str
    tone: Literal["fail", "open"]
    note: str  # how to read it
    made: str  # when, and by which version
    source: str  # file that it is drawn from
    sections: Sequence[Section]


def write_leaflet(leaflet: Leaflet, run_dir: Path, name: str, *, images: Images = "full") -> list[Path]:
    """``name``.html and ``name``.md in the run directory, each written whole."""
    html, markdown = leaflet_html(leaflet, run_dir, images=images), leaflet_markdown(leaflet, images=images)
    return [write_whole(run_dir / f"{name}.html", html), write_whole(run_dir / f"{name}.md", markdown)]


def leaflet_html(leaflet: Leaflet, run_dir: Path, *, images: Images = "full") -> str:
    """The HTML; the same leaflet and pictures give the same bytes. Missing pictures are said, never an error."""
    style = Markup(files("auditor.report").joinpath("templates/report.css").read_text(encoding="utf-8"))
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    page = environment().get_template("leaflet.html.j2")
    return page.render(
        leaflet=leaflet,
        glyph=LOOKS[leaflet.tone],
        sheet=filled_sheet(run_dir) if images == "full" else None,
        style=style,
        style_hash=f"sha256-{digest}",
    )


def leaflet_markdown(leaflet: Leaflet, *, images: Images = "full") -> str:
    """The Markdown, without drawings, since their numbers are in the tables."""
    lines = [f"# {escape(leaflet.title)}", "", f"**{escape(leaflet.lead)}**", "", escape(leaflet.note), ""]
    for section in leaflet.sections:
        lines.extend(section_lines(section, images))
    return "\n".join([*lines, f"{escape(leaflet.made)}. Drawn from {escape(leaflet.source)} alone.", ""])
