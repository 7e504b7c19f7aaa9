"""Columns of embeddings whose relation is known."""

from __future__ import annotations

import numpy as np


def unit(rows: np.ndarray) -> np.ndarray:
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def two_columns(rng: np.random.Generator, probes: int, dim: int, correlation: float) -> tuple[np.ndarray, np.ndarray]:
    """Unit rows around a common direction of length 3 (as embeddings of one kind of image are); correlated by probe."""
    common = 3.0 * np.eye(dim)[0]
    left = rng.standard_normal((probes, dim)) / np.sqrt(dim)
    other = rng.standard_normal((probes, dim)) / np.sqrt(dim)
    right = correlation * left + np.sqrt(1 - correlation**2) * other
    return unit(common + left), unit(common + right)
