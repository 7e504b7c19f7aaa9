"""The tables of a comparison."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from auditor.report.comparison.blocks import Cell, Figure, Ruling, Table
from auditor.report.comparison.curve import Series
from auditor.report.story import estimate_text
from auditor.store.comparison import Comparison, Reproducibility
from auditor.store.parts import Estimate
from auditor.store.regime import ClusterShare, MemorizerAgreement
from auditor.store.wording import decimal, percent


def share(estimate: Estimate) -> Figure:
    return Figure(estimate, share=True)


def number(value: int) -> str:
    return f"{value:,}"


def said(sentences: Sequence[str]) -> str:
    return " ".join(sentences) or "–"


def regimes(comparison: Comparison) -> Table:
    header = ("Checkpoint", "Encoder", "Regime", "Lands where the memorizer does", "Why", "What would settle it")
    rows: list[list[Cell]] = [
        [v.column, v.encoder, Ruling(v.regime), share(v.memorised), said(v.reasons), said(v.remedies)]
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
        "Images reached so", "Held-out images reached so", "p", "p that counts", "Training images",
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
            f"{a.significance:.2g}",
            number(a.items),
        ]
        for a in shown
    ]
    return Table("Landing where the memorizer lands", header, rows)


def nearness(shown: Sequence[MemorizerAgreement]) -> Table:
    header = (
        "Checkpoint", "Lands on any training image", "On any held-out image", "Beyond held-out images", "Plausible",
        "GL, published (0.6)", "GL, calibrated", "Certified copies", "X, at least", "X for all columns together",
    )  # fmt: skip
    rows: list[list[Cell]] = [
        [
            a.column,
            share(a.landed),
            share(a.landed_holdout),
            share(a.reproduced),
            share(a.plausible),
            share(a.gl_published),
            share(a.gl),
            number(a.certified),
            Figure(a.lower_bound),
            Figure(a.shared_bound),
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


def cell_text(cell: Cell) -> str:
    """A cell on one line, for formats without markup of their own."""
    if isinstance(cell, Figure):
        return estimate_text(cell.estimate, cell.share)
    return cell.regime if isinstance(cell, Ruling) else cell
