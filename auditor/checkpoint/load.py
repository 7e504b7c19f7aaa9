"""From a scanned folder to a denoiser and a codec, with everything the record says about the checkpoint."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, get_args

from auditor.checkpoint import (  # noqa: F401  # each registers its family
    dit,
    flux,
    latent_unet,
    pixart,
    sana,
    score_sde,
    stable_diffusion,
    stable_diffusion_3,
    stable_diffusion_xl,
    unet,
)
from auditor.checkpoint.adapter import fuse_adapter
from auditor.checkpoint.attention import text_encoders
from auditor.checkpoint.components import scheduler_config
from auditor.checkpoint.family import Parts, Trained, families
from auditor.checkpoint.flow import flow_schedule, is_flow
from auditor.checkpoint.flux import FluxDenoiser
from auditor.checkpoint.guidance import Guided, Told
from auditor.checkpoint.latents import LatentCodec
from auditor.checkpoint.offload import give_back, lodge, room_on
from auditor.checkpoint.scan import Scan, check_unchanged
from auditor.checkpoint.schedule import noise_schedule, prediction_type, train_timesteps
from auditor.checkpoint.single_training import refuse_other_training
from auditor.checkpoint.text import TextConditioner
from auditor.checkpoint.text_encoders import narrow_encoder
from auditor.config import Offload
from auditor.diffusion.denoiser import Denoiser
from auditor.diffusion.precision import DTYPES, Precision, reduce_precision
from auditor.diffusion.prediction import PredictionType
from auditor.errors import ConfigError
from auditor.store.record import Checkpoint


@dataclass(frozen=True)
class LoadedCheckpoint:
    """A checkpoint ready to be audited."""

    info: Checkpoint
    denoiser: Denoiser  # conditional on labels where num_classes is given
    codec: LatentCodec
    num_classes: int | None  # labels are 0..num_classes-1; None = unconditional
    null_class: int | None  # label that stands for no label; None = it was not trained for guidance
    scheduler_config: dict[str, object]  # with every default filled in

    @property
    def text(self) -> TextConditioner | None:
        """What can bind the denoiser to prompts; None = it is not conditional on text."""
        return self.denoiser if isinstance(self.denoiser, TextConditioner) else None

    def with_prompts(self, prompts: Sequence[str]) -> LoadedCheckpoint:
        """The same checkpoint as a conditional one whose labels are the places of these prompts.

        The label after the last is the empty prompt, the null label of guidance. Prompts are embedded when they are
        first asked for.

        Raises:
          ConfigError: No prompts, or a checkpoint that is not conditional on text.
        """
        if self.text is None:
            got, expected = self.info.pipeline, "a text-to-image checkpoint"
            raise ConfigError(f"{self.info.path}: prompts", got, expected, "Leave the prompts out.")
        if not prompts:
            raise ConfigError(f"{self.info.path}: prompts", "none", "at least one", "Give prompts, or leave them out.")
        info = self.info.model_copy(update={"conditional": True})
        count, denoiser = len(prompts), self.text.with_prompts(prompts)
        return replace(self, info=info, denoiser=denoiser, num_classes=count, null_class=count)

    def guided(self, scale: float) -> Denoiser:
        """The denoiser under classifier-free guidance: 1 is the plain conditional model, 0 the unconditional one.

        Raises:
          ConfigError: The checkpoint has no null label.
        """
        return self.at_scales([scale]).denoiser

    def at_scales(self, scales: Sequence[float]) -> LoadedCheckpoint:
        """The same checkpoint under classifier-free guidance, each label under each scale a condition of its own.

        Condition c asks for label c modulo their number under scale c divided by it, so that all labels come once under
        the first scale, then once under the next. Without scales, the checkpoint as it is.

        Raises:
          ConfigError: The checkpoint has no null label.
        """
        if not scales:
            return self
        if self.null_class is None and self.text is not None:
            got, remedy = f"{scales[0]} without prompts", "Give prompts, or remove the option."
            raise ConfigError("generation.guidance_scale", got, "prompts to guide to", remedy)
        if self.null_class is None or self.num_classes is None:
            got, remedy = f"{scales[0]} for a checkpoint without a null label", "Remove the option."
            raise ConfigError("generation.guidance_scale", got, "none", remedy)
        denoiser: Denoiser
        if isinstance(self.denoiser, FluxDenoiser) and self.denoiser.guidance is not None:
            denoiser = Told(self.denoiser, self.num_classes, tuple(scales))
        else:
            denoiser = Guided(self.denoiser, self.num_classes, tuple(scales), self.null_class)
        return replace(self, denoiser=denoiser, num_classes=self.num_classes * len(scales), null_class=None)

    def evaluations(self, scales: Sequence[float]) -> int:
        """Network evaluations of one prediction under guidance: 2 where the null label is evaluated beside, else 1."""
        return 2 if isinstance(self.at_scales(scales).denoiser, Guided) else 1


def load(scan: Scan, *, device: str = "cpu", dtype: Precision | None = None) -> LoadedCheckpoint:
    """The scanned checkpoint on the device, its weights checked, drawing no random number.

    Args:
      scan: From :func:`auditor.checkpoint.scan.scan`.
      device: As torch names it.
      dtype: What the denoising network and its text encoders compute in, None = what the scan was asked for; the
        denoiser takes and gives float32 either way, and an autoencoder keeps float32. Another dtype is another
        result: asked of the scan it is part of its digest, and a cache keyed by that alone must not mix others.

    Raises:
      ConfigError: Another dtype, or a size asked for that the checkpoint's network cannot take.
      CheckpointError: An unsupported scheduler or prediction type, or a single file that states another; tensors
        missing, left over or not finite; parts that do not fit together.
      UnsafeArtifactError: A file changed after the scan.
    """
    dtype = dtype or scan.asked.dtype
    if dtype not in get_args(Precision):
        raise ConfigError("dtype", repr(dtype), f"one of {', '.join(get_args(Precision))}", "Correct it.")
    scan = replace(scan, asked=replace(scan.asked, dtype=dtype))  # the digest stays that of the scan
    check_unchanged(scan)
    pipeline = str(scan.model_index["_class_name"])
    config = scheduler_config(scan)
    trained = training(config, scan.asked.image_size)
    if scan.weights is not None:
        refuse_other_training(scan.weights, trained)
    on_host = scan.asked.offload != "none" or scan.asked.adapter is not None  # until it is as it will be used
    parts = families[pipeline](scan, trained, "cpu" if on_host else device)
    if scan.asked.adapter is not None:
        parts.notes.extend(fuse_adapter(scan, scan.asked.adapter, parts.network, parts.encoders))
    check_unchanged(scan)
    if dtype != "float32":
        narrow(parts, dtype)
    parts = place(parts, device, scan.asked.offload)
    info = describe(scan, pipeline, parts, train_timesteps(config))
    return LoadedCheckpoint(info, parts.denoiser, parts.codec, parts.num_classes, parts.null_class, config)


def narrow(parts: Parts, dtype: Precision) -> None:
    """The network, and encoders that had to be loaded in float32, in ``dtype``, in place."""
    reduce_precision(parts.network, DTYPES[dtype])
    encoders = text_encoders(parts.denoiser)
    for encoder in encoders:
        narrow_encoder(encoder.network, DTYPES[dtype])
    parts.notes.append(f"the network {'and its text encoders ' if encoders else ''}ran in {dtype}")


def place(parts: Parts, device: str, offload: Offload) -> Parts:
    """The parts on the device: all of them at once, or each whenever it is used."""
    network, encoders = parts.network, [encoder.network for encoder in text_encoders(parts.denoiser)]
    codec: Any = parts.codec
    codec = replace(codec, device=device)
    autoencoders = [codec.network] if hasattr(codec, "network") else []
    room = None if offload == "none" else room_on(device)
    if room is None:
        for part in (network, *encoders, *autoencoders):
            part.to(device)
        return replace(parts, codec=codec)
    lodge("network", [network], room, in_blocks=offload == "blocks")
    if encoders:
        lodge("text encoders", encoders, room)
    for encoder in encoders:
        give_back(encoder)
    for autoencoder in autoencoders:  # which is called by encode and decode
        lodge("autoencoder", [autoencoder], room, doors=list(autoencoder.children()))
    return replace(parts, codec=codec)


def training(config: Mapping[str, object], image_size: tuple[int, int] | None = None) -> Trained:
    """The schedule of a diffusion or of a flow, and what its network predicts."""
    if is_flow(config):
        return Trained(flow_schedule(config), PredictionType.FLOW, config, image_size)
    return Trained(noise_schedule(config), prediction_type(config), config, image_size)


def describe(scan: Scan, pipeline: str, parts: Parts, train_timesteps: int) -> Checkpoint:
    """The checkpoint's entry in the record."""
    notes = [*scan.notes, *parts.notes]
    schedule, kind = parts.denoiser.schedule, parts.denoiser.prediction_type
    if schedule.signal_scale[-1] == 0 and kind is PredictionType.EPSILON:
        notes.append("no signal is left at the last training time, where an epsilon prediction says nothing about x0")
    return Checkpoint(
        path=str(scan.weights or scan.path),
        digest=scan.digest,
        files=scan.files,
        pipeline=pipeline,
        network=type(parts.network).__name__,
        parameters=sum(parameter.numel() for parameter in parts.network.parameters()),
        prediction_type=str(kind),
        sample_shape=list(parts.denoiser.sample_shape),
        pixel_shape=list(parts.codec.pixel_shape),
        train_timesteps=train_timesteps,
        conditional=parts.num_classes is not None,
        text=isinstance(parts.denoiser, TextConditioner),
        adapter=str(scan.asked.adapter) if scan.asked.adapter else None,
        notes=notes,
    )
