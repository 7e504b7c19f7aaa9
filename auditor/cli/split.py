"""`auditor split`: draw a held-out set before training."""

from __future__ import annotations

from pathlib import Path

import click


@click.command()
@click.argument("images", type=click.Path(path_type=Path))
@click.option("--holdout", "share", type=click.FloatRange(0, 1, min_open=True, max_open=True), default=0.2,
              show_default=True, help="Share of the images to hold out.")  # fmt: skip
@click.option("--salt", help="Repeat an earlier split [default: drawn, and recorded].")
@click.option("--threshold", type=click.FloatRange(-1, 1), help="Similarity of duplicates [default: calibrated].")
@click.option("--out", type=click.Path(path_type=Path), default=Path("split"), show_default=True)
def split(images: Path, share: float, salt: str | None, threshold: float | None, out: Path) -> None:
    """Split IMAGES by groups of near-duplicates into OUT/train.txt and OUT/holdout.txt (ids, one a line).

    Run it before training: only a random split made by group lets duplicated images compete in the audit.
    """
    from auditor.splitting import split as split_images

    for path in split_images(images, share=share, salt=salt, threshold=threshold, out=out):
        click.echo(path)
