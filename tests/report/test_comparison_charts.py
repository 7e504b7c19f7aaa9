"""Drawings of a comparison: values land where axes and shades say, series can be told apart without colour."""

from __future__ import annotations

import re
from xml.etree import ElementTree

import pytest

from auditor.report.comparison import curve as curves
from auditor.report.comparison.charts import Dot, curve, dots
from auditor.report.comparison.curve import Point, Series, series
from auditor.report.comparison.matrix import Entry, matrix
from auditor.store.parts import Estimate
from tests import comparisons
from tests.records import unscored


def estimate(value: float, lower: float | None = None, upper: float | None = None) -> Estimate:
    return Estimate(name="share", value=value, lower=lower, upper=upper)


def entries(names: list[str], value: float = 0.25) -> dict[tuple[str, str], Entry]:
    return {(a, b): Entry(estimate(value), "disjoint") for i, a in enumerate(names) for b in names[i + 1 :]}


def test_matrix_is_symmetric_and_shades_by_value() -> None:
    cells = {("a", "b"): Entry(estimate(0.25), "same"), ("a", "c"): Entry(estimate(-0.5), "unknown")}
    svg = matrix("m", "Similarity", ["a", "b", "c"], cells, share=False)
    shades = re.findall(r'<rect class="([a-z ]+)" fill-opacity="([\d.]+)" x="([\d.]+)" y="([\d.]+)"', svg)
    places = {(x, y): (tone, shade) for tone, shade, x, y in shades}
    assert len(places) == 4
    for (x, y), (tone, shade) in places.items():
        assert places[(y, x)] == (tone, shade)
    assert sorted(set(places.values())) == [("cell below unknown", "0.50"), ("cell same", "0.25")]
    assert svg.count(">0.25<") == 2 and "a × b: 0.250; same training data" in svg


def test_matrix_says_what_was_not_measured() -> None:
    svg = matrix("m", "RP", ["a", "b"], {("a", "b"): Entry(unscored("RP", "few"), "disjoint")}, share=True)
    assert svg.count('class="void"') == 2 and svg.count("not measured") == 2 and "cell " not in svg


@pytest.mark.parametrize(("columns", "written"), [(4, "0.25"), (15, "0.25"), (30, ".25"), (60, None)])
def test_matrix_numbers_shrink_then_go_and_cells_stay_inside(columns: int, written: str | None) -> None:
    names = [f"checkpoint number {k}" for k in range(columns)]
    svg = matrix("m", "Similarity", names, entries(names), share=False)
    texts = re.findall(r'<text class="value[a-z ]*"[^>]*>([^<]+)</text>', svg)
    assert set(texts) == ({written} if written else set())
    width, height = (float(v) for v in re.search(r'viewBox="0 0 (\d+) (\d+)"', svg).groups())
    for x, y, w, h in re.findall(r'x="([\d.]+)" y="([\d.]+)" width="([\d.]+)" height="([\d.]+)"', svg):
        assert float(x) + float(w) <= width and float(y) + float(h) <= height


def test_matrix_needs_two_columns() -> None:
    assert matrix("m", "Similarity", ["a"], {}, share=False) == ""


def test_curve_is_logarithmic_in_size_and_draws_means_points_and_intervals() -> None:
    points = [Point(100, "p", estimate(0.2, 0.1, 0.3)), Point(100, "q", estimate(0.4)), Point(1000, "r", estimate(1.0))]
    points.append(Point(10_000, "s", estimate(0.0)))
    svg = curve("c", "Curve", [Series("share", points)], log=True, x_label="images")
    line = re.findall(r'<path class="s0 line" d="M([^"]*)"><title>', svg)
    spots = [tuple(float(v) for v in spot.split()) for spot in line[0].split("L")]
    assert spots[1][0] - spots[0][0] == pytest.approx(spots[2][0] - spots[1][0], abs=0.2)  # a decade is a decade
    low, high = spots[2][1], spots[1][1]  # shares 0 and 1
    assert spots[0][1] == pytest.approx(low + 0.3 * (high - low), abs=0.1)  # the mean of 0.2 and 0.4
    assert svg.count("<g>") == 4 and "p: 20% [10%, 30%]" in svg
    whisker = re.search(r'class="s0 whisker" d="M[\d.]+ ([\d.]+)V([\d.]+)"', svg)
    assert whisker is not None
    assert [float(v) for v in whisker.groups()] == pytest.approx(
        [low + share * (high - low) for share in (0.1, 0.3)], abs=0.1
    )
    assert re.findall(r'class="tick"[^>]*>([\d,]+)<', svg)[-3:] == ["100", "1,000", "10,000"]


