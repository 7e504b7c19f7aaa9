"""Holm's procedure, and Benjamini and Hochberg's."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import false_discovery_control

from auditor.stats.multiple import benjamini_hochberg, holm

P_VALUES = st.lists(st.floats(0, 1), min_size=1, max_size=8)


def test_hand_computed() -> None:
    # Sorted 0.01, 0.02, 0.03, 0.4 times 4, 3, 2, 1: 0.04, 0.06, 0.06, 0.4; kept from falling: 0.04, 0.06, 0.06, 0.4.
    assert holm([0.03, 0.4, 0.01, 0.02]) == pytest.approx([0.06, 0.4, 0.04, 0.06])


def test_nothing_gives_nothing() -> None:
    assert len(holm([])) == 0


@settings(deadline=None)
@given(P_VALUES)
def test_lies_between_the_raw_and_the_bonferroni_value(p: list[float]) -> None:
    adjusted = holm(p)
    assert (adjusted >= np.array(p)).all()
    assert (adjusted <= np.minimum(np.array(p) * len(p), 1.0)).all()


@settings(deadline=None)
@given(P_VALUES, st.randoms(use_true_random=False))
def test_order_does_not_matter(p: list[float], random: object) -> None:
    order = list(range(len(p)))
    random.shuffle(order)
    assert np.array_equal(holm([p[i] for i in order]), holm(p)[order])


def test_keeps_the_familywise_error_where_raw_p_values_do_not() -> None:
    # 5 independent true nulls at 5%: raw P(any) = 1 - 0.95^5 = 0.226; Holm 1 - (1 - 0.01)^5 = 0.049.
    # 4,000 draws: standard error 0.0034 at 0.049 and 0.0066 at 0.226; bounds are 4 of them away.
    draws = np.random.default_rng(5).random((4_000, 5))
    raw = (draws <= 0.05).any(axis=1).mean()
    kept = np.mean([(holm(row) <= 0.05).any() for row in draws])
    assert kept <= 0.049 + 4 * 0.0034
    assert raw > 0.2


@settings(deadline=None)
@given(P_VALUES)
def test_q_values_are_those_of_scipy(p: list[float]) -> None:
    assert benjamini_hochberg(p) == pytest.approx(false_discovery_control(p), abs=1e-12)


def test_q_values_by_hand() -> None:
    # Sorted 0.01, 0.02, 0.03, 0.4 times 4/1, 4/2, 4/3, 4/4: 0.04, 0.04, 0.04, 0.4; minimum from above the same.
    assert benjamini_hochberg([0.03, 0.4, 0.01, 0.02]) == pytest.approx([0.04, 0.4, 0.04, 0.04])
    assert len(benjamini_hochberg([])) == 0
