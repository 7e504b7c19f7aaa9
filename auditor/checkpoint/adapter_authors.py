"""Adapters for FLUX.1 and SD3 under the names of their authors, who keep in one layer what diffusers keeps in several.

A low-rank adapter of such a layer is one of each part: all have its first factor, each has its own rows of the second.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from auditor.checkpoint.adapter_names import Layers
from auditor.checkpoint.adapter_updates import Roles
from auditor.checkpoint.flux_names import flux_names
from auditor.checkpoint.sd3_names import sd3_layers, sd3_names

FLUX, SD3 = "FluxTransformer2DModel", "SD3Transformer2DModel"
ROWS = ("B", "dora_scale", "hada_w1_a", "hada_w2_a")  # with a row for every output of the layer
ENDS = (
    "img_in", "txt_in", *(f"{name}_in.{way}_layer" for name in ("time", "vector", "guidance") for way in ("in", "out")),
    "final_layer.linear", "final_layer.adaLN_modulation.1",
)  # fmt: skip
DOUBLE = [
    f"{side}_{layer}" for side in ("img", "txt") for layer in ("attn.qkv", "attn.proj", "mlp.0", "mlp.2", "mod.lin")
]
SINGLE = ("linear1", "linear2", "modulation.lin")


def authors_layers(network: Any) -> list[str]:
    """The layers as the network's authors name them; none of another network."""
    if type(network).__name__ == SD3:
        return sd3_layers(network.config.num_layers)
    if type(network).__name__ != FLUX:
        return []
    double = [f"double_blocks.{block}.{layer}" for block in range(network.config.num_layers) for layer in DOUBLE]
    single = [f"single_blocks.{block}.{layer}" for block in range(network.config.num_single_layers) for layer in SINGLE]
    return [*ENDS, *double, *single]


def in_diffusers_layers(layers: Mapping[str, Roles], network: Any, main: str) -> Layers:
    """The same adapters, with those of the authors' layers as adapters of diffusers' layers.

    Args:
      layers: Tensors by component and layer, and by role.
      network: The network.
      main: Its component.

    Raises:
      ValueError: Adapters of the authors' layers whose rows cannot be told apart, or two for one layer.
    """
    theirs = {f"{main}.{layer}": layer for layer in authors_layers(network)}
    found = Layers()
    for place, roles in layers.items():
        parts = cut(theirs[place], roles, network) if place in theirs else {}
        for layer, own in ({f"{main}.{name}": part for name, part in parts.items()} or {place: dict(roles)}).items():
            if found.setdefault(layer, own) is not own:
                raise ValueError(f"two adapters of {layer}, under names of two kinds")
    return found


def cut(layer: str, roles: Roles, network: Any) -> Layers:
    """The adapters of diffusers' layers that one of the authors' layers is made of."""
    rows = {role: value for role, value in roles.items() if role in ROWS}
    if not rows or len({len(value) for value in rows.values()}) > 1:
        kinds = ", ".join(sorted(roles))
        raise ValueError(f"{layer}: {kinds}, which are not cut into adapters of diffusers' layers")
    found = Layers()
    for role, value in rows.items():
        for name, piece in pieces(layer, value, network).items():
            shared = {other: whole for other, whole in roles.items() if other not in rows}
            found.setdefault(name, shared)[role] = piece
    return found


def pieces(layer: str, rows: torch.Tensor, network: Any) -> dict[str, torch.Tensor]:
    """A factor's rows by diffusers' layers."""
    if type(network).__name__ == SD3:
        return sd3_names(layer, rows, network.config.num_layers)
    width = network.config.num_attention_heads * network.config.attention_head_dim
    named = flux_names({f"{layer}.weight": rows}, width)
    return {name.removesuffix(".weight"): piece for name, piece in named.items()}
