"""`auditor compare`: what the same probe noise says about several checkpoints."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from auditor.cli.display import Terminal, show_comparison
from auditor.cli.options import default_run_directory, encoder_section
from auditor.comparison_config import ComparisonConfig, resolve_comparison, validate_comparison
from auditor.config import read_raw
from auditor.errors import ConfigError


@click.command()
@click.argument("targets", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "--train",
    "train",
    multiple=True,
    type=click.Path(path_type=Path),
    help="Training images: once for all checkpoints, or once for each, in their order.",
)
@click.option("--holdout", type=click.Path(path_type=Path), help="Held-out images of the same origin.")
@click.option("--split", type=click.Choice(["group", "image", "unknown"]), help="How the held-out set was drawn.")
@click.option("--resize", is_flag=True, help="Bring images to the checkpoints' size and channels.")
@click.option("--id-column", help="Column of the ids in parquet and arrow files.")
@click.option("--probes", type=click.IntRange(2), help="Number of probes [default: 1024].")
@click.option(
    "--sampler",
    "samplers",
    multiple=True,
    type=click.Choice(["ddim", "dpmpp_2m", "heun"]),
    help="Repeatable: every checkpoint under every sampler [default: ddim].",
)
@click.option("--steps", type=click.IntRange(1), help="Sampler steps [default: 50].")
@click.option("--batch-size", type=click.IntRange(1), help="Images per denoiser call [default: 64].")
@click.option(
    "--encoder",
    "encoders",
    multiple=True,
    metavar="NAME[=SOURCE]",
    help="pixel, clip=local-dir:FOLDER or sscd=FILE; repeatable, first decides [default: pixel].",
)
@click.option(
    "--curve",
    type=click.Choice(["size", "step"]),
    help="Draw figures along training-set size, or along the steps of one training.",
)
@click.option("--prompts", type=click.Path(path_type=Path), help="Text-to-image: ask for these, one a line.")
@click.option("--captions", is_flag=True, help="Text-to-image: ask for captions of all image sets, drawn blind.")
@click.option("--seeds", type=click.IntRange(2), help="Probes per prompt [default: 4].")
@click.option("--guidance-scale", type=float, help="Classifier-free guidance [default: none].")
@click.option("--config", "description", type=click.Path(path_type=Path), help="Folder that describes single files.")
@click.option("--image-size", type=click.IntRange(1), help="Text-to-image: pixels a side [default: as stated].")
@click.option(
    "--offload", type=click.Choice(["none", "parts", "blocks"]), help="Keep on the host what a GPU is not using."
)
@click.option("--salt", help="Pin the probe noise (for tests and demos; the record says so).")
@click.option("--run-dir", type=click.Path(path_type=Path), help="Where results go [default: runs/<name>].")
def compare(targets: tuple[Path, ...], run_dir: Path | None, **options: Any) -> None:
    """Compare TARGETS: checkpoints (folders or .safetensors files), or one compare.toml, on the same probes.

    Says how alike their answers are, and without prompts whether they land on the training images that the closed-form
    memorizer reaches, and which regime each is in. Killed and started again with the same command, it goes on where it
    was.
    """
    config = comparison(targets, options)
    terminal = Terminal()

    from auditor.comparing import compare as compare_checkpoints

    directory = run_dir or default_directory(targets)
    found = compare_checkpoints(config, directory, progress=terminal)
    show_comparison(terminal.console, found, str(directory / "comparison.html"))


def comparison(targets: tuple[Path, ...], options: dict[str, Any]) -> ComparisonConfig:
    """The comparison that targets and options ask for; options win over the file.

    Raises:
      ConfigError: A faulty file, key or value, or as many training sets as fit neither one nor each checkpoint.
    """
    given = {name: value for name, value in options.items() if value not in (None, False, ())}
    if targets[0].suffix == ".toml":
        return from_file(targets, given)
    train = given.pop("train", ())
    if len(train) not in (0, 1, len(targets)):
        got = f"{len(train)} training sets for {len(targets)} checkpoints"
        raise ConfigError("--train", got, "one for all, or one for each", "Repeat --train, or write a compare.toml.")
    description = given.pop("description", None)
    models: list[dict[str, object]] = [
        {"checkpoint": str(target), **({"config": str(description)} if description and target.is_file() else {})}
        for target in targets
    ]
    for model, images in zip(models, train if len(train) == len(targets) else [*train] * len(targets), strict=False):
        model["train"] = str(images)
    raw = {"models": models, **sections(given, Path())}
    return resolve_comparison(validate_comparison(raw, "options"), Path())


def from_file(targets: tuple[Path, ...], given: dict[str, Any]) -> ComparisonConfig:
    """A compare.toml with options over it."""
    if len(targets) > 1 or "train" in given or "description" in given:
        got = "a compare.toml with more targets, --train or --config"
        raise ConfigError("options", got, "the file alone", "State checkpoints and training sets in the file.")
    raw = read_raw(targets[0])
    for name, value in sections(given, Path.cwd()).items():
        if not isinstance(value, dict):
            raw[name] = value
        elif isinstance(section := raw.setdefault(name, {}), dict):  # else validation says what stands there instead
            section.update(value)
    return resolve_comparison(validate_comparison(raw, str(targets[0])), targets[0].parent)


def sections(given: dict[str, Any], here: Path) -> dict[str, Any]:
    """Options under their configuration keys; paths are the user's own."""
    data: dict[str, Any] = {name: given[name] for name in ("split", "resize", "id_column") if name in given}
    if "holdout" in given:
        data["holdout"] = str(here / given["holdout"])
    plain = ("probes", "steps", "batch_size", "guidance_scale", "image_size", "salt")
    asked: dict[str, Any] = {name: given[name] for name in plain if name in given}
    if "samplers" in given:
        asked["samplers"] = list(given["samplers"])
    prompts: dict[str, Any] = {"seeds": given["seeds"]} if "seeds" in given else {}
    if "captions" in given:
        prompts["source"] = "captions"
    if "prompts" in given:
        prompts["file"] = str(here / given["prompts"])
    if ("captions" in given) != ("prompts" in given):  # one of them stands in the place of what a file asks for
        prompts = {"source": "empty", "file": None} | prompts
    whole: dict[str, Any] = {"data": data, "generation": asked, "prompts": prompts}
    if "encoders" in given:
        whole["encoders"] = [encoder_section(text, here) for text in given["encoders"]]
    return whole | {name: given[name] for name in ("curve", "offload") if name in given}


def default_directory(targets: tuple[Path, ...]) -> Path:
    """``runs/compare-<names>``: the same for the same targets, so that the same command resumes."""
    if targets[0].suffix == ".toml":
        return default_run_directory(targets[0])
    names = [default_run_directory(target).name for target in targets]
    return Path("runs") / f"compare-{'-'.join(names[:4])}{'-and-more' if len(names) > 4 else ''}"
