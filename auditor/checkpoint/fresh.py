"""A checkpoint's architecture with weights that no training has touched."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch

from auditor.checkpoint.load import LoadedCheckpoint
from auditor.checkpoint.offload import lodge_like
from auditor.diffusion.precision import reduce_precision
from auditor.probes import generator


def reinitialise(checkpoint: LoadedCheckpoint, seed: str) -> LoadedCheckpoint:
    """The same checkpoint with a freshly initialised denoising network, drawn by its own constructor.

    Schedule, prediction type, classes and, for a latent model, the autoencoder stay: the autoencoder was trained by
    someone else or on other data, and both sides pass through it alike.

    Args:
      checkpoint: As :func:`auditor.checkpoint.load.load` gives it.
      seed: The audit's root seed; the same seed gives the same weights on the same versions.

    Returns:
      A checkpoint on the same device, in the same precision and evaluation mode, whose network has learnt nothing.
    """
    denoiser: Any = checkpoint.denoiser
    # Constructors draw from the global state, which is put back afterwards.
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(generator(seed, "untrained network").integers(2**63)))
        network = type(denoiser.network).from_config(denoiser.network.config)
    fresh = network.eval().requires_grad_(False)
    narrow = {parameter.dtype for parameter in denoiser.network.parameters()} - {torch.float32}
    for dtype in narrow:
        reduce_precision(fresh, dtype)
    lodge_like(fresh, denoiser.network)
    return replace(checkpoint, denoiser=replace(denoiser, network=fresh))
