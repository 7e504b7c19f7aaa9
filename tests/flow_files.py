"""SD3 and FLUX pipelines written as one file under the names of their authors: what the package has to undo."""

from __future__ import annotations

import re
from collections.abc import Collection
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from tests.single_files import Tensors, autoencoder_names, clip_names, copy_configuration
from tests.text_pipelines import clip_encoder, save_flux, save_sd3

STREAMS = {"attn.to_": "x_block.attn.", "attn.add_": "context_block.attn.", "attn2.to_": "x_block.attn2."}
SD3 = [
    ("transformer_blocks", "joint_blocks"), ("norm1_context.linear", "context_block.adaLN_modulation.1"),
    ("norm1.linear", "x_block.adaLN_modulation.1"), ("ff_context.net.0.proj", "context_block.mlp.fc1"),
    ("ff_context.net.2", "context_block.mlp.fc2"), ("ff.net.0.proj", "x_block.mlp.fc1"),
    ("ff.net.2", "x_block.mlp.fc2"), ("attn.to_out.0", "x_block.attn.proj"), ("attn2.to_out.0", "x_block.attn2.proj"),
    ("attn.to_add_out", "context_block.attn.proj"), ("attn.norm_added_", "context_block.attn.ln_"),
    ("attn.norm_", "x_block.attn.ln_"), ("attn2.norm_", "x_block.attn2.ln_"),
    ("pos_embed.pos_embed", "pos_embed"), ("pos_embed.proj", "x_embedder.proj"),
    ("time_text_embed.timestep_embedder.linear_1", "t_embedder.mlp.0"),
    ("time_text_embed.timestep_embedder.linear_2", "t_embedder.mlp.2"),
    ("time_text_embed.text_embedder.linear_1", "y_embedder.mlp.0"),
    ("time_text_embed.text_embedder.linear_2", "y_embedder.mlp.2"),
    ("norm_out.linear", "final_layer.adaLN_modulation.1"), ("proj_out", "final_layer.linear"),
]  # fmt: skip
FLUX_DOUBLE = {
    "norm1.linear": "img_mod.lin", "norm1_context.linear": "txt_mod.lin", "attn.to_out.0": "img_attn.proj",
    "attn.to_add_out": "txt_attn.proj", "ff.net.0.proj": "img_mlp.0", "ff.net.2": "img_mlp.2",
    "ff_context.net.0.proj": "txt_mlp.0", "ff_context.net.2": "txt_mlp.2", "attn.norm_q": "img_attn.norm.query_norm",
    "attn.norm_k": "img_attn.norm.key_norm", "attn.norm_added_q": "txt_attn.norm.query_norm",
    "attn.norm_added_k": "txt_attn.norm.key_norm",
}  # fmt: skip
FLUX_SINGLE = {
    "norm.linear": "modulation.lin", "proj_out": "linear2", "attn.norm_q": "norm.query_norm",
    "attn.norm_k": "norm.key_norm",
}  # fmt: skip
FLUX_ENDS = {
    "time_text_embed.timestep_embedder.linear_1": "time_in.in_layer",
    "time_text_embed.timestep_embedder.linear_2": "time_in.out_layer",
    "time_text_embed.text_embedder.linear_1": "vector_in.in_layer",
    "time_text_embed.text_embedder.linear_2": "vector_in.out_layer",
    "time_text_embed.guidance_embedder.linear_1": "guidance_in.in_layer",
    "time_text_embed.guidance_embedder.linear_2": "guidance_in.out_layer",
    "context_embedder": "txt_in", "x_embedder": "img_in", "norm_out.linear": "final_layer.adaLN_modulation.1",
    "proj_out": "final_layer.linear",
}  # fmt: skip
ENCODERS = {
    "sd3": {"text_encoder": "clip_l", "text_encoder_2": "clip_g", "text_encoder_3": "t5xxl"},
    "flux": {"text_encoder": "clip_l", "text_encoder_2": "t5xxl"},
}


def save_sd3_with_identity(folder: Path, **options: object) -> Path:
    """SD3 whose CLIP-L has the identity as its projection, as published ones have."""
    save_sd3(folder, pooled_projection_dim=16 + 12, **options)  # type: ignore[arg-type]
    encoder = clip_encoder(16, 16)
    encoder.text_projection.weight.data = torch.eye(16)
    encoder.save_pretrained(folder / "text_encoder")
    return folder


def save_wide_flux(folder: Path, **options: object) -> Path:
    """FLUX with two blocks of each kind."""
    return save_flux(folder, num_layers=2, num_single_layers=2, **options)  # type: ignore[arg-type]


