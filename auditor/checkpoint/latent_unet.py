"""UNet2DModel over the latents of a VQ autoencoder, unconditional: LDMPipeline.

Rombach et al. 2022 (arXiv 2112.10752).
"""

from __future__ import annotations

from auditor.checkpoint.components import SAVE_AGAIN, load_network
from auditor.checkpoint.dit import pixel_shape
from auditor.checkpoint.family import Parts, Trained, families
from auditor.checkpoint.latents import VqAutoencoder
from auditor.checkpoint.scan import Scan
from auditor.checkpoint.unet import UNetDenoiser, num_classes, refuse_exploding, sample_shape
from auditor.errors import CheckpointError


@families.register("LDMPipeline")
def load_latent_unet(scan: Scan, trained: Trained, device: str) -> Parts:
    """A UNet over the latents that ``vqvae`` has before quantisation."""
    refuse_exploding(scan, trained)
    network = load_network(scan, "unet", "UNet2DModel", device)
    autoencoder = load_network(scan, "vqvae", "VQModel", device)
    shape, notes = sample_shape(scan, network)
    latent_channels = autoencoder.config.vq_embed_dim or autoencoder.config.latent_channels
    if latent_channels != shape[0]:
        expected = f"{latent_channels}, as the autoencoder's latents"
        raise CheckpointError(f"{scan.path}: unet: in_channels", shape[0], expected, SAVE_AGAIN)
    classes = num_classes(scan, network)
    denoiser = UNetDenoiser(network, trained.prediction_type, trained.schedule, shape, classes)
    codec = VqAutoencoder(autoencoder, pixel_shape(autoencoder, *shape[1:]), device)
    return Parts(denoiser, codec, network, classes, notes=notes)
