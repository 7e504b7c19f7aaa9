"""`auditor plan`: cost and power before anything is spent."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from auditor.cli.display import printable
from auditor.cli.options import audit_options, configuration


@click.command()
@audit_options
@click.option(
    "--images",
    type=click.IntRange(1),
    default=5_000_000_000,
    show_default=True,
    help="Size of a training set to extrapolate to.",
)
@click.option(
    "--machines",
    type=click.IntRange(1),
    default=100,
    show_default=True,
    help="Machines like this one to extrapolate to.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the plan as JSON.")
def plan(
    target: Path | None, images: int, machines: int, as_json: bool, assignments: tuple[str, ...], **options: Any
) -> None:
    """Check TARGET's inputs, and say what its audit costs and what its sizes can conclude."""
    config = configuration(target, assignments, **options)

    from auditor.planning import plan as plan_audit

    planned = plan_audit(config, images=images, machines=machines)
    if as_json:
        click.echo(planned.model_dump_json(indent=1))
        return
    console = Console()
    table = Table("question", "answer", box=None, pad_edge=False, show_header=False)
    for line in planned.lines():
        table.add_row(printable(line.question), printable(line.answer))
    console.print(table)
