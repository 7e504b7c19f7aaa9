"""Exposure against duplication: real garments of which the repeated ones were copied, or none."""

from __future__ import annotations

import numpy as np
import pytest

from auditor.copies.duplication import NO_CONTROL, TWO_RULES, trials_of
from auditor.copies.landing import Landing
from auditor.report.duplication import bin_rows, chart, lines, sentence
from auditor.store.duplication import Duplication
from tests.copies.test_decide import COPIED, N, make


def measured(copies: int, repeats: int, **options: object) -> Duplication:
    found = make(copies, repeats).decide(**options).competition.duplication
    assert found is not None
    return found


def test_the_repeated_items_are_the_reproduced_ones() -> None:
    """30 garments stand in the set 8 times and were copied, 270 once and were not."""
    found = measured(COPIED, repeats=7)
    once, often = found.bins
    assert (once.least, once.most, often.least, often.most) == (1, 1, 8, 8)
    assert once.items + often.items <= N and often.items >= 25  # near-duplicates among them are one item
    assert (once.reproduced.value or 0) < 0.05 and (often.reproduced.value or 0) > 0.9
    assert (often.reproduced.lower or 0) > (once.reproduced.upper or 1)
    assert often.generations_per_item > 1.5 > 0.5 > once.generations_per_item
    assert (found.held_out.value or 0) < 0.02
    assert found.doubling.value is not None and (found.doubling.lower or 0) > 2
    assert found.half.value is not None and 1 < found.half.value < 8
    assert len(found.clusters) == 20 and all(one.times >= 8 for one in found.clusters)
    fitted = found.curve.series["fitted"]
    assert fitted == sorted(fitted) and found.curve.x[-1] == pytest.approx(8)
    band = np.array([found.curve.series[name] for name in ("lower", "fitted", "upper")])
    assert (np.diff(band, axis=0) >= 0).all()


def test_without_copies_no_curve_rises() -> None:
    found = measured(0, repeats=3)
    assert all((one.reproduced.value or 0) < 0.05 for one in found.bins)
    assert found.doubling.value is None or (found.doubling.lower or 0) < 1
    assert not found.certified and found.held_out.unscored == NO_CONTROL
    assert "0% are known to be reproduced" in sentence(found)  # X may say that some are
    assert "no training item is known to be reproduced" in sentence(found)


def test_items_that_do_not_compete_count_where_they_beat_every_held_out_item() -> None:
    """The split is not by group, so that repeated items do not compete and nothing is certified."""
    case = make(COPIED, repeats=1)
    found = case.decide(split="unknown", verbatim=None).competition.duplication
    assert found is not None and not found.certified and found.threshold is not None
    assert [one.reproduced.value for one in found.bins] == [0, 1]
    assert found.held_out.value is None and found.held_out.unscored == NO_CONTROL  # it is 0 whatever the model does
    assert found.doubling.value is None and found.doubling.unscored == TWO_RULES and not found.curve.x
    assert "by a more lenient rule" in sentence(found)
    blank = make(0, repeats=1).decide(split="unknown", verbatim=None).competition.duplication
    assert blank is not None and (blank.bins[-1].reproduced.value or 0) <= 0.1


def test_one_number_of_times_has_rates_but_no_curve() -> None:
    found = measured(20, repeats=0, verbatim=None)
    assert len(found.bins) == 1 and (found.bins[0].reproduced.value or 0) >= 18 / N
    assert found.doubling.unscored and found.half.unscored and not found.curve.x and not found.clusters
    assert "No curve is fitted" in sentence(found) and bin_rows(found)[0][0] == "1"


def test_the_report_draws_and_tells_it() -> None:
    competition = make(COPIED, repeats=7).decide().competition
    drawing = chart("r", "Title <of> it", competition.duplication)
    assert drawing.startswith("<svg") and "<of>" not in drawing and drawing.count('class="dot"') == 2
    told = "\n".join(lines(competition))
    assert "Exposure against duplication" in told and "8 times" in told
    assert chart("r", "none", None) == ""
    assert not list(lines(competition.model_copy(update={"duplication": None})))


def test_generations_of_one_prompt_land_once_on_a_cluster() -> None:
    """Of 5 prompts of 4 generations, the first brings item 1 four times, the second once, the third item 0."""
    item = np.array([1, 1, 1, 1, 1, *[2] * 3, 0, *[2] * 11])
    landing = Landing(*[np.zeros((20, 1))] * 4, item=item, on_item=item < 2)
    prompts = np.repeat(np.arange(5), 4)
    alone, together = (trials_of(landing, 3, numbers, "prompts") for numbers in (None, prompts))
    assert alone.hits.tolist() == [1, 5, 0] and (alone.total, alone.unit) == (20, "generations")
    assert together.hits.tolist() == [1, 2, 0] and (together.total, together.unit) == (5, "prompts")
