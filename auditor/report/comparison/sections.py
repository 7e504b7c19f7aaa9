"""The report of a comparison from top to bottom, as sections that every format writes."""

from __future__ import annotations

from collections.abc import Iterator

from auditor.report.comparison import charts, effects, inputs, measured, story, tables
from auditor.report.comparison.blocks import Block, Charts, Items, Section, Sheet, Terms, Text, folded
from auditor.report.comparison.curve import curve_sentence, places, series
from auditor.report.comparison.glossary import CURVE_TERMS, TERMS
from auditor.report.prompting import scale_text
from auditor.store.comparison import Comparison, SheetRow
from auditor.store.wording import count

MAX_PICTURES = 720


def sections(comparison: Comparison) -> list[Section]:
    """Every section that has something to say, in the order in which it is read."""
    made = [
        Section("sheet", "The same noise, side by side", "Side by side", list(_sheet(comparison))),
        Section("terms", "What was done, and the words for it", "What was done", list(_introduction(comparison))),
        Section("matrix", "How alike are the answers?", "Matrix", list(measured.alike(comparison))),
        Section("pairs", "Pair by pair", "Pairs", list(measured.pairs(comparison))),
        Section("memorizer", "Against the closed-form memorizer", "Memorizer", list(measured.memorizer(comparison))),
        Section("curve", "When does it memorise?", "Curve", list(_curve(comparison))),
        Section("moved", "What fine-tuning moved", "Fine-tunes", list(effects.moved(comparison))),
        Section("tasks", "What is filled in where an image is hidden", "Tasks", list(effects.tasks(comparison))),
        Section("attributes", "What the distribution becomes", "Attributes", list(effects.attributes(comparison))),
        Section("compared", "What was compared", "What was compared", list(inputs.compared(comparison))),
        Section("untested", "What was not tested", "Not tested", list(inputs.untested(comparison))),
        Section("figures", "All figures", "All figures", list(inputs.figures(comparison))),
        Section("reproduce", "How to reproduce it", "How to reproduce", list(inputs.reproduce(comparison))),
    ]
    return [section for section in made if section.blocks]


def _introduction(comparison: Comparison) -> Iterator[Block]:
    checkpoints = sum(column.kind == "checkpoint" for column in comparison.columns)
    memorizers = len(comparison.columns) - checkpoints
    beside = f", and so did {count(memorizers, 'closed-form memorizer')}" if memorizers else ""
    yield Text(
        f"{count(checkpoints, 'checkpoint column')} answered the same {count(comparison.probes, 'probe')}{beside}. All "
        "of them started a probe from the same noise, so where two answers differ, the noise is not why. "
        f"Verdicts rest on the encoder {comparison.decisive}."
    )
    guided = [column.guidance_scale for column in comparison.columns if column.guidance_scale is not None]
    if guided:
        unguided = ", the memorizers under none" if memorizers else ""
        yield Text(f"Checkpoints answered under guidance scale {scale_text(guided[0])}{unguided}.")
    if comparison.prompts:
        yield Text(story.prompts_sentence(comparison.prompts))
    yield Terms(TERMS)
    if comparison.regimes:
        yield folded(tables.regimes(comparison))
    if comparison.notes:
        yield Text("About these inputs:")
        yield Items(comparison.notes)


def _sheet(comparison: Comparison) -> Iterator[Block]:
    if not comparison.sheet or not comparison.sheet_columns:
        return
    fitting = max(1, MAX_PICTURES // len(comparison.sheet_columns))
    shown = comparison.sheet[:fitting]
    rest = len(comparison.sheet) - len(shown)
    left_out = f" {count(rest, 'more row')} in the record." if rest else ""
    yield Text(
        "Each row is one probe: every picture in it began as the same noise. Each column is one checkpoint or "
        f"memorizer. A row of one and the same picture is what reproducibility looks like.{left_out}"
    )
    yield Sheet(comparison.sheet_columns, [(_row_name(row), row.images) for row in shown])


def _row_name(row: SheetRow) -> str:
    return f"probe {row.probe:,}" if row.prompt is None else f"probe {row.probe:,}: {row.prompt}"


def _curve(comparison: Comparison) -> Iterator[Block]:
    drawn, by_size = series(comparison), comparison.curve == "size"
    if not drawn:
        return
    x_name = "Training images" if by_size else "Training step"
    yield Text(curve_sentence(comparison), "lead")
    yield Terms(CURVE_TERMS if by_size else CURVE_TERMS[:2])
    label = "training images (logarithmic)" if by_size else "training step"
    title = f"Regime against {'number of training images' if by_size else 'training step'}"
    caption = f"{comparison.decisive}: one marker per checkpoint or pair, with its interval; lines join the means."
    yield Charts([(charts.curve("curve-drawing", title, drawn, by_size, label), caption)], wide=True)
    yield tables.curve(drawn, places(comparison), x_name)
    yield folded(tables.points(drawn, x_name), "Every point of the curve")
