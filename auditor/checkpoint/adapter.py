"""Low-rank adapters on a base: checked in their file's header, named by diffusers, and fused.

Hu et al. 2021 (arXiv 2106.09685): W becomes W + scale (alpha / r) B A. Fused, the network has the layers and parameter
names of its base, and everything above audits it as it would the base.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Collection
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

from auditor.checkpoint.adapter_header import OTHER_KINDS, PEFT
from auditor.checkpoint.adapter_names import Factors, Tensors, factors, scaled
from auditor.checkpoint.adapter_scale import refuse_lost, scales
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
        settings = {key[len(name) + 1 :]: value for key, value in metadata.items() if key.startswith(f"{name}.")}
        try:
            layers = layers_of(part, name, own)
            weights = {layer: scan.asked.adapter_scale * one for layer, one in scales(layers, settings).items()}
            placed = {present(part, layer): layer for layer in layers}
            if layers:
                refuse_lost(adaptable(part), placed, settings)
        except ValueError as error:
            raise CheckpointError(subject, error, f"adapters for layers of {name}", OTHER_KINDS) from error
        dtype = narrowest(type(part).__name__, DTYPES[scan.asked.dtype])
        for place, layer in placed.items():
            fuse_layer(part.get_submodule(place), *layers[layer], weights[layer], dtype)
        settle(part, dtype, {f"{place}.weight" for place in placed})
        check_finite(part, subject)
        if layers:
            notes.append(f"adapter fused into {len(layers)} layers of {name}, at scale {scan.asked.adapter_scale:g}")
    return notes


def read_adapter(file: Path, pipeline: str, main: str, network: Any) -> tuple[Tensors, dict[str, Any]]:
    """Tensors under diffusers' names, with alphas in their factors, and the file's metadata, empty if it has none."""
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
    state, metadata = dict(found[0]), found[-1] or {}
    alphas = found[1] if len(found) == 3 else None
    if alphas and metadata:
        raise ValueError("alphas beside metadata, which states them too")
    return scaled({key: value.float() for key, value in state.items()}, alphas or {}), metadata


def layers_of(part: torch.nn.Module, name: str, own: Tensors) -> Factors:
    """The factors by layer, without the component's name.

    Raises:
      ValueError: Layers that are not there, or of another shape.
    """
    layers = {layer.removeprefix(f"{name}."): both for layer, both in factors(own).items()}
    known = adaptable(part)
    lost = [layer for layer in layers if present(part, layer) not in known]
    if lost:
        found = len(layers) - len(lost)
        raise ValueError(f"{lost[0]} is no layer of it: {found} of {len(layers)} adapters find their layers")
    for layer, (first, second) in layers.items():
        shape = known[present(part, layer)].weight.shape
        if first.shape[1:] != shape[1:] or second.shape != (shape[0], len(first), *(1 for _ in shape[2:])):
            got = f"{tuple(first.shape)} and {tuple(second.shape)}"
            raise ValueError(f"{layer} of {tuple(shape)} with factors of {got}")
    return layers


def adaptable(part: torch.nn.Module) -> dict[str, Any]:
    """The linear and convolutional layers of a network by name."""
    kinds = torch.nn.Linear | torch.nn.Conv2d
    return {name: module for name, module in part.named_modules() if isinstance(module, kinds)}


def present(part: Any, layer: str) -> str:
    """A layer's name in the network: transformers' CLIPTextModel has no ``text_model`` any more."""
    return layer if hasattr(part, "text_model") else layer.removeprefix("text_model.")


def fuse_layer(layer: Any, first: torch.Tensor, second: torch.Tensor, scale: float, dtype: torch.dtype) -> None:
    """W + scale B A, summed in float32 and rounded once to ``dtype``, in place."""
    update = (second.flatten(1) @ first.flatten(1)).reshape(layer.weight.shape) * scale
    layer.weight.data = (layer.weight.data.float() + update).to(dtype)


def settle(part: torch.nn.Module, dtype: torch.dtype, done: Collection[str]) -> None:
    """All else in ``dtype`` and in memory of its own, in place, tensor by tensor."""
    for name, tensor in [*part.named_parameters(), *part.named_buffers()]:
        if tensor.is_floating_point() and name not in done:
            wanted = torch.float32 if name.split(".", 1)[0] in KEPT else dtype
            tensor.data = tensor.data.to(wanted, copy=True)
