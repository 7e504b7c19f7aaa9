"""`auditor index find`: image files looked up in an index."""

from __future__ import annotations

from pathlib import Path

import click

from auditor.cli.display import printable
from auditor.cli.lookup import read_list
from auditor.store.wording import decimal

SHOWN = "the very picture", "in a mirror"


@click.command()
@click.argument("directory", type=click.Path(path_type=Path))
@click.argument("images", nargs=-1, metavar="[IMAGE]...")
@click.option("--list", "listed", type=click.Path(path_type=Path), help="More of them, one path a line.")
@click.option("--approximate", type=click.Path(path_type=Path), help="What `auditor index approximate` made of it.")
@click.option("--neighbours", type=click.IntRange(1), default=5, show_default=True, help="Rows shown for each image.")
@click.option("--weights", type=click.Path(path_type=Path), help="Where the encoder's weights lie now, if moved.")
@click.option("--policy", type=click.Path(path_type=Path), help="What recall has to be [default: built in].")
@click.option("--json", "as_json", is_flag=True, help="Everything, as JSON on standard output.")
def find(
    directory: Path, images: tuple[str, ...], listed: Path | None, approximate: Path | None, neighbours: int,
    weights: Path | None, policy: Path | None, as_json: bool,
) -> None:  # fmt: skip
    """Look image files up in the index DIRECTORY: which of its images are nearest, as they are or in a mirror?

    Exact, or among the rows that an approximate index proposes; then what was not found may be there all the same, with
    the probability that its measured recall leaves. Needs no checkpoint and no audit; ends with 0 whatever it finds.
    """
    asked = [*images, *(read_list(listed) if listed else [])]

    from auditor.finding import find_in_index  # torch loads only once the options are right

    found = find_in_index(
        directory, asked, approximate=approximate, neighbours=neighbours, weights=weights, policy=policy
    )
    if as_json:
        click.echo(found.model_dump_json(indent=1))
        return
    for image in found.found:
        click.echo(f"{printable(image.asked)}: {printable(image.unscored) if image.unscored else 'nearest'}")
        for near in image.nearest:
            said = [text for text, holds in zip(SHOWN, (near.same_pixels, near.mirrored), strict=True) if holds]
            tail = f" ({', '.join(said)})" if said else ""
            click.echo(f"  {decimal(near.similarity)}  {printable(near.id)}{tail}")
    click.echo(f"\nwhat was not found: {found.silence}: {printable(' '.join(found.reasons))}")
    for remedy in found.remedies:
        click.echo(f"  {printable(remedy)}")
