"""What the report says about whole sets and single records, in both formats, and for records that lack them."""

from __future__ import annotations

from pathlib import Path

import pytest

from auditor.report import exposure, html
from auditor.report.agreement import side_by_side
from auditor.report.markdown import markdown
from auditor.store.membership import DatasetInference, ExposedRecord, RecordScores, SetSize
from tests.records import membership, record

USED = DatasetInference(
    suspects=971, heldout=968, listed=False, signals=18, outcome="used", statement="The checkpoint treats them unlike.",
    p_value=0.001, blind_p_value=0.412, familiarity=0.54, permutations=999, subsets=100,
    sizes=[
        SetSize(records=20, caught_at_5pct=0.1, caught_at_1pct=0.02),
        SetSize(records=200, caught_at_5pct=0.89, caught_at_1pct=0.66),
    ],
    caught_at_5pct=171, caught_at_1pct=None,
)  # fmt: skip
RECORDS = RecordScores(
    file="membership.parquet", sha256="ab" * 32, records=971, score="combined", alpha=0.1, called=0, needed=14
)
EXPOSED = [
    ExposedRecord(
        id="fm-0-<b>1258", times_in_set=40, slice="report", score=7.125, p_value=0.00148, q_value=0.11, tier="certified"
    ),
    ExposedRecord(id="fm-1-2", times_in_set=1, slice="calibration", score=1.5, p_value=0.02, q_value=0.4, tier=None),
]


def changed(**changes: object) -> DatasetInference:
    return USED.model_copy(update=changes)


def test_a_used_set_is_told_with_its_figures_and_the_size_that_is_caught() -> None:
    told = " ".join(exposure.set_sentences(USED))
    assert told.startswith("By this test, yes. The checkpoint treats them unlike.")
    assert "971 training records, drawn at random, against 968 held-out ones, by 18 signals" in told
    assert "p = 0.001 (999 permutations" in told and "p = 0.412 for the images alone" in told
    assert "at p <= 0.05 from 171 records on and at p <= 0.01 at no size tested (sizes tested: 20 to 200, 100" in told


def test_an_answer_is_never_more_than_was_found() -> None:
    told = list(exposure.set_sentences(changed(outcome="not shown", listed=True)))
    assert told[0].startswith("It is not shown") and "971 listed records" in told[1]
    assert "does not show that it was not used" in told[2]
    assert "No conclusion" in next(exposure.set_sentences(changed(outcome="withheld")))
    untested = changed(outcome="not tested", p_value=None, blind_p_value=None)
    assert list(exposure.set_sentences(untested)) == ["Not tested. The checkpoint treats them unlike."]


@pytest.mark.parametrize(
    ("sizes", "said"),
    [
        ([], "takes at least 40 records"),
        ([SetSize(records=20, caught_at_5pct=1, caught_at_1pct=1)], "at p <= 0.05 from 20 records on, perhaps fewer"),
    ],
)
def test_the_ends_of_the_ladder_are_said(sizes: list[SetSize], said: str) -> None:
    assert said in exposure.size_sentence(changed(sizes=sizes, caught_at_5pct=20, caught_at_1pct=20))


def test_the_floor_of_the_q_values_is_said_where_there_is_one() -> None:
    told = exposure.records_sentence(RECORDS)
    assert "membership.parquet holds 971 training images" in told
    assert "None stands out at a false discovery rate of 10%." in told
    assert "14 images would have to score above all of them" in told
    enough = exposure.records_sentence(RECORDS.model_copy(update={"called": 1, "needed": 1}))
    assert "1 image stands out" in enough and "above all of them" not in enough


def test_both_reports_show_it_escaped_and_records_without_it_are_still_drawn(tmp_path: Path) -> None:
    full = record(membership=membership(dataset_inference=USED, records=RECORDS, exposed=EXPOSED))
    for page in (html(full, tmp_path), markdown(full)):
        assert "Was this set used?" in page and "The most exposed records" in page
        assert "0.00148" in page and "40x" in page and "Certified near-copy" in page and "89%" in page
        assert "<b>1258" not in page
    for page in (html(record(), tmp_path), markdown(record())):
        assert "Was this set used?" not in page and "most exposed" not in page


@pytest.mark.parametrize(
    ("outcome", "sign"), [("used", "exposes"), ("not shown", "no sign"), ("withheld", "open"), ("not tested", None)]
)
def test_it_stands_beside_the_other_tests(outcome: str, sign: str | None) -> None:
    told = side_by_side(record(membership=membership(dataset_inference=changed(outcome=outcome))))
    assert [said.sign for said in told if said.test == "dataset inference"] == ([sign] if sign else [])
