"""FAISS comes from an extra; without it the one line says which."""

from __future__ import annotations

import builtins

import numpy as np
import pytest

from auditor.errors import ConfigError
from auditor.search.exact import best_match
from auditor.search.index import import_faiss, search_device


def test_missing_faiss_is_one_line_with_both_remedies(monkeypatch: pytest.MonkeyPatch) -> None:
    ordinary = builtins.__import__

    def without_faiss(name: str, *args: object, **kwargs: object) -> object:
        if name == "faiss":
            raise ImportError("No module named 'faiss'")
        return ordinary(name, *args, **kwargs)

    eye = np.eye(3, dtype=np.float32)
    import_faiss.cache_clear()
    monkeypatch.setattr(builtins, "__import__", without_faiss)
    with pytest.raises(ConfigError) as caught:
        best_match(eye, eye)
    monkeypatch.undo()
    assert "diffusion-auditor[cpu]" in str(caught.value) and "diffusion-auditor[gpu]" in str(caught.value)
    assert "\n" not in str(caught.value) and caught.value.exit_code == 4
    assert best_match(eye, eye).index.tolist() == [0, 1, 2]  # and with it, the failure is not remembered


class BrokenGpu:
    """What the CPU would see of a FAISS whose CUDA driver does not fit: it counts a GPU, then fails to use it."""

    def __init__(self, faiss: object) -> None:
        self._faiss = faiss

    def __getattr__(self, name: str) -> object:
        return getattr(self._faiss, name)

    def get_num_gpus(self) -> int:
        return 1

    def index_cpu_to_all_gpus(self, index: object) -> object:
        raise RuntimeError("CUDA driver version is insufficient\nmore lines")


def test_a_gpu_that_fails_is_reported_and_the_cpu_searches(monkeypatch: pytest.MonkeyPatch) -> None:
    broken = BrokenGpu(import_faiss())
    monkeypatch.setattr("auditor.search.index.import_faiss", lambda: broken)
    search_device.cache_clear()
    try:
        assert search_device() == "cpu (gpu failed: CUDA driver version is insufficient)"
        eye = np.eye(3, dtype=np.float32)
        assert best_match(eye, eye).index.tolist() == [0, 1, 2]
    finally:
        search_device.cache_clear()
