"""`auditor canary`: images to put into a training set before training, so that leakage can be measured after it."""

from __future__ import annotations

from pathlib import Path

import click

from auditor.errors import ConfigError


@click.command()
@click.argument("images", type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), default=Path("canary"), show_default=True)
@click.option("--per-tier", type=click.IntRange(8), default=64, show_default=True,
              help="Canaries a tier; about half of them are included.")  # fmt: skip
@click.option("--tiers", default="1,4,16", show_default=True, metavar="N,N,...",
              help="How often an included canary is repeated.")  # fmt: skip
@click.option("--format", "form", type=click.Choice(["folder", "tar", "parquet"]), default="folder", show_default=True,
              help="How the images to add are written.")  # fmt: skip
@click.option("--size", metavar="HxW", help="Of canaries [default: that of the first image].")
@click.option("--ids", type=click.Path(path_type=Path), help="Only these of IMAGES count as the data, one id a line.")
@click.option("--id-column", help="parquet and Arrow only.")
@click.option("--image-column", help="The same.")
@click.option("--salt", help="Repeat earlier canaries and coins [default: drawn, and recorded].")
def canary(
    images: Path, out: Path, per_tier: int, tiers: str, form: str, size: str | None, ids: Path | None,
    id_column: str | None, image_column: str | None, salt: str | None,
) -> None:  # fmt: skip
    """Make canaries for the training set IMAGES: unique random pictures of its size, mean and contrast.

    A fair coin decides for each whether OUT/add has it, so many times as its tier says. Train on IMAGES and OUT/add
    together; keep OUT/canaries and OUT/canaries.json, and give both to `auditor run` in a section [canaries]. The audit
    then says, for 1, 4 and 16 repetitions, how well the checkpoint tells included canaries from those left out, and a
    lower bound on the epsilon of the training run.

    \b
    auditor canary images --out canary
    auditor canary shards --format parquet --ids split/train.txt
    """
    from auditor.canaries.make import make_canaries

    paths = make_canaries(
        images, out=out, per_tier=per_tier, tiers=numbers("--tiers", tiers, ","), ids=ids, salt=salt, form=form,  # type: ignore[arg-type]  # click checked it
        size=None if size is None else pair(size), id_column=id_column, image_column=image_column,
    )  # fmt: skip
    for path in paths:
        click.echo(path)


def pair(text: str) -> tuple[int, int]:
    """``HxW`` as two numbers."""
    found = numbers("--size", text, "x")
    if len(found) != 2:
        raise ConfigError("--size", text, "height x width, such as 64x64", "Give two numbers.")
    return found[0], found[1]


def numbers(option: str, text: str, separator: str) -> list[int]:
    """Positive whole numbers of an option's text.

    Raises:
      ConfigError: Anything else.
    """
    parts = text.lower().split(separator)
    if not all(part.strip().isdecimal() and int(part) > 0 for part in parts):
        raise ConfigError(option, text, f"positive whole numbers with {separator!r} between", "Correct the option.")
    return [int(part) for part in parts]
