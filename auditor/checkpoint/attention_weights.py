"""The weights of a network's attention layers, seen while it computes what it computes without anyone looking.

Layers keep their processors: what reaches torch's attention, after norms of queries and keys, rotary embeddings and
masks, is noted on its way, and the weights are formed beside it. So no family's attention is written a second time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

ATTENTION = torch.nn.functional.scaled_dot_product_attention
Cut = Callable[[torch.Tensor], torch.Tensor]  # weights of one head, Float32[B queries keys], to what is kept of them


@contextmanager
def recorded(layers: Mapping[str, torch.nn.Module], cut: Cut) -> Iterator[dict[str, torch.Tensor]]:
    """Mean over heads of what ``cut`` keeps, by layer in the order of calls; filled by a call of the network inside.

    Raises:
      RuntimeError: In the call, of a layer that does not attend through torch's own attention.
    """
    watch = Watch(cut)
    handles = []
    for name, layer in layers.items():
        handles.append(layer.register_forward_pre_hook(watch.entering(name)))
        handles.append(layer.register_forward_hook(watch.leaving(name)))
    try:
        with watch:
            yield watch.maps
    finally:
        for handle in handles:
            handle.remove()


class Watch(TorchFunctionMode):
    """Notes the attention that is computed between a layer's beginning and its end."""

    def __init__(self, cut: Cut) -> None:
        super().__init__()
        self.cut, self.inside = cut, ""  # name of the layer that is running
        self.maps: dict[str, torch.Tensor] = {}

    def __torch_function__(
        self, func: Any, types: object, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if func is ATTENTION and self.inside:
            self.maps[self.inside] = mean_of_heads(self.cut, *args, **(kwargs or {}))
        return func(*args, **(kwargs or {}))

    def entering(self, name: str) -> Callable[..., None]:
        """A hook before the layer."""

        def hook(*_: object) -> None:
            self.inside = name
            self.maps.pop(name, None)

        return hook

    def leaving(self, name: str) -> Callable[..., None]:
        """A hook after the layer."""

        def hook(*_: object) -> None:
            self.inside = ""
            if name not in self.maps:
                raise RuntimeError(f"{name}: got attention that is computed otherwise; expected torch's own")

        return hook


def mean_of_heads(
    cut: Cut,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attn_mask: torch.Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> torch.Tensor:
    """Mean over heads of what ``cut`` keeps of softmax(scale q k' + mask), one head at a time to spare memory.

    Args:
      cut: What is kept of one head.
      query: Float[B H N D].
      key: Float[B H S D].
      value: Not looked at.
      attn_mask: Float, added, or Bool, true = seen; broadcast to [B H N S].
      dropout_p: Not looked at: networks are in evaluation mode.
      is_causal: As torch has it; no image attends so.
      scale: None = 1 / sqrt(D).
      enable_gqa: As torch has it; no network here shares keys among heads.

    Raises:
      RuntimeError: Causal attention, or keys shared among heads.
    """
    if is_causal or enable_gqa:
        raise RuntimeError("attention: got causal attention or shared keys; expected every pixel to see every token")
    scale = query.shape[-1] ** -0.5 if scale is None else scale
    whole = (*query.shape[:3], key.shape[2])
    mask = None if attn_mask is None else attn_mask.expand(whole)
    total: torch.Tensor | None = None
    for head in range(query.shape[1]):
        logits = query[:, head].float() @ key[:, head].float().transpose(1, 2) * scale
        if mask is not None and mask.dtype == torch.bool:
            logits = logits.masked_fill(~mask[:, head], -torch.inf)
        elif mask is not None:
            logits = logits + mask[:, head]
        kept = cut(logits.softmax(dim=2))
        total = kept if total is None else total + kept
    assert total is not None  # a network has heads
    return total / query.shape[1]
