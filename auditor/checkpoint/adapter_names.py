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
Factors = dict[str, tuple[torch.Tensor, torch.Tensor]]  # A and B by layer
PLAIN = re.compile(r"\.(?:lora_([AB]|up|down)|(?:lora|lora_linear_layer)\.(up|down))\.weight$")
OLDER = re.compile(r"\.to_(q|k|v|out)_lora\.(up|down)\.weight$")
# Behind a layer's name, where its second factor is: of an alpha that is named by the first factor, by the layer.
SECOND = (".lora.up.weight", ".lora_B.weight", ".lora_linear_layer.up.weight", ".lora_up.weight")


def layer_of(key: str) -> tuple[str, int]:
    """The layer that a factor is for, as its network names it, and which factor it is, 0 or 1.

    Raises:
      ValueError: No known name of a factor.
    """
    if older := OLDER.search(key):
        encoder, letter = key.startswith("text_encoder"), older[1]
        leaf = f"{letter}_proj" if encoder else "to_out.0" if letter == "out" else f"to_{letter}"
        return f"{key[: older.start()]}.{leaf}".replace(".processor.", "."), int(older[2] == "up")
    plain = PLAIN.search(key)
    if plain is None:
        raise ValueError(f"the tensor {key}, which is no factor of a layer")
    return key[: plain.start()].replace(".processor.", "."), int((plain[1] or plain[2]) in ("B", "up"))


def factors(state: Mapping[str, torch.Tensor]) -> Factors:
    """Both factors of every layer.

    Raises:
      ValueError: One of them is missing, or stands there twice.
    """
    found: dict[str, dict[int, torch.Tensor]] = {}
    for key, value in state.items():
        layer, place = layer_of(key)
        if found.setdefault(layer, {}).setdefault(place, value) is not value:
            raise ValueError(f"two tensors for one factor of {layer}")
    for layer, both in found.items():
        if len(both) < 2:
            raise ValueError(f"one factor of {layer} without the other")
    return {layer: (both[0], both[1]) for layer, both in found.items()}


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
