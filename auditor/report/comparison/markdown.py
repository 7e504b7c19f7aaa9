"""comparison.md: the same sections as comparison.html, for pull requests and terminals."""

from __future__ import annotations

from collections.abc import Iterator

from auditor.report.comparison import story
from auditor.report.comparison.blocks import (
    Block,
    Details,
    Facts,
    Items,
    Section,
    Sheet,
    Source,
    Table,
    Terms,
    Text,
)
from auditor.report.comparison.curve import curve_sentence
from auditor.report.comparison.sections import sections
from auditor.report.comparison.tables import cell_text
from auditor.report.markdown_text import escape, table
from auditor.report.pages import Images, link
from auditor.store.comparison import Comparison

FENCE = "````"  # longer than any run of backticks that JSON text is left with


def markdown(comparison: Comparison, *, images: Images = "full") -> str:
    """The report as a string; the same comparison gives the same bytes.

    Drawings are left out, since their numbers are in the tables. Pictures are linked by their path in the run
    directory, unless ``images`` is ``none``.
    """
    lines = [*_headline(comparison)]
    for section in sections(comparison):
        lines.extend(section_lines(section, images))
    return "\n".join(lines)


def _headline(comparison: Comparison) -> Iterator[str]:
    head = story.headline(comparison)
    yield f"# {escape(head.title)}"
    yield ""
    if comparison.curve:
        yield from (f"**{escape(curve_sentence(comparison))}**", "")
    for verdict in story.decisive_regimes(comparison):
        sentence = escape(story.verdict_sentence(comparison, verdict))
        yield f"- **{escape(verdict.column)}: {verdict.regime}**: {sentence}"
    yield ""
    yield escape(head.meaning)
    yield ""


def section_lines(section: Section, images: Images) -> Iterator[str]:
    """A section's lines; one of pictures is left out where none are wanted."""
    if images == "none" and any(isinstance(block, Sheet) for block in section.blocks):
        return
    yield f"## {section.title}"
    yield ""
    for block in section.blocks:
        yield from _block(block, images)


def _block(block: Block, images: Images) -> Iterator[str]:
    match block:
        case Text(text):
            yield from (escape(text), "")
        case Items(items):
            yield from (*(f"- {escape(item)}" for item in items), "")
        case Table():
            yield from _table(block)
        case Terms(terms):
            yield from (*(f"- **{escape(term)}**: {escape(meaning)}" for term, meaning in terms), "")
        case Details(summary, blocks):
            yield from (f"### {escape(summary)}", "")
            for inner in blocks:
                yield from _block(inner, images)
        case _:
            yield from _plain(block, images)


def _plain(block: Block, images: Images) -> Iterator[str]:
    """Blocks without text of their own; drawings give nothing."""
    match block:
        case Facts(facts):
            yield from table(("", ""), facts)
        case Sheet():
            yield from _sheet(block, images)
        case Source(text):
            yield from (FENCE, text.replace(FENCE, "''''"), FENCE, "")


def _table(block: Table) -> Iterator[str]:
    yield f"**{escape(block.caption)}**"
    yield ""
    rows = [[cell_text(cell) for cell in row] for row in block.rows]
    yield from table([escape(name) for name in block.header], rows)


def _sheet(sheet: Sheet, images: Images) -> Iterator[str]:
    if images == "none":
        return
    yield f"| | {' | '.join(escape(name) for name in sheet.columns)} |"
    yield f"|{'---|' * (len(sheet.columns) + 1)}"
    for name, paths in sheet.rows:
        yield f"| {escape(name)} | {' | '.join(_picture(path) for path in paths)} |"
    yield ""


def _picture(path: str | None) -> str:
    return "no finite image" if path is None else f"![]({link(path)})"
