"""Layers of SD3's transformer as its authors name them, and diffusers' layers that each is made of."""

from __future__ import annotations

import re

import torch

Layers = dict[str, tuple[str, ...]]  # names of diffusers' layers, in the order of their rows
BLOCK: Layers = {
    **{
        f"x_block.{attn}.{theirs}": tuple(f"{attn}.{ours}" for ours in several)
        for attn in ("attn", "attn2")
        for theirs, several in (("qkv", ("to_q", "to_k", "to_v")), ("proj", ("to_out.0",)))
    },
    "context_block.attn.qkv": ("attn.add_q_proj", "attn.add_k_proj", "attn.add_v_proj"),
    "context_block.attn.proj": ("attn.to_add_out",),
    "x_block.mlp.fc1": ("ff.net.0.proj",),
    "x_block.mlp.fc2": ("ff.net.2",),
    "context_block.mlp.fc1": ("ff_context.net.0.proj",),
    "context_block.mlp.fc2": ("ff_context.net.2",),
    "x_block.adaLN_modulation.1": ("norm1.linear",),
    "context_block.adaLN_modulation.1": ("norm1_context.linear",),
}
ENDS: Layers = {
    "x_embedder.proj": ("pos_embed.proj",),
    "context_embedder": ("context_embedder",),
    **{
        f"{theirs}.mlp.{place}": (f"time_text_embed.{ours}.linear_{1 + place // 2}",)
        for theirs, ours in (("t_embedder", "timestep_embedder"), ("y_embedder", "text_embedder"))
        for place in (0, 2)
    },
    "final_layer.linear": ("proj_out",),
    "final_layer.adaLN_modulation.1": ("norm_out.linear",),
}
PLACE = re.compile(r"^joint_blocks\.(\d+)\.(.+)$")


def sd3_layers(blocks: int) -> list[str]:
    """All names, of a transformer of so many blocks."""
    return [*ENDS, *(f"joint_blocks.{block}.{layer}" for block in range(blocks) for layer in BLOCK)]


def sd3_names(layer: str, rows: torch.Tensor, blocks: int) -> dict[str, torch.Tensor]:
    """The rows of one layer, by diffusers' layers.

    Norms that give a shift and a scale alone, of the last block's text and at the end, have them in the other order.

    Args:
      layer: One of :func:`sd3_layers`.
      rows: Float[out ...].
      blocks: Of the transformer.

    Raises:
      ValueError: Rows that are not as many for each part.
    """
    inside = PLACE.match(layer)
    names = tuple(f"transformer_blocks.{inside[1]}.{name}" for name in BLOCK[inside[2]]) if inside else ENDS[layer]
    if layer in ("final_layer.adaLN_modulation.1", f"joint_blocks.{blocks - 1}.context_block.adaLN_modulation.1"):
        shift, scale = rows.chunk(2)
        return {names[0]: torch.cat([scale, shift])}
    if len(rows) % len(names):
        raise ValueError(f"{layer} with {len(rows)} rows, for {len(names)} parts")
    return dict(zip(names, rows.chunk(len(names)), strict=True))
