"""The tables of a comparison."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from auditor.report.comparison import story
from auditor.report.comparison.blocks import Cell, Figure, Ruling, Table
from auditor.report.comparison.curve import Series
from auditor.report.story import estimate_text
from auditor.store.comparison import (
    AttributeDistribution,
    AttributeShare,
    ClusterShare,
    Comparison,
    MemorizerAgreement,
    Moved,
    Reproducibility,
    TaskResult,
)
from auditor.store.record import Estimate
from auditor.store.wording import decimal, percent

SHOWN_PROBES = 24  # examples named per fine-tuning


def share(estimate: Estimate) -> Figure:
    return Figure(estimate, share=True)


def number(value: int) -> str:
    return f"{value:,}"


def regimes(comparison: Comparison) -> Table:
    header = ("Checkpoint", "Regime", "Lands where the memorizer does", "Why", "What would settle it")
    rows: list[list[Cell]] = [
        [v.column, Ruling(v.regime), share(v.memorised), " ".join(v.reasons) or "–", " ".join(v.remedies) or "–"]
        for v in comparison.regimes
    ]
    return Table("Regime of each checkpoint", header, rows)


def pairs(caption: str, shown: Iterable[Reproducibility]) -> Table:
    header = (
        "Pair", "Training data", "Probes", "Same noise", "Different noise", "RP, published (0.6)", "RP, calibrated",
        "Threshold", "Different noise above it", "Identified",
    )  # fmt: skip
    rows: list[list[Cell]] = [
        [
            f"{p.left} × {p.right}",
            p.data,
            number(p.probes),
            Figure(p.matched),
            Figure(p.mismatched),
            share(p.rp_published),
            share(p.rp),
            decimal(p.threshold),
            percent(p.mismatched_above),
            share(p.identified),
        ]
        for p in shown
    ]
    return Table(caption, header, rows)


def landing(shown: Sequence[MemorizerAgreement]) -> Table:
    header = (
        "Checkpoint", "Probes", "Lands where the memorizer does", "By chance", "Control: held-out images",
        "Images reached so", "Held-out images reached so", "p", "Training images",
    )  # fmt: skip
    rows: list[list[Cell]] = [
        [
            a.column,
            number(a.probes),
            share(a.share),
            percent(a.chance),
            share(a.control),
            number(a.training_reached),
            number(a.control_reached),
            Figure(a.p_value),
            number(a.items),
        ]
        for a in shown
    ]
    return Table("Landing where the memorizer lands", header, rows)


def nearness(shown: Sequence[MemorizerAgreement]) -> Table:
    header = (
        "Checkpoint", "Lands on any training image", "On any held-out image", "Plausible", "GL, published (0.6)",
        "GL, calibrated", "Certified copies", "X, at least",
    )  # fmt: skip
    rows: list[list[Cell]] = [
        [
            a.column,
            share(a.landed),
            share(a.landed_holdout),
            share(a.plausible),
            share(a.gl_published),
            share(a.gl),
            number(a.certified),
            Figure(a.lower_bound),
        ]
        for a in shown
    ]
    return Table("Near training images, wherever the memorizer goes", header, rows)


def worst_first(clusters: Iterable[ClusterShare]) -> list[ClusterShare]:
    """Clusters by the share that lands on the memorizer's image, largest first; those without a share last."""
    return sorted(clusters, key=lambda c: (c.share.value is None, -(c.share.value or 0.0), c.cluster))


def clusters(agreement: MemorizerAgreement) -> Table:
    rows: list[list[Cell]] = [
        [c.cluster, share(c.share), percent(c.chance), "–" if c.share.n is None else number(c.share.n)]
        for c in worst_first(agreement.clusters)
    ]
    header = ("Cluster", "Lands where the memorizer does", "By chance", "Probes")
    return Table(f"{agreement.column}, {agreement.encoder}: clusters, worst first", header, rows)


def curve(drawn: Sequence[Series], places: Sequence[int], x_name: str) -> Table:
    rows: list[list[Cell]] = [[number(x), *(_mean(one, x) for one in drawn)] for x in places]
    return Table("The curve in numbers", (x_name, *(one.name for one in drawn)), rows)


def _mean(one: Series, x: int) -> Cell:
    """The one estimate at a place, or the mean and range of several."""
    points = one.at(x)
    if len(points) == 1:
        return share(points[0].estimate)
    values = [point.estimate.value for point in points if point.estimate.value is not None]
    if not values:
        return next((share(point.estimate) for point in one.points if point.x == x), "–")
    spread = f"{percent(min(values))} to {percent(max(values))}"
    return f"{percent(sum(values) / len(values))}, mean of {len(values)}: {spread}"


def points(drawn: Sequence[Series], x_name: str) -> Table:
    rows: list[list[Cell]] = [
        [p.label, one.name, number(p.x), share(p.estimate)]
        for one in drawn
        for p in sorted(one.points, key=lambda p: p.x)
    ]
    return Table("Every point of the curve", ("Pair or checkpoint", "Series", x_name, "Value"), rows)


