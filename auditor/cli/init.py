"""`auditor init`: a commented configuration to start from."""

from __future__ import annotations

from importlib import resources

import click


def template(name: str = "audit") -> str:
    """The commented audit.toml or compare.toml: every key with its default."""
    return resources.files("auditor.cli").joinpath(f"{name}.toml").read_text()


@click.command()
@click.option("--compare", is_flag=True, help="The compare.toml of `auditor compare` instead.")
def init(compare: bool) -> None:
    """Print a commented audit.toml (auditor init > audit.toml)."""
    click.echo(template("compare" if compare else "audit"), nl=False)