def test_series_differ_by_dash_and_marker() -> None:
    drawn = [Series(f"series {k}", [Point(k + 1, "p", estimate(0.5))]) for k in range(4)]
    svg = curve("c", "Curve", drawn, log=False, x_label="step")
    dashes = re.findall(r'<path class="s\d line"( stroke-dasharray="[^"]*")? d="M[^"]*"><title>', svg)
    markers = [
        re.sub(r"^M[\d.]+ [\d.]+", "", d) for d in re.findall(r'<path class="s\d mark" d="([^"]*)"/><title>', svg)
    ]
    assert len(set(dashes)) == 4 and len(set(markers)) == 4


def test_curve_of_one_place_or_none() -> None:
    one = [Series("share", [Point(64, "p", estimate(0.5))])]
    for log in (True, False):
        ElementTree.fromstring(curve("c", "Curve", one, log=log, x_label="images"))
    assert curve("c", "Curve", [Series("share", [])], log=True, x_label="images") == ""


def test_dots_place_values_and_chance() -> None:
    rows = [Dot("bag", "m", estimate(0.4, 0.3, 0.5), 0.1), Dot("coat", "m", unscored("share", "none landed"))]
    svg = dots("d", "Clusters", rows)
    bar = re.search(r'class="s0 whisker" d="M([\d.]+) [\d.]+H([\d.]+)"', svg)
    chance = re.search(r'class="by-chance" d="M([\d.]+) ', svg)
    zero = re.search(r'class="axis" d="M([\d.]+)', svg)
    assert bar and chance and zero and "coat" not in svg
    start, end = float(zero[1]), float(bar[2])  # 0 and 0.5, where the longest interval ends
    assert float(bar[1]) == pytest.approx(start + 0.6 * (end - start), abs=0.1)
    assert float(chance[1]) == pytest.approx(start + 0.2 * (end - start), abs=0.1)
    assert dots("d", "Clusters", rows[1:]) == ""


def test_names_are_escaped_and_drawings_are_well_formed() -> None:
    name = '<script>&"'
    for svg in (
        matrix("m", name, [name, "b"], {(name, "b"): Entry(estimate(0.5), "same")}, share=True),
        curve("c", name, [Series(name, [Point(1, name, estimate(0.5))])], log=False, x_label=name),
        dots("d", name, [Dot(name, name, estimate(0.5)), Dot("b", "other", estimate(0.1))], wide=True),
    ):
        ElementTree.fromstring(svg)
        assert "<script" not in svg


def test_curve_pairs_are_other_models_of_equal_size_sampled_alike() -> None:
    models = [comparisons.compared(name, size) for name, size in (("a", 64), ("b", 64), ("c", 256))]
    columns = [comparisons.answers(name) for name in ("a", "b", "c")]
    columns += [comparisons.answers("a heun", "a", sampler="heun"), comparisons.answers("memorizer of b", "b")]
    sides = [("a", "b"), ("a", "c"), ("a", "a heun"), ("b", "a heun"), ("a", "memorizer of b")]
    pairs = [comparisons.pair(*side, 0.5, "disjoint", encoder) for side in sides for encoder in ("pixel", "clip")]
    made = comparisons.comparison(models=models, columns=columns, pairs=pairs, memorizer=[], regimes=[], curve="size")
    (only,) = series(made)
    assert only.name == "RP, disjoint data" and [point.label for point in only.points] == ["a × b"]
    same = made.model_copy(update={"pairs": [pair.model_copy(update={"data": "same"}) for pair in pairs]})
    assert [one.name for one in series(same)] == ["RP, same data"]


def test_a_step_curve_shows_each_checkpoint_and_no_pairs() -> None:
    drawn = series(comparisons.steps(0.0, 0.5, 0.9))
    assert [one.name for one in drawn] == ["agreement with the memorizer", "GL, calibrated"]
    assert [point.x for point in drawn[0].points] == [1000, 2000, 3000]
    assert curves.series(comparisons.comparison()) == []
