"""What fine-tuning moved, what is filled in, what is reproduced of a distribution: sections and their tables."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from auditor.report.comparison import charts, story, tables
from auditor.report.comparison.blocks import Block, Cell, Charts, Figure, Table, Terms, Text, folded
from auditor.report.comparison.glossary import ATTRIBUTE_TERMS
from auditor.store.comparison import AttributeDistribution, AttributeShare, Comparison, Moved, TaskResult
from auditor.store.wording import count, percent

SHOWN_PROBES = 24  # examples named per fine-tuning
MAX_SOURCES = 6  # sets of images in one drawing


def moved(comparison: Comparison) -> Iterator[Block]:
    for encoder in story.encoders(comparison, [m.encoder for m in comparison.moved]):
        shown = [m for m in comparison.moved if m.encoder == encoder]
        if encoder == comparison.decisive:
            yield from (Text(story.moved_sentence(m), "lead") for m in shown[:3])
        yield moved_table(shown)


def tasks(comparison: Comparison) -> Iterator[Block]:
    if not comparison.tasks:
        return
    decisive = [task for task in comparison.tasks if task.encoder == comparison.decisive]
    yield Text(story.task_sentence(decisive or comparison.tasks), "lead")
    yield Text(
        "A part of a real image is hidden, and the checkpoint fills it in. Training images stand against as many "
        "held-out ones. Error is the root mean square over the hidden part, with pixels from 0 to 1. “Training "
        "restored better” is the probability that a training image comes back with less error than a held-out one: 0.5 "
        "is chance. An image is recognised if what was filled in lands on it."
    )
    for table in (tasks_restored(comparison.tasks), tasks_alike(comparison.tasks)):
        if table.rows:
            yield folded(table)


def attributes(comparison: Comparison) -> Iterator[Block]:
    if not comparison.attributes:
        return
    yield Text(story.attribute_sentence(comparison.attributes), "lead")
    yield Terms(ATTRIBUTE_TERMS)
    for place, encoder in enumerate(story.encoders(comparison, [d.encoder for d in comparison.attributes])):
        shown = [d for d in comparison.attributes if d.encoder == encoder]
        rows = [charts.Dot(item.value, d.source, item.share) for d in shown[:MAX_SOURCES] for item in d.shares]
        drawn = charts.dots(f"attributes{place}", f"Shares of each value, {encoder}", rows, wide=True)
        rest = len(shown) - MAX_SOURCES
        more = f" {count(rest, 'more set')} in the table." if rest > 0 else ""
        if drawn:
            yield Charts([(drawn, f"Share of each value with its interval, as {encoder} sees it.{more}")], wide=True)
        yield attributes_table(shown)
        if any(d.amplification for d in shown):
            yield amplification(shown)
        yield accuracy(shown)


def moved_table(shown: Sequence[Moved]) -> Table:
    header = (
        "Base → fine-tune", "Encoder", "Probes", "Moved onto its images", "Moved off them", "On them both times", "p",
        "Probes that moved on",
    )  # fmt: skip
    rows: list[list[Cell]] = [
        [
            f"{m.base} → {m.tuned}",
            m.encoder,
            tables.number(m.probes),
            tables.share(m.onto),
            tables.share(m.off),
            percent(m.stayed),
            f"{m.p_value:.3g}",
            _examples(m.examples),
        ]
        for m in shown
    ]
    return Table("Which probes fine-tuning moved onto its training images", header, rows)


def _examples(probes: Sequence[int]) -> str:
    named = ", ".join(str(probe) for probe in probes[:SHOWN_PROBES]) or "–"
    return named if len(probes) <= SHOWN_PROBES else f"{named} and {len(probes) - SHOWN_PROBES:,} more"


def tasks_alike(shown: Sequence[TaskResult]) -> Table:
    header = ("Task", "Pair", "Encoder", "Images", "Same image and noise", "Different ones")
    rows: list[list[Cell]] = [
        [t.task, f"{t.left} × {t.right}", t.encoder, tables.number(t.images), Figure(t.matched), Figure(t.mismatched)]
        for t in shown
        if t.left != t.right
    ]
    return Table("Do checkpoints fill in the same? Similarity of what they fill in", header, rows)


def tasks_restored(shown: Sequence[TaskResult]) -> Table:
    header = (
        "Task", "Checkpoint", "Encoder", "Images", "Error, training", "Error, held out", "Training restored better",
        "Training images recognised", "Held-out images recognised",
    )  # fmt: skip
    rows: list[list[Cell]] = [
        [
            t.task,
            t.left if t.left == t.right else f"{t.left} (beside {t.right})",
            t.encoder,
            tables.number(t.images),
            Figure(t.error_training),
            Figure(t.error_holdout),
            Figure(t.training_better),
            tables.share(t.restored_training),
            tables.share(t.restored_holdout),
        ]
        for t in shown
        if t.left == t.right or _is_scored(t)
    ]
    return Table("Is it the training image that is filled in?", header, rows)


def _is_scored(task: TaskResult) -> bool:
    figures = (task.error_training, task.error_holdout, task.training_better, task.restored_training)
    return any(figure.value is not None for figure in (*figures, task.restored_holdout))


def attributes_table(shown: Sequence[AttributeDistribution]) -> Table:
    """Shares by value and source; the longer of the two runs down the page."""
    caption = f"How often each value occurs, as {shown[0].encoder} sees it"
    return _by_value(caption, [(d.source, d.shares) for d in shown], percentages=True)


def amplification(shown: Sequence[AttributeDistribution]) -> Table:
    sources = [(d.source, d.amplification) for d in shown if d.amplification]
    return _by_value("Amplification: generated share divided by that of the training set", sources, percentages=False)


def accuracy(shown: Sequence[AttributeDistribution]) -> Table:
    rows: list[list[Cell]] = [[d.source, tables.share(d.accuracy)] for d in shown]
    return Table("How often the classifier is right", ("Images", "Accuracy"), rows)


def _by_value(caption: str, sources: Sequence[tuple[str, Sequence[AttributeShare]]], percentages: bool) -> Table:
    values = list(dict.fromkeys(item.value for _, shares in sources for item in shares))
    cells: dict[tuple[str, str], Cell] = {
        (source, item.value): Figure(item.share, percentages) for source, shares in sources for item in shares
    }
    names = [source for source, _ in sources]
    if len(names) <= len(values):
        rows = [[value, *(cells.get((name, value), "–") for name in names)] for value in values]
        return Table(caption, ("Value", *names), rows)
    rows = [[name, *(cells.get((name, value), "–") for value in values)] for name in names]
    return Table(caption, ("Images", *values), rows)
