"""Probe noise: golden bits, independent of batch and order, standard normal, unlike for unlike keys."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
import torch
from scipy.stats import kstest

from auditor.probes import choose, draw_salt, generator, probe_noise, root_seed

SHAPE = (3, 8, 8)


def test_golden_digest():
    """SHA-256 of 16 draws, little-endian float32, made with NumPy 2.x on x86-64; a change breaks every old seed."""
    noise = probe_noise("golden", "start", range(16), SHAPE)
    digest = hashlib.sha256(noise.numpy().astype("<f4").tobytes()).hexdigest()
    assert digest == "3e5ffcacf57e68535aeeab9e15debdbebaa572145328b1925022bb3213e71f85"


@pytest.mark.parametrize("size", [1, 7, 64])
def test_bits_do_not_depend_on_the_batch(size):
    whole = probe_noise("seed", "start", range(64), SHAPE)
    parts = [probe_noise("seed", "start", range(first, min(first + size, 64)), SHAPE) for first in range(0, 64, size)]
    assert torch.equal(torch.cat(parts), whole)


def test_bits_do_not_depend_on_the_order():
    order = np.random.default_rng(0).permutation(64).tolist()
    assert torch.equal(
        probe_noise("seed", "start", order, SHAPE), probe_noise("seed", "start", range(64), SHAPE)[order]
    )


def test_unlike_keys_give_unlike_noise():
    """Independent draws of 192 normals correlate with sd 1 / sqrt(192) = 0.072; five of them is 0.36."""
    keys = [("a", "start", 0), ("b", "start", 0), ("a", "other", 0), ("a", "start", 1)]
    draws = np.stack([probe_noise(seed, stream, [index], SHAPE).numpy().ravel() for seed, stream, index in keys])
    correlation = np.corrcoef(draws)
    assert np.abs(correlation - np.eye(len(keys))).max() < 0.36


def test_shapes_of_the_same_size_have_their_own_streams():
    wide, tall = probe_noise("s", "start", [0], (1, 2, 8)), probe_noise("s", "start", [0], (1, 8, 2))
    assert not torch.equal(wide.flatten(), tall.flatten())


def test_noise_is_standard_normal():
    """Kolmogorov-Smirnov on 192,000 values of a fixed seed; a scale wrong by 1% would give p < 1e-3."""
    noise = probe_noise("normal", "start", range(1000), SHAPE).numpy().ravel()
    assert kstest(noise, "norm").pvalue > 0.01
    assert kstest(1.03 * noise, "norm").pvalue < 1e-6  # the control


def test_huge_indices_are_keys_like_any_other():
    noise = probe_noise("s", "start", [2**64 - 1, 2**64 - 2], SHAPE)
    assert not torch.equal(noise[0], noise[1])


def test_root_seed_depends_on_salt_and_checkpoint():
    seeds = {root_seed(salt, digest) for salt in ("00", "01") for digest in ("aa", "ab")}
    assert len(seeds) == 4 and all(len(seed) == 64 for seed in seeds)
    assert root_seed("00", "aa") == hashlib.sha256(b"00/aa").hexdigest()


def test_salts_are_128_bits_and_fresh():
    first, second = draw_salt(), draw_salt()
    assert len(bytes.fromhex(first)) == 16 and first != second


def test_generators_start_afresh():
    assert generator("s", "x").integers(2**62) == generator("s", "x").integers(2**62)
    assert generator("s", "x").integers(2**62) != generator("s", "y").integers(2**62)


def test_a_choice_is_a_subset_in_the_order_given():
    names = [f"n{i}" for i in range(20)]
    chosen = choose("s", "pick", names, 7)
    assert len(set(chosen)) == 7 and chosen == [name for name in names if name in chosen]
    assert choose("s", "pick", names, 50) == names
