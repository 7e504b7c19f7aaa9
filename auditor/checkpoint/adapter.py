"""Adapters on a base: checked in their file's header, named by diffusers, and fused.

LoRA, DoRA, LoHa and LoKr (:mod:`auditor.checkpoint.adapter_updates`). Fused, the network has the layers and parameter
names of its base, and everything above audits it as it would the base.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, cast

import torch
from safetensors.torch import load_file

from auditor.checkpoint.adapter_flat import ALPHA, is_flat, read_flat
from auditor.checkpoint.adapter_header import MISFIT, PEFT
from auditor.checkpoint.adapter_layers import adaptable, present, updates_of
from auditor.checkpoint.adapter_names import Layers, by_layer, layer_of, scaled
from auditor.checkpoint.adapter_scale import refuse_lost, scales
from auditor.checkpoint.adapter_updates import Update
from auditor.checkpoint.components import check_finite, narrowest
from auditor.checkpoint.scan import Scan
from auditor.diffusion.precision import DTYPES, KEPT
from auditor.errors import CheckpointError


def fuse_adapter(scan: Scan, file: Path, network: torch.nn.Module, encoders: dict[str, torch.nn.Module]) -> list[str]:
    """Add the adapters to the network and the text encoders they are for, in place, and say how many layers changed.

    Each layer's sum is taken in float32 and rounded once, to the dtype that the scan asks for; so is all else of these
    networks, into memory of their own. Memory peaks at what they take then and the largest layer's sum.

    Args:
      scan: The checkpoint, whose pipeline's class knows the naming of the file.
      file: The adapter, as scanned.
      network: The denoising network, in any dtypes.
      encoders: Text encoders by their component's name, likewise.

    Returns:
      Notes for the record.

    Raises:
      CheckpointError: A pipeline without adapters, adapters for layers that are not there or of other shapes, tensors
        that were not taken, or values that are not finite.
    """
    subject, pipeline = f"checkpoint.adapter: {file}", str(scan.model_index["_class_name"])
    main = "transformer" if "transformer" in scan.model_index else "unet"
    try:
        found, metadata = read_adapter(file, pipeline, main, {main: network} | encoders)
    except Exception as error:  # files are foreign: converters raise whatever they meet
        got = " ".join(str(error).split())[:300] or type(error).__name__
        raise CheckpointError(subject, got, f"adapters for a {pipeline}", MISFIT) from error
    parts, notes = {main: network} | encoders, []
    foreign = [layer for layer in found if layer.split(".", 1)[0] not in parts]
    if foreign:
        expected = f"layers of {', '.join(parts)}"
        remedy = "Name the base that it was trained on, or save the adapter under diffusers' names."
        raise CheckpointError(subject, f"the layer {foreign[0]}", expected, remedy)
    for name, part in parts.items():
        settings = {key[len(name) + 1 :]: value for key, value in metadata.items() if key.startswith(f"{name}.")}
        try:
            layers = updates_of(part, name, found)
            weights = {layer: scan.asked.adapter_scale * one for layer, one in scales(layers, settings).items()}
            placed = {present(part, layer): layer for layer in layers}
            if layers:
                refuse_lost(adaptable(part), placed, settings)
            dtype = narrowest(type(part).__name__, DTYPES[scan.asked.dtype])
            for place, layer in placed.items():
                fuse_layer(place, part.get_submodule(place), layers[layer], weights[layer], dtype)
        except ValueError as error:
            got = " ".join(str(error).split())
            raise CheckpointError(subject, got, f"adapters for layers of {name}", MISFIT) from error
        settle(part, dtype, {f"{place}.weight" for place in placed})
        check_finite(part, subject)
        if layers:
            notes.append(f"adapter fused into {len(layers)} layers of {name}, at scale {scan.asked.adapter_scale:g}")
    return notes


def read_adapter(
    file: Path, pipeline: str, main: str, parts: Mapping[str, torch.nn.Module]
) -> tuple[Layers, dict[str, Any]]:
    """Tensors by component and layer, with alphas in their factors, and the file's metadata, empty if it has none."""
    import diffusers

    tensors, network = load_file(file), cast(Any, parts[main])
    if is_flat(tensors):
        return read_flat(tensors, parts, main, network.config), {}
    if all(key.startswith(PEFT) for key in tensors):
        config = json.loads((file.parent / "adapter_config.json").read_text())
        named = {key.replace(PEFT, f"{main}.", 1): value.float() for key, value in tensors.items()}
        return by_layer(named), {f"{main}.{key}": value for key, value in config.items()}
    unread = [key for key in tensors if key.endswith(".dora_scale")]
    if unread:  # diffusers leaves them out with a mere warning
        raise ValueError(f"{unread[0]}, which is read under flat names (lora_unet_...) alone")
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
    state, metadata = dict(found[0]), found[-1] or {}
    alphas = found[1] if len(found) == 3 else None
    if alphas and metadata:
        raise ValueError("alphas beside metadata, which states them too")
    layers = by_layer(scaled({key: value.float() for key, value in state.items()}, alphas or {}))
    left_out = {layer_of(key)[0] for key in tensors if not key.endswith(ALPHA)} - layers.keys()
    if left_out:
        raise ValueError(f"the layer {min(left_out)}, which diffusers leaves out")
    return layers, metadata


def fuse_layer(place: str, layer: Any, update: Update, scale: float, dtype: torch.dtype) -> None:
    """The layer with its adapter, computed in float32 and rounded once to ``dtype``, in place.

    Raises:
      ValueError: Factors of another shape, with the layer's name.
    """
    try:
        layer.weight.data = update.applied(layer.weight.data.float(), scale).to(dtype)
    except (ValueError, RuntimeError) as error:  # the latter of factors that cannot be multiplied
        raise ValueError(f"{place}: {error}") from error


def settle(part: torch.nn.Module, dtype: torch.dtype, done: Collection[str]) -> None:
    """All else in ``dtype`` and in memory of its own, in place, tensor by tensor."""
    for name, tensor in [*part.named_parameters(), *part.named_buffers()]:
        if tensor.is_floating_point() and name not in done:
            wanted = torch.float32 if name.split(".", 1)[0] in KEPT else dtype
            tensor.data = tensor.data.to(wanted, copy=True)
