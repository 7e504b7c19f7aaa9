"""A network in reduced precision between float32 neighbours: what a user gains in time, and loses in bits.

Only the network runs in it, and the encoders of a network that reads text. Probe noise is drawn in float32, schedule,
conversion and trajectory stay float64, and the autoencoder of a latent model keeps float32, since it decides the pixels
that are compared.
"""

from __future__ import annotations

from typing import Any, Literal

import torch

Precision = Literal["float32", "bfloat16", "float16"]
DTYPES: dict[Precision, torch.dtype] = {
    "float32": torch.float32,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
}
# Fourier frequencies are around 16: at log-sigma 5, rounding them to bfloat16 would turn phases by up to a radian.
KEPT = ("time_proj",)
# Inputs that say where and when rather than what: bfloat16 would round a time of 983.5 to 984, and a place alike.
EXACT = frozenset({"timestep", "guidance", "img_ids", "txt_ids"})


def reduce_precision(network: torch.nn.Module, dtype: torch.dtype) -> None:
    """Make weights and activations of ``network`` ``dtype``, in place; it still takes and gives float32.

    Args:
      network: Takes the image as its first positional argument and conditions by name, and gives an object with a
        tensor ``sample``, as diffusers' networks do. Children of the names KEPT and inputs of the names EXACT stay as
        they are.
      dtype: A floating dtype, such as torch.bfloat16.
    """
    for name, child in network.named_children():
        if name not in KEPT:
            child.to(dtype)
    for _, parameter in network.named_parameters(recurse=False):
        parameter.data = parameter.data.to(dtype)

    def narrow(_: torch.nn.Module, arguments: tuple[Any, ...], named: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        return (arguments[0].to(dtype), *arguments[1:]), {name: narrowed(name, value) for name, value in named.items()}

    def narrowed(name: str, value: Any) -> Any:
        if isinstance(value, dict):
            return {key: narrowed(key, one) for key, one in value.items()}
        floating = isinstance(value, torch.Tensor) and value.is_floating_point() and name not in EXACT
        return value.to(dtype) if floating else value

    network.register_forward_pre_hook(narrow, with_kwargs=True)
    widen_output(network)


def widen_output(network: torch.nn.Module) -> None:
    """Let ``network``, whose output is a mapping of tensors and tuples of them, give float32 in place of less."""

    def widened(value: Any) -> Any:
        if isinstance(value, tuple):
            return tuple(widened(one) for one in value)
        return value.float() if isinstance(value, torch.Tensor) and value.is_floating_point() else value

    def widen(_: torch.nn.Module, arguments: tuple[Any, ...], output: Any) -> Any:
        for name, value in list(output.items()):
            output[name] = widened(value)
        return output

    network.register_forward_hook(widen)
