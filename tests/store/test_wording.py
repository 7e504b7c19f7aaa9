"""Numbers in sentences: nothing vanishes by rounding, and nothing becomes certain by it."""

from __future__ import annotations

import pytest

from auditor.store.parts import Estimate
from auditor.store.wording import count, decimal, missing, percent


@pytest.mark.parametrize(
    ("share", "text"),
    [
        (0.0, "0%"),
        (1.0, "100%"),
        (0.95, "95%"),
        (0.00073123, "0.0731%"),
        (0.9996, "99.96%"),
        (0.5, "50%"),
        (1.2, "120%"),
    ],
)
def test_percentages_never_round_to_nothing_or_to_all(share: float, text: str) -> None:
    assert percent(share) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.0, "0"), (1.0, "1"), (0.51234, "0.512"), (0.00042, "0.00042"), (2048, "2,048"), (-0.0301, "-0.030")],
)
def test_decimals(value: float, text: str) -> None:
    assert decimal(value) == text


def test_counts_agree_with_their_noun() -> None:
    assert (count(0, "image"), count(1, "image"), count(2000, "image")) == ("0 images", "1 image", "2,000 images")


def test_a_missing_number_says_why() -> None:
    assert missing(Estimate(name="AUC", value=None, unscored="no non-members")) == "no non-members"
    assert "AUC" in missing(Estimate(name="AUC", value=0.5))
