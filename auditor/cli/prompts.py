"""`auditor prompts`: which prompts a checkpoint seems to know by heart."""

from __future__ import annotations

from pathlib import Path
from typing import Any, get_args

import click
from pydantic import ValidationError
from rich.table import Column, Table

from auditor.cli.display import COLOURS, Terminal, printable
from auditor.cli.options import default_run_directory
from auditor.config import config_error
from auditor.ranking_config import DetectorName, RankingConfig
from auditor.store.prompts import RankedPrompt

SHOWN = 20  # prompts in the terminal; the report has all


@click.command()
@click.argument("checkpoint", type=click.Path(path_type=Path))
@click.argument("prompts", type=click.Path(path_type=Path))
@click.option("--controls", type=click.Path(path_type=Path),
              help="Prompts of the same length and style that were not trained on: held-out captions.")  # fmt: skip
@click.option("--detectors", multiple=True, metavar="NAME[,NAME]...",
              help="The first decides [default: magnitude,consistency,one_step,sharpness]. "
                   f"All: {', '.join(get_args(DetectorName))}.")  # fmt: skip
@click.option("--adapter", type=click.Path(path_type=Path), help="LoRA file to fuse into CHECKPOINT.")
@click.option("--config", type=click.Path(path_type=Path),
              help="Of a CHECKPOINT or base in one .safetensors file: the folder that describes it.")  # fmt: skip
@click.option("--base", type=click.Path(path_type=Path),
              help="What it was fine-tuned from, such as CHECKPOINT without --adapter: what the base knows "
                   "already is not charged to the fine-tune.")  # fmt: skip
@click.option("--seeds", "noises", type=click.IntRange(1), help="Start noises per prompt [default: 4].")
@click.option("--steps", type=click.IntRange(1), help="Steps of detectors that follow a path [default: 10].")
@click.option("--guidance", "guidance_scale", type=click.FloatRange(0), help="[default: 7.5]")
@click.option("--batch-size", type=click.IntRange(1), help="Rows per denoiser call [default: 64].")
@click.option("--alpha", type=click.FloatRange(0, 1, min_open=True, max_open=True),
              help="False discovery rate of the called prompts [default: 0.1].")  # fmt: skip
@click.option("--image-size", type=click.IntRange(1), help="Pixels a side [default: what the checkpoint states].")
@click.option("--dtype", type=click.Choice(["float32", "bfloat16", "float16"]),
              help="Of the network and its text encoders [default: float32].")  # fmt: skip
@click.option("--offload", type=click.Choice(["none", "parts", "blocks"]),
              help="Keep on the host what a GPU is not using [default: none].")  # fmt: skip
@click.option("--column", help="Of a table of prompts [default: caption, text or prompt].")
@click.option("--salt", help="Pin the noises.")
@click.option("--out", type=click.Path(path_type=Path), help="Where results go [default: runs/<name>-prompts].")
@click.option("--images", type=click.Choice(["full", "none"]), default="full", show_default=True)
@click.option("--json", "as_json", is_flag=True, help="The whole record as JSON on standard output.")
def prompts(
    checkpoint: Path, prompts: Path, controls: Path | None, detectors: tuple[str, ...], out: Path | None, images: str,
    as_json: bool, **options: Any,
) -> None:  # fmt: skip
    """Rank PROMPTS by how much CHECKPOINT seems to know them by heart.

    PROMPTS is a text file, one a line, or a csv, jsonl, parquet or Arrow file with a caption column. No picture is made
    and no training data is needed. With --controls, prompts that stand out beside controls of the same length and
    style are called, at a false discovery rate; without, prompts are ranked and none is called. With --base, what the
    fine-tune added is told from what its base knew already, which is not charged to it. prompts.json,
    prompts.html and prompts.md go into the output folder; killed and started again with the same command, it goes on
    where it was. Ends with 0 whatever it found.

    \b
    auditor prompts CHECKPOINT captions.txt --controls held-out.txt
    auditor prompts CHECKPOINT train.parquet --controls holdout.parquet --detectors magnitude,bright_ending
    auditor prompts SD lora-captions.txt --adapter lora.safetensors --base SD --controls held-out.txt
    auditor prompts tuned.safetensors captions.txt --config SD --base base.safetensors --controls held-out.txt
    """
    given = {key: value for key, value in options.items() if value is not None}
    if detectors:
        given["detectors"] = [name.strip() for text in detectors for name in text.split(",") if name.strip()]
    try:
        asked = RankingConfig.model_validate(given)
    except ValidationError as error:
        raise config_error(error, "options") from error
    default = default_run_directory(checkpoint, adapter=options.get("adapter"))
    directory = out or default.with_name(f"{default.name}-prompts")
    terminal = Terminal()

    from auditor.ranking import rank_prompts  # torch and diffusers load only now
    from auditor.report.prompt_base import shortened
    from auditor.report.prompts import charged, prompts_sentence

    ranking = rank_prompts(
        checkpoint, prompts, directory, controls=controls, asked=asked, progress=terminal, images=images
    )
    if as_json:
        click.echo(ranking.model_dump_json(indent=1))
    figures = ("p", "q") if ranking.base is None else ("on base", "q added")
    columns = [Column(name, no_wrap=True) for name in ("called", ranking.deciding, *figures)]
    table = Table("", Column("prompt", no_wrap=True, max_width=32), *columns, box=None, pad_edge=False)
    for place, one in enumerate(ranking.prompts[:SHOWN], 1):
        text = printable(shortened(one.prompt) or "(empty)")
        table.add_row(str(place), text, *_cells(one, ranking.deciding, beside=ranking.base is not None))
    terminal.console.print(table)
    if len(ranking.prompts) > SHOWN:
        terminal.console.print(f"  and {len(ranking.prompts) - SHOWN:,} more in the report", highlight=False)
    colour = COLOURS["fail" if charged(ranking) else "cannot conclude"]
    terminal.console.print(f"[{colour}]{printable(prompts_sentence(ranking))}[/]", highlight=False)
    for note in (ranking.comparison.statement, *ranking.notes):
        terminal.console.print(f"  → {printable(note)}", highlight=False)
    terminal.console.print(f"report: {printable(directory / 'prompts.html')}", highlight=False, soft_wrap=True)


def _cells(one: RankedPrompt, deciding: str, *, beside: bool) -> list[str]:
    """Whether it is called, and by what; with a base, whose it is."""
    decide, base = one.scores.get(deciding), one.base.get(deciding)
    called = "[red]called[/]" if one.called else ""
    if base is not None and base.origin not in (None, "none"):
        called = "[red]added[/]" if base.origin == "added" else base.origin
    figures = (None, None) if decide is None else (decide.p_value, decide.q_value)
    if beside:
        figures = (None, None) if base is None else (base.score.score, base.q_value)
    return [called, *map(_figure, (None if decide is None else decide.score, *figures))]


def _figure(value: float | None) -> str:
    return "–" if value is None else f"{value:.3g}"
