"""Latents at the size that a text-to-image checkpoint states, or that the user asks for, and their autoencoder."""

from __future__ import annotations

from auditor.checkpoint.components import SAVE_AGAIN, load_network
from auditor.checkpoint.dit import pixel_shape
from auditor.checkpoint.family import Trained
from auditor.checkpoint.latents import KlAutoencoder, Shape
from auditor.checkpoint.scan import Scan
from auditor.errors import CheckpointError, ConfigError


def load_kl_autoencoder(
    scan: Scan, trained: Trained, device: str, channels: int, configured: tuple[int, int], unit: int
) -> tuple[KlAutoencoder, Shape]:
    """The ``vae`` at the size wanted, and the shape (C, H, W) of its latents.

    Args:
      scan: The checkpoint.
      trained: Whose ``asked_size`` counts, where given.
      device: As torch names it.
      channels: Of the latents that the network denoises.
      configured: Height and width of the latents without another wish.
      unit: Both are multiples of this: the network's patches, or what its levels halve.

    Raises:
      CheckpointError: An autoencoder with other latents.
      ConfigError: A size that the network cannot take.
    """
    network = load_network(scan, "vae", "AutoencoderKL", device)
    if network.config.latent_channels != channels:
        got, expected = network.config.latent_channels, f"{channels}, as the network denoises"
        raise CheckpointError(f"{scan.path}: vae: latent_channels", got, expected, SAVE_AGAIN)
    factor = 2 ** (len(network.config.block_out_channels) - 1)
    height, width = latent_size(trained, configured, factor, unit)
    return KlAutoencoder(network, pixel_shape(network, height, width), device), (channels, height, width)


def latent_size(trained: Trained, configured: tuple[int, int], factor: int, unit: int) -> tuple[int, int]:
    """(H, W) of latents that are ``factor`` times smaller than images: as configured, or as asked for."""
    if trained.asked_size is None:
        return configured
    height, width = trained.asked_size
    step = factor * unit
    if height % step or width % step:
        expected = f"multiples of {step}, for this checkpoint"
        raise ConfigError("checkpoint.image_size", f"{height}x{width}", expected, "Ask for another size.")
    return height // factor, width // factor


def refuse_other_channels(scan: Scan, name: str, taken: int, given: int) -> None:
    """Raise CheckpointError if a network takes more than the latents it gives, as those for inpainting do."""
    if taken != given:
        remedy = "Networks for inpainting or for editing images are not audited by this version."
        raise CheckpointError(f"{scan.path}: {name}", f"{taken} channels in, {given} out", "as many", remedy)
