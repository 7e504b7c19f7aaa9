"""`auditor report`: render the reports again from the record."""

from __future__ import annotations

from pathlib import Path

import click

from auditor.errors import ConfigError


@click.command()
@click.argument("run_dir", type=click.Path(path_type=Path))
@click.option("--policy", type=click.Path(path_type=Path), help="Judge by another policy than the run's own.")
@click.option("--images", type=click.Choice(["full", "none"]), default="full", show_default=True,
              help="none leaves every picture out of the report.")  # fmt: skip
def report(run_dir: Path, policy: Path | None, images: str) -> None:
    """Write the reports of RUN_DIR, an audit's or a comparison's, again; nothing is measured anew."""
    if (run_dir / "comparison.json").is_file():
        report_comparison(run_dir, policy, images)
        return
    from auditor.audit import judge_run
    from auditor.report import render

    record, judgement = judge_run(run_dir, policy)
    for path in render(record.model_copy(update={"judgement": judgement}), run_dir, images=images):
        click.echo(path)


def report_comparison(run_dir: Path, policy: Path | None, images: str) -> None:
    """comparison.html and comparison.md of a comparison, which no policy judges."""
    if policy is not None:
        remedy = "Leave --policy out."
        raise ConfigError("--policy", "a comparison's run directory", "an audit's, which a policy judges", remedy)
    from auditor.comparing import read_compared
    from auditor.report.comparison import render_comparison

    for path in render_comparison(read_compared(run_dir), run_dir, images=images):
        click.echo(path)
