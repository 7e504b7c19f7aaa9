"""report.md: the same story, with nothing that Markdown could take for markup."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from auditor.policy import judge, read_policy
from auditor.report import html, markdown, story
from auditor.report.markdown_text import escape
from auditor.store.record import Record
from tests.exhibits import failing_record
from tests.records import competition, record
from tests.report.test_html import HOSTILE, evidence


def columns(line: str) -> int:
    """Cells of a table row: unescaped pipes, less the two at the ends."""
    return len(re.findall(r"(?<!\\)\|", line)) - 1


@pytest.fixture
def failing(tmp_path: Path, fixtures: Path) -> Record:
    return failing_record(tmp_path, fixtures, found=6)


def test_tells_the_story_of_the_html_report(failing: Record, tmp_path: Path) -> None:
    text, page = markdown(failing), html(failing, tmp_path)
    assert text.startswith("# Fail: ")
    for said in [figure.value for figure in story.key_figures(failing)] + [failing.checkpoint.digest]:
        assert said in page and said.replace("%", "%") in text
    for _, estimate in story.estimates(failing):
        assert escape(estimate.name) in text and escape(story.estimate_text(estimate)) in text
    assert all(escape(rule.statement) in text for rule in failing.judgement.rules) if failing.judgement else False


def test_tables_stay_tables_whatever_an_id_contains() -> None:
    hostile = record(copies=[competition("a|b", evidence=[evidence(id=HOSTILE + "\n| x |", members=["m"])])])
    hostile = hostile.model_copy(update={"judgement": judge(hostile, read_policy())})
    lines = markdown(hostile).splitlines()
    width = 0
    for line in lines:
        if line.startswith("|"):
            width = width or columns(line)
            assert columns(line) == width, line
        else:
            width = 0
    assert "<script" not in "\n".join(lines) and "](http" not in "\n".join(lines)


@given(st.text(max_size=60))
def test_escaped_text_holds_no_live_markup(text: str) -> None:
    escaped = escape(text)
    assert "\n" not in escaped and "<" not in escaped and "://" not in escaped
    assert not re.search(r"(?<!\\)(\\\\)*[|`*_\[\]]", re.sub(r"\\[\\`*_{}\[\]()#+!|~$^]", "", escaped))


def test_escaping_keeps_the_text_that_a_reader_sees() -> None:
    assert escape("fm-0-0101") == "fm-0-0101"
    assert escape("a|b_c") == r"a\|b\_c"
    assert escape("<b>&") == "&lt;b&gt;&amp;"


def test_pictures_can_be_left_out_and_never_lead_outside(failing: Record) -> None:
    assert "![](evidence/generation-0.png)" in markdown(failing)
    assert "![](" not in markdown(failing, images="none")
    outside = record(copies=[competition(evidence=[evidence(image="../../etc/x) [y](z")])])
    link = re.search(r"!\[\]\(([^)]*)\)", markdown(outside))
    assert link is not None and ".." not in link[1] and "[" not in link[1]


def test_the_same_record_gives_the_same_bytes(failing: Record) -> None:
    assert markdown(failing) == markdown(Record.model_validate_json(failing.model_dump_json()))
