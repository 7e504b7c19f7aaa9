"""Pipelines written as one file under the names of Stable Diffusion's first authors, which diffusers reads back."""

from __future__ import annotations

import re
from collections.abc import Collection
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from tests.text_pipelines import ddim

Tensors = dict[str, torch.Tensor]
RESNET = {
    "norm1": "in_layers.0", "conv1": "in_layers.2", "time_emb_proj": "emb_layers.1", "norm2": "out_layers.0",
    "conv2": "out_layers.3", "conv_shortcut": "skip_connection",
}  # fmt: skip
ENDS = {
    "time_embedding.linear_1": "time_embed.0", "time_embedding.linear_2": "time_embed.2", "conv_norm_out": "out.0",
    "conv_out": "out.2", "conv_in": "input_blocks.0.0", "add_embedding.linear_1": "label_emb.0.0",
    "add_embedding.linear_2": "label_emb.0.2",
}  # fmt: skip
AUTOENCODER = [
    (r"mid_block\.resnets\.0", "mid.block_1"), (r"mid_block\.resnets\.1", "mid.block_2"),
    (r"mid_block\.attentions\.0\.group_norm", "mid.attn_1.norm"),
    (r"mid_block\.attentions\.0\.to_out\.0", "mid.attn_1.proj_out"),
    (r"mid_block\.attentions\.0\.to_(.)", r"mid.attn_1.\1"), (r"conv_norm_out", "norm_out"),
    (r"conv_shortcut", "nin_shortcut"), (r"down_blocks\.(\d)\.resnets", r"down.\1.block"),
    (r"down_blocks\.(\d)\.downsamplers\.0", r"down.\1.downsample"),
    (r"up_blocks\.(\d)\.resnets", lambda found: f"up.{1 - int(found[1])}.block"),  # two levels, counted from below
    (r"up_blocks\.(\d)\.upsamplers\.0", lambda found: f"up.{1 - int(found[1])}.upsample"),
]  # fmt: skip
OPEN_CLIP = [
    ("text_model.encoder.layers", "transformer.resblocks"), ("self_attn", "attn"), ("layer_norm1", "ln_1"),
    ("layer_norm2", "ln_2"), ("mlp.fc1", "mlp.c_fc"), ("mlp.fc2", "mlp.c_proj"),
    ("text_model.embeddings.position_embedding.weight", "positional_embedding"),
    ("text_model.embeddings.token_embedding", "token_embedding"), ("text_model.final_layer_norm", "ln_final"),
]  # fmt: skip


def unet_names(tensors: Tensors, layers: int = 1) -> Tensors:
    named = {}
    attends = {key.split(".")[1] for key in tensors if re.match(r"up_blocks\.\d\.attentions", key)}
    for key, value in tensors.items():
        parts = key.split(".")
        if parts[0] in ("down_blocks", "up_blocks") and parts[2] in ("resnets", "attentions"):
            place = int(parts[1]) * (layers + 1) + int(parts[3])
            where = f"input_blocks.{place + 1}" if parts[0] == "down_blocks" else f"output_blocks.{place}"
            rest = ".".join(parts[4:])
            named[f"{where}.{inner(rest, parts[2])}"] = value
        elif parts[0] == "down_blocks":
            named[f"input_blocks.{(int(parts[1]) + 1) * (layers + 1)}.0.op.{parts[-1]}"] = value
        elif parts[0] == "up_blocks":
            after = 2 if parts[1] in attends else 1
            named[f"output_blocks.{(int(parts[1]) + 1) * (layers + 1) - 1}.{after}.conv.{parts[-1]}"] = value
        elif parts[0] == "mid_block":
            place, rest = {"resnets0": 0, "attentions0": 1, "resnets1": 2}[parts[1] + parts[2]], ".".join(parts[3:])
            named[f"middle_block.{place}.{inner(rest, parts[1])[2:]}"] = value
        else:
            named[f"{ENDS[key.rpartition('.')[0]]}.{parts[-1]}"] = value
    return named


