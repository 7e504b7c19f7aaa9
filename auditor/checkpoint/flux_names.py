"""FLUX.1's transformer from the naming of its authors into diffusers'.

diffusers' own converter knows one width of the network only. Names that are not known stay as they are, so that
whoever loads them finds them left over. ``tests/checkpoint/test_single_file.py`` holds both converters to each other.
"""

from __future__ import annotations

import re

import torch

Tensors = dict[str, torch.Tensor]
RULES: list[tuple[str, str]] = [
    (r"^(time|vector|guidance)_in\.in_layer\.", r"time_text_embed.\1.linear_1."),
    (r"^(time|vector|guidance)_in\.out_layer\.", r"time_text_embed.\1.linear_2."),
    (r"^time_text_embed\.time\.", "time_text_embed.timestep_embedder."),
    (r"^time_text_embed\.vector\.", "time_text_embed.text_embedder."),
    (r"^time_text_embed\.guidance\.", "time_text_embed.guidance_embedder."),
    (r"^txt_in\.", "context_embedder."),
    (r"^img_in\.", "x_embedder."),
    (r"^final_layer\.linear\.", "proj_out."),
    (r"^final_layer\.adaLN_modulation\.1\.", "norm_out.linear."),
    (r"^double_blocks\.(\d+)\.", r"transformer_blocks.\1."),
    (r"\.img_mod\.lin\.", ".norm1.linear."),
    (r"\.txt_mod\.lin\.", ".norm1_context.linear."),
    (r"\.img_attn\.norm\.(query|key)_norm\.scale$", r".attn.norm_\1.weight"),
    (r"\.txt_attn\.norm\.(query|key)_norm\.scale$", r".attn.norm_added_\1.weight"),
    (r"\.img_attn\.proj\.", ".attn.to_out.0."),
    (r"\.txt_attn\.proj\.", ".attn.to_add_out."),
    (r"\.img_mlp\.0\.", ".ff.net.0.proj."),
    (r"\.img_mlp\.2\.", ".ff.net.2."),
    (r"\.txt_mlp\.0\.", ".ff_context.net.0.proj."),
    (r"\.txt_mlp\.2\.", ".ff_context.net.2."),
    (r"^single_blocks\.(\d+)\.", r"single_transformer_blocks.\1."),
    (r"\.modulation\.lin\.", ".norm.linear."),
    (r"\.norm\.(query|key)_norm\.scale$", r".attn.norm_\1.weight"),
    (r"\.linear2\.", ".proj_out."),
    (r"(norm(?:_added)?)_query\.", r"\1_q."),
    (r"(norm(?:_added)?)_key\.", r"\1_k."),
]
# What its authors keep in one tensor, cut along its rows: what follows the block's number, and the names of the parts.
FUSED = {
    "img_attn.qkv": ("attn.to_q", "attn.to_k", "attn.to_v"),
    "txt_attn.qkv": ("attn.add_q_proj", "attn.add_k_proj", "attn.add_v_proj"),
    "linear1": ("attn.to_q", "attn.to_k", "attn.to_v", "proj_mlp"),
}
PIECES = re.compile(r"^(double|single)_blocks\.(\d+)\.(img_attn\.qkv|txt_attn\.qkv|linear1)\.(weight|bias)$")


def flux_names(tensors: Tensors, width: int) -> Tensors:
    """The same values under diffusers' names.

    Args:
      tensors: Under their authors' names, without any prefix.
      width: Of the network's tokens: heads times their width.

    Raises:
      ValueError: A fused tensor with fewer rows than its parts need.
    """
    named: Tensors = {}
    for key, value in tensors.items():
        if found := PIECES.match(key):
            block = f"{'single_' if found[1] == 'single' else ''}transformer_blocks.{found[2]}"
            for part, piece in zip(FUSED[found[3]], cut(key, value, width, len(FUSED[found[3]])), strict=True):
                named[f"{block}.{part}.{found[4]}"] = piece
            continue
        if key.startswith("final_layer.adaLN_modulation."):
            shift, scale = value.chunk(2)
            value = torch.cat([scale, shift])  # diffusers' order
        for old, new in RULES:
            key = re.sub(old, new, key)
        named[key] = value
    return named


def cut(key: str, value: torch.Tensor, width: int, parts: int) -> tuple[torch.Tensor, ...]:
    """Three parts of ``width`` rows; of four, the last takes what is left."""
    left = len(value) - 3 * width
    if left < parts - 3 or (parts == 3 and left):
        raise ValueError(f"{key} with {len(value)} rows, for a network {width} wide")
    return torch.split(value, [width] * 3 + [left] * (parts - 3))
