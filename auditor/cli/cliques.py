"""`auditor cliques`: copies known without any training set."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from auditor.cli.display import COLOURS, Terminal, printable
from auditor.cli.options import default_run_directory, encoder_section


@click.command()
@click.argument("target", type=click.Path(path_type=Path))
@click.option("--run-dir", type=click.Path(path_type=Path), help="Where results go [default: runs/<name>-cliques].")
@click.option("--probes", type=click.IntRange(1), help="Number of generations [default: 4096].")
@click.option("--sampler", type=click.Choice(["ddim", "dpmpp_2m", "heun"]), help="[default: ddim]")
@click.option("--steps", type=click.IntRange(1), help="Sampler steps [default: 50].")
@click.option("--batch-size", type=click.IntRange(1), help="Images per denoiser call [default: 64].")
@click.option("--adapter", type=click.Path(path_type=Path), help="LoRA file to fuse into the checkpoint.")
@click.option("--config", type=click.Path(path_type=Path), help="Of a single file: the folder that describes it.")
@click.option("--encoder", "encoders", multiple=True, metavar="NAME[=SOURCE]",
              help="Looked under besides patched pixels; as for `auditor run`.")  # fmt: skip
@click.option("--salt", help="Pin the probe noise.")
@click.option("--images", type=click.Choice(["full", "none"]), default="full", show_default=True)
def cliques(
    target: Path, run_dir: Path | None, encoders: tuple[str, ...], images: str, adapter: Path | None,
    config: Path | None, **options: Any,
) -> None:  # fmt: skip
    """Find pictures that TARGET makes again and again, without any training set.

    TARGET is a checkpoint, or an audit.toml of which only checkpoint, generation and encoders count. Generations
    from independent noise that coincide more often than their density explains show a picture that the checkpoint has
    by heart. cliques.json, cliques.html and cliques.md go into the run directory; killed and started again with the
    same command, it goes on where it was. Ends with 0 whatever it found.
    """
    default = default_run_directory(target, adapter=adapter)
    directory = run_dir or default.with_name(f"{default.name}-cliques")
    terminal = Terminal()

    from auditor.cliques import find_cliques, read_cliques  # torch and diffusers load only now
    from auditor.report.cliques import cliques_sentence

    changes: dict[str, Any] = {f"generation.{key}": value for key, value in options.items() if value is not None}
    here = Path.cwd() if target.suffix == ".toml" else Path()
    changes |= {
        f"checkpoint.{key}": str(here / path) for key, path in (("adapter", adapter), ("config", config)) if path
    }
    if encoders:
        changes["encoders"] = [encoder_section(text, here) for text in encoders]
    report = find_cliques(read_cliques(target, changes), directory, progress=terminal, images=images)
    found = any(search.pictures for search in report.searches)
    colour = COLOURS["fail" if found else "cannot conclude"]
    sentence = printable(cliques_sentence(report.searches))
    terminal.console.print(f"[{colour}]{sentence}[/]", highlight=False)
    terminal.console.print(f"report: {printable(directory / 'cliques.html')}", highlight=False, soft_wrap=True)
