"""Factories by size and memory, against the table's own arithmetic."""

from __future__ import annotations

import pytest

from auditor.errors import ConfigError
from auditor.search.choice import choose_factory, parse_factory

GB = 10**9


@pytest.mark.parametrize(
    ("rows", "dim", "budget", "expected"),
    [
        (99_999, 512, 1, "Flat"),
        (1_000_000, 512, 8 * GB, "IVF4000,Flat"),  # 2,056 bytes a row: 2.06 GB
        (1_000_000, 512, 2 * GB, "IVF4000,SQ8"),  # 520 bytes a row
        (5_000_000, 512, 1 * GB, "OPQ64,IVF6260,PQ64"),  # 72 bytes a row; 39 x 2 kB a list in 0.5 GB
        (300_000_000, 512, 1000 * GB, "IVF65536_HNSW32,Flat"),
        (5_000_000_000, 768, 200 * GB, "OPQ24,IVF131072_HNSW32,PQ24"),  # 32 bytes a row: 160 GB, and 0.4 of centres
    ],
)
def test_the_most_faithful_index_that_fits_is_chosen(rows: int, dim: int, budget: int, expected: str) -> None:
    chosen = choose_factory(rows, dim, budget)
    assert chosen.text == expected
    assert chosen.index_bytes(rows, dim) <= budget
    assert parse_factory(chosen.text, dim) == chosen


def test_a_budget_below_eight_bytes_a_row_is_refused_with_the_least_that_would_do() -> None:
    with pytest.raises(ConfigError, match="at least 16,"):
        choose_factory(1_000_000_000, 512, 10 * GB)
    assert choose_factory(1_000_000_000, 512, 17 * GB).code_bytes == 8


def test_lists_are_few_enough_to_be_trained() -> None:
    few = choose_factory(200_000, 512, 200_000_000)
    assert few.lists * 39 <= 200_000
    assert few.lists * 39 * 4 * 512 <= 100_000_000