def inner(rest: str, kind: str) -> str:
    """What follows a block's number."""
    if kind == "attentions":
        return f"1.{rest}"
    layer, _, last = rest.rpartition(".")
    return f"0.{RESNET[layer]}.{last}"


def autoencoder_names(tensors: Tensors) -> Tensors:
    named = {}
    for key, value in tensors.items():
        for pattern, new in AUTOENCODER:
            key = re.sub(pattern, new, key)
        convolved = "attn_1" in key and value.dim() == 2
        named[key] = value[:, :, None, None] if convolved else value
    return named


def open_clip_names(tensors: Tensors) -> Tensors:
    named = {}
    for key, value in tensors.items():
        if key == "text_projection.weight":
            named["text_projection"] = value.T.contiguous()
            continue
        if re.search(r"[kv]_proj", key):
            continue
        if "q_proj" in key:
            value = torch.cat([tensors[key.replace("q_proj", f"{letter}_proj")] for letter in "qkv"])
            key = re.sub(r"q_proj\.(\w+)", r"in_proj_\1", key)
        for old, new in OPEN_CLIP:
            key = key.replace(old, new)
        named[key] = value
    return named | {"logit_scale": torch.tensor(4.6)}


def clip_names(tensors: Tensors) -> Tensors:
    """As older versions of transformers saved them, with the places counted out."""
    named = {f"text_model.{key.removeprefix('text_model.')}": value for key, value in tensors.items()}
    return named | {"text_model.embeddings.position_ids": torch.arange(24)[None]}


def gather(folder: Path, open_clip: bool = False) -> Tensors:
    """The tensors of a saved pipeline under the old names, with what training left behind.

    With ``open_clip``, the text encoder's are named as in Stable Diffusion 2.x, its unused last layer among them.
    """
    two = (folder / "text_encoder_2").is_dir()
    parts = {
        "model.diffusion_model.": unet_names(load_file(folder / "unet/diffusion_pytorch_model.safetensors")),
        "first_stage_model.": autoencoder_names(load_file(folder / "vae/diffusion_pytorch_model.safetensors")),
        "conditioner.embedders.0.transformer." if two else "cond_stage_model.transformer.": clip_names(
            load_file(folder / "text_encoder/model.safetensors")
        ),
    }
    if open_clip:
        tensors = parts.pop("cond_stage_model.transformer.")
        encoder = open_clip_names({key: value for key, value in tensors.items() if "position_ids" not in key})
        width = len(encoder["ln_final.weight"])
        unused = {"text_projection": torch.eye(width), "transformer.resblocks.23.ln_1.weight": torch.ones(width)}
        parts["cond_stage_model.model."] = encoder | unused
    if two:
        second = open_clip_names(load_file(folder / "text_encoder_2/model.safetensors"))
        parts["conditioner.embedders.1.model."] = second
    found = {prefix + key: value.contiguous() for prefix, part in parts.items() for key, value in part.items()}
    left = {
        "alphas_cumprod": ddim().alphas_cumprod,
        "model_ema.decay": torch.tensor(0.9),
        "model_ema.xin": torch.ones(3),
    }
    return found | left


def save_single_file(folder: Path, target: Path, open_clip: bool = False) -> tuple[Path, Path]:
    """The single file, and the folder of its configuration without any weights."""
    file, config = target / "model.safetensors", target / "config"
    save_file(gather(folder, open_clip), file)
    copy_configuration(folder, config)
    return file, config


def copy_configuration(folder: Path, config: Path, weights_but_of: Collection[str] | None = None) -> None:
    """A pipeline's folder without weights; else with those of every component but these."""
    for source in folder.rglob("*"):
        left_out = weights_but_of is None or source.parent.name in weights_but_of
        if source.is_file() and not (source.suffix == ".safetensors" and left_out):
            place = config / source.relative_to(folder)
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(source.read_bytes())
