"""What the reports say about a fine-tune's base, in the unit that its copy rate counts."""

from __future__ import annotations

import pytest

from auditor.report.prompting import base_sentence
from auditor.store.base import BaseContrast
from auditor.store.parts import Estimate
from tests.records import competition

RATE = Estimate(name="copy rate", value=0.0, lower=0.0, upper=0.092, level=0.95, n=32, unit="share of prompts")


def told(value: float | None, name: str = "base") -> str:
    missing = "few images" if value is None else None
    bound = Estimate(name="X", value=value, lower=value, level=0.95, unscored=missing)
    base = BaseContrast(name=name, copied=0, shared=0, added=17, lower_bound=bound, copy_rate=RATE)
    return base_sentence(competition(base=base))


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (0, "The base, on the same probes and prompts, is not shown to reproduce any training image; "),
        (1, "reproduces at least 1 training image (95% confidence)"),
        (12, "reproduces at least 12 training images (95% confidence)"),
        (None, "reproduces an unknown number of training images (few images)"),
    ],
)
def test_what_a_base_reproduces_is_said_with_its_confidence(value: float | None, said: str) -> None:
    assert said in told(value)


def test_the_share_is_of_prompts_where_these_were_asked_for() -> None:
    assert "0% [0%, 9.2%] of 32 prompts bring a copy" in told(0)
    assert told(0, "sd").startswith("The base sd, on")
