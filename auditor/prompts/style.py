"""What can be said of a prompt without the checkpoint: its length and how it is written."""

from __future__ import annotations

import zlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

BUCKETS = 64  # that n-grams are hashed into, of letters and of words each
COUNTED = 8  # columns before these
OUTLIER = 8.0  # standard deviations to which a count is pulled in


def style_features(prompts: Sequence[str], lengths: Sequence[int]) -> NDArray[np.float32]:
    """Float32[N 136]: length in tokens and its square root; words, their length, the shares of capitals, digits, marks
    and letters beyond ASCII; and how often hashed trigrams of letters and words occur, as unit vectors.

    Args:
      prompts: Their texts.
      lengths: Tokens of each, without those that begin and end it.
    """
    if not prompts:
        return np.zeros((0, COUNTED + 2 * BUCKETS), np.float32)
    rows = [_row(prompt, length) for prompt, length in zip(prompts, lengths, strict=True)]
    return np.array(rows, np.float32)


def style_distances(features: NDArray[np.float32]) -> NDArray[np.float64]:
    """How unlike each pair of prompts is written, Float64[N N]: counts, trigrams and words have the same say.

    Args:
      features: Float32[N 136] of :func:`style_features`.
    """
    counted, *hashed = np.split(features.astype(np.float64), [COUNTED, COUNTED + BUCKETS], axis=1)
    spread = counted.std(0)
    counted = (counted - counted.mean(0)) / np.where(spread < 1e-9, np.inf, spread)
    found = np.zeros((len(features), len(features)))
    for block in (np.clip(counted, -OUTLIER, OUTLIER), *hashed):
        squares = (block**2).sum(1)
        apart = np.sqrt(np.maximum(squares[:, None] + squares - 2 * block @ block.T, 0))
        found += apart / max(float(apart.mean()), 1e-12)
    return found


def _row(prompt: str, length: int) -> list[float]:
    words, size = prompt.split(), max(1, len(prompt))
    shares = [
        sum(map(str.isupper, prompt)) / size,
        sum(map(str.isdigit, prompt)) / size,
        sum(not (char.isalnum() or char.isspace()) for char in prompt) / size,
        sum(ord(char) > 127 for char in prompt) / size,
    ]
    folded = f" {' '.join(prompt.casefold().split())} "
    trigrams = [folded[at : at + 3] for at in range(max(0, len(folded) - 2))]
    counted = [length, length**0.5, len(words), len(prompt) / max(1, len(words))]
    return [*counted, *shares, *_hashed(trigrams), *_hashed(folded.split())]


def _hashed(parts: Sequence[str]) -> NDArray[np.float64]:
    """Unit vector of counts by bucket; CRC-32, so that it is the same everywhere and always."""
    counts = np.bincount([zlib.crc32(part.encode()) % BUCKETS for part in parts], minlength=BUCKETS).astype(np.float64)
    length = float(np.linalg.norm(counts))
    return counts / length if length > 0 else counts
