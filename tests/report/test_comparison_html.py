"""comparison.html: one file, nothing loaded, nothing run, nothing unescaped, no number left out."""

from __future__ import annotations

import base64
import hashlib
import re
from html import unescape
from pathlib import Path

import pytest
from PIL import Image

from auditor.errors import ConfigError
from auditor.report.comparison import html, render_comparison, story
from auditor.report.story import estimate_text
from auditor.store.comparison import Comparison, SheetRow
from tests import comparisons
from tests.records import unscored
from tests.report.test_html import HOSTILE, Page, every_estimate

OPTIONAL = {"curve": "When does it memorise?", "moved": "What fine-tuning moved", "tasks": "where an image is hidden",
            "attributes": "What the distribution becomes", "sheet": "The same noise, side by side"}  # fmt: skip


@pytest.fixture
def painted(tmp_path: Path, fixtures: Path) -> Comparison:
    return comparisons.paint(comparisons.complete(), tmp_path, fixtures, rows=3)


def hostile() -> Comparison:
    """Every name, path, reason and note is an attack on the page."""
    clean = comparisons.complete()
    model = comparisons.compared(HOSTILE, 128)
    checkpoint = model.checkpoint.model_copy(update={"notes": [HOSTILE], "pipeline": HOSTILE, "network": HOSTILE})
    clusters = [c.model_copy(update={"cluster": HOSTILE + c.cluster}) for c in clean.memorizer[0].clusters]
    return comparisons.comparison(
        models=[model.model_copy(update={"checkpoint": checkpoint, "base": HOSTILE})],
        holdout=comparisons.images(HOSTILE, 5, unreadable=[(HOSTILE, HOSTILE)]),
        columns=[comparisons.answers(HOSTILE, sampler=HOSTILE), comparisons.answers("memorizer", HOSTILE)],
        pairs=[comparisons.pair(HOSTILE, "memorizer", 0.5, "same", encoder) for encoder in ("pixel", HOSTILE)],
        memorizer=[comparisons.landings(HOSTILE, 0.5, clusters=clusters)],
        regimes=[comparisons.verdict(HOSTILE, 0.9, reasons=[HOSTILE], remedies=[HOSTILE])],
        curve="size",
        moved=[comparisons.moves(base=HOSTILE, tuned=HOSTILE)],
        tasks=[comparisons.task(HOSTILE, HOSTILE, task=HOSTILE)],
        attributes=[comparisons.distribution(HOSTILE, 0.2)],
        sheet_columns=[HOSTILE],
        sheet=[SheetRow(probe=1, images=[HOSTILE])],
        notes=[HOSTILE],
        not_tested=[HOSTILE],
        config={HOSTILE: HOSTILE},
        environment={HOSTILE: HOSTILE},
        seconds={HOSTILE: 1.0},
    )


def test_regimes_stand_first_each_with_its_sentence(painted: Comparison, tmp_path: Path) -> None:
    text = Page(html(painted, tmp_path)).text
    said = "97.07% [95.52%, 98.19%] of probes land on the image that the closed-form memorizer reaches (chance 0.83%)"
    places = [text.index(part) for part in ("Of 2 checkpoints, 1 memorises and 1 generalises", said, "side by side")]
    assert places == sorted(places)
    assert re.search(r"memorized\s+● memorization\s+97.07%", text)


def test_nothing_is_loaded_and_nothing_runs(painted: Comparison, tmp_path: Path) -> None:
    page = html(painted, tmp_path)
    parsed = Page(page)
    pictures = [attrs["src"] or "" for tag, attrs in parsed.tags if tag == "img"]
    assert len(pictures) == 3 * 4 and all(src.startswith("data:image/png;base64,") for src in pictures)
    tags = {tag for tag, _ in parsed.tags}
    assert not tags & {"script", "link", "iframe", "object", "embed", "base", "form", "audio", "video"}
    for _, attrs in parsed.tags:
        assert not any(name.startswith("on") or name == "style" for name in attrs)
        assert (attrs.get("href") or "#").startswith("#")
    assert not re.search(r"https?://|@import|url\(", page)


