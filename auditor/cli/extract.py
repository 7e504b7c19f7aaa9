"""`auditor extract`: attack named training records on purpose."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
from pydantic import ValidationError

from auditor.cli.display import COLOURS, Terminal, printable
from auditor.cli.lookup import read_list
from auditor.cli.options import audit_options, configuration, default_run_directory
from auditor.config import config_error
from auditor.errors import ConfigError
from auditor.extraction_config import ExtractionConfig


@click.command()
@audit_options
@click.option("--ids", "listed", type=click.Path(path_type=Path), help="Training ids to attack, one a line.")
@click.option("--id", "single", multiple=True, metavar="ID", help="One of them; repeatable.")
@click.option("--level", "levels", type=click.FloatRange(0, 1, min_open=True, max_open=True), multiple=True,
              help="Share of the training times noised to; repeatable [default: 0.3 0.45 0.6 0.75].")  # fmt: skip
@click.option("--hide", "problems", type=click.Choice(["left half", "right half", "centre", "nothing"]), multiple=True,
              help="What is hidden and filled in; repeatable [default: both halves].")  # fmt: skip
@click.option("--solver", type=click.Choice(["replacement", "null_space", "posterior"]), help="[default: null_space]")
@click.option("--draws", type=click.IntRange(1), help="Noises per record and attack [default: 4].")
@click.option("--against", type=click.IntRange(20), help="Held-out images attacked likewise [default: 200].")
@click.option("--run-dir", type=click.Path(path_type=Path), help="Where results go [default: runs/<name>-extract].")
@click.option("--images", type=click.Choice(["full", "none"]), default="full", show_default=True)
def extract(
    target: Path | None, listed: Path | None, single: tuple[str, ...], levels: tuple[float, ...],
    problems: tuple[str, ...], solver: str | None, draws: int | None, against: int | None, run_dir: Path | None,
    images: str,
    assignments: tuple[str, ...], **options: Any,
) -> None:  # fmt: skip
    """Attack training records of TARGET by name: an audit.toml, or a checkpoint folder with --train and --holdout.

    Each is regenerated from partly noised versions of itself and filled in under masks, and so are held-out images of
    the same difficulty; of a text-to-image checkpoint each under its own caption. A record that free probes never reach
    is still tested, and one that comes back as any image does is not called. Writes extract.json, extract.html and
    extract.md into the run directory; killed and started again with the same command, it goes on where it was. Ends
    with 0 whatever it finds.

    \b
    auditor extract audit.toml --ids names.txt
    auditor extract audit.toml --id img-00017 --level 0.7 --hide nothing --against 400
    """
    ids = [*single, *(read_list(listed, "--ids") if listed else [])]
    if not ids:
        raise ConfigError("options", "no ids", "--ids FILE or --id ID", "Name the training records to attack.")
    given = {
        "levels": sorted(set(levels)) if levels else None,
        "problems": [problem for problem in problems if problem != "nothing"] if problems else None,
        "solver": solver, "draws": draws, "holdout": against,
    }  # fmt: skip
    try:
        asked = ExtractionConfig.model_validate({key: value for key, value in given.items() if value is not None})
    except ValidationError as error:
        raise config_error(error, "options") from error
    config = configuration(target, assignments, **options)
    default = default_run_directory(target, adapter=options["adapter"])
    directory = run_dir or default.with_name(f"{default.name}-extract")
    terminal = Terminal()

    from auditor.extracting import extract as extract_records  # torch and diffusers load only now
    from auditor.report.extraction import extraction_leaflet

    found = extract_records(config, ids, directory, asked=asked, progress=terminal, images=images)
    told = extraction_leaflet(found)
    colour = COLOURS["fail" if told.tone == "fail" else "cannot conclude"]
    terminal.console.print(f"[{colour}]{printable(told.lead)}[/]", highlight=False)
    for note in found.notes:
        terminal.console.print(f"  → {printable(note)}", highlight=False)
    terminal.console.print(f"report: {printable(directory / 'extract.html')}", highlight=False, soft_wrap=True)
