"""The whole comparison, read from top to bottom."""

from __future__ import annotations

from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError

from auditor.comparison_config import ComparisonConfig
from auditor.errors import ConfigError
from auditor.probes import draw_salt, root_seed
from auditor.progress import Progress, Silent
from auditor.report.comparison import render_comparison
from auditor.stages.comparison.attributes import attribute_distributions, unanswered
from auditor.stages.comparison.columns import answer_probes
from auditor.stages.comparison.finetunes import moved_probes
from auditor.stages.comparison.inputs import ComparedInputs, open_compared
from auditor.stages.comparison.prompts import described, prompt_notes, prompted, prompting
from auditor.stages.comparison.regimes import regimes_of_columns
from auditor.stages.comparison.reproduce import embed_columns, reproduce_pairs
from auditor.stages.comparison.restore import restore_images
from auditor.stages.comparison.sheet import write_sheet
from auditor.stages.environment import environment
from auditor.store.comparison import COMPARISON_VERSION, Comparison
from auditor.store.digest import value_digest
from auditor.store.record import EncoderInfo
from auditor.store.run_directory import RunDirectory, write_json

NOT_TESTED = [
    "Other numbers of steps, guidance scales and probes than those above.",
    "Membership: see `auditor run`. A checkpoint that generalises on every probe can still reveal who was trained on.",
]


def compare(config: ComparisonConfig, run_dir: Path | str, *, progress: Progress | None = None) -> Comparison:
    """Compare checkpoints on the same probes; write comparison.json, comparison.html and .md into the run directory.

    Killed and called again with the same arguments, it goes on where it was and ends with the same record but for the
    times in it.

    Args:
      config: Which checkpoints, and how.
      run_dir: A new folder, or that of an earlier run of the same comparison.
      progress: Where stages report how far they are; silent by default.

    Returns:
      The complete comparison.

    Raises:
      AuditError: See :mod:`auditor.errors`; nothing finished so far is lost.
    """
    show = progress or Silent()
    if config.threads:
        torch.set_num_threads(config.threads)
    inputs = open_compared(config)
    asked = comparison_specification(config, inputs)
    run = RunDirectory.open(Path(run_dir), asked, config.generation.salt or draw_salt())
    seed = root_seed(run.salt, value_digest(sorted(model.scan.digest for model in inputs.models)))

    inputs = prompted(inputs, run, config, seed)
    answers = answer_probes(run, inputs, config, seed, show)
    embedded = embed_columns(run, inputs, answers, show)
    pairs = reproduce_pairs(run, inputs, answers, embedded, config, show)
    found = regimes_of_columns(run, inputs, answers, embedded, pairs, config, seed, show)
    attributes = attribute_distributions(run, inputs, answers, embedded, config, seed, show)
    comparison = Comparison(
        tool_version=version("diffusion-auditor"),
        comparison_digest=value_digest(asked),
        started=run.started,
        seconds=run.seconds,
        environment=environment(inputs.device),
        config=config.model_dump(mode="json"),
        models=[model.describe() for model in inputs.models],
        holdout=None if inputs.holdout is None else inputs.holdout.info,
        columns=[column.describe() for column in embedded.columns],
        probes=config.generation.probes,
        seed_pinned=config.generation.salt is not None,
        salt=run.salt,
        root_seed=seed,
        encoders=[EncoderInfo(**asdict(encoder.spec)) for encoder in inputs.encoders],
        decisive=found.decisive,
        pairs=pairs,
        memorizer=found.agreements,
        regimes=found.verdicts,
        curve=config.curve,
        moved=moved_probes(answers, embedded, found, config, inputs.prompts),
        tasks=restore_images(run, inputs, found, config, seed, show),
        attributes=attributes,
        sheet_columns=[column.name for column in embedded.columns],
        sheet=write_sheet(run.path, embedded.columns, config.sheet, inputs.prompts),
        notes=found.notes + unanswered(config, attributes),
        not_tested=prompt_notes(config, inputs) + NOT_TESTED,
        prompts=prompting(config, inputs),
    )
    found.write_probes(run.path / "probes.parquet")
    write_json(run.path / "comparison.json", comparison.model_dump(mode="json"))
    render_comparison(comparison, run.path)
    return comparison


def comparison_specification(config: ComparisonConfig, inputs: ComparedInputs) -> dict[str, Any]:
    """Everything that determines the result, as plain values; paths count through the digests of what lies there."""
    asked = config.model_dump(mode="json", include={"generation", "level", "curve", "clusters", "tasks", "attributes"})
    models = [
        {
            "name": model.name, "checkpoint": model.scan.digest, "base": model.config.base, "size": model.config.size,
            "step": model.config.step, "train": None if model.train is None else model.train.info.digest,
        }
        for model in inputs.models
    ]  # fmt: skip
    if config.prompts.given:
        asked |= {"prompts": described(config)}
    return asked | {
        "tool": version("diffusion-auditor"),
        "models": models,
        "holdout": None if inputs.holdout is None else inputs.holdout.info.digest,
        "split": config.data.split,
        "resize": config.data.resize,
        "encoders": [asdict(encoder.spec) for encoder in inputs.encoders],
    }


def read_compared(run_dir: Path | str) -> Comparison:
    """The record of a completed comparison.

    Raises:
      ConfigError: None there, an unfinished one, or one of another schema version.
    """
    file = Path(run_dir) / "comparison.json"
    if not file.is_file():
        got = "an unfinished comparison" if (file.parent / "run.json").is_file() else "no comparison"
        raise ConfigError(str(run_dir), got, "a completed one", "Give its `auditor compare` command (again).")
    try:
        return Comparison.model_validate_json(file.read_bytes())
    except ValidationError as error:
        first = error.errors()[0]
        got = f"{'.'.join(map(str, first['loc'])) or 'its text'}: {first['msg']}"
        expected = f"a comparison of schema {COMPARISON_VERSION}"
        raise ConfigError(str(file), got, expected, "Compare again, or use the version that wrote it.") from error