def test_content_security_policy_allows_this_style_and_data_pictures_only(tmp_path: Path) -> None:
    page = html(comparisons.comparison(), tmp_path)
    style = re.search(r"<style>(.*?)</style>", page, re.DOTALL)
    policy = next(attrs["content"] or "" for tag, attrs in Page(page).tags if attrs.get("http-equiv"))
    assert style is not None
    digest = base64.b64encode(hashlib.sha256(style[1].encode()).digest()).decode()
    assert policy.startswith("default-src 'none'; img-src data:;") and f"style-src 'sha256-{digest}'" in policy
    assert "unsafe" not in policy


def test_names_from_data_sets_and_checkpoints_are_escaped(tmp_path: Path) -> None:
    page = html(hostile(), tmp_path)
    parsed = Page(page)
    assert "script" not in {tag for tag, _ in parsed.tags}
    assert "<script" not in page and "&lt;script&gt;" in page
    assert unescape(page).count("{{ 7 * 7 }}") == unescape(page).count("example.com") > 20  # nothing was evaluated
    ids = [attrs["id"] for _, attrs in parsed.tags if attrs.get("id")]
    assert len(ids) == len(set(ids)) and not any("script" in (id or "") for id in ids)


def test_the_same_comparison_gives_the_same_bytes(painted: Comparison, tmp_path: Path) -> None:
    again = Comparison.model_validate_json(painted.model_dump_json())
    assert html(painted, tmp_path) == html(again, tmp_path)


def test_every_estimate_appears_by_name_with_value_and_interval(painted: Comparison, tmp_path: Path) -> None:
    text = Page(html(painted, tmp_path)).text
    found = every_estimate(painted)
    assert len(list(story.estimates(painted))) == len(found) > 150
    for estimate in found:
        assert estimate.name in text
        assert estimate_text(estimate) in text or estimate_text(estimate, share=True) in text


def test_an_estimate_without_value_says_why(tmp_path: Path) -> None:
    agreement = comparisons.landings("memorized", 0.9, lower_bound=unscored("X", "duplicates stand on both sides"))
    pair = comparisons.pair("memorized", "general-a", 0.5, "disjoint", rp=unscored("RP", "20 probes are too few"))
    text = Page(html(comparisons.comparison(memorizer=[agreement], pairs=[pair]), tmp_path)).text
    assert "not measured: duplicates stand on both sides" in text and "not measured: 20 probes are too few" in text


@pytest.mark.parametrize(("field", "title"), OPTIONAL.items())
def test_sections_without_content_are_absent(field: str, title: str, tmp_path: Path, fixtures: Path) -> None:
    full = comparisons.paint(comparisons.complete(), tmp_path, fixtures, rows=1)
    present = comparisons.steps(0.1, 0.9) if field == "curve" else full
    assert title in Page(html(present, tmp_path)).text and f'href="#{field}"' in html(present, tmp_path)
    page = html(present.model_copy(update={field: None if field == "curve" else []}), tmp_path)
    assert title not in Page(page).text and f'"#{field}"' not in page


def test_a_comparison_of_nothing_but_columns_renders(tmp_path: Path) -> None:
    bare = comparisons.comparison(pairs=[], memorizer=[], regimes=[], encoders=[], notes=[], not_tested=[])
    page = html(bare, tmp_path)
    assert "Compared, not judged" in page and 'id="matrix"' not in page and 'id="memorizer"' not in page


