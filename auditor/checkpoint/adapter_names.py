"""Adapters as they are handed on: one naming for text encoders, and every layer's alpha in its own factor.

diffusers tells a text encoder's older naming by the layer ``out_proj`` alone, so that adapters without it stay as they
were, and finds alphas by names that do not fit the layers of text encoders: where alphas differ from layer to layer,
some get another layer's. Here nothing is left to find.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import torch

Tensors = dict[str, torch.Tensor]
ATTENTION = re.compile(r"\.to_(q|k|v|out)_lora\.(up|down)\.")
FACTOR = {"lora_A": "down", "lora_B": "up", "lora.down": "down", "lora.up": "up"}
# Behind a layer's name, where its second factor is: of an alpha that is named by the first factor, by the layer.
SECOND = (".lora.up.weight", ".lora_B.weight", ".lora_linear_layer.up.weight", ".lora_up.weight")


def encoder_names(state: Mapping[str, torch.Tensor]) -> Tensors:
    """The same tensors, those of text encoders all as ``<layer>.lora_linear_layer.<up or down>.weight``."""
    named = {}
    for key, value in state.items():
        if key.startswith("text_encoder"):
            key = ATTENTION.sub(r".\1_proj.lora_linear_layer.\2.", key)
            for old, new in FACTOR.items():
                key = key.replace(f".{old}.", f".lora_linear_layer.{new}.")
        named[key] = value
    return named


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
