"""`auditor scan`: what a checkpoint holds, without opening it."""

from __future__ import annotations

from pathlib import Path

import click


@click.command()
@click.argument("checkpoint", type=click.Path(path_type=Path))
@click.option("--allow-pickle", is_flag=True, help="Accept pickled weights whose opcodes are harmless.")
@click.option("--adapter", type=click.Path(path_type=Path), help="Low-rank adapters for it, a .safetensors file.")
@click.option("--config", type=click.Path(path_type=Path), help="Of a single file: the folder that describes it.")
def scan(checkpoint: Path, allow_pickle: bool, adapter: Path | None, config: Path | None) -> None:
    """Refuse a CHECKPOINT that could execute code or is not what it says; else print its digests."""
    from auditor.checkpoint.asked import Asked
    from auditor.checkpoint.scan import scan as scan_checkpoint

    scanned = scan_checkpoint(checkpoint, allow_pickle=allow_pickle, asked=Asked(adapter, config=config))
    for file in scanned.files:
        click.echo(f"{file.sha256}  {file.path}")
    click.echo(f"{scanned.digest}  (checkpoint)")
    for note in scanned.notes:
        click.echo(note, err=True)
