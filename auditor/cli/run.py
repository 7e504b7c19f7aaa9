"""`auditor run`: the whole audit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from auditor.cli.display import Terminal, show_verdict
from auditor.cli.options import audit_options, configuration, default_run_directory, given_options


@click.command()
@audit_options
@given_options
@click.option("--run-dir", type=click.Path(path_type=Path), help="Where results go [default: runs/<name>].")
def run(target: Path | None, run_dir: Path | None, assignments: tuple[str, ...], **options: Any) -> None:
    """Audit TARGET: an audit.toml, or a checkpoint folder with --train and --holdout.

    With --images in the place of TARGET, images made elsewhere are audited: copies, cliques, and what else takes no
    checkpoint.

    Ends with 0 once the audit is complete, whatever it found: `auditor gate` carries the verdict. Killed and started
    again with the same command, it goes on where it was.
    """
    config = configuration(target, assignments, **options)
    directory = run_dir or default_run_directory(target, options["made"], options["adapter"])
    terminal = Terminal()

    from auditor.audit import run as run_audit  # torch and diffusers load only once the options are right

    record = run_audit(config, directory, progress=terminal)
    assert record.judgement is not None
    show_verdict(terminal.console, record, record.judgement, str(directory / "report.html"))
