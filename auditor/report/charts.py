"""Small charts as inline SVG: no script, no style attributes, colours from the page's style sheet by class.

Series differ by fill, dash and a label as well as by colour. Coordinates are rounded to a tenth of a pixel, so that the
same record gives the same bytes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

from markupsafe import Markup

from auditor.store.parts import Curve, Estimate
from auditor.store.wording import decimal

WIDTH, HEIGHT = 440, 280
LEFT, RIGHT, TOP, BOTTOM = 46, 14, 14, 40
DASHES = ("", "7 3", "2 3", "9 3 2 3", "12 4", "4 2 1 2")
LOWEST_FPR = 1e-3  # left end of the logarithmic ROC


@dataclass(frozen=True)
class Axis:
    """Maps values in [low, high] to pixels in [start, end], linearly or by logarithm."""

    low: float
    high: float
    start: float
    end: float
    log: bool = False

    def __call__(self, value: float) -> float:
        value = min(max(value, self.low), self.high)
        if self.log:
            share = math.log(value / self.low) / math.log(self.high / self.low)
        else:
            share = (value - self.low) / ((self.high - self.low) or 1.0)
        return round(self.start + share * (self.end - self.start), 1)

    def ticks(self) -> list[float]:
        """Round values inside the axis: decades, or four to seven steps of 1, 2 or 5."""
        if self.log:
            first, last = math.ceil(math.log10(self.low) - 1e-9), math.floor(math.log10(self.high) + 1e-9)
            return [10.0**power for power in range(first, last + 1)]
        span = (self.high - self.low) or 1.0
        step = 10.0 ** math.floor(math.log10(span / 4))
        step = next(step * factor for factor in (1, 2, 5, 10) if span / (step * factor) <= 6)
        first = math.ceil(self.low / step - 1e-9)
        return [round(k * step, 10) for k in range(first, math.floor(self.high / step + 1e-9) + 1)]


def histogram(id: str, title: str, curve: Curve, x_label: str, tail: float = 1.0, of: str = "items") -> Markup:
    """Overlaid histograms: the first series filled, the others as dashed outlines; heights are per series.

    Each series is drawn to the same total, so that sets of different sizes can be compared. With ``tail`` < 1 only the
    right end is drawn, where at most that share of the last series lies: a few copies among many items show there.
    ``of`` is what is counted. An empty curve gives an empty string.
    """
    if len(curve.x) < 2 or not curve.series:
        return Markup("")
    step = curve.x[1] - curve.x[0]
    shares = {name: [v / (sum(values) or 1.0) for v in values] for name, values in curve.series.items()}
    first = _tail_start(list(shares.values())[-1], tail)
    centres, shares = curve.x[first:], {name: values[first:] for name, values in shares.items()}
    x_axis = Axis(centres[0] - step / 2, centres[-1] + step / 2, LEFT, WIDTH - RIGHT)
    top = max(max(values) for values in shares.values()) or 1.0
    y_axis = Axis(0, 1.08 * top, HEIGHT - BOTTOM, TOP)
    body = [frame(x_axis, y_axis, x_label, f"share of {of}")]
    for place, (name, values) in enumerate(shares.items()):
        outline = _steps(centres, values, step, x_axis, y_axis)
        style = f'class="s{place} area"' if place == 0 else f'class="s{place} line"{dash(place)}'
        body.append(f'<path {style} d="{outline}"><title>{escape(name)}</title></path>')
    body.append(_legend(list(shares), areas=1, right=tail < 1))
    return svg(id, title, _describe_histogram(curve), "".join(body))


def roc(
    id: str, title: str, curves: Mapping[str, tuple[Sequence[float], Sequence[float]]], log: bool = False
) -> Markup:
    """ROC curves by name, true against false positive rate; ``log`` spreads out the low rates of both."""
    low = LOWEST_FPR if log else 0.0
    x_axis = Axis(low, 1, LEFT, WIDTH - RIGHT, log)
    y_axis = Axis(low, 1, HEIGHT - BOTTOM, TOP, log)
    chance = [low * (1 / low) ** (k / 50) if log else k / 50 for k in range(51)]
    scale = " (logarithmic)" if log else ""
    body = [frame(x_axis, y_axis, f"false positive rate{scale}", f"true positive rate{scale}")]
    body.append(f'<path class="chance" d="{polyline(chance, chance, x_axis, y_axis)}"/>')
    for place, (name, (fpr, tpr)) in enumerate(curves.items()):
        points = [(x, y) for x, y in zip(fpr, tpr, strict=True) if x >= low or not log]
        xs, ys = [x for x, _ in points], [y for _, y in points]
        path = polyline(xs, ys, x_axis, y_axis)
        body.append(f'<path class="s{place} line"{dash(place)} d="{path}"><title>{escape(name)}</title></path>')
    body.append(_legend(list(curves), areas=0, right=True, low=True))
    names = ", ".join(curves)
    return svg(id, title, f"ROC curves of {names}; the diagonal is chance.", "".join(body))


def intervals(id: str, title: str, rows: Sequence[Estimate], low: float, high: float, mark: float) -> Markup:
    """Estimates with their intervals as dots and bars, one row each, with a dashed line at ``mark``.

    Estimates without a value are left out; an empty string if none is left.
    """
    known = [row for row in rows if row.value is not None]
    if not known:
        return Markup("")
    left, height = 130, 30 * len(known) + BOTTOM + TOP
    x_axis = Axis(low, high, left, WIDTH - RIGHT)
    body = [_x_ticks(x_axis, TOP, height - BOTTOM)]
    body.append(f'<path class="chance" d="M{x_axis(mark)} {TOP}V{height - BOTTOM}"/>')
    for place, row in enumerate(known):
        y, value = TOP + 30 * place + 15, row.value or 0.0
        lower, upper = (value if end is None else end for end in (row.lower, row.upper))
        body.append(f'<text class="label" x="{left - 10}" y="{y + 4}" text-anchor="end">{escape(row.name)}</text>')
        body.append(f'<path class="bar" d="M{x_axis(lower)} {y}H{x_axis(upper)}"/>')
        body.append(f'<circle class="dot" cx="{x_axis(value)}" cy="{y}" r="4"/>')
    said = "; ".join(f"{row.name} {decimal(row.value or 0.0)}" for row in known)
    return svg(id, title, said, "".join(body), height)


def svg(id: str, title: str, description: str, body: str, height: int = HEIGHT, width: int = WIDTH) -> Markup:
    """A drawing that is announced by title and description; ``body`` is SVG with every text in it escaped."""
    return Markup(  # every text in it was escaped where it was put in
        f'<svg class="chart" role="img" aria-labelledby="{id}-t {id}-d" viewBox="0 0 {width} {height}">'
        f'<title id="{id}-t">{escape(title)}</title><desc id="{id}-d">{escape(description)}</desc>{body}</svg>'
    )


def frame(x_axis: Axis, y_axis: Axis, x_label: str, y_label: str) -> str:
    """Grid, ticks and axis labels."""
    grid = "".join(
        f'<path class="grid" d="M{LEFT} {y_axis(v)}H{WIDTH - RIGHT}"/>'
        f'<text class="tick" x="{LEFT - 6}" y="{y_axis(v) + 4}" text-anchor="end">{_tick(v)}</text>'
        for v in y_axis.ticks()
    )
    middle = (TOP + HEIGHT - BOTTOM) // 2
    labels = (
        f'<text class="label" x="{(LEFT + WIDTH - RIGHT) // 2}" y="{HEIGHT - 5}" text-anchor="middle">{x_label}</text>'
        f'<text class="label" x="11" y="{middle}" text-anchor="middle" transform="rotate(-90 11 {middle})">'
        f"{y_label}</text>"
    )
    return grid + _x_ticks(x_axis, TOP, HEIGHT - BOTTOM) + labels


def _x_ticks(axis: Axis, top: int, base: int) -> str:
    line = f'<path class="axis" d="M{axis.start} {base}H{axis.end}"/>'
    return line + "".join(
        f'<path class="grid" d="M{axis(v)} {top}V{base}"/>'
        f'<text class="tick" x="{axis(v)}" y="{base + 15}" text-anchor="middle">{_tick(v)}</text>'
        for v in axis.ticks()
    )


def _tick(value: float) -> str:
    return f"{value:g}"


def dash(place: int) -> str:
    """The attribute that gives a series its own dash; the first series is drawn through."""
    pattern = DASHES[place % len(DASHES)]
    return f' stroke-dasharray="{pattern}"' if pattern else ""


def polyline(xs: Sequence[float], ys: Sequence[float], x_axis: Axis, y_axis: Axis) -> str:
    """Path through points, with points that fall on the same pixel dropped."""
    points: list[str] = []
    for x, y in zip(xs, ys, strict=True):
        point = f"{x_axis(x)} {y_axis(y)}"
        if not points or points[-1] != point:
            points.append(point)
    return "M" + "L".join(points) if points else ""


def _steps(x: Sequence[float], heights: Sequence[float], step: float, x_axis: Axis, y_axis: Axis) -> str:
    """Outline of a histogram, from the base line and back to it."""
    path = f"M{x_axis(x[0] - step / 2)} {y_axis(0)}"
    for centre, height in zip(x, heights, strict=True):
        path += f"V{y_axis(height)}H{x_axis(centre + step / 2)}"
    return f"{path}V{y_axis(0)}"


def _tail_start(shares: Sequence[float], tail: float) -> int:
    """First bin of the right end that holds at most ``tail`` of a distribution, but at least two bins."""
    first, held = len(shares), 0.0
    while first > 0 and (held + shares[first - 1] <= tail * (1 + 1e-9) or first > len(shares) - 2):
        first -= 1
        held += shares[first]
    return first


def _legend(names: Sequence[str], areas: int, right: bool = False, low: bool = False) -> str:
    """Names with a sample of their line, in a corner inside the frame: upper left unless told."""
    width = 44 + 6.4 * max(map(len, names), default=0)
    x = WIDTH - RIGHT - width if right else LEFT + 10
    y = HEIGHT - BOTTOM - 17 * len(names) if low else TOP + 14
    rows = []
    for place, name in enumerate(names):
        at = y + 17 * place
        if place < areas:
            sample = f'<rect class="s{place} area" x="{x:.0f}" y="{at - 8}" width="26" height="9"/>'
        else:
            sample = f'<path class="s{place} line"{dash(place)} d="M{x:.0f} {at - 4}h26"/>'
        rows.append(f'{sample}<text class="label" x="{x + 32:.0f}" y="{at}">{escape(name)}</text>')
    return "".join(rows)


def _describe_histogram(curve: Curve) -> str:
    means = []
    for name, values in curve.series.items():
        total = sum(values)
        if total > 0:
            mean = sum(x * v for x, v in zip(curve.x, values, strict=True)) / total
            means.append(f"{name}: mean {decimal(mean)}")
    return "; ".join(means) or "no values"
