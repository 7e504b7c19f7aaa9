"""report.html: one file, nothing loaded, nothing run, nothing unescaped, nothing left out."""

from __future__ import annotations

import base64
import hashlib
import re
from html import unescape
from html.parser import HTMLParser
from pathlib import Path

import pytest
from pydantic import BaseModel

from auditor.errors import ConfigError
from auditor.policy import judge, read_policy
from auditor.report import html, render, story
from auditor.store.parts import Curve, Estimate
from auditor.store.record import Competition, CopyEvidence, Record
from tests.exhibits import failing_record
from tests.records import attack, check, competition, membership, record, unscored

HOSTILE = "<script>alert(1)</script>\"'&|` ](http://example.com) {{ 7 * 7 }}"


class Page(HTMLParser):
    """Tags with their attributes, and the text that a reader sees."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.seen: list[str] = []
        self.inside: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self.inside.append(tag)

    def handle_endtag(self, tag: str) -> None:
        while self.inside and self.inside.pop() != tag:
            pass

    def handle_data(self, data: str) -> None:
        if "style" not in self.inside:
            self.seen.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.seen).split())


def judged(r: Record) -> Record:
    return r.model_copy(update={"judgement": judge(r, read_policy())})


def evidence(**changes: object) -> CopyEvidence:
    values: dict[str, object] = {
        "id": "shirt",
        "members": ["shirt"],
        "tier": "certified",
        "similarity": 0.99,
        "margin": 0.03,
        "probe": 7,
        "probes_landing": 1,
        "q_value": 0.01,
        "why": "",
        "image": None,
        "generation_image": None,
        "nearest_holdout": None,
    }
    return CopyEvidence.model_validate(values | changes)


@pytest.fixture
def failing(tmp_path: Path, fixtures: Path) -> Record:
    return failing_record(tmp_path, fixtures, found=6)


def every_estimate(part: object) -> list[Estimate]:
    """All estimates anywhere in the record, found by walking it, whatever the report knows of its shape."""
    if isinstance(part, Estimate):
        return [part]
    if isinstance(part, BaseModel):
        return [found for name in type(part).model_fields for found in every_estimate(getattr(part, name))]
    if isinstance(part, list):
        return [found for item in part for found in every_estimate(item)]
    return []


def test_verdict_stands_first_with_reason_and_remedies(failing: Record, tmp_path: Path) -> None:
    text = Page(html(failing, tmp_path)).text
    judgement = failing.judgement
    assert judgement is not None and judgement.outcome == "fail"
    places = [text.index(part) for part in ("Fail", judgement.reason, judgement.remedies[0], "What was audited")]
    assert places == sorted(places)
    assert "At least 37 distinct training images are reproduced (95% confidence)" in text


def test_a_bound_without_certified_images_contradicts_nothing_beside_it(tmp_path: Path) -> None:
    found = competition()
    found = found.model_copy(update={"lower_bound": found.lower_bound.model_copy(update={"value": 3, "lower": 3})})
    text = Page(html(judged(record(copies=[found])), tmp_path)).text
    assert "images are reproduced (95% confidence). Which of the 4 suspects they are is not shown" in text
    assert "none certified among 2,048 generations" in text
    unbounded = Page(html(judged(record()), tmp_path)).text
    assert "Which of the" not in unbounded and "none among 2,048 generations" in unbounded


@pytest.mark.parametrize(
    ("changes", "word"),
    [({}, "Pass"), ({"membership": None}, "Cannot conclude"), ({"copies": [competition(verbatim=1)]}, "Fail")],
)
def test_heading_carries_the_outcome_in_words(changes: dict[str, object], word: str, tmp_path: Path) -> None:
    page = html(judged(record(**changes)), tmp_path)
    heading = re.search(r"<h1[^>]*>.*?</span>([^<]+)</h1>", page)
    assert heading is not None and heading[1] == word


def test_a_record_without_judgement_says_so(tmp_path: Path) -> None:
    assert "Not judged" in Page(html(record(), tmp_path)).text


def test_captions_of_wide_tables_stay_on_a_narrow_screen(failing: Record, tmp_path: Path) -> None:
    assert re.search(r"caption \{[^}]*max-width: calc\(100vw", html(failing, tmp_path))


def test_nothing_is_loaded_and_nothing_runs(failing: Record, tmp_path: Path) -> None:
    page = html(failing, tmp_path)
    parsed = Page(page)
    pictures = [attrs["src"] or "" for tag, attrs in parsed.tags if tag == "img"]
    assert len(pictures) == 6 * 3 + 6 and all(src.startswith("data:image/png;base64,") for src in pictures)
    tags = {tag for tag, _ in parsed.tags}
    assert not tags & {"script", "link", "iframe", "object", "embed", "base", "form", "audio", "video"}
    for _, attrs in parsed.tags:
        assert not any(name.startswith("on") or name == "style" for name in attrs)
        assert (attrs.get("href") or "#").startswith("#")
    assert not re.search(r"https?://|@import|url\(", page)


def test_content_security_policy_allows_this_style_and_data_pictures_only(tmp_path: Path) -> None:
    page = html(record(), tmp_path)
    style = re.search(r"<style>(.*?)</style>", page, re.DOTALL)
    policy = next(attrs["content"] or "" for tag, attrs in Page(page).tags if attrs.get("http-equiv"))
    assert style is not None
    digest = base64.b64encode(hashlib.sha256(style[1].encode()).digest()).decode()
    assert policy.startswith("default-src 'none'; img-src data:;") and f"style-src 'sha256-{digest}'" in policy
    assert "unsafe" not in policy


def test_text_from_data_sets_and_checkpoints_is_escaped(tmp_path: Path) -> None:
    clean = record()
    hostile = record(
        copies=[competition(HOSTILE, evidence=[evidence(id=HOSTILE, members=[HOSTILE], why=HOSTILE, tier="suspect")])],
        checkpoint=clean.checkpoint.model_copy(update={"path": HOSTILE, "notes": [HOSTILE]}),
        training=clean.training.model_copy(update={"unreadable": [(HOSTILE, HOSTILE)]}),
        membership=membership(attack(HOSTILE, variant=HOSTILE)),
        checks=[check("blind", statement=HOSTILE, power=HOSTILE)],
        config={HOSTILE: HOSTILE},
        not_tested=[HOSTILE],
    )
    page = html(judged(hostile), tmp_path)
    assert "script" not in {tag for tag, _ in Page(page).tags}
    assert "<script" not in page and "&lt;script&gt;" in page
    assert "{{ 7 * 7 }}" in unescape(page) and "49" not in Page(page).text.split()


def test_every_estimate_appears_by_name_with_value_and_interval(failing: Record, tmp_path: Path) -> None:
    text = Page(html(failing, tmp_path)).text
    found = every_estimate(failing)
    # two competitions, the blind baseline, four attacks; the regime's figures, its ten clusters, and the share again
    assert len(found) == 2 * 5 + 1 + 4 * 3 + 11 + 10 + 1
    assert len(list(story.estimates(failing))) == len(found) - 2  # the share and X stand in two places of the record
    for estimate in found:
        assert estimate.name in text
        assert story.estimate_text(estimate) in text or story.estimate_text(estimate, share=True) in text


def test_an_estimate_without_value_says_why(tmp_path: Path) -> None:
    why = "40 non-members cannot resolve 1%"
    lacking = attack().model_copy(update={"tpr_at_1pct_fpr": unscored("TPR at 1% FPR", why)})
    empty = competition(copy_rate=unscored("copy rate", "nothing was generated"))
    text = Page(html(judged(record(membership=membership(lacking), copies=[empty])), tmp_path)).text
    assert f"not measured: {why}" in text and "not measured: nothing was generated" in text


def test_the_same_record_gives_the_same_bytes(failing: Record, tmp_path: Path) -> None:
    again = Record.model_validate_json(failing.model_dump_json())
    assert html(failing, tmp_path) == html(again, tmp_path)


@pytest.mark.parametrize("broken", ["gone", "text", "outside"])
def test_missing_pictures_are_said_and_do_not_stop_the_report(broken: str, tmp_path: Path) -> None:
    run_dir = tmp_path / "run"
    run_dir.mkdir()
    (run_dir / "text.png").write_text("no picture")
    (tmp_path / "outside.png").write_bytes(b"\x89PNG secret")
    path = {"gone": "gone.png", "text": "text.png", "outside": "../outside.png"}[broken]
    page = html(judged(record(copies=[competition(evidence=[evidence(image=path)])])), run_dir)
    said = {"gone": "file missing", "text": "not a readable PNG", "outside": "outside the run directory"}[broken]
    assert said in Page(page).text and "<img" not in page


def test_pictures_can_be_left_out(failing: Record, tmp_path: Path) -> None:
    page = html(failing, tmp_path, images="none")
    assert "<img" not in page and "data:image" not in page and "left out on request" in page
    assert failing.copies[0].evidence[0].id in page  # the finding itself stays
    assert "data:image" in html(failing, tmp_path)


def test_no_report_claims_more_than_it_can(failing: Record, tmp_path: Path) -> None:
    for r in (failing, judged(record()), judged(record(membership=None))):
        render(r, tmp_path)
        for name in ("report.html", "report.md"):
            assert not re.search(r"\b(anonymous|compliant|safe)\b", (tmp_path / name).read_text(), re.IGNORECASE)


def test_tables_and_charts_can_be_read_without_seeing(failing: Record, tmp_path: Path) -> None:
    tags = Page(html(failing, tmp_path)).tags
    assert all(attrs.get("scope") in ("col", "row") for tag, attrs in tags if tag == "th")
    assert all(attrs.get("alt") for tag, attrs in tags if tag == "img")
    charts = [attrs for tag, attrs in tags if tag == "svg"]
    ids = {attrs.get("id") for _, attrs in tags}
    assert charts and all(attrs["role"] == "img" for attrs in charts)
    assert all(id in ids for attrs in charts for id in (attrs["aria-labelledby"] or "").split())
    named = [attrs["id"] for _, attrs in tags if attrs.get("id")]
    assert len(named) == len(set(named))


def test_bare_records_render(tmp_path: Path) -> None:
    nothing = Curve(x=[], series={})
    bare: list[Competition] = [competition(evidence=[], scores=nothing, uncalibrated=[], recall_by_transformation={})]
    unchecked = record(copies=bare, checks=[], encoders=[])
    for r in (record(copies=[]), record(membership=membership(attacks=[])), unchecked):
        assert "Cannot conclude" in html(judged(r), tmp_path)


def test_render_writes_what_is_asked_for_and_refuses_the_rest(tmp_path: Path) -> None:
    assert [path.name for path in render(record(), tmp_path)] == ["report.html", "report.md"]
    assert [path.name for path in render(record(), tmp_path, ["markdown"])] == ["report.md"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["report.html", "report.md"]
    with pytest.raises(ConfigError, match="one of html, markdown"):
        render(record(), tmp_path, ["pdf"])
    with pytest.raises(ConfigError, match="full or none"):
        render(record(), tmp_path, images="some")
