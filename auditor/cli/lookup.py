"""`auditor lookup`: what a finished audit says about single images."""

from __future__ import annotations

from pathlib import Path

import click

from auditor.cli.display import Terminal, printable
from auditor.cli.options import encoder_section
from auditor.errors import ConfigError


@click.command()
@click.argument("run_dir", metavar="RUN", type=click.Path(path_type=Path))
@click.argument("images", nargs=-1, metavar="[IMAGE]...")
@click.option("--list", "listed", type=click.Path(path_type=Path), help="More of them: files or ids, one a line.")
@click.option("--json", "as_json", is_flag=True, help="Everything, as JSON on standard output.")
@click.option("--train", type=click.Path(path_type=Path), help="Where the training images lie now, if they were moved.")
@click.option("--holdout", type=click.Path(path_type=Path), help="The same for the held-out images.")
@click.option("--encoder", "encoders", multiple=True, metavar="NAME[=SOURCE]",
              help="Where the encoder's weights lie now, once per encoder of the audit, in its order.")  # fmt: skip
def lookup(
    run_dir: Path, images: tuple[str, ...], listed: Path | None, as_json: bool, train: Path | None,
    holdout: Path | None, encoders: tuple[str, ...],
) -> None:  # fmt: skip
    """Look IMAGEs up in the finished audit RUN: image files, or ids of the training or held-out set.

    Says of each whether it or a near-duplicate was trained on, whether a probe landed on it, how near the nearest
    generation comes beside held-out images, what its membership scores say, and what all of that does not show. Needs
    no checkpoint. Ends with 0 whatever it finds.

    \b
    auditor lookup runs/ddpm photo.png other.jpg
    auditor lookup runs/ddpm --list opt-outs.txt --json > opt-outs.json
    """
    asked = [*images, *(read_list(listed) if listed else [])]

    from auditor.config import EncoderConfig  # torch loads only once the options are right
    from auditor.looking_up import lookup as look_up
    from auditor.report.lookup import headline, not_shown, sentences

    sections = [EncoderConfig.model_validate(encoder_section(text, Path())) for text in encoders]
    found = look_up(run_dir, asked, train=train, holdout=holdout, encoders=sections, progress=Terminal())
    if as_json:
        click.echo(found.model_dump_json(indent=1))
        return
    for image in found.images:
        click.echo(f"{plain(image.asked)}: {plain(headline(image))}")
        for sentence in sentences(image, found.probes):
            click.echo(f"  {plain(sentence)}")
    click.echo("\nWhat this does not show")
    for sentence in not_shown(found):
        click.echo(f"  - {plain(sentence)}")


def plain(text: str) -> str:
    """Text without control characters."""
    return "".join(char for char in text if char.isprintable())


def read_list(file: Path, option: str = "--list") -> list[str]:
    """Lines of a list that are not empty, in their order.

    Raises:
      ConfigError: No such file, not text, or an empty one.
    """
    try:
        text = file.read_text(encoding="utf-8-sig")  # a byte order mark is no part of the first line
        lines = [line.strip() for line in text.split("\n") if line.strip()]  # splitlines cuts at form feeds, too
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{option} {printable(file)}", error, "a text file of paths or ids", "Correct it.") from error
    if not lines:
        raise ConfigError(f"{option} {printable(file)}", "no lines", "paths or ids, one a line", "Correct it.")
    return lines
