"""Extrapolation is arithmetic on measured rates; the rates themselves are only required to be rates."""

from __future__ import annotations

import pytest

from auditor.stages.scale import Rates, duration, measure_search, scale, scale_lines, size


def test_costs_follow_from_the_rates() -> None:
    rates = Rates(embedding=0.01, score=2e-9, pair=1e-9)
    one = scale(rates, [512, 256], 1_000, 10**9, images=2_000_000, machines=1)
    assert one.embedding_seconds == pytest.approx(20_000)
    assert one.search_seconds == pytest.approx(4)  # 2e6 x 1e3 x 2e-9
    assert one.duplicates_seconds == pytest.approx(1_999.999)  # 2e6 x (2e6 - 1) / 2 x 1e-9
    assert one.disk_bytes == 2_000_000 * 768 * 4
    # 1 GB, two copies of 1,000 generations and 65,536 images, of 512 numbers of 4 bytes
    assert one.machine_bytes == 10**9 + 4 * 512 * (2_000 + 65_536)
    assert one.decision_bytes == 400_000_000
    assert one.duplicates_in_a_day == pytest.approx((2 * 86_400 / 1e-9) ** 0.5, abs=1)


def test_machines_share_time_but_neither_memory_nor_disk() -> None:
    rates = Rates(embedding=0.01, score=2e-9, pair=1e-9)
    one, ten = (scale(rates, [64], 100, 10**9, images=10**6, machines=number) for number in (1, 10))
    for name in ("embedding_seconds", "search_seconds", "duplicates_seconds"):
        assert getattr(ten, name) == pytest.approx(getattr(one, name) / 10)
    for name in ("machine_bytes", "decision_bytes", "disk_bytes"):
        assert getattr(ten, name) == getattr(one, name)


def test_memory_of_a_machine_does_not_grow_with_the_images() -> None:
    rates = Rates(1, 1, 1)
    few, many = (scale(rates, [512], 100, 0, images=images, machines=1) for images in (10**5, 5 * 10**9))
    assert few.machine_bytes == many.machine_bytes
    assert few.decision_bytes < many.decision_bytes  # what does grow is said


def test_lines_name_both_machines_and_the_size() -> None:
    rates = Rates(embedding=0.01, score=2e-9, pair=1e-9)
    one, many = (scale(rates, [512], 1_000, 10**9, images=5 * 10**9, machines=number) for number in (1, 40))
    text = dict(scale_lines(one, many))
    assert text["at 5,000,000,000 images: embedding"] == "579 days on this machine, 14 days on 40 like it"
    assert text["at 5,000,000,000 images: disk"] == "10.2 TB of embeddings"
    assert "1.1 GB a machine, and 1.0 TB where" in text["at 5,000,000,000 images: memory"]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "1 s"), (89, "89 s"), (600, "10 min"), (7_200, "2.0 h"), (200_000, "56 h"), (86_400 * 40, "40 days"),
        (86_400 * 365.25 * 3, "3.0 years"), (86_400 * 365.25 * 15_106, "15,106 years"),
    ],
)  # fmt: skip
def test_durations_read_in_the_unit_that_fits(seconds: float, text: str) -> None:
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ("count", "text"),
    [(1_500_000, "1.5 MB"), (999e6, "999 MB"), (2.04e9, "2.0 GB"), (7.7e12, "7.7 TB"), (5e15, "5,000 TB")],
)  # fmt: skip
def test_sizes_read_in_the_unit_that_fits(count: float, text: str) -> None:
    assert size(count) == text


def test_rates_are_measured_for_every_encoder() -> None:
    score, pair = measure_search([16, 32])
    assert score > 0 and pair > 0