@pytest.mark.parametrize(
    ("path", "said"),
    [
        (None, "no finite image (1)"),
        ("gone.png", "file missing (1)"),
        ("text.png", "not a readable PNG (1)"),
        ("../outside.png", "outside the run directory (1)"),
    ],
)
def test_missing_pictures_are_said_and_do_not_stop_the_report(path: str | None, said: str, tmp_path: Path) -> None:
    run_dir = tmp_path / "run"
    run_dir.mkdir()
    (run_dir / "text.png").write_text("no picture")
    Image.new("L", (4, 4)).save(tmp_path / "outside.png")
    made = comparisons.comparison(sheet_columns=["memorized"], sheet=[SheetRow(probe=5, images=[path])])
    page = html(made, run_dir)
    assert said in Page(page).text and "<img" not in page


def test_pictures_can_be_left_out(painted: Comparison, tmp_path: Path) -> None:
    page = html(painted, tmp_path, images="none")
    assert "<img" not in page and "data:image" not in page and "left out on request" in page
    assert "data:image" in html(painted, tmp_path)


def test_tiny_pictures_are_drawn_as_squares_and_large_ones_are_reduced(tmp_path: Path, fixtures: Path) -> None:
    tiny = comparisons.paint(comparisons.comparison(), tmp_path, fixtures, rows=1)
    large = comparisons.paint(comparisons.comparison(), tmp_path, fixtures, rows=1, side=300)
    classes = {attrs.get("class") for tag, attrs in Page(html(large, tmp_path)).tags if tag == "img"}
    assert classes == {None}
    tiny = comparisons.paint(tiny, tmp_path, fixtures, rows=1)  # the same paths, small again
    assert {attrs.get("class") for tag, attrs in Page(html(tiny, tmp_path)).tags if tag == "img"} == {"tiny"}


@pytest.mark.parametrize(("columns", "rows", "side"), [(25, 16, None), (8, 12, 256)], ids=["many tiny", "large"])
def test_a_large_comparison_stays_under_four_megabytes(
    columns: int, rows: int, side: int | None, tmp_path: Path, fixtures: Path
) -> None:
    made = comparisons.curve() if side is None else comparisons.steps(*[0.5] * columns)
    page = html(comparisons.paint(made, tmp_path, fixtures, rows=rows, side=side), tmp_path)
    assert page.count("<img") == rows * columns
    assert len(page.encode()) < 4_000_000


def test_tables_and_drawings_can_be_read_without_seeing(tmp_path: Path, fixtures: Path) -> None:
    for made in (comparisons.complete(), comparisons.curve(), comparisons.steps(0.0, 0.9)):
        tags = Page(html(comparisons.paint(made, tmp_path, fixtures, rows=2), tmp_path)).tags
        assert all(attrs.get("scope") in ("col", "row") for tag, attrs in tags if tag == "th")
        assert all(re.fullmatch(r"probe \d+, .+", attrs.get("alt") or "") for tag, attrs in tags if tag == "img")
        drawn = [attrs for tag, attrs in tags if tag == "svg"]
        ids = [attrs["id"] for _, attrs in tags if attrs.get("id")]
        assert drawn and all(attrs["role"] == "img" for attrs in drawn)
        assert all(id in ids for attrs in drawn for id in (attrs["aria-labelledby"] or "").split())
        assert len(ids) == len(set(ids))


def test_no_report_claims_more_than_it_can(painted: Comparison, tmp_path: Path) -> None:
    render_comparison(painted, tmp_path)
    for name in ("comparison.html", "comparison.md"):
        assert not re.search(r"\b(anonymous|compliant|safe)\b", (tmp_path / name).read_text(), re.IGNORECASE)


def test_render_writes_what_is_asked_for_and_refuses_the_rest(tmp_path: Path) -> None:
    made = comparisons.comparison()
    assert [path.name for path in render_comparison(made, tmp_path)] == ["comparison.html", "comparison.md"]
    assert [path.name for path in render_comparison(made, tmp_path, ["markdown"])] == ["comparison.md"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["comparison.html", "comparison.md"]
    with pytest.raises(ConfigError, match="one of html, markdown"):
        render_comparison(made, tmp_path, ["pdf"])
    with pytest.raises(ConfigError, match="full or none"):
        render_comparison(made, tmp_path, images="some")
