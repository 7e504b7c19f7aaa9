"""Low-rank adapters on a base: checked in their file's header, loaded by diffusers and peft, and fused.

Hu et al. 2021 (arXiv 2106.09685): W becomes W + scale (alpha / r) B A. Fused, the network has the layers and parameter
names of its base, and everything above audits it as it would the base.
"""

from __future__ import annotations

import inspect
import json
import warnings
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

from auditor.checkpoint.adapter_header import OTHER_KINDS, PEFT
from auditor.checkpoint.adapter_names import encoder_names, scaled
from auditor.checkpoint.components import check_finite
from auditor.checkpoint.scan import Scan
from auditor.errors import CheckpointError

NAME = "audited"


def fuse_adapter(scan: Scan, file: Path, network: torch.nn.Module, encoders: dict[str, torch.nn.Module]) -> list[str]:
    """Add the adapters to the network and the text encoders they are for, in place, and say how many layers changed.

    Args:
      scan: The checkpoint, whose pipeline's class knows the naming of the file.
      file: The adapter, as scanned.
      network: The denoising network.
      encoders: Text encoders by their component's name.

    Returns:
      Notes for the record.

    Raises:
      CheckpointError: A pipeline without adapters, adapters for layers that are not there or of other shapes, tensors
        that were not taken, or values that are not finite.
    """
    subject, pipeline = f"checkpoint.adapter: {file}", str(scan.model_index["_class_name"])
    main = "transformer" if "transformer" in scan.model_index else "unet"
    try:
        state, metadata = read_adapter(file, pipeline, main, network)
    except Exception as error:  # files are foreign: converters raise whatever they meet
        got = " ".join(str(error).split())[:300] or type(error).__name__
        raise CheckpointError(subject, got, f"adapters for a {pipeline}", OTHER_KINDS) from error
    parts, notes = {main: network} | encoders, []
    foreign = [key for key in state if key.split(".", 1)[0] not in parts]
    if foreign:
        expected = f"tensors of {', '.join(parts)}"
        raise CheckpointError(subject, f"the tensor {foreign[0]}", expected, "Name the base that it was trained on.")
    for name, part in parts.items():
        own = {key: value for key, value in state.items() if key.startswith(f"{name}.")}
        if own:
            count = fuse_part(part, name, own, metadata, scan.asked.adapter_scale, subject)
            notes.append(f"adapter fused into {count} layers of {name}, at scale {scan.asked.adapter_scale:g}")
    return notes


def read_adapter(file: Path, pipeline: str, main: str, network: Any) -> tuple[dict[str, torch.Tensor], Any]:
    """Tensors under diffusers' names, with alphas in their factors, and the file's metadata; None if it has none."""
    import diffusers

    tensors = load_file(file)
    if all(key.startswith(PEFT) for key in tensors):
        config = json.loads((file.parent / "adapter_config.json").read_text())
        named = {key.replace(PEFT, f"{main}.", 1): value.float() for key, value in tensors.items()}
        return named, {f"{main}.{key}": value for key, value in config.items()}
    kind = getattr(diffusers, pipeline)
    if not hasattr(kind, "lora_state_dict"):
        raise ValueError(f"a {pipeline}, for which diffusers loads no adapters")
    options: dict[str, object] = {"return_lora_metadata": True}
    if "return_alphas" in inspect.signature(kind.lora_state_dict).parameters:
        options["return_alphas"] = True
    if pipeline == "StableDiffusionXLPipeline":
        options["unet_config"] = network.config
    found = kind.lora_state_dict(
        str(file.parent), weight_name=file.name, local_files_only=True, use_safetensors=True, **options
    )
    state, metadata = dict(found[0]), found[-1] or None
    alphas = found[1] if len(found) == 3 else None
    if alphas and metadata:
        raise ValueError("alphas beside metadata, which states them too")
    return encoder_names(scaled({key: value.float() for key, value in state.items()}, alphas or {})), metadata


def fuse_part(part: Any, name: str, own: dict[str, torch.Tensor], metadata: Any, scale: float, subject: str) -> int:
    """Load the adapters of one component, see that every tensor was taken, and fuse them; the number of layers."""
    import peft
    from diffusers.loaders import lora_base

    device = next(part.parameters()).device
    try:
        with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
            warnings.filterwarnings("error", message=".*_pattern keys did not match")  # an alpha or rank left aside
            if hasattr(part, "load_lora_adapter"):
                part.load_lora_adapter(own, prefix=name, network_alphas=None, metadata=metadata, adapter_name=NAME)
            else:
                lora_base._load_lora_into_text_encoder(
                    own, None, part, prefix=name, adapter_name=NAME, metadata=metadata
                )
        taken = len(peft.get_peft_model_state_dict(part, adapter_name=NAME))
    except Exception as error:  # as above
        got = " ".join(str(error).split())[:300] or type(error).__name__
        raise CheckpointError(subject, got, f"adapters for layers of {name}", OTHER_KINDS) from error
    if taken != len(own):
        expected = f"all {len(own)} tensors for {name} to find their layers"
        raise CheckpointError(subject, f"{taken} that did", expected, "Name the base that it was trained on.")
    layers = [(path, layer) for path, layer in part.named_modules() if isinstance(layer, peft.tuners.lora.LoraLayer)]
    for path, layer in layers:
        layer.set_scale(NAME, scale)
        layer.merge(adapter_names=[NAME])
        parent, _, leaf = path.rpartition(".")
        setattr(part.get_submodule(parent), leaf, layer.get_base_layer())
    for left in ("peft_config", "_hf_peft_config_loaded"):
        part.__dict__.pop(left, None)
    part.to(device).eval().requires_grad_(False)
    check_finite(part, subject)
    return len(layers)
