"""Every test runs deterministically, on as many threads as OMP_NUM_THREADS says (2), without network, and leaves
global random state alone."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "2")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

import numpy as np
import pytest
import torch

torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
torch.use_deterministic_algorithms(True)

FIXTURES = Path(__file__).resolve().parent.parent / "fixtures"


@pytest.fixture(scope="session")
def fixtures() -> Path:
    """The folder of committed images and checkpoints."""
    return FIXTURES


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection attempt fails the test that makes it; sockets between processes of this machine are left alone."""
    connect = socket.socket.connect

    def refuse(self: socket.socket, address: Any) -> None:
        if self.family != socket.AF_UNIX:
            raise OSError("tests have no network")
        connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", refuse)


@pytest.fixture(autouse=True)
def no_global_randomness() -> Iterator[None]:
    """Code under test draws from auditor.probes or its own generators, never from the global ones."""
    legacy, global_torch = np.random.get_state()[1].copy(), torch.get_rng_state()  # noqa: NPY002  # what is guarded
    yield
    assert np.array_equal(legacy, np.random.get_state()[1])  # noqa: NPY002  # likewise
    assert torch.equal(global_torch, torch.get_rng_state())
