"""What a comparison's report is made of: sections of blocks, which every format writes in its own way.

HTML and Markdown are two renderings of the same sections, so neither can tell what the other leaves out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from markupsafe import Markup

from auditor.store.parts import Estimate
from auditor.store.regime import Regime
from auditor.store.wording import count

LONG = 24  # rows after which a table is folded

Tone = Literal["plain", "lead", "note"]


@dataclass(frozen=True)
class Figure:
    """An estimate in a cell: value, interval, or why there is none; a ``share`` is written as a percentage."""

    estimate: Estimate
    share: bool = False


@dataclass(frozen=True)
class Ruling:
    """A regime in a cell, with its mark."""

    regime: Regime


Cell = str | Figure | Ruling


@dataclass(frozen=True)
class Text:
    text: str
    tone: Tone = "plain"


@dataclass(frozen=True)
class Items:
    items: Sequence[str]


@dataclass(frozen=True)
class Table:
    """Rows of cells; the first cell of a row is its heading."""

    caption: str
    header: Sequence[str]
    rows: Sequence[Sequence[Cell]]


@dataclass(frozen=True)
class Charts:
    """Drawings with a sentence each on how to read them; formats without drawings leave them out."""

    drawn: Sequence[tuple[Markup, str]]
    wide: bool = False  # one below the other, over the full width


@dataclass(frozen=True)
class Terms:
    """A glossary."""

    terms: Sequence[tuple[str, str]]


@dataclass(frozen=True)
class Facts:
    """Names and values, such as digests."""

    facts: Sequence[tuple[str, str]]


@dataclass(frozen=True)
class Sheet:
    """Pictures: one row per probe, one path per column, ``None`` where there is no picture."""

    columns: Sequence[str]
    rows: Sequence[tuple[str, Sequence[str | None]]]
    caption: str = "Rows: probes. Columns: checkpoints and memorizers. Pictures of few pixels are drawn as squares."
    of: str = "Probe"  # what a row is


@dataclass(frozen=True)
class Source:
    """Machine-readable text, shown as it is."""

    text: str


@dataclass(frozen=True)
class Details:
    """Blocks that a reader opens when they are wanted."""

    summary: str
    blocks: Sequence[Block]


Block = Text | Items | Table | Charts | Terms | Facts | Sheet | Source | Details


@dataclass(frozen=True)
class Section:
    id: str
    title: str
    short: str  # in the list of sections
    blocks: Sequence[Block] = field(default_factory=list)


def folded(table: Table, summary: str = "") -> Block:
    """A table, closed behind its caption when it is long."""
    if len(table.rows) <= LONG and not summary:
        return table
    return Details(summary or f"{table.caption}: {count(len(table.rows), 'row')}", [table])
