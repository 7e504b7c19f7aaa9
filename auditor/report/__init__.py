"""Reports: projections of one record, written again at any time without measuring anything."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from auditor.errors import ConfigError
from auditor.report.findings import Finding, findings
from auditor.report.html import html, write_html
from auditor.report.markdown import markdown, write_markdown
from auditor.report.pages import Images, known_images
from auditor.store.record import Record

FORMATS = ("html", "markdown")

__all__ = ["FORMATS", "Finding", "findings", "html", "markdown", "render", "write_html", "write_markdown"]


def render(
    record: Record, run_dir: Path, formats: Sequence[str] = FORMATS, *, images: Images | str = "full"
) -> list[Path]:
    """The files written into ``run_dir``: report.html and report.md, or those of them that are asked for.

    Args:
      record: With its judgement, if it was judged.
      run_dir: Where the record's pictures lie and the reports go.
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
    if "html" in formats:
        written.append(write_html(record, run_dir, run_dir / "report.html", images=chosen))
    if "markdown" in formats:
        written.append(write_markdown(record, run_dir / "report.md", images=chosen))
    return written
