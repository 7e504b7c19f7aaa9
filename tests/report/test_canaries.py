"""Canaries in the reports: which tier leaks most, in words that the numbers bear, and every figure in the table."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from auditor.canaries.tiers import measure_tiers
from auditor.report import html, markdown
from auditor.report.canaries import HEADER, canary_sentence, method_sentence
from auditor.store.canaries import CanaryAudit
from tests.canaries.ledgers import leaking, tossed
from tests.records import record


def audit(strength: dict[int, float], **changes: object) -> CanaryAudit:
    canaries = tossed()
    values: dict[str, object] = {
        "ledger_digest": "ab" * 32, "training_images": 700, "attack": "pia", "variant": "t=200, p=4",
        "encoder": "pixel", "delta": 0.0, "tiers": measure_tiers(canaries, leaking(canaries, strength)),
        "certified": 31, "denoiser_evaluations": 384,
    }  # fmt: skip
    return CanaryAudit.model_validate(values | changes)


LEAKS = audit({1: 0.0, 4: 1.0, 16: 9.0})
SILENT = audit({1: 0.0, 4: 0.0, 16: 0.0}, certified=0)


def test_the_sentence_names_the_strongest_tier_and_what_it_means() -> None:
    sentence = canary_sentence(LEAKS)
    bound = LEAKS.tiers[2].epsilon.value
    assert bound is not None and f"{bound:.3f}-differentially private" in sentence
    assert sentence.startswith("Canaries that stand in the training set 16 times leak")
    assert f"by {2.718281828**bound:.1f} or more" in sentence
    assert "generations reproduce 100% of them (0% of those left out)" in sentence


def test_silence_is_no_proof() -> None:
    assert canary_sentence(SILENT).startswith("The checkpoint gives no canary away") and "192" in canary_sentence(
        SILENT
    )
    for text in (markdown(record(canaries=SILENT)), html(record(canaries=SILENT), Path("none"))):
        assert "bound of 0 does not show that nothing leaks" in " ".join(text.split())


def test_the_method_is_stated() -> None:
    text = method_sentence(LEAKS)
    for part in (
        "PIA (t=200, p=4)",
        "700 images of the training set are canaries",
        "31 of the copies",
        "delta = 0",
        "Faultless guesses about 64 canaries would show 2.037",
    ):
        assert part in text
    assert "of the copies" not in method_sentence(SILENT)


@pytest.mark.parametrize("tier", range(3))
def test_every_tier_is_a_row_with_its_figures(tier: int) -> None:
    found = LEAKS.tiers[tier]
    rows = [
        line for line in markdown(record(canaries=LEAKS)).splitlines() if line.startswith(f"| {found.repetitions} |")
    ]
    assert len(rows) == 1 and rows[0].count("|") == len(HEADER) + 1
    assert f"| {found.included} | {found.excluded} |" in rows[0]
    page = html(record(canaries=LEAKS), Path("none"))
    section = page[page.index('id="canaries"') : page.index('id="reliability"')]
    assert f'<th scope="row">{found.repetitions}</th>' in section
    assert len(re.findall(r"<th scope=\"col\">", section)) >= len(HEADER)


def test_nothing_is_shown_without_canaries() -> None:
    assert "canar" not in markdown(record()).lower()
    assert "canar" not in html(record(), Path("none")).lower()


def test_every_figure_is_listed() -> None:
    text = markdown(record(canaries=LEAKS))
    assert text.count("canaries, 16x") == 6 and "2 signals, 3 numbers of guesses and 3 tiers" in text
