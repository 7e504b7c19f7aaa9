"""What the terminal shows: progress bars with throughput and time left, notes, and the verdict.

Everything here goes to standard error; standard output is for data. Text from checkpoints and data sets is escaped, so
that a file name cannot style or fake the terminal.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager

from rich.console import Console
from rich.markup import escape
from rich.panel import Panel
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from auditor.progress import Meter
from auditor.report.story import estimate_text
from auditor.store.comparison import Comparison
from auditor.store.record import Judgement, Record

COLOURS = {"pass": "green", "fail": "red", "cannot conclude": "yellow"}
REGIME_COLOURS = {
    "memorization": "red", "transition": "yellow", "generalization": "green", "cannot conclude": "yellow",
}  # fmt: skip
MOST_PAIRS = 12  # shown in the terminal; the report has all


def printable(text: object) -> str:
    """Text without control characters, with markup escaped."""
    return escape("".join(char for char in str(text) if char.isprintable()))


class Terminal:
    """Progress on a rich console; plain lines when it is not a terminal or under CI."""

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or Console(stderr=True)
        self.live = self.console.is_terminal and not os.environ.get("CI")

    def stage(self, title: str, total: int, unit: str) -> AbstractContextManager[Meter]:
        return self._bar(title, total, unit) if self.live else self._line(title)

    def note(self, text: str) -> None:
        self.console.print(f"  [dim]{printable(text)}[/dim]", highlight=False)

    @contextmanager
    def _bar(self, title: str, total: int, unit: str) -> Iterator[Meter]:
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}"),
            TimeRemainingColumn(compact=True),
        )
        with Progress(*columns, console=self.console) as progress:
            task = progress.add_task(printable(title), total=total, rate="")

            def meter(done: int) -> None:
                speed = progress.tasks[task].speed
                progress.update(task, advance=done, rate=f"{speed:.1f} {unit}/s" if speed else "")

            yield meter

    @contextmanager
    def _line(self, title: str) -> Iterator[Meter]:
        self.console.print(printable(title), highlight=False)
        yield lambda done: None


def show_verdict(console: Console, record: Record, judgement: Judgement, report: str) -> None:
    """The outcome and its reason, the rules that did not pass, remedies, and where the report is."""
    colour = COLOURS[judgement.outcome]
    headline = f"[bold {colour}]{judgement.outcome.upper()}[/]  {printable(judgement.reason)}"
    console.print(Panel(headline, title=printable(record.audited), border_style=colour))
    passed = [rule for rule in judgement.rules if rule.outcome == "pass"]
    for rule in judgement.rules:
        if rule.outcome != "pass":
            line = f"[{COLOURS[rule.outcome]}]{rule.outcome:>15}[/]  [bold]{printable(rule.title)}[/]  "
            console.print(line + printable(rule.statement), highlight=False)
    console.print(f"[green]{'pass':>15}[/]  {printable(', '.join(rule.title for rule in passed))}", highlight=False)
    for remedy in judgement.remedies:
        console.print(f"  → {printable(remedy)}", highlight=False)
    console.print(f"report: {printable(report)}", highlight=False, soft_wrap=True)


def show_comparison(console: Console, comparison: Comparison, report: str) -> None:
    """Each checkpoint's regime with its first reason and remedy, the pairs' similarities, and where the report is."""
    for verdict in comparison.regimes:
        if verdict.encoder == comparison.decisive:
            word = f"[bold {REGIME_COLOURS[verdict.regime]}]{verdict.regime:>15}[/]"
            reason = printable(verdict.reasons[0]) if verdict.reasons else ""
            console.print(f"{word}  [bold]{printable(verdict.column)}[/]  {reason}", highlight=False)
            if verdict.remedies:
                console.print(f"{'→':>15}  {printable(verdict.remedies[0])}", highlight=False)
    pairs = [pair for pair in comparison.pairs if pair.encoder == comparison.decisive]
    if pairs:
        table = Table("pair", "data", "same noise", "other noise", "RP", box=None, pad_edge=False)
        for pair in pairs[:MOST_PAIRS]:
            table.add_row(
                printable(f"{pair.left} / {pair.right}"), pair.data, estimate_text(pair.matched),
                estimate_text(pair.mismatched), estimate_text(pair.rp),
            )  # fmt: skip
        console.print(table)
    if len(pairs) > MOST_PAIRS:
        console.print(f"  and {len(pairs) - MOST_PAIRS} more pairs in the report", highlight=False)
    for note in comparison.notes:
        console.print(f"  → {printable(note)}", highlight=False)
    console.print(f"report: {printable(report)}", highlight=False, soft_wrap=True)
