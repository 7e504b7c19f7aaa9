"""Thousands of tiny searches run on one thread: two threads would mostly wait for each other."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # FAISS shares the thread pool
    yield
    torch.set_num_threads(threads)
