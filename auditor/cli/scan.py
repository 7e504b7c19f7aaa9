"""`auditor scan`: what a checkpoint folder holds, without opening it."""

from __future__ import annotations

from pathlib import Path

import click


@click.command()
@click.argument("checkpoint", type=click.Path(path_type=Path))
@click.option("--allow-pickle", is_flag=True, help="Accept pickled weights whose opcodes are harmless.")
def scan(checkpoint: Path, allow_pickle: bool) -> None:
    """Refuse a CHECKPOINT that could execute code or is not what it says; else print its digests."""
    from auditor.checkpoint.scan import scan as scan_checkpoint

    scanned = scan_checkpoint(checkpoint, allow_pickle=allow_pickle)
    for file in scanned.files:
        click.echo(f"{file.sha256}  {file.path}")
    click.echo(f"{scanned.digest}  (checkpoint)")
