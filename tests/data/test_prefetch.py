"""Results computed ahead come in order, once each, bounded, and an early end leaves no thread behind."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import numpy as np
import pytest
from numpy.typing import NDArray

from auditor.data import open_source, survey
from auditor.data.indexed import IndexedSource
from auditor.data.prefetch import ordered
from tests.indexing.pictures import RGB, write_pictures


@pytest.mark.parametrize("workers", [0, 1, 3])
def test_results_keep_the_order_of_items(workers: int) -> None:
    delays = np.random.default_rng(0).uniform(0, 2e-3, 60)

    def slow(item: int) -> int:
        time.sleep(delays[item])
        return item * item

    assert list(ordered(slow, range(60), workers)) == [item * item for item in range(60)]
    assert list(ordered(slow, [], workers)) == []


def test_no_more_than_depth_results_wait_for_the_consumer() -> None:
    drawn: list[int] = []

    def items() -> Iterator[int]:
        for item in range(100):
            drawn.append(item)
            yield item

    results = ordered(lambda item: item, items(), workers=2, depth=5)
    assert next(results) == 0
    settle(drawn)
    assert len(drawn) <= 7  # one consumed, five waiting, one in the feeder's hand
    results.close()


@pytest.mark.parametrize("fault", ["item", "function"])
def test_an_exception_comes_at_its_place(fault: str) -> None:
    def items() -> Iterator[int]:
        for item in range(10):
            if fault == "item" and item == 4:
                raise KeyError("item")
            yield item

    def function(item: int) -> int:
        if fault == "function" and item == 4:
            raise KeyError("function")
        return item

    seen: list[int] = []
    with pytest.raises(KeyError, match=fault):
        for item in ordered(function, items(), 2):
            seen.append(item)
    assert seen == [0, 1, 2, 3]


def test_an_early_end_stops_the_threads_and_closes_the_items() -> None:
    before = threading.active_count()
    closed: list[bool] = []

    def items() -> Iterator[int]:
        try:
            yield from range(10**9)
        finally:
            closed.append(True)

    results = ordered(lambda item: item, items(), 3)
    assert [next(results) for _ in range(5)] == list(range(5))
    results.close()
    assert closed == [True] and threading.active_count() == before


def test_a_set_is_the_same_however_many_threads_decode(tmp_path_factory: pytest.TempPathFactory) -> None:
    path = write_pictures(tmp_path_factory.mktemp("pictures") / "images", 70, unreadable=(0, 33, 69))
    found: list[tuple[str, list[tuple[str, str]], list[NDArray[np.uint8]]]] = []
    for workers in (0, 1, 4):
        source = open_source(path, RGB)
        assert isinstance(source, IndexedSource)
        source = IndexedSource(path, source._container, RGB, workers)
        info = survey(source).images
        found.append((info.digest, info.unreadable, [batch.pixels for batch in source.batches(16)]))
        assert [len(pixels) for pixels in found[-1][2]] == [16, 16, 16, 16, 3]
    assert found[0][0] == found[1][0] == found[2][0] and len(found[0][1]) == 3
    assert found[0][1] == found[1][1] == found[2][1]
    assert all(np.array_equal(a, b) for other in found[1:] for a, b in zip(found[0][2], other[2], strict=True))


def settle(drawn: list[int]) -> None:
    """Wait until the feeder has stopped drawing."""
    count = -1
    while count != len(drawn):
        count = len(drawn)
        time.sleep(0.02)