def halves_swapped(value: torch.Tensor) -> torch.Tensor:
    first, second = value.chunk(2)
    return torch.cat([second, first])


def sd3_names(tensors: Tensors) -> Tensors:
    named = {}
    last = max(int(key.split(".")[1]) for key in tensors if key.startswith("transformer_blocks."))
    for key, value in tensors.items():
        if re.search(r"(to|add)_[kv](_proj)?\.", key):
            continue
        if re.search(r"attn2?\.(to_q|add_q_proj)\.", key):
            value = torch.cat([tensors[re.sub(r"_q(_proj)?\.", rf"_{letter}\1.", key)] for letter in "qkv"])
            key = re.sub(r"(attn2?\.(?:to|add)_)q(?:_proj)?\.", lambda found: STREAMS[found[1]] + "qkv.", key)
        if key.startswith((f"transformer_blocks.{last}.norm1_context", "norm_out")):
            value = halves_swapped(value)  # these norms give a shift and a scale alone, in the other order
        for old, new in SD3:
            key = re.sub(rf"(^|\.){re.escape(old)}", rf"\g<1>{new}", key)
        named[key] = value
    return named


def flux_names(tensors: Tensors) -> Tensors:
    named = {}
    for key, value in tensors.items():
        layer, _, last = key.rpartition(".")
        kind, _, rest = layer.partition(".")
        place, _, part = rest.partition(".")
        if kind == "transformer_blocks" and part in ("attn.to_q", "attn.add_q_proj"):
            side = "img" if part == "attn.to_q" else "txt"
            fused = [tensors[re.sub(r"_q(_proj)?\.", rf"_{letter}\1.", key)] for letter in "qkv"]
            named[f"double_blocks.{place}.{side}_attn.qkv.{last}"] = torch.cat(fused)
        elif kind == "single_transformer_blocks" and part == "attn.to_q":
            names = ("attn.to_q", "attn.to_k", "attn.to_v", "proj_mlp")
            fused = [tensors[f"{kind}.{place}.{name}.{last}"] for name in names]
            named[f"single_blocks.{place}.linear1.{last}"] = torch.cat(fused)
        elif re.search(r"\.(to|add)_[kv]|\.proj_mlp", layer):
            continue
        elif kind in ("transformer_blocks", "single_transformer_blocks"):
            double = kind == "transformer_blocks"
            new = (FLUX_DOUBLE if double else FLUX_SINGLE)[part]
            leaf = "scale" if new.endswith("_norm") else last
            named[f"{'double' if double else 'single'}_blocks.{place}.{new}.{leaf}"] = value
        else:
            named[f"{FLUX_ENDS[layer]}.{last}"] = halves_swapped(value) if layer.startswith("norm_out") else value
    return named


def gather_flow(folder: Path, parts: Collection[str], *, bare: bool = False) -> Tensors:
    """The tensors of some components under the old names; with ``bare``, the transformer's without a prefix."""
    family = "flux" if "single_transformer_blocks" in " ".join(load_file(network_file(folder))) else "sd3"
    names = flux_names if family == "flux" else sd3_names
    found = {"" if bare else "model.diffusion_model.": names(load_file(network_file(folder)))}
    if "vae" in parts:
        tensors = load_file(folder / "vae/diffusion_pytorch_model.safetensors")
        found["vae." if family == "flux" else "first_stage_model."] = autoencoder_names(tensors)
    for component, name in ENCODERS[family].items():
        if component in parts:
            tensors = load_file(folder / component / "model.safetensors")
            if name == "clip_l":
                tensors.pop("text_projection.weight", None)  # which files leave out
            tensors = tensors if name == "t5xxl" else clip_names(tensors)
            if component != "text_encoder_2" or family == "flux":
                tensors["logit_scale"] = torch.tensor(4.6)
            found[f"text_encoders.{name}.transformer."] = tensors
    return {prefix + key: value.contiguous() for prefix, part in found.items() for key, value in part.items()}


def network_file(folder: Path) -> Path:
    return folder / "transformer/diffusion_pytorch_model.safetensors"


def save_flow_file(
    folder: Path, target: Path, parts: Collection[str], *, bare: bool = False, dtype: torch.dtype = torch.float32
) -> tuple[Path, Path]:
    """The single file of the transformer and ``parts``, and the folder of its configuration with the other weights."""
    file, config = target / "model.safetensors", target / "config"
    save_file({key: value.to(dtype) for key, value in gather_flow(folder, parts, bare=bare).items()}, file)
    copy_configuration(folder, config, weights_but_of={"transformer", *parts})
    return file, config
