"""`auditor report`: render the reports again from the record."""

from __future__ import annotations

from pathlib import Path

import click


@click.command()
@click.argument("run_dir", type=click.Path(path_type=Path))
@click.option("--policy", type=click.Path(path_type=Path), help="Judge by another policy than the run's own.")
@click.option("--images", type=click.Choice(["full", "none"]), default="full", show_default=True,
              help="none leaves every picture out of the report.")  # fmt: skip
def report(run_dir: Path, policy: Path | None, images: str) -> None:
    """Write report.html and report.md of RUN_DIR again; nothing is measured anew."""
    from auditor.audit import judge_run
    from auditor.report import render

    record, judgement = judge_run(run_dir, policy)
    for path in render(record.model_copy(update={"judgement": judgement}), run_dir, images=images):
        click.echo(path)
