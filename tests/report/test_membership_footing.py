"""What the report says about the footing of a membership test, in both formats, and for records that lack it."""

from __future__ import annotations

from pathlib import Path

import pytest

from auditor.report import html
from auditor.report.markdown import markdown
from auditor.report.membership import footing, power_sentence, shift_sentence
from auditor.store.membership import Feature, MixedGroup, Power, Shift
from tests.records import attack, membership, record, share

SHIFT = Shift(
    members=700,
    nonmembers=699,
    p_value=0.001,
    permutations=1000,
    features=[Feature(name="share of white pixels", difference=-0.314, p_adjusted=0.004)],
)
POWER = Power(
    members=700, nonmembers=699, power=0.8, detectable_auc=0.5391, detectable_share=0.026, max_auc=0.6,
    max_excess=0.1, max_tpr_at_1pct_fpr=0.05, needed=541,
)  # fmt: skip


def test_a_shift_is_named_with_its_size() -> None:
    told = shift_sentence(SHIFT)
    assert "are not one set (p = 0.001, 1,000 permutations)" in told
    assert "the share of white pixels, 0.31 standard deviations lower among members (p = 0.004" in told
    assert "are not shown to differ (p = 0.3" in shift_sentence(SHIFT.model_copy(update={"p_value": 0.3}))


def test_power_says_what_would_have_shown_and_what_is_needed() -> None:
    told = power_sentence(POWER)
    assert "an AUC of 0.539 or 2.6% of members recognised outright, each with 80% probability" in told
    assert "from 541 reported images a side" in told
    powerless = POWER.model_copy(update={"detectable_auc": None, "detectable_share": None, "needed": None})
    assert "too few to show anything" in power_sentence(powerless) and "No size" in power_sentence(powerless)


@pytest.mark.parametrize("groups", [1, 2])
def test_groups_on_both_sides_are_counted(groups: int) -> None:
    mixed = [MixedGroup(members=[f"m{k}"], nonmembers=[f"n{k}", f"o{k}"]) for k in range(groups)]
    told = list(footing(membership(mixed_groups=mixed)))
    assert len(told) == 1 and f"({3 * groups} images, such as m0 and n0)" in told[0]
    assert told[0].startswith("1 group of") if groups == 1 else told[0].startswith("2 groups of")


def test_both_reports_tell_it_and_records_without_it_are_still_drawn(tmp_path: Path) -> None:
    tested = attack(p_adjusted=0.0123, tpr_at_10pct_fpr=share("TPR at 10% FPR", 210, 700))
    full = record(membership=membership(tested, shift=SHIFT, power=POWER))
    for page in (html(full, tmp_path), markdown(full)):
        assert "0.0123" in page and "30%" in page and "share of white pixels" in page and "541 reported images" in page
    for page in (html(record(), tmp_path), markdown(record())):
        assert "Denoising loss" in page and "not one set" not in page
