"""Whether a checkpoint can be asked what an audit asks of it, found out before anything expensive begins."""

from __future__ import annotations

import torch

from auditor.checkpoint.load import LoadedCheckpoint
from auditor.config import AuditConfig, PromptsConfig
from auditor.diffusion.steps import read_ladder
from auditor.errors import CheckpointError, ConfigError
from auditor.membership.base import training_time
from auditor.stages.prompt_list import listed


def refuse_unfit_options(config: AuditConfig, checkpoint: LoadedCheckpoint) -> None:
    """Options that this checkpoint's schedule or labels do not allow, before anything is spent on the others.

    Raises:
      ConfigError: More steps than training times, a first step without signal, guidance without a null label, or
        membership on a schedule too short for it.
    """
    schedule, steps = checkpoint.denoiser.schedule, config.generation.steps
    if steps > len(schedule):
        expected = f"at most {len(schedule)}, the checkpoint's training times"
        raise ConfigError("generation.steps", steps, expected, "Take fewer steps.")
    read_ladder(checkpoint.denoiser, schedule.ladder(steps))
    by_text = asked_by_text(config, checkpoint)
    scales = config.generation.guidance_scales
    (checkpoint.with_prompts([""]) if by_text else checkpoint).at_scales(scales)
    if by_text and config.prompts.seeds < len(scales):
        got, expected = f"{config.prompts.seeds} for {len(scales)} guidance scales", "at least one for each"
        raise ConfigError("prompts.seeds", got, expected, "Take more seeds or fewer scales.")
    classes = checkpoint.num_classes or 1
    if not by_text and len(scales) > 1 and config.generation.probes < len(scales) * classes:
        got = f"{config.generation.probes} for {classes} classes under {len(scales)} guidance scales"
        remedy = "Take more probes or fewer scales."
        raise ConfigError("generation.probes", got, "at least one for each of these", remedy)
    if config.prompts != PromptsConfig() and checkpoint.text is None:
        got, remedy = f"a {checkpoint.info.pipeline}, which takes none", "Leave [prompts] out."
        raise ConfigError("prompts", got, "a text-to-image checkpoint", remedy)
    if config.prompts.file:
        listed(config.prompts.file)
    if config.membership.enabled:
        training_time(schedule, 0)
        if "clid" in config.membership.attacks and checkpoint.text is None:
            got, remedy = f"clid for a {checkpoint.info.pipeline}", "Leave clid out."
            raise ConfigError("membership.attacks", got, "clid for text-to-image checkpoints alone", remedy)


def asked_by_text(config: AuditConfig, checkpoint: LoadedCheckpoint) -> bool:
    """Whether generations are made under prompts."""
    return checkpoint.text is not None and (config.prompts.file is not None or config.prompts.source != "empty")


@torch.inference_mode()
def try_network(checkpoint: LoadedCheckpoint, device: str) -> None:
    """One call of the network at the size its configuration states.

    Raises:
      CheckpointError: It cannot be called there, or answers in another shape.
    """
    denoiser, shape = checkpoint.denoiser, checkpoint.denoiser.sample_shape
    zero = torch.zeros(1, dtype=torch.int64, device=device)
    size = "x".join(map(str, shape))
    try:
        output = denoiser(torch.zeros(1, *shape, device=device), zero, None if checkpoint.num_classes is None else zero)
        found = f"an output of {'x'.join(map(str, output.shape[1:]))}"
        fits = tuple(output.shape[1:]) == tuple(shape)
    except (RuntimeError, ValueError, IndexError, TypeError) as error:
        found, fits = (str(error).splitlines() or [type(error).__name__])[0][:200], False
    if not fits:
        remedy = "Correct sample_size and the channels in config.json."
        raise CheckpointError(checkpoint.info.path, found, f"a network that takes and gives {size}", remedy)
