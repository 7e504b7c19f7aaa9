"""`auditor init`: a commented configuration to start from."""

from __future__ import annotations

from importlib import resources

import click


def template() -> str:
    """The commented audit.toml: every key with its default."""
    return resources.files("auditor.cli").joinpath("audit.toml").read_text()


@click.command()
def init() -> None:
    """Print a commented audit.toml (auditor init > audit.toml)."""
    click.echo(template(), nl=False)
