"""comparison.md: the story of the page, with nothing that Markdown could take for markup, and every number."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from auditor.report.comparison import html, markdown, story
from auditor.report.comparison.sections import sections
from auditor.report.markdown_text import escape
from auditor.report.story import estimate_text
from auditor.store.comparison import Comparison, SheetRow
from tests import comparisons
from tests.report.test_comparison_html import hostile
from tests.report.test_markdown import columns

NOT_TOLD = {"schema_version", "config", "similarity"}  # the version is fixed, the configuration text, histograms drawn


def numbers(part: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Paths of numbers in JSON data, of a list only those in its first item."""
    if isinstance(part, dict):
        for key, value in part.items():
            if key not in NOT_TOLD:
                yield from numbers(value, (*path, key))
    elif isinstance(part, list):
        if part:
            yield from numbers(part[0], (*path, 0))
    elif isinstance(part, int | float) and not isinstance(part, bool):
        yield path


def changed(data: dict[str, Any], path: tuple[Any, ...]) -> Comparison:
    """The comparison with the number at a path raised by 3 or, below 1, halved."""
    copy = json.loads(json.dumps(data))
    at = copy
    for key in path[:-1]:
        at = at[key]
    value = at[path[-1]]
    at[path[-1]] = value / 2 if 0 < abs(value) < 1 else value + 3
    return Comparison.model_validate(copy)


def test_a_change_of_any_number_shows() -> None:
    whole = comparisons.complete(
        sheet=[SheetRow(probe=17, images=["sheet/0.png"] * 4)],
        models=[comparisons.compared("memorized", 128, step=4000), comparisons.compared("general-a", 19_988)],
    )
    data, told = json.loads(whole.model_dump_json()), markdown(whole)
    paths = list(numbers(data))
    assert len(paths) > 150
    untold = [path for path in paths if markdown(changed(data, path)) == told]
    assert untold == []


def test_histograms_of_similarity_are_drawn(tmp_path: Path) -> None:
    made = comparisons.comparison()
    first = made.pairs[0].model_copy(update={"similarity": comparisons.similar(0.1)})
    other = made.model_copy(update={"pairs": [first, *made.pairs[1:]]})
    assert html(made, tmp_path) != html(other, tmp_path)


def test_tells_the_story_of_the_page(tmp_path: Path) -> None:
    made = comparisons.complete()
    text = markdown(made)
    assert text.startswith("# Of 2 checkpoints, 1 memorises and 1 generalises")
    titles = [section.title for section in sections(made)]
    assert re.findall(r"^## (.+)$", text, re.MULTILINE) == titles
    for _, figure in story.estimates(made):
        assert escape(figure.estimate.name) in text and escape(estimate_text(figure.estimate)) in text


@pytest.mark.parametrize(
    "made", [comparisons.complete(), comparisons.curve(), hostile()], ids=["small", "curve", "bad"]
)
def test_tables_stay_tables_whatever_a_name_contains(made: Comparison) -> None:
    text, width = markdown(made), 0
    for line in text.splitlines():
        if line.startswith("|"):
            width = width or columns(line)
            assert columns(line) == width, line
        else:
            width = 0
    prose = re.sub(r"^````\n.*?^````$", "", text, flags=re.MULTILINE | re.DOTALL)
    assert "<script" not in prose and "](http" not in prose


def test_the_configuration_cannot_leave_its_fence() -> None:
    made = comparisons.comparison(config={"path": "x\n````\n# Passed"})
    lines = markdown(made).splitlines()
    assert lines.count("````") == 2 and "# Passed" not in lines


def test_pictures_can_be_left_out_and_never_lead_outside() -> None:
    rows = [SheetRow(probe=1, images=["sheet/a.png", None, "../../x) [y](z", "sheet/d.png"])]
    text = markdown(comparisons.comparison(sheet=rows))
    links = re.findall(r"!\[\]\(([^)]*)\)", text)
    assert links[0] == "sheet/a.png" and len(links) == 3 and "no finite image" in text
    assert not any(".." in link or "[" in link for link in links)
    assert "![](" not in markdown(comparisons.comparison(sheet=rows), images="none")


def test_the_same_comparison_gives_the_same_bytes() -> None:
    made = comparisons.curve()
    assert markdown(made) == markdown(Comparison.model_validate_json(made.model_dump_json()))
