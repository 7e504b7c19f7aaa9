"""Drawings of a comparison: the regime curve, and rows of dots with intervals.

As in :mod:`auditor.report.charts`: no script, no style attributes, colours by class. Series differ by marker and dash
as well as by colour.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape

from markupsafe import Markup

from auditor.report.charts import Axis, dash, svg
from auditor.report.comparison.curve import Series
from auditor.report.story import interval
from auditor.store.parts import Estimate
from auditor.store.wording import percent

HALF, FULL = 440, 940  # widths of a drawing beside another, and of one that stands alone
SHORT = 22  # characters of a name beside a drawing; the whole name is in its title
LEGEND = 30  # the same inside a legend
GLYPH = 6.9  # width of a character at the size of labels
SHORTEST = 0.1  # a chart of shares reaches this far, so that noise around 0 looks small
MAX_TICKS = 12
SERIES = 6  # colours and markers; series beyond them repeat


@dataclass(frozen=True)
class Dot:
    """An estimate in a row; ``chance`` is where it would be without any effect."""

    row: str
    series: str
    estimate: Estimate
    chance: float | None = None


def short(name: str, most: int = SHORT) -> str:
    """A name that fits beside a drawing, its middle left out if need be."""
    return name if len(name) <= most else f"{name[: most - 8]}…{name[-7:]}"


def curve(id: str, title: str, drawn: Sequence[Series], log: bool, x_label: str) -> Markup:
    """Shares in [0, 1] against size (logarithmic) or step: points with intervals, lines through their means."""
    places = sorted({point.x for one in drawn for point in one.points})
    if not places:
        return Markup("")
    left, right, height, top, bottom = 46, 20, 400, 40, 44
    pad = 1.35 if log else 0.06 * ((places[-1] - places[0]) or 1)
    low, high = (places[0] / pad, places[-1] * pad) if log else (places[0] - pad, places[-1] + pad)
    x_axis = Axis(low, high, left, FULL - right, log)
    y_axis = Axis(0, 1, height - bottom, top)
    ticks = [float(x) for x in places] if len(places) <= MAX_TICKS else x_axis.ticks()
    body = [_curve_frame(x_axis, y_axis, ticks, x_label, height)]
    for number, one in enumerate(drawn):
        offset = 7.0 * (number - (len(drawn) - 1) / 2)  # beside each other, so that intervals do not hide intervals
        line = "L".join(f"{x_axis(x) + offset:.1f} {y_axis(mean)}" for x, mean in one.means())
        body.append(f'<path class="s{number} line"{dash(number)} d="M{line}"><title>{escape(one.name)}</title></path>')
        for point in one.points:
            body.append(_point(number, x_axis(point.x) + offset, y_axis, point.label, point.estimate))
    body.append(_legend([one.name for one in drawn], left, 20))
    return svg(id, title, _describe_curve(drawn), "".join(body), height, FULL)


def _curve_frame(x_axis: Axis, y_axis: Axis, ticks: Sequence[float], x_label: str, height: int) -> str:
    base, top = y_axis(0), y_axis(1)
    rows = "".join(
        f'<path class="grid" d="M{x_axis.start} {y_axis(v)}H{x_axis.end}"/>'
        f'<text class="tick" x="{x_axis.start - 6}" y="{y_axis(v) + 4}" text-anchor="end">{percent(v)}</text>'
        for v in y_axis.ticks()
    )
    marks = "".join(
        f'<path class="grid" d="M{x_axis(v)} {top}V{base}"/>'
        f'<text class="tick" x="{x_axis(v)}" y="{base + 16}" text-anchor="middle">{v:,.0f}</text>'
        for v in ticks
    )
    middle = (x_axis.start + x_axis.end) / 2
    label = f'<text class="label" x="{middle}" y="{height - 6}" text-anchor="middle">{escape(x_label)}</text>'
    return f'{rows}{marks}<path class="axis" d="M{x_axis.start} {base}H{x_axis.end}"/>{label}'


def _point(series: int, x: float, y_axis: Axis, label: str, estimate: Estimate) -> str:
    if estimate.value is None:
        return ""
    lower, upper = (estimate.value if end is None else end for end in (estimate.lower, estimate.upper))
    title = f"{label}: {percent(estimate.value)} {interval(estimate, share=True)}".rstrip()
    bar = f'<path class="s{series} whisker" d="M{x:.1f} {y_axis(lower)}V{y_axis(upper)}"/>'
    return f"<g>{bar}{_marker(series, x, y_axis(estimate.value))}<title>{escape(title)}</title></g>"


def _marker(series: int, x: float, y: float) -> str:
    """A shape per series: circle, square, triangle, diamond, cross, ring."""
    shapes: list[Callable[[float, float], str]] = [
        lambda x, y: f"M{x - 4:.1f} {y:.1f}a4 4 0 1 0 8 0a4 4 0 1 0 -8 0Z",
        lambda x, y: f"M{x - 3.6:.1f} {y - 3.6:.1f}h7.2v7.2h-7.2Z",
        lambda x, y: f"M{x:.1f} {y - 5:.1f}l4.8 8.4h-9.6Z",
        lambda x, y: f"M{x:.1f} {y - 5.2:.1f}l5.2 5.2l-5.2 5.2l-5.2 -5.2Z",
        lambda x, y: f"M{x - 4:.1f} {y - 4:.1f}l8 8m0 -8l-8 8",
        lambda x, y: f"M{x - 4:.1f} {y:.1f}a4 4 0 1 0 8 0a4 4 0 1 0 -8 0Z",
    ]
    kind = "mark hollow" if series % SERIES == SERIES - 1 else "mark"
    return f'<path class="s{series % SERIES} {kind}" d="{shapes[series % SERIES](x, y)}"/>'


def _legend(names: Sequence[str], x: float, y: float) -> str:
    """Names with their line and marker, side by side above the frame."""
    made = []
    for place, name in enumerate(names):
        made.append(f'<path class="s{place % SERIES} line"{dash(place)} d="M{x:.0f} {y}h30"/>')
        made.append(_marker(place, x + 15, y))
        made.append(f'<text class="label" x="{x + 37:.0f}" y="{y + 4}">{escape(short(name, LEGEND))}</text>')
        x += 62 + GLYPH * len(short(name, LEGEND))
    return "".join(made)


def _describe_curve(drawn: Sequence[Series]) -> str:
    return "; ".join(
        f"{one.name}: {', '.join(f'{percent(mean)} at {x:,}' for x, mean in one.means())}"
        for one in drawn
        if one.means()
    )


def dots(id: str, title: str, shown: Sequence[Dot], wide: bool = False) -> Markup:
    """Shares as dots with intervals, a row per name and a marker per series; a tick stands at chance.

    Estimates without a value are left out; an empty string if none is left. The axis starts at 0 and ends where the
    longest interval does, at 10% or beyond.
    """
    known = [dot for dot in shown if dot.estimate.value is not None]
    if not known:
        return Markup("")
    rows, names = list(dict.fromkeys(dot.row for dot in known)), list(dict.fromkeys(dot.series for dot in known))
    width = FULL if wide else HALF
    left = round(16 + GLYPH * max(len(short(row)) for row in rows))
    band, top = max(24, 11 * len(names) + 10), 34 if len(names) > 1 else 12
    base = top + band * len(rows)
    ends = [end for dot in known for end in (dot.estimate.value, dot.estimate.upper, dot.chance) if end is not None]
    x_axis = Axis(0, max(*ends, SHORTEST), left, width - 22)
    body = [_dot_frame(x_axis, rows, top, band, base)]
    for dot in known:
        number = names.index(dot.series)
        y = top + band * rows.index(dot.row) + band / 2 + 11 * (number - (len(names) - 1) / 2)
        body.append(_dot(number, x_axis, y, dot))
    if len(names) > 1:
        body.append(_legend(names, left, 16))
    said = "; ".join(f"{dot.row}, {dot.series} {percent(dot.estimate.value or 0.0)}" for dot in known)
    return svg(id, title, said, "".join(body), base + 28, width)


def _dot_frame(x_axis: Axis, rows: Sequence[str], top: int, band: int, base: int) -> str:
    ticks = "".join(
        f'<path class="grid" d="M{x_axis(v)} {top}V{base}"/>'
        f'<text class="tick" x="{x_axis(v)}" y="{base + 16}" text-anchor="middle">{percent(v)}</text>'
        for v in x_axis.ticks()
    )
    labels = "".join(
        f'<text class="label" x="{x_axis.start - 8}" y="{top + band * (place + 0.5) + 4:.1f}" text-anchor="end">'
        f"{escape(short(row))}<title>{escape(row)}</title></text>"
        for place, row in enumerate(rows)
    )
    return f'{ticks}{labels}<path class="axis" d="M{x_axis.start} {base}H{x_axis.end}"/>'


def _dot(series: int, x_axis: Axis, y: float, dot: Dot) -> str:
    estimate, value = dot.estimate, dot.estimate.value or 0.0
    lower, upper = (value if end is None else end for end in (estimate.lower, estimate.upper))
    title = f"{dot.row}, {dot.series}: {percent(value)} {interval(estimate, share=True)}".rstrip()
    bar = f'<path class="s{series % SERIES} whisker" d="M{x_axis(lower)} {y:.1f}H{x_axis(upper)}"/>'
    chance = "" if dot.chance is None else f'<path class="by-chance" d="M{x_axis(dot.chance)} {y - 8:.1f}v16"/>'
    return f"<g>{chance}{bar}{_marker(series, x_axis(value), y)}<title>{escape(title)}</title></g>"
