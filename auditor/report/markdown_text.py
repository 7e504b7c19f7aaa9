"""What every Markdown report is written with: text that stays text, and tables."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence

SPECIAL = re.compile(r"([\\`*_{}\[\]()#+!|~$^])")


def escape(text: object) -> str:
    """Text that Markdown shows as it is: no markup, no HTML, no autolinks, on one line."""
    line = " ".join("".join(char if char.isprintable() else " " for char in str(text)).split())
    line = line.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    # "://" and "@" are written as character references, so that no autolink arises and the text stays what it was.
    return SPECIAL.sub(r"\\\1", line).replace("://", "&#58;//").replace("@", "&#64;")


def table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> Iterator[str]:
    """A Markdown table, every cell escaped."""
    yield f"| {' | '.join(header)} |"
    yield f"|{'---|' * len(header)}"
    for row in rows:
        yield f"| {' | '.join(escape(cell) for cell in row)} |"
    yield ""
