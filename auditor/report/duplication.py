"""What the reports say about exposure against duplication: sentence, rows and chart."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape

from markupsafe import Markup

from auditor.report.charts import BOTTOM, HEIGHT, LEFT, RIGHT, TOP, WIDTH, Axis, frame, polyline, svg
from auditor.report.markdown_text import escape as escape_markdown
from auditor.report.markdown_text import table
from auditor.report.story import estimate_text
from auditor.store.duplication import Duplication
from auditor.store.record import Competition
from auditor.store.wording import decimal, percent

BINS_HEADER = ("Times in the set", "Training items", "Reproduced", "Generations per item")
CLUSTERS_HEADER = ("Duplicate cluster", "Times", "Different pictures", "Reproduced", "Share of generations")


def sentence(found: Duplication) -> str:
    """How steeply exposure grows with repetition."""
    once, most = found.bins[0], found.bins[-1]
    known = "are" if found.certified else "are known to be"  # the bound on their number may know of more
    rates = (
        f"Of items that stand {_times(once.least, once.most)} in the training set "
        f"{percent(once.reproduced.value or 0.0)} {known} reproduced"
    )
    if len(found.bins) > 1:
        rates += f", of those {_times(most.least, most.most)} {percent(most.reproduced.value or 0.0)}"
    if found.doubling.value is None:
        return f"{rates}. No curve is fitted: {found.doubling.unscored}."
    half = "" if found.half.value is None else f"; half are reproduced at {decimal(found.half.value)} times"
    return f"{rates}. Each doubling multiplies the odds by {estimate_text(found.doubling)}{half}."


def note(found: Duplication) -> str:
    """What counts as reproduced, and what the curve supposes."""
    if found.threshold is None:
        counted = "Only verbatim copies count."
    elif found.certified:
        counted = (
            f"Reproduced: verbatim, certified, or as near as the last certified item ({found.threshold:.4f}); of "
            f"held-out items, which stand in the set 0 times, {estimate_text(found.held_out, share=True)} are as near."
        )
    else:
        counted = (
            "Reproduced: verbatim, or, for items that do not compete, nearer than any held-out item came "
            f"({found.threshold:.4f}); no item is certified."
        )
    return (
        f"{counted} Near-duplicates count as repeats. The curve is logistic in the logarithm of the times, with "
        "pointwise intervals; it describes this training run and does not say what repeating another image would do."
    )


def bin_rows(found: Duplication) -> list[tuple[str, ...]]:
    """One row per range of times."""
    return [
        (
            f"{one.least:,}" if one.least == one.most else f"{one.least:,} to {one.most:,}",
            f"{one.items:,}",
            estimate_text(one.reproduced, share=True),
            decimal(one.generations_per_item),
        )
        for one in found.bins
    ]


def cluster_rows(found: Duplication) -> list[tuple[str, ...]]:
    """One row per listed cluster."""
    return [
        (
            one.id,
            f"{one.times:,}",
            f"{one.distinct:,}",
            "yes" if one.reproduced else "no",
            estimate_text(one.generations, share=True),
        )
        for one in found.clusters
    ]


def _times(least: int, most: int) -> str:
    if most == 1:
        return "once"
    return f"{least:,} times" if least == most else f"{least:,} to {most:,} times"


def lines(competition: Competition) -> Iterator[str]:
    """The Markdown report's section; none without rates, or under an encoder that decides nothing."""
    found = competition.duplication
    if found is None or not found.bins or not competition.resolving:
        return
    yield from (f"### Exposure against duplication ({escape_markdown(competition.encoder)})", "")
    yield from (escape_markdown(sentence(found)), "")
    yield from table(BINS_HEADER, bin_rows(found))
    if found.clusters:
        yield from table(CLUSTERS_HEADER, cluster_rows(found))
    yield from (escape_markdown(note(found)), "")


def chart(id: str, title: str, found: Duplication | None) -> Markup:
    """Rates with their intervals over the times, on a logarithmic axis, and the fitted curve with its band."""
    if found is None or len(found.bins) < 2:
        return Markup("")
    x_axis = Axis(0.8, 1.25 * found.bins[-1].most, LEFT, WIDTH - RIGHT, log=True)
    y_axis = Axis(0, 1.04, HEIGHT - BOTTOM, TOP)
    body = [frame(x_axis, y_axis, "times in the training set (logarithmic)", "share reproduced")]
    if found.curve.x:
        series = found.curve.series
        for name, style in (("lower", "chance"), ("upper", "chance"), ("fitted", "s1 line")):
            path = polyline(found.curve.x, series[name], x_axis, y_axis)
            body.append(f'<path class="{style}" d="{path}"><title>{name}</title></path>')
    for one in found.bins:
        at, share = (one.least * one.most) ** 0.5, one.reproduced
        lower, upper = share.lower or 0.0, 1.0 if share.upper is None else share.upper
        body.append(f'<path class="bar" d="M{x_axis(at)} {y_axis(lower)}V{y_axis(upper)}"/>')
        told = escape(f"{_times(one.least, one.most)}: {estimate_text(share, share=True)} of {one.items:,}")
        dot = f'<circle class="dot" cx="{x_axis(at)}" cy="{y_axis(share.value or 0.0)}" r="4">'
        body.append(f"{dot}<title>{told}</title></circle>")
    said = "; ".join(f"{_times(one.least, one.most)} {percent(one.reproduced.value or 0.0)}" for one in found.bins)
    return svg(id, title, f"{said}; the curve with its interval dotted.", "".join(body))
