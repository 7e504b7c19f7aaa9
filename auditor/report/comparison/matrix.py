"""Columns against columns as shaded squares; the shade repeats what is written in a square."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

from markupsafe import Markup

from auditor.report.charts import svg
from auditor.report.comparison.charts import FULL, GLYPH, HALF, short
from auditor.store.comparison import DataRelation
from auditor.store.parts import Estimate
from auditor.store.wording import decimal, percent

FEW = 6  # columns of a matrix that fits beside another
WRITTEN = 34  # columns up to which numbers are written into the cells
ROOMY = 44  # pixels of a cell that holds a number in full, and the sign of the relation

RELATIONS: dict[DataRelation, str] = {
    "same": "same training data",
    "disjoint": "disjoint training data",
    "overlapping": "overlapping training data",
    "unknown": "relation of training data unknown",
}
SIGNS: dict[DataRelation, str] = {"same": "=", "disjoint": "≠", "overlapping": "∩", "unknown": "?"}


@dataclass(frozen=True)
class Entry:
    """A cell of the matrix."""

    estimate: Estimate
    data: DataRelation


def matrix(id: str, title: str, names: Sequence[str], entries: Mapping[tuple[str, str], Entry], share: bool) -> Markup:
    """Columns against columns, a value in [0, 1] per pair; the same on both sides of the diagonal.

    Cells shrink with the number of columns; numbers lose their leading zero, then go. The mark in a cell's corner says
    how the training sets relate. An empty string with fewer than two columns.
    """
    if len(names) < 2:
        return Markup("")
    width = HALF if len(names) <= FEW else FULL
    margin = round(14 + GLYPH * max(len(short(name)) for name in names))
    cell = min(76.0, round((width - margin - 8) / len(names), 1))
    body = [_matrix_names(names, margin, cell), '<g class="cells">']
    known = [(names.index(a), names.index(b), a, b, entry) for (a, b), entry in entries.items()]
    both = [(y, x, a, b, entry) for x, y, a, b, entry in known] + [(x, y, a, b, entry) for x, y, a, b, entry in known]
    for row, place, left, right, entry in both:
        body.append(_shade(margin + place * cell, margin + row * cell, cell, f"{left} × {right}", entry, share))
    body.append("</g>")
    for row, place, _, _, entry in both:
        body.append(_written(margin + place * cell, margin + row * cell, cell, entry, len(names), share))
    height = round(margin + cell * len(names) + 8)
    said = f"{len(names)} columns against each other; the table of pairs has every number."
    return svg(id, title, said, "".join(body), height, width)


def _matrix_names(names: Sequence[str], margin: int, cell: float) -> str:
    made = []
    for place, name in enumerate(names):
        at = round(margin + (place + 0.5) * cell, 1)
        text = f"{escape(short(name))}<title>{escape(name)}</title>"
        made.append(f'<text class="label" x="{margin - 7}" y="{at + 4:.1f}" text-anchor="end">{text}</text>')
        made.append(
            f'<text class="label" x="{at + 4:.1f}" y="{margin - 7}" transform="rotate(-90 {at + 4:.1f} {margin - 7})">'
            f"{text}</text>"
        )
        corner = round(margin + place * cell + 0.5, 1)
        made.append(f'<rect class="self" x="{corner}" y="{corner}" width="{cell - 1:.1f}" height="{cell - 1:.1f}"/>')
    return "".join(made)


def _shade(x: float, y: float, cell: float, pair: str, entry: Entry, share: bool) -> str:
    value = entry.estimate.value
    size = f'x="{x + 0.5:.1f}" y="{y + 0.5:.1f}" width="{cell - 1:.1f}" height="{cell - 1:.1f}"'
    said = "not measured" if value is None else (percent if share else decimal)(value)
    title = f"<title>{escape(pair)}: {said}; {RELATIONS[entry.data]}</title>"
    if value is None:
        return f'<rect class="void" {size}>{title}</rect>'
    tone = f"cell {entry.data}" if value >= 0 else f"cell below {entry.data}"
    return f'<rect class="{tone}" fill-opacity="{min(1.0, abs(value)):.2f}" {size}>{title}</rect>'


def _written(x: float, y: float, cell: float, entry: Entry, columns: int, share: bool) -> str:
    """Number and relation inside a cell, as far as there is room."""
    if columns > WRITTEN:
        return ""
    value, roomy = entry.estimate.value, cell >= ROOMY
    if value is None:
        text = "–"
    elif share:
        text = f"{100 * value:.0f}%" if roomy else f"{100 * value:.0f}"
    else:
        text = f"{value:.2f}" if roomy else f"{value:.2f}".replace("0.", ".", 1)
    size = "value" if roomy else "value small"
    middle, base = f"{x + cell / 2:.1f}", y + cell / 2 + 4
    sign = f'<text class="sign" x="{x + cell - 4:.1f}" y="{y + 11:.1f}" text-anchor="end">{SIGNS[entry.data]}</text>'
    return f'<text class="{size}" x="{middle}" y="{base:.1f}" text-anchor="middle">{text}</text>{sign if roomy else ""}'
