"""Copies known without any training set: a checkpoint's generations, and the pictures that come back among them."""

from __future__ import annotations

from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any

import torch
from pydantic import Field, ValidationError

from auditor.checkpoint.asked import Asked
from auditor.checkpoint.load import load
from auditor.checkpoint.scan import scan
from auditor.config import (
    CheckpointConfig,
    Count,
    EncoderConfig,
    ExecutionConfig,
    GenerationConfig,
    Section,
    below,
    config_error,
    local_dir,
    read_raw,
)
from auditor.diffusion.steps import read_ladder
from auditor.encoders.build import build_encoder
from auditor.errors import ConfigError
from auditor.probes import draw_salt, root_seed
from auditor.progress import Progress, Silent
from auditor.report.clique_leaflet import clique_leaflet
from auditor.report.leaflet import write_leaflet
from auditor.report.pages import Images, known_images
from auditor.stages.cliques import coincidences, describe, illustrate
from auditor.stages.embed import embed_generations, named
from auditor.stages.environment import environment
from auditor.stages.generate import Made, generate
from auditor.stages.guidance import one_scale
from auditor.stages.pictures import write_samples
from auditor.stages.suitability import try_network
from auditor.store.clique_report import CliqueReport
from auditor.store.digest import value_digest
from auditor.store.record import EncoderInfo
from auditor.store.run_directory import RunDirectory, write_json

FILE = "cliques.json"


class CliquesConfig(Section):
    """What to generate, and under which encoders to look besides pixels."""

    checkpoint: CheckpointConfig
    generation: GenerationConfig = GenerationConfig()
    encoders: Annotated[list[EncoderConfig], Field(min_length=1)] = [EncoderConfig(name="pixel")]
    execution: ExecutionConfig = ExecutionConfig()
    threads: Count | None = None


def read_cliques(path: Path | str, changes: dict[str, Any] | None = None) -> CliquesConfig:
    """The sections of an audit.toml that need no training set; the others are passed over.

    Args:
      path: An audit.toml, or a checkpoint folder.
      changes: Values by dotted key, such as ``generation.probes``, that win over the file's.

    Raises:
      ConfigError: No such file, not TOML, an unknown key in those sections, or a value out of range.
    """
    path = Path(path)
    from_file = path.suffix == ".toml"
    whole = read_raw(path) if from_file else {"checkpoint": {"path": str(path)}}
    raw = {name: value for name, value in whole.items() if name in CliquesConfig.model_fields}
    for dotted, value in (changes or {}).items():
        section, _, key = dotted.partition(".")
        if key:
            raw.setdefault(section, {})[key] = value
        else:
            raw[section] = value
    try:
        config = CliquesConfig.model_validate(raw)
    except ValidationError as error:
        raise config_error(error, str(path)) from error
    return _placed(config, path.parent if from_file else Path())


def _placed(config: CliquesConfig, base: Path) -> CliquesConfig:
    """The same with paths taken from ``base``."""
    encoders = [
        encoder.model_copy(
            update={
                "weights": below(base, encoder.weights) if encoder.weights else None,
                "model": local_dir(encoder.model, base),
            }
        )
        for encoder in config.encoders
    ]
    given = {name: getattr(config.checkpoint, name) for name in ("path", "config", "adapter")}
    checkpoint = config.checkpoint.model_copy(update={name: below(base, path) for name, path in given.items() if path})
    return config.model_copy(update={"checkpoint": checkpoint, "encoders": encoders})


def find_cliques(
    config: CliquesConfig, run_dir: Path | str, *, progress: Progress | None = None, images: Images | str = "full"
) -> CliqueReport:
    """Generate from independent noise, and report pictures that come back more often than chance explains.

    Writes cliques.json, cliques.html and cliques.md. Killed and called again, it goes on where it was.

    Args:
      config: See :func:`read_cliques`.
      run_dir: A new folder, or that of an earlier search of the same specification.
      progress: Where stages report how far they are; silent by default.
      images: ``full``, or ``none`` to leave pictures out of the reports.

    Raises:
      AuditError: See :mod:`auditor.errors`; nothing finished so far is lost.
    """
    show, chosen, scale = progress or Silent(), known_images(images), one_scale(config.generation)
    if config.threads:
        torch.set_num_threads(config.threads)
    opened = Asked.of(config.checkpoint, config.execution.offload)
    scanned = scan(config.checkpoint.path, allow_pickle=config.checkpoint.allow_pickle, asked=opened)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    checkpoint = load(scanned, device=device)
    schedule, steps = checkpoint.denoiser.schedule, config.generation.steps
    if steps > len(schedule):
        expected = f"at most {len(schedule)}, the checkpoint's training times"
        raise ConfigError("generation.steps", steps, expected, "Take fewer steps.")
    read_ladder(checkpoint.denoiser, schedule.ladder(steps))
    denoiser = checkpoint.denoiser if scale is None else checkpoint.guided(scale)
    try_network(checkpoint, device)
    channels, height, width = checkpoint.codec.pixel_shape
    encoders = named(
        [build_encoder(e, channels=channels, height=height, width=width, device=device) for e in config.encoders]
    )
    specs = {name: asdict(encoder.spec) for name, encoder in encoders.items()}
    asked = config.model_dump(mode="json", include={"generation"})
    specification = asked | {"tool": version("diffusion-auditor"), "encoders": specs, "checkpoint": scanned.digest}
    run = RunDirectory.open(Path(run_dir), specification, config.generation.salt or draw_salt())
    seed = root_seed(run.salt, scanned.digest)

    key = {"checkpoint": scanned.digest, "generation": asked["generation"], "seed": seed}
    made = generate(run, "generate", key, checkpoint, denoiser, config.generation, seed, device, show)
    vectors = {
        name: embed_generations(run, f"{name}/generations", made, key, encoder, show)
        for name, encoder in encoders.items()
    }
    found = coincidences(run, made, key, vectors, specs, show)
    report = CliqueReport(
        tool_version=version("diffusion-auditor"),
        digest=value_digest(specification),
        started=run.started,
        seconds=run.seconds,
        environment=environment(device),
        config=config.model_dump(mode="json"),
        checkpoint=checkpoint.info,
        generation=Made(made, made, key).describe(config.generation, run.salt, seed),
        encoders=[EncoderInfo(**spec) for spec in specs.values()],
        searches=illustrate(run.path, [describe(one, made) for one in found], made, None),
        sample_images=write_samples(run.path, made),
    )
    write_json(run.path / FILE, report.model_dump(mode="json"))
    write_leaflet(clique_leaflet(report), run.path, "cliques", images=chosen)
    return report
