"""Stable Diffusion in one safetensors file, in the naming of its first authors, with its configuration given locally.

The configuration is a folder as ``save_pretrained`` writes it, which needs no weights; diffusers renames the tensors.
It passes over those it does not know, so that values are tallied: what a component holds must be all that the file has
for it.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch

from auditor.checkpoint.safetensors_header import HeaderError, check_header
from auditor.errors import CheckpointError, ConfigError, UnsafeArtifactError

PREFIXES: dict[str, dict[str, tuple[str, ...]]] = {
    "StableDiffusionPipeline": {
        "unet": ("model.diffusion_model.",),
        "vae": ("first_stage_model.",),
        "text_encoder": ("cond_stage_model.transformer.", "cond_stage_model.model."),  # of 1.x, of 2.x
    },
    "StableDiffusionXLPipeline": {
        "unet": ("model.diffusion_model.",),
        "vae": ("first_stage_model.",),
        "text_encoder": ("conditioner.embedders.0.transformer.",),
        "text_encoder_2": ("conditioner.embedders.1.model.",),
    },
}
# What training leaves behind: tables of the noise schedule, an average of the weights, scales that no image depends on,
# and of 2.x the text encoder's last layer, whose output its network never sees.
LEFT_BEHIND = re.compile(
    r"^(alphas_cumprod|betas|denoiser\.|log_one_minus|logvar|posterior_|sqrt_|model_ema\.|first_stage_model\.loss\.)|"
    r"(^|\.)(position_ids|logit_scale)$|^cond_stage_model\.(model\.)?(logit_scale|text_projection)$|"
    r"^cond_stage_model\.model\.transformer\.resblocks\.23\."
)
SAVE_AGAIN = "Download or save the checkpoint again."


def check_single_file(file: Path, pipeline: str) -> list[str]:
    """Refuse a file by its header; notes on what in it is not used.

    Raises:
      ConfigError: Another format, or a pipeline that is not read from single files.
      UnsafeArtifactError: The header disagrees with the file.
      CheckpointError: A tensor of no component.
    """
    if file.suffix.lower() != ".safetensors":
        raise ConfigError(str(file), "another format", "a .safetensors file, or a folder", "Convert it.")
    if pipeline not in PREFIXES:
        got, expected = f"the configuration of a {pipeline}", f"one of {', '.join(PREFIXES)}"
        raise ConfigError(str(file), got, expected, "Save it as a folder.")
    try:
        names = [tensor.name for tensor in check_header(file)]
    except HeaderError as error:
        raise UnsafeArtifactError(
            str(file), error, "a safetensors file that agrees with its header", SAVE_AGAIN
        ) from error
    known = sum(PREFIXES[pipeline].values(), ())
    foreign = [name for name in names if not name.startswith(known) and not LEFT_BEHIND.search(name)]
    if foreign:
        expected = f"tensors of {', '.join(known)}"
        remedy = "Give the configuration of its own kind."
        raise CheckpointError(str(file), f"the tensor {foreign[0]}", expected, remedy)
    averaged = sum(name.startswith("model_ema.") for name in names)
    return [f"{averaged} averaged weights (model_ema) not used"] if averaged else []


def load_component(file: Path, config: Path, pipeline: str, name: str, kind: str) -> tuple[Any, dict[str, list[str]]]:
    """A component out of the file, and tensors that are missing or left over, as ``from_pretrained`` reports them."""
    import diffusers
    import transformers
    from diffusers.loaders.single_file_utils import create_diffusers_clip_model_from_ldm
    from safetensors.torch import load_file

    prefixes = PREFIXES[pipeline][name]
    tensors = load_file(file)
    own = {key: value for key, value in tensors.items() if key.startswith(prefixes) and not LEFT_BEHIND.search(key)}
    options: dict[str, Any] = {"subfolder": name, "local_files_only": True, "torch_dtype": torch.float32}
    if hasattr(transformers, kind):
        # tells kinds of checkpoints apart by names of other components too
        create: Any = create_diffusers_clip_model_from_ldm
        network = create(getattr(transformers, kind), dict(tensors), config=str(config), **options)
    else:
        network = getattr(diffusers, kind).from_single_file(
            dict(own), config=str(config), low_cpu_mem_usage=False, **options
        )
    network = network.float()
    unset = [key for key, value in network.state_dict().items() if value.is_meta]
    found: dict[str, list[str]] = {"missing_keys": unset, "unexpected_keys": []}
    given = tally(own.values())
    if unset or not all(math.isfinite(number) for number in given):  # the latter are named where weights are checked
        return network, found
    taken = tally(network.parameters())
    if not all(math.isclose(a, b, rel_tol=1e-9, abs_tol=1e-9) for a, b in zip(taken, given, strict=True)):
        key = "unexpected_keys" if given[0] > taken[0] else "missing_keys"
        found[key] = [f"{prefixes[0]}... ({given[0]} values, {taken[0]} or others needed)"]
    return network, found


def tally(tensors: Iterable[torch.Tensor]) -> tuple[int, float, float]:
    """How many values there are, the sum of their magnitudes and of their squares: renaming and cutting change none."""
    count, magnitude, square = 0, 0.0, 0.0
    for tensor in tensors:
        wide = tensor.detach().double()
        count += wide.numel()
        magnitude += wide.abs().sum().item()
        square += wide.square().sum().item()
    return count, magnitude, square
