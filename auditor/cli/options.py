"""Options that `run` and `plan` share, and the configuration they add up to."""

from __future__ import annotations

import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from auditor.config import AuditConfig, read_raw, resolve_paths, validate
from auditor.errors import ConfigError

Command = Callable[..., Any]
GENERIC_ADAPTERS = {"pytorch_lora_weights", "adapter_model"}  # as diffusers and peft name every one of theirs

OPTIONS = (
    click.argument("target", type=click.Path(path_type=Path), required=False),
    click.option("--train", type=click.Path(path_type=Path), help="Training images: folder, tar, parquet, arrow, npz."),
    click.option("--holdout", type=click.Path(path_type=Path), help="Held-out images of the same origin."),
    click.option("--train-ids", type=click.Path(path_type=Path),
                 help="The ids of --train that were trained on, one a line (`auditor split` writes such lists)."),
    click.option("--holdout-ids", type=click.Path(path_type=Path), help="The same for --holdout."),
    click.option("--index", type=click.Path(path_type=Path),
                 help="Embeddings of --train, made once by `auditor index build`."),
    click.option("--split", type=click.Choice(["group", "image", "unknown"]), help="How the held-out set was drawn."),
    click.option("--groups", type=click.Path(path_type=Path),
                 help="What such a split dealt as one: CSV with the columns id and group, as `auditor split` writes."),
    click.option("--id-column", help="Column of the ids in parquet and arrow files."),
    click.option("--resize", is_flag=True, help="Bring images to the checkpoint's size and channels."),
    click.option("--probes", type=click.IntRange(1), help="Number of generations [default: 4096]."),
    click.option("--sampler", type=click.Choice(["ddim", "dpmpp_2m", "heun"]), help="[default: ddim]"),
    click.option("--steps", type=click.IntRange(1), help="Sampler steps [default: 50]."),
    click.option("--batch-size", type=click.IntRange(1), help="Images per denoiser call [default: 64]."),
    click.option("--adapter", type=click.Path(path_type=Path), help="LoRA file to fuse into the checkpoint."),
    click.option("--config", type=click.Path(path_type=Path),
                 help="Of a checkpoint in one .safetensors file: the folder that describes it."),
    click.option("--base", type=click.Path(path_type=Path),
                 help="What it was fine-tuned from, such as the same checkpoint without --adapter."),
    click.option("--prompts", type=click.Path(path_type=Path),
                 help="What to ask a text-to-image checkpoint for, one a line [default: captions, drawn blind]."),
    click.option("--guidance-scale", "guidance_scales", multiple=True, type=click.FloatRange(0),
                 help="Classifier-free guidance; repeatable: probes take the scales in turn [default: none]."),
    click.option("--encoder", "encoders", multiple=True, metavar="NAME[=SOURCE]",
                 help="pixel, clip=local-dir:FOLDER or sscd=FILE; repeatable, first decides [default: pixel]."),
    click.option("--no-membership", is_flag=True, help="Leave membership out; the default policy then cannot pass."),
    click.option("--salt", help="Pin the probe noise (for tests and demos; the record says so)."),
    click.option("--policy", type=click.Path(path_type=Path), help="What a release needs [default: built in]."),
    click.option("--executor", type=click.Choice(["local", "processes", "ray"]),
                 help="Who computes: this process, workers on this machine, a Ray cluster [default: local]."),
    click.option("--workers", type=click.IntRange(1), help="Workers at most [default: one a GPU, or as cores allow]."),
    click.option("--offload", type=click.Choice(["none", "parts", "blocks"]),
                 help="Keep on the host what a GPU is not using: other parts of the checkpoint, other blocks of one."),
    click.option("--set", "assignments", multiple=True, metavar="KEY=VALUE", help="Any key: copies.alpha=0.05"),
)  # fmt: skip


GIVEN = (
    click.option("--images", "made", type=click.Path(path_type=Path),
                 help="Images made elsewhere, in the place of a checkpoint: folder, tar, parquet, arrow, npz."),
    click.option("--metadata", type=click.Path(path_type=Path),
                 help="Their prompts and seeds: .jsonl, .json or .csv [default: what lies beside them]."),
)  # fmt: skip


def audit_options(command: Command) -> Command:
    """Decorator that adds TARGET (an audit.toml or a checkpoint folder) and the options above."""
    for option in reversed(OPTIONS):
        command = option(command)
    return command


def given_options(command: Command) -> Command:
    """Decorator that adds images made elsewhere, which may stand in the place of TARGET."""
    for option in reversed(GIVEN):
        command = option(command)
    return command


