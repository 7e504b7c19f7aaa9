"""Adapters under one naming, and every layer's alpha in its own factor.

diffusers tells a text encoder's older naming by the layer ``out_proj`` alone, so that adapters without it stay as they
were, and finds alphas by names that do not fit the layers of text encoders: where alphas differ from layer to layer,
some get another layer's. Here nothing is left to find.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import torch

Tensors = dict[str, torch.Tensor]
Layers = dict[str, dict[str, torch.Tensor]]  # tensors of each layer by their role there
PLAIN = re.compile(r"\.(?:lora_([AB]|up|down)|(?:lora|lora_linear_layer)\.(up|down))\.weight$")
OLDER = re.compile(r"\.to_(q|k|v|out)_lora\.(up|down)\.weight$")
MAGNITUDE = re.compile(r"\.lora_magnitude_vector(?:\.weight)?$")
FURTHER = re.compile(r"\.(dora_scale|hada_(?:w[12]_[ab]|t[12])|lokr_(?:w[12](?:_[ab])?|t2))$")
# Behind a layer's name, where its second factor is: of an alpha that is named by the first factor, by the layer.
SECOND = (".lora.up.weight", ".lora_B.weight", ".lora_linear_layer.up.weight", ".lora_up.weight")


def layer_of(key: str) -> tuple[str, str]:
    """The layer that a tensor is for, as its network names it, and its role (``auditor.checkpoint.adapter_updates``).

    Raises:
      ValueError: No known name.
    """
    if older := OLDER.search(key):
        encoder, letter = key.startswith("text_encoder"), older[1]
        leaf = f"{letter}_proj" if encoder else "to_out.0" if letter == "out" else f"to_{letter}"
        return f"{key[: older.start()]}.{leaf}".replace(".processor.", "."), "B" if older[2] == "up" else "A"
    known = PLAIN.search(key) or MAGNITUDE.search(key) or FURTHER.search(key)
    if known is None:
        raise ValueError(f"the tensor {key}, which is no factor of a layer")
    layer = key[: known.start()].replace(".processor.", ".")
    if known.re is not PLAIN:
        return layer, "magnitude" if known.re is MAGNITUDE else known[1]
    return layer, "B" if (known[1] or known[2]) in ("B", "up") else "A"


def by_layer(state: Mapping[str, torch.Tensor]) -> Layers:
    """Tensors by layer and role.

    Raises:
      ValueError: Two for the same, or one of no known name.
    """
    found = Layers()
    for key, value in state.items():
        layer, role = layer_of(key)
        if found.setdefault(layer, {}).setdefault(role, value) is not value:
            raise ValueError(f"two tensors for one factor of {layer}")
    return found


def scaled(state: Mapping[str, torch.Tensor], alphas: Mapping[str, float | torch.Tensor]) -> Tensors:
    """The same adapters without alphas: the second factor times alpha over its rank.

    Raises:
      ValueError: An alpha of no layer.
    """
    found = dict(state)
    for name, alpha in alphas.items():
        layer = name.removesuffix(".alpha")
        places = [layer.replace(".down.", ".up.")] if ".down." in layer else [layer + end for end in SECOND]
        seconds = [place for place in places if place in found]
        if len(seconds) != 1:
            raise ValueError(f"the alpha {name} of no layer")
        factor = found[seconds[0]]
        found[seconds[0]] = factor.float() * (float(alpha) / factor.shape[1])
    return found
