"""`auditor gate`: the verdict as an exit code."""

from __future__ import annotations

from pathlib import Path

import click

from auditor.cli.display import Terminal, show_verdict


@click.command()
@click.argument("run_dir", type=click.Path(path_type=Path))
@click.option("--policy", type=click.Path(path_type=Path), help="What a release needs [default: the run's own].")
@click.option("--json", "as_json", is_flag=True, help="Print the judgement as JSON on standard output.")
def gate(run_dir: Path, policy: Path | None, as_json: bool) -> int:
    """Judge a completed run: exit code 0 pass, 1 fail, 3 cannot conclude."""
    from auditor.audit import judge_run

    record, judgement = judge_run(run_dir, policy)
    if as_json:
        click.echo(judgement.model_dump_json(indent=1))
    else:
        show_verdict(Terminal().console, record, judgement, str(run_dir / "report.html"))
    return judgement.exit_code
