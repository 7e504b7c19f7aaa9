"""Probe noise and every other random draw of an audit: this module alone draws random numbers.

Each draw is keyed by (root seed, stream, index) and comes from its own counter-based Philox generator, so it depends
on nothing else: not on batch size, order, shard, device, dtype, nor on what was drawn before. NumPy does not promise
that ``Generator`` methods keep their streams across releases, therefore a golden digest in the tests guards the bits.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray


def draw_salt() -> str:
    """A secret salt of 128 bits, as 32 hexadecimal digits, drawn from the operating system."""
    return secrets.token_hex(16)


def root_seed(salt: str, checkpoint_digest: str) -> str:
    """H(salt, checkpoint digest): nobody who lacks the salt can know an audit's probes beforehand.

    Args:
      salt: Hexadecimal digits from :func:`draw_salt`, published in the record afterwards; or any pinned text.
      checkpoint_digest: SHA-256 of the audited checkpoint, hexadecimal.

    Returns:
      64 hexadecimal digits.
    """
    return hashlib.sha256(f"{salt}/{checkpoint_digest}".encode()).hexdigest()


def generator(seed: str, stream: str, index: int = 0) -> np.random.Generator:
    """The NumPy generator that belongs to (seed, stream, index), freshly positioned at its start."""
    key = hashlib.sha256(f"{seed}/{stream}/{index}".encode()).digest()[:16]
    return np.random.Generator(np.random.Philox(key=int.from_bytes(key, "little")))


def choose(seed: str, stream: str, names: Sequence[str], count: int) -> list[str]:
    """A simple random sample of ``count`` names (all of them if there are no more), in the order given."""
    rows = generator(seed, stream).permutation(len(names))[:count]
    return [names[row] for row in np.sort(rows)]


def probe_noise(seed: str, stream: str, indices: Sequence[int], shape: tuple[int, ...]) -> torch.Tensor:
    """Standard normal noise, one independent draw per index.

    Args:
      seed: The audit's root seed.
      stream: What the noise is for, such as ``"start"``; other streams are independent.
      indices: Probe numbers, in any order, repeats allowed.
      shape: Shape of one draw, such as (C, H, W).

    Returns:
      Float32[len(indices), *shape] on the CPU; move and cast it afterwards.
    """
    noise: NDArray[np.float32] = np.empty((len(indices), *shape), np.float32)
    size = "x".join(map(str, shape))
    for row, index in enumerate(indices):
        draw = generator(seed, f"{stream}/{size}", index)
        noise[row] = draw.standard_normal(shape, dtype=np.float32)
    return torch.from_numpy(noise)