def moved(shown: Sequence[Moved]) -> Table:
    header = (
        "Base → fine-tune", "Encoder", "Probes", "Moved onto its images", "Moved off them", "On them both times", "p",
        "Probes that moved on",
    )  # fmt: skip
    rows: list[list[Cell]] = [
        [
            f"{m.base} → {m.tuned}",
            m.encoder,
            number(m.probes),
            share(m.onto),
            share(m.off),
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
        [t.task, f"{t.left} × {t.right}", t.encoder, number(t.images), Figure(t.matched), Figure(t.mismatched)]
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
            number(t.images),
            Figure(t.error_training),
            Figure(t.error_holdout),
            Figure(t.training_better),
            share(t.restored_training),
            share(t.restored_holdout),
        ]
        for t in shown
        if t.left == t.right or _is_scored(t)
    ]
    return Table("Is it the training image that is filled in?", header, rows)


def _is_scored(task: TaskResult) -> bool:
    figures = (task.error_training, task.error_holdout, task.training_better, task.restored_training)
    return any(figure.value is not None for figure in (*figures, task.restored_holdout))


def attributes(shown: Sequence[AttributeDistribution]) -> Table:
    """Shares by value and source; the longer of the two runs down the page."""
    caption = f"How often each value occurs, as {shown[0].encoder} sees it"
    return _by_value(caption, [(d.source, d.shares) for d in shown], percentages=True)


def amplification(shown: Sequence[AttributeDistribution]) -> Table:
    sources = [(d.source, d.amplification) for d in shown if d.amplification]
    return _by_value("Amplification: generated share divided by that of the training set", sources, percentages=False)


def accuracy(shown: Sequence[AttributeDistribution]) -> Table:
    rows: list[list[Cell]] = [[d.source, share(d.accuracy)] for d in shown]
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


def models(comparison: Comparison) -> Table:
    header = ("Model", "Checkpoint", "Network", "Parameters", "Predicts", "Images", "Timesteps", "Place on the curve",
              "Fine-tuned from")  # fmt: skip
    rows: list[list[Cell]] = [
        [
            m.name,
            m.checkpoint.path,
            f"{m.checkpoint.pipeline}, {m.checkpoint.network}{', conditional' if m.checkpoint.conditional else ''}",
            number(m.checkpoint.parameters),
            m.checkpoint.prediction_type,
            " × ".join(map(str, m.checkpoint.sample_shape)),
            number(m.checkpoint.train_timesteps),
            _placed(m.size, m.step),
            m.base or "–",
        ]
        for m in comparison.models
    ]
    return Table("Models (images: channels × height × width)", header, rows)


def _placed(size: int | None, step: int | None) -> str:
    parts = [f"{size:,} images" if size is not None else "", f"step {step:,}" if step is not None else ""]
    return ", ".join(part for part in parts if part) or "–"


def image_sets(comparison: Comparison) -> Table:
    rows: list[list[Cell]] = [
        [name, s.path, number(s.images), number(s.distinct), number(len(s.unreadable))]
        if s
        else [name, "not given", "–", "–", "–"]
        for name, s in story.image_sets(comparison)
    ]
    return Table("Image sets", ("Set", "Path", "Images", "Distinct", "Unreadable"), rows)


def columns(comparison: Comparison) -> Table:
    header = ("Column", "What it is", "Sampler", "Steps", "Generations", "Denoiser evaluations")
    rows: list[list[Cell]] = [
        [
            c.name,
            f"checkpoint {c.model}" if c.kind == "checkpoint" else f"closed-form memorizer of the data of {c.model}",
            c.sampler,
            number(c.steps),
            number(c.generations),
            number(c.denoiser_evaluations),
        ]
        for c in comparison.columns
    ]
    return Table("Columns", header, rows)


def files(comparison: Comparison) -> Table:
    rows: list[list[Cell]] = [
        [f"{m.name}: {file.path}", number(file.bytes), file.sha256]
        for m in comparison.models
        for file in m.checkpoint.files
    ]
    return Table("Files of the checkpoints", ("File", "Bytes", "SHA-256"), rows)


def figures(comparison: Comparison) -> Table:
    header = ("Figure", "From", "Value", "Unit", "Level", "n", "Method")
    rows: list[list[Cell]] = [
        [
            f.estimate.name,
            origin,
            f,
            f.estimate.unit or "–",
            "–" if f.estimate.level is None else percent(f.estimate.level),
            "–" if f.estimate.n is None else number(f.estimate.n),
            f.estimate.method or "–",
        ]
        for origin, f in story.estimates(comparison)
    ]
    return Table("Every figure with uncertainty in the comparison", header, rows)


def cell_text(cell: Cell) -> str:
    """A cell on one line, for formats without markup of their own."""
    if isinstance(cell, Figure):
        return estimate_text(cell.estimate, cell.share)
    return cell.regime if isinstance(cell, Ruling) else cell