def configuration(target: Path | None, assignments: tuple[str, ...], **options: Any) -> AuditConfig:
    """The audit that a target and its options ask for; options win over the file.

    Raises:
      ConfigError: A faulty file, key or value, or a checkpoint without --train and --holdout.
    """
    if target is None and options.get("made") is None:
        raise ConfigError("options", "nothing to audit", "a checkpoint, an audit.toml, or images", "Name one.")
    from_file = target is not None and target.suffix == ".toml"
    raw = {} if target is None else read_raw(target) if from_file else {"checkpoint": {"path": str(target)}}
    for key, value in _given(options, Path.cwd() if from_file else Path()).items():
        _assign(raw, key, value)
    for assignment in assignments:
        key, found, text = assignment.partition("=")
        if not found:
            raise ConfigError("--set", assignment, "KEY=VALUE", "For example --set copies.alpha=0.05.")
        _assign(raw, key, _literal(text))
    if not from_file and not {"train", "holdout"} <= raw.get("data", {}).keys():
        raise ConfigError(
            "options", f"{'images' if target is None else 'a checkpoint'} without --train and --holdout",
            "both image sets", "Give both, or an audit.toml.",
        )  # fmt: skip
    base = target.parent if target is not None and from_file else Path()
    return resolve_paths(validate(raw, str(target) if from_file else "options"), base)


def _given(options: dict[str, Any], here: Path) -> dict[str, Any]:
    """Options that were given, under their configuration keys; their paths are the user's, not the file's: ``here``."""
    keys = {
        "made": "images.path", "metadata": "images.metadata",
        "train": "data.train", "holdout": "data.holdout", "train_ids": "data.train_ids",
        "holdout_ids": "data.holdout_ids", "index": "data.index", "split": "data.split", "resize": "data.resize",
        "groups": "data.groups", "id_column": "data.id_column",
        "adapter": "checkpoint.adapter", "config": "checkpoint.config", "prompts": "prompts.file",
        "probes": "generation.probes", "sampler": "generation.sampler", "steps": "generation.steps",
        "batch_size": "generation.batch_size", "salt": "generation.salt", "policy": "policy",
        "executor": "execution.executor", "workers": "execution.workers",
        "offload": "execution.offload",
    }  # fmt: skip
    given = {
        keys[name]: str(here / value) if isinstance(value, Path) else value
        for name, value in options.items()
        if name in keys and value is not None and value is not False  # a scale of 0 is given
    }
    if options.get("guidance_scales"):
        given["generation.guidance_scale"] = list(options["guidance_scales"])
    if options.get("encoders"):
        given["encoders"] = [encoder_section(text, here) for text in options["encoders"]]
    if options.get("base"):
        base = {"name": "base", "checkpoint": str(here / options["base"]), "role": "base"}
        given["membership.references"] = [base]
    if options.get("no_membership"):
        given |= {"membership.enabled": False, "membership.references": []}
        given |= {f"membership.{name}": None for name in ("suspects", "control")}
    return given


def encoder_section(text: str, here: Path) -> dict[str, str]:
    """``NAME[=SOURCE]`` as an encoder section: a model name or local-dir folder for clip, else a weights file."""
    name, _, source = text.partition("=")
    if not source:
        return {"name": name}
    if name != "clip":
        return {"name": name, "weights": str(here / source)}
    folder = source.removeprefix("local-dir:")
    return {"name": name, "model": source if folder == source else f"local-dir:{here / folder}"}


def _assign(raw: dict[str, Any], dotted: str, value: object) -> None:
    """Set one dotted key.

    Raises:
      ConfigError: What stands before a dot is a value, not a section.
    """
    *sections, key = dotted.split(".")
    for section in sections:
        raw = raw.setdefault(section, {})
        if not isinstance(raw, dict):
            remedy = "`auditor init` prints them all."
            raise ConfigError(
                f"options: {dotted}", f"a key below {section}, which is no section", "a documented key", remedy
            )
    raw[key] = value


def _literal(text: str) -> object:
    """A TOML value, or the text itself where it is none."""
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def default_run_directory(target: Path | None, images: Path | None = None, adapter: Path | None = None) -> Path:
    """``runs/<name>``: the same for the same target, or the same images, so that the same command resumes.

    An adapter on a checkpoint gives its own name: both may be audited side by side.
    """
    target = target or images or Path()
    if adapter is not None and target.suffix != ".toml":
        return Path("runs") / (adapter.absolute().parent.name if adapter.stem in GENERIC_ADAPTERS else adapter.stem)
    name = target.stem if target.suffix == ".toml" else target.absolute().name
    generic = name in {"audit", "compare", "checkpoint"}
    return Path("runs") / (target.absolute().parent.name if generic else name)
