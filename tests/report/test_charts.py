"""Charts: values land where the axes say, and nothing in them can escape."""

from __future__ import annotations

import re
from xml.etree import ElementTree

import pytest

from auditor.report.charts import BOTTOM, HEIGHT, LEFT, RIGHT, TOP, WIDTH, Axis, histogram, intervals, roc
from auditor.store.parts import Curve, Estimate


def paths(svg: str, css: str) -> list[str]:
    return re.findall(rf'<path class="{css}"[^>]* d="([^"]*)"', svg)


def test_linear_and_logarithmic_axes_place_values() -> None:
    linear, log = Axis(0, 10, 100, 200), Axis(0.001, 1, 0, 300, log=True)
    assert [linear(v) for v in (0, 5, 10, 12, -1)] == [100, 150, 200, 200, 100]  # clamped to the frame
    assert [log(v) for v in (0.001, 0.01, 0.1, 1, 0)] == [0, 100, 200, 300, 0]  # a decade is a third
    assert log.ticks() == pytest.approx([0.001, 0.01, 0.1, 1])


@pytest.mark.parametrize(("low", "high"), [(0, 1), (0.7, 1.0), (-3.2, 5.1), (0, 0.087), (0, 12345)])
def test_ticks_are_round_few_and_inside(low: float, high: float) -> None:
    ticks = Axis(low, high, 0, 1).ticks()
    assert 1 <= len(ticks) <= 7
    assert all(low - 1e-9 <= tick <= high + 1e-9 for tick in ticks)


def test_roc_on_two_logarithmic_axes_keeps_chance_straight_and_rates_of_nothing_inside() -> None:
    svg = roc("r", "ROC", {"attack": ([0.001, 0.01, 1.0], [0.0, 0.1, 1.0])}, log=True)
    across, down = (WIDTH - RIGHT - LEFT) / 3, (HEIGHT - BOTTOM - TOP) / 3  # a decade
    assert (
        f"M{LEFT:.1f} {HEIGHT - BOTTOM:.1f}L{LEFT + across:.1f} {TOP + down:.1f}L{WIDTH - RIGHT:.1f} {TOP:.1f}" in svg
    )
    chance = re.search(r'class="chance" d="M([^"]+)"', svg)
    assert chance is not None
    points = [tuple(map(float, point.split())) for point in chance[1].split("L")]
    assert all(abs((x - LEFT) / across - (HEIGHT - BOTTOM - y) / down) < 0.02 for x, y in points)


def test_roc_runs_through_its_points() -> None:
    svg = roc("r", "ROC", {"attack": ([0.0, 0.5, 1.0], [0.0, 1.0, 1.0])})
    (path,) = paths(svg, "s0 line")[:1]
    middle = (LEFT + WIDTH - RIGHT) / 2
    assert path == f"M{LEFT}.0 {HEIGHT - BOTTOM}.0L{middle} {TOP}.0L{WIDTH - RIGHT}.0 {TOP}.0"


def test_histograms_of_sets_of_different_sizes_are_drawn_to_one_scale() -> None:
    curve = Curve(x=[0.0, 1.0, 2.0], series={"training": [10.0, 20.0, 10.0], "held-out": [1.0, 2.0, 1.0]})
    svg = histogram("h", "Scores", curve, "similarity")
    assert paths(svg, "s0 area")[0] == paths(svg, "s1 line")[0]
    uneven = curve.model_copy(update={"series": {"training": [10.0, 20.0, 10.0], "held-out": [2.0, 1.0, 1.0]}})
    svg = histogram("h", "Scores", uneven, "similarity")
    assert paths(svg, "s0 area")[0] != paths(svg, "s1 line")[0]


def test_tail_of_a_histogram_starts_where_the_held_out_share_says() -> None:
    # held-out: 90, 6, 3, 1 of 100: the last two bins hold 4%, a third one would make it 10%
    curve = Curve(x=[0.0, 1.0, 2.0, 3.0], series={"training": [90.0, 5.0, 2.0, 3.0], "held-out": [90.0, 6.0, 3.0, 1.0]})
    path = paths(histogram("h", "Scores", curve, "similarity", tail=0.05), "s0 area")[0]
    assert path.count("H") == 2
    assert paths(histogram("h", "Scores", curve, "similarity"), "s0 area")[0].count("H") == 4


def test_empty_curves_draw_nothing() -> None:
    assert histogram("h", "Scores", Curve(x=[], series={}), "similarity") == ""
    assert intervals("i", "AUC", [Estimate(name="AUC", value=None, unscored="none")], 0, 1, 0.5) == ""


def test_intervals_place_value_and_ends() -> None:
    svg = intervals("i", "AUC", [Estimate(name="loss", value=0.75, lower=0.5, upper=1.0)], 0.0, 1.0, 0.5)
    start, end = 130, WIDTH - RIGHT
    dot = re.search(r'<circle class="dot" cx="([\d.]+)"', svg)
    assert dot is not None and float(dot[1]) == pytest.approx(start + 0.75 * (end - start), abs=0.05)  # rounded to 0.1
    bar = re.search(r'class="bar" d="M([\d.]+) \d+H([\d.]+)"', svg)
    assert bar is not None and float(bar[1]) == pytest.approx((start + end) / 2) and float(bar[2]) == end


def test_names_are_escaped_and_the_drawing_is_well_formed() -> None:
    name = '<script>&"'
    curve = Curve(x=[0.0, 1.0], series={name: [1.0, 2.0], "other": [2.0, 1.0]})
    row = Estimate(name=name, value=0.5)
    for svg in (
        histogram("h", name, curve, "similarity"),
        roc("r", name, {name: ([0.0, 1.0], [0.0, 1.0])}, log=True),
        intervals("i", name, [row], 0, 1, 0.5),
    ):
        ElementTree.fromstring(svg)
        assert "<script" not in svg
