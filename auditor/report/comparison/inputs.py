"""What was compared, what was not tested, every figure, and how to get them again: sections and their tables."""

from __future__ import annotations

import json
from collections.abc import Iterator

from auditor.report.comparison import story, tables
from auditor.report.comparison.blocks import Block, Cell, Details, Facts, Items, Source, Table, Text, folded
from auditor.store.comparison import Comparison
from auditor.store.wording import count, percent

MAX_UNREADABLE = 100  # per set


def compared(comparison: Comparison) -> Iterator[Block]:
    yield folded(models_table(comparison))
    notes = [f"{m.name}: {note}" for m in comparison.models for note in m.checkpoint.notes]
    if notes:
        yield Items(notes)
    yield folded(image_sets_table(comparison))
    yield folded(columns_table(comparison))
    yield Facts(
        [
            *((f"Checkpoint {m.name}, SHA-256", m.checkpoint.digest) for m in comparison.models),
            *((f"Images, {name}, SHA-256", s.digest) for name, s in story.image_sets(comparison) if s),
            *(
                (
                    f"Encoder {e.name}",
                    f"{e.detail}, {count(e.dim, 'dimension')}, weights SHA-256 {e.weights_sha256 or '–'}",
                )
                for e in comparison.encoders
            ),
        ]
    )
    yield folded(files_table(comparison), "Files of the checkpoints, with digests")
    yield from _unreadable(comparison)


def _unreadable(comparison: Comparison) -> Iterator[Block]:
    for name, images in story.image_sets(comparison):
        if images and images.unreadable:
            items = [f"{id}: {reason}" for id, reason in images.unreadable[:MAX_UNREADABLE]]
            more = len(images.unreadable) - len(items)
            yield Details(
                f"{count(len(images.unreadable), 'unreadable image')}, {name}",
                [Items([*items, f"{more:,} more in the record"] if more else items)],
            )


def untested(comparison: Comparison) -> Iterator[Block]:
    yield Text(
        "A comparison is no audit: it applies no policy and clears nothing for release. It says nothing about:",
    )
    probes = count(comparison.probes, "probe")
    yield Items([*comparison.not_tested, f"Images that none of the {probes} brought out."])


def figures(comparison: Comparison) -> Iterator[Block]:
    table = figures_table(comparison)
    if table.rows:
        yield folded(table)


def reproduce(comparison: Comparison) -> Iterator[Block]:
    drawn = (
        "pinned in the configuration: whoever trained a checkpoint could have known them"
        if comparison.seed_pinned
        else "drawn when the comparison was made"
    )
    environment = ", ".join(f"{key} {value}" for key, value in sorted(comparison.environment.items()))
    yield Text(
        "The same inputs and configuration give the same numbers. What depends on floating-point hardware is named in "
        "the environment."
    )
    yield Facts(
        [
            ("auditor", comparison.tool_version),
            ("Started", comparison.started),
            ("Comparison digest", comparison.comparison_digest),
            ("Probes", f"{comparison.probes:,}, {drawn}"),
            ("Salt of the probes", comparison.salt),
            ("Root seed of the probes", comparison.root_seed),
            ("Record schema", str(comparison.schema_version)),
            ("Environment", environment),
            ("Time per stage", ", ".join(f"{stage} {spent:.1f} s" for stage, spent in comparison.seconds.items())),
        ]
    )
    config = json.dumps(comparison.config, indent=1, sort_keys=True, ensure_ascii=False)
    yield Details("Configuration, every default written out", [Source(config)])


def models_table(comparison: Comparison) -> Table:
    header = ("Model", "Checkpoint", "Network", "Parameters", "Predicts", "Images", "Timesteps", "Place on the curve",
              "Fine-tuned from")  # fmt: skip
    rows: list[list[Cell]] = [
        [
            m.name,
            m.checkpoint.path,
            f"{m.checkpoint.pipeline}, {m.checkpoint.network}{', conditional' if m.checkpoint.conditional else ''}",
            tables.number(m.checkpoint.parameters),
            m.checkpoint.prediction_type,
            " × ".join(map(str, m.checkpoint.sample_shape)),
            tables.number(m.checkpoint.train_timesteps),
            _placed(m.size, m.step),
            m.base or "–",
        ]
        for m in comparison.models
    ]
    return Table("Models (images: channels × height × width)", header, rows)


def _placed(size: int | None, step: int | None) -> str:
    parts = [f"{size:,} images" if size is not None else "", f"step {step:,}" if step is not None else ""]
    return ", ".join(part for part in parts if part) or "–"


def image_sets_table(comparison: Comparison) -> Table:
    rows: list[list[Cell]] = [
        [name, s.path, tables.number(s.images), tables.number(s.distinct), tables.number(len(s.unreadable))]
        if s
        else [name, "not given", "–", "–", "–"]
        for name, s in story.image_sets(comparison)
    ]
    return Table("Image sets", ("Set", "Path", "Images", "Distinct", "Unreadable"), rows)


def columns_table(comparison: Comparison) -> Table:
    header = ("Column", "What it is", "Sampler", "Steps", "Generations", "Denoiser evaluations")
    rows: list[list[Cell]] = [
        [
            c.name,
            f"checkpoint {c.model}" if c.kind == "checkpoint" else f"closed-form memorizer of the data of {c.model}",
            c.sampler,
            tables.number(c.steps),
            tables.number(c.generations),
            tables.number(c.denoiser_evaluations),
        ]
        for c in comparison.columns
    ]
    return Table("Columns", header, rows)


def files_table(comparison: Comparison) -> Table:
    rows: list[list[Cell]] = [
        [f"{m.name}: {file.path}", tables.number(file.bytes), file.sha256]
        for m in comparison.models
        for file in m.checkpoint.files
    ]
    return Table("Files of the checkpoints", ("File", "Bytes", "SHA-256"), rows)


def figures_table(comparison: Comparison) -> Table:
    header = ("Figure", "From", "Value", "Unit", "Level", "n", "Method")
    rows: list[list[Cell]] = [
        [
            f.estimate.name,
            origin,
            f,
            f.estimate.unit or "–",
            "–" if f.estimate.level is None else percent(f.estimate.level),
            "–" if f.estimate.n is None else tables.number(f.estimate.n),
            f.estimate.method or "–",
        ]
        for origin, f in story.estimates(comparison)
    ]
    return Table("Every figure with uncertainty in the comparison", header, rows)
