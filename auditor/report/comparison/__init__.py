"""The report of a comparison: a projection of comparison.json, written again at any time without measuring anything."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from auditor.errors import ConfigError
from auditor.report.comparison.html import html
from auditor.report.comparison.markdown import markdown
from auditor.report.pages import Images, known_images, write_whole
from auditor.store.comparison import Comparison

FORMATS = ("html", "markdown")
NAMES = {"html": "comparison.html", "markdown": "comparison.md"}

__all__ = ["FORMATS", "html", "markdown", "render_comparison"]


def render_comparison(
    comparison: Comparison, run_dir: Path, formats: Sequence[str] = FORMATS, *, images: Images | str = "full"
) -> list[Path]:
    """The files written into ``run_dir``, each whole: comparison.html and comparison.md, or what is asked for.

    Args:
      comparison: What was found.
      run_dir: Where its pictures lie and the reports go.
      formats: Of ``html`` and ``markdown``.
      images: ``full``, or ``none`` to leave every picture out.

    Raises:
      ConfigError: An unknown format or image option.
    """
    chosen = known_images(images)
    for name in formats:
        if name not in FORMATS:
            raise ConfigError("report format", repr(name), f"one of {', '.join(FORMATS)}", "Correct the name.")
    written = []
    for name in FORMATS:
        if name in formats:
            is_html = name == "html"
            text = html(comparison, run_dir, images=chosen) if is_html else markdown(comparison, images=chosen)
            written.append(write_whole(run_dir / NAMES[name], text))
    return written
