"""The layers of a network that adapters may be for, under the names that files give them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from auditor.checkpoint.adapter_updates import Roles, Update, update_of


def adaptable(part: torch.nn.Module) -> dict[str, Any]:
    """The linear and convolutional layers of a network by name."""
    kinds = torch.nn.Linear | torch.nn.Conv2d
    return {name: module for name, module in part.named_modules() if isinstance(module, kinds)}


def present(part: Any, layer: str) -> str:
    """A layer's name in the network: transformers' CLIPTextModel has no ``text_model`` any more."""
    return layer if hasattr(part, "text_model") else layer.removeprefix("text_model.")


def updates_of(part: torch.nn.Module, name: str, layers: Mapping[str, Roles]) -> dict[str, Update]:
    """The adapters of one component by layer, without the component's name.

    Raises:
      ValueError: Layers that are not there, or tensors that make up no adapter.
    """
    own = {layer[len(name) + 1 :]: roles for layer, roles in layers.items() if layer.startswith(f"{name}.")}
    known = adaptable(part)
    lost = [layer for layer in own if present(part, layer) not in known]
    if lost:
        found = len(own) - len(lost)
        raise ValueError(f"{lost[0]} is no layer of it: {found} of {len(own)} adapters find their layers")
    updates = {}
    for layer, roles in own.items():
        try:
            updates[layer] = update_of(roles)
        except ValueError as error:
            raise ValueError(f"{layer}: {error}") from error
    return updates
