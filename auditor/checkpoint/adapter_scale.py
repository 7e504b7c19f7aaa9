"""What an adapter's metadata says of its layers: alpha over rank, as peft reads it."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping
from typing import Any

from auditor.checkpoint.adapter_updates import LowRank, Update

DEFAULT = 8  # peft's rank and alpha where none is stated
# What makes of the factors something else than a product that is added.
OTHERS = (
    "alora_invocation_tokens", "arrow_config", "fan_in_fan_out", "layer_replication", "lora_bias", "modules_to_save",
    "trainable_token_indices", "use_qalora",
)  # fmt: skip
PLAIN_STARTS = (None, True, False, "gaussian", "orthogonal", "eva")  # which leave the base as it was


def scales(layers: Mapping[str, Update], stated: Mapping[str, Any]) -> dict[str, float]:
    """Alpha over rank of every layer, or over its root where that is stated; 1 where nothing is.

    Args:
      layers: The adapters, by layer.
      stated: peft's LoraConfig, LoHaConfig or LoKrConfig of this component; empty = the file has none, and its alphas
        are in the factors.

    Raises:
      ValueError: Ranks or alphas that fit no layer, another rank than stated, or settings of another kind of adapter.
    """
    if not stated:
        return dict.fromkeys(layers, 1.0)
    for key in OTHERS:
        if stated.get(key):
            raise ValueError(f"adapters with {key}")
    if stated.get("init_lora_weights") not in PLAIN_STARTS:
        raise ValueError(f"adapters that began as {stated['init_lora_weights']}, which changes the base")
    ranks, alphas = stated.get("rank_pattern") or {}, stated.get("alpha_pattern") or {}
    for name, pattern in (("rank_pattern", ranks), ("alpha_pattern", alphas)):
        idle = [key for key in pattern if not any(matching([key], layer) for layer in layers)]
        if idle:
            raise ValueError(f"the {name} {idle[0]} of no layer")
    found = {}
    for layer, update in layers.items():
        names = {"r": ranks, "lora_alpha" if isinstance(update, LowRank) else "alpha": alphas}
        rank, alpha = (
            pattern[own] if (own := matching(pattern, layer)) else stated.get(name, DEFAULT)
            for name, pattern in names.items()
        )
        if update.rank not in (rank, None):
            raise ValueError(f"{layer} of rank {update.rank}, for which {rank} is stated")
        if isinstance(update, LowRank) and (update.magnitude is not None) != bool(stated.get("use_dora")):
            raise ValueError(f"{layer}: tensors and metadata do not agree whether these are adapters with use_dora")
        found[layer] = alpha / (math.sqrt(rank) if stated.get("use_rslora") else rank)
    return found


def matching(patterns: Iterable[str], layer: str) -> str | None:
    """The first pattern that is for this layer, by peft's own rule; None = none."""
    from peft.utils.other import get_pattern_key

    known = list(patterns)
    found: str = get_pattern_key(known, layer)
    return found if found in known else None


def refuse_lost(names: Iterable[str], layers: Collection[str], stated: Mapping[str, Any]) -> None:
    """Raise ValueError if one of a component's layers is stated to have an adapter, and has none.

    Args:
      names: Of the component's layers that can have one.
      layers: Of those that have.
      stated: As for :func:`scales`; where some layers are said to be left out, nothing is refused.
    """
    targets = stated.get("target_modules")
    if not isinstance(targets, list) or stated.get("layers_to_transform") or stated.get("exclude_modules"):
        return
    lost = [name for name in names if name not in layers and f".{name}".endswith(tuple(f".{one}" for one in targets))]
    if lost:
        raise ValueError(f"no adapter for {lost[0]}, which its metadata names")
