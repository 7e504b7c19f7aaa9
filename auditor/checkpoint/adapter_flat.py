"""Adapters that name layers flat, with underscores for dots.

kohya's trainers, OneTrainer and LyCORIS write them: ``lora_unet_down_blocks_0_..._to_q.lora_down.weight``. What a flat
name means is looked up among the layers that the base has, since diffusers' converters leave out what they do not know:
adapters of a third text encoder, of the second naming in a file, of kinds other than LoRA.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import torch

from auditor.checkpoint.adapter_authors import authors_layers, in_diffusers_layers
from auditor.checkpoint.adapter_layers import adaptable
from auditor.checkpoint.adapter_names import Layers, layer_of
from auditor.checkpoint.adapter_updates import with_alpha

ALPHA = ".alpha"
# How names begin: of the network, and of text encoders; last of each, as ComfyUI does, which leaves the dots.
DOTTED = "diffusion_model."
NETWORK = ("lora_unet_", "lora_transformer_", "lycoris_")
ENCODERS = {
    "lora_te_": "text_encoder", "lora_te1_": "text_encoder", "lora_te2_": "text_encoder_2",
    "text_encoders.clip_l.transformer.": "text_encoder", "text_encoders.clip_g.transformer.": "text_encoder_2",
}  # fmt: skip
STARTS = (*NETWORK, DOTTED, "lora_te", "text_encoders.")
# Layers of Stable Diffusion's first authors, once diffusers counted their blocks as its own.
FIRST_AUTHORS = (
    ("input_blocks_0_0", "conv_in"), ("input_blocks", "down_blocks"), ("middle_block", "mid_block"),
    ("output_blocks", "up_blocks"), ("in_layers_2", "conv1"), ("out_layers_3", "conv2"),
    ("emb_layers_1", "time_emb_proj"), ("skip_connection", "conv_shortcut"), ("samplers_0_op", "samplers_0_conv"),
    ("time_embed_0", "time_embedding_linear_1"), ("time_embed_2", "time_embedding_linear_2"),
    ("label_emb_0_0", "add_embedding_linear_1"), ("label_emb_0_2", "add_embedding_linear_2"),
)  # fmt: skip


def is_flat(names: Iterable[str]) -> bool:
    """Whether a file names layers in this way."""
    return any(name.startswith(STARTS) for name in names)


def read_flat(
    tensors: Mapping[str, torch.Tensor], parts: Mapping[str, torch.nn.Module], main: str, config: Any
) -> Layers:
    """The tensors by layer and role, with every alpha in its layer's factor.

    Args:
      tensors: As in the file.
      parts: Network and text encoders by component.
      main: The network's component.
      config: Its configuration, that tells how many blocks it has, for files with its first authors' names.

    Raises:
      ValueError: A name that fits no layer, or a tensor that fits no adapter.
    """
    from diffusers.loaders.lora_conversion_utils import _maybe_map_sgm_blocks_to_diffusers

    rename: Any = _maybe_map_sgm_blocks_to_diffusers
    named = {flattened(key): value for key, value in tensors.items()}
    named = rename(named, config) if main == "unet" else named
    if len(named) < len(tensors):
        raise ValueError("names of two kinds for the layers of one network")
    flat = {name: {layer.replace(".", "_"): layer for layer in adaptable(part)} for name, part in parts.items()}
    flat[main] |= {layer.replace(".", "_"): layer for layer in authors_layers(parts[main])}
    layers, alphas = Layers(), dict[str, float]()
    for key, value in named.items():
        if key.endswith(ALPHA):
            alphas[layer_in(key.removesuffix(ALPHA), flat, main)] = float(value)
            continue
        name, role = layer_of(key)
        place = layer_in(name, flat, main)
        if role in layers.setdefault(place, {}):
            raise ValueError(f"two tensors for one factor of {place}")
        layers[place][role] = value.float()
    lost = [place for place in alphas if place not in layers]
    if lost:
        raise ValueError(f"the alpha of {lost[0]}, which has no adapter")
    found = {place: with_alpha(roles, alphas[place]) if place in alphas else roles for place, roles in layers.items()}
    return in_diffusers_layers(found, parts[main], main)


def flattened(key: str) -> str:
    """A tensor's name with the network's layer in it flat, if it is dotted."""
    if not key.startswith(DOTTED):
        return key
    layer = key.removesuffix(ALPHA) if key.endswith(ALPHA) else layer_of(key)[0]
    return NETWORK[0] + layer.removeprefix(DOTTED).replace(".", "_") + key.removeprefix(layer)


def layer_in(name: str, flat: Mapping[str, Mapping[str, str]], main: str) -> str:
    """The component and layer that a flat name means.

    Args:
      flat: Layers by flat name, by component.

    Raises:
      ValueError: None.
    """
    start = next((start for start in (*NETWORK, *ENCODERS) if name.startswith(start)), None)
    if start is None:
        raise ValueError(f"{name}, which is for nothing that adapters are fused into")
    component, rest = ENCODERS.get(start, main), name.removeprefix(start).replace(".", "_")
    known = flat.get(component, {})
    layer = known.get(rest) or known.get(rest.removeprefix("text_model_")) or known.get(renamed(rest))
    if layer is None:
        raise ValueError(f"{name}, which fits no layer of {component}")
    return f"{component}.{layer}"


def renamed(rest: str) -> str:
    """A flat name of the first authors' as diffusers calls the same layer."""
    if rest == "out_2":
        return "conv_out"
    for theirs, ours in FIRST_AUTHORS:
        rest = rest.replace(theirs, ours)
    return rest
