"""Trainers' namings of adapters mean the sum they say, layer by layer, with ranks and alphas of their own."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from auditor.checkpoint.adapter_names import scaled
from auditor.checkpoint.asked import Asked
from auditor.checkpoint.attention import text_encoders
from auditor.checkpoint.load import LoadedCheckpoint, load
from auditor.checkpoint.scan import scan
from auditor.errors import CheckpointError
from tests.flow_files import flux_names, save_sd3_with_identity, sd3_names
from tests.text_pipelines import save_flux, save_sd, save_sdxl

SAVERS: dict[str, Callable[[Path], Path]] = {
    "sd": save_sd, "sdxl": save_sdxl, "flux": save_flux,
    "sd3": lambda folder: save_sd3_with_identity(folder, qk_norm="rms_norm", dual_attention_layers=(0,)),
}  # fmt: skip
AUTHORS: dict[str, Callable[[dict[str, torch.Tensor]], dict[str, torch.Tensor]]] = {
    "flux": flux_names, "sd3": sd3_names,
}  # fmt: skip
# kohya's names of components, in the order of the text encoders
ENCODERS = {"sd": ["lora_te"], "sdxl": ["lora_te1", "lora_te2"]}
TEXT = ("q_proj", "k_proj", "v_proj", "fc1", "fc2")
UNET = (
    "to_q", "to_k", "to_v", "to_out.0", "ff.net.0.proj", "ff.net.2", "proj_in", "conv1", "conv_shortcut",
    "time_emb_proj",
)  # fmt: skip
RANKS, ALPHAS = (2, 3, 2, 1), (1.0, 8.0, 2.0, 0.5, 3.0)
Drawn = dict[str, tuple[torch.Tensor, torch.Tensor, float]]  # factors and alpha by layer


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("bases")
    return {name: save(root / name) for name, save in SAVERS.items()}


def opened(folder: Path, adapter: Path | None = None, scale: float = 1.0) -> LoadedCheckpoint:
    return load(scan(folder, asked=Asked(adapter, scale)))


def networks(checkpoint: LoadedCheckpoint) -> list[Any]:
    """The text encoders, then the denoising network."""
    denoiser: Any = checkpoint.denoiser
    return [*(encoder.network for encoder in text_encoders(denoiser)), denoiser.network]


def drawn(network: torch.nn.Module, ends: tuple[str, ...], seed: int) -> Drawn:
    """Adapters of differing ranks and alphas for all layers whose names end so."""
    draw, found = torch.Generator().manual_seed(seed), {}
    layers = [(name, dict(network.named_parameters())[f"{name}.weight"]) for name in names_of(network, ends)]
    for place, (name, weight) in enumerate(layers):
        rank = RANKS[place % len(RANKS)]
        first = torch.randn(rank, *weight.shape[1:], generator=draw)
        second = torch.randn(len(weight), rank, *(1 for _ in weight.shape[2:]), generator=draw)
        found[name] = (first, second, ALPHAS[place % len(ALPHAS)])
    return found


def names_of(network: torch.nn.Module, ends: tuple[str, ...]) -> Iterator[str]:
    kinds = (torch.nn.Linear, torch.nn.Conv2d)
    return (name for name, layer in network.named_modules() if name.endswith(ends) and isinstance(layer, kinds))


def kohya(prefix: str, adapters: Drawn) -> dict[str, torch.Tensor]:
    """As kohya's trainers write them; text encoders' layers are below ``text_model`` there."""
    found = {}
    for name, (first, second, alpha) in adapters.items():
        full = f"text_model.{name}" if "_te" in prefix and not name.startswith("text_model.") else name
        flat = f"{prefix}_{full.replace('.', '_')}"
        found |= {f"{flat}.lora_down.weight": first, f"{flat}.lora_up.weight": second}
        found[f"{flat}.alpha"] = torch.tensor(alpha)
    return found


def summed(base: torch.Tensor, adapter: tuple[torch.Tensor, torch.Tensor, float], scale: float) -> torch.Tensor:
    """W + scale (alpha / rank) B A, by hand."""
    first, second, alpha = (one.double() if isinstance(one, torch.Tensor) else one for one in adapter)
    update = (second.flatten(1) @ first.flatten(1)).reshape(base.shape)
    return base.double() + scale * alpha / len(first) * update


@pytest.mark.parametrize("ends", [TEXT, (*TEXT, "out_proj"), ("q_proj",), ("fc1",)])
@pytest.mark.parametrize("name", ["sd", "sdxl"])
def test_kohya_adapters_are_the_sum_they_say(
    name: str, ends: tuple[str, ...], folders: dict[str, Path], tmp_path: Path
) -> None:
    base = networks(opened(folders[name]))
    prefixes = [*ENCODERS[name], "lora_unet"]
    # kohya names SDXL's network otherwise, which test_adapter.py leaves to diffusers
    adapters = [drawn(part, ends, seed) for seed, part in enumerate(base[:-1])]
    adapters.append(drawn(base[-1], UNET, 9) if name == "sd" else {})
    tensors = {}
    for prefix, own in zip(prefixes, adapters, strict=True):
        tensors |= kohya(prefix, own)
    save_file({key: value.contiguous() for key, value in tensors.items()}, tmp_path / "kohya.safetensors")
    fused = networks(opened(folders[name], tmp_path / "kohya.safetensors", 0.7))
    for before, after, own in zip(base, fused, adapters, strict=True):
        weights = dict(after.named_parameters())
        for path, weight in before.named_parameters():
            adapter = own.get(path.removesuffix(".weight")) if path.endswith(".weight") else None
            wanted = weight if adapter is None else summed(weight, adapter, 0.7).float()
            assert (weights[path] - wanted).abs().max() < 1e-5 * max(1.0, wanted.abs().max())
            assert adapter is None or (weight - wanted).abs().max() > 0.01  # it does something
    assert adapters[0]


def test_alphas_that_differ_between_layers_of_a_transformer_stay_with_them(
    folders: dict[str, Path], tmp_path: Path
) -> None:
    base = networks(opened(folders["flux"]))[-1]
    adapters = drawn(base, ("attn.to_q", "attn.to_v"), 3)
    tensors = {}
    for layer, (first, second, alpha) in adapters.items():
        tensors |= {f"transformer.{layer}.lora_A.weight": first, f"transformer.{layer}.lora_B.weight": second}
        tensors[f"transformer.{layer}.alpha"] = torch.tensor(alpha)
    save_file(tensors, tmp_path / "flux.safetensors")
    weights = dict(networks(opened(folders["flux"], tmp_path / "flux.safetensors"))[-1].named_parameters())
    for path, weight in base.named_parameters():
        adapter = adapters.get(path.removesuffix(".weight")) if path.endswith(".weight") else None
        wanted = weight if adapter is None else summed(weight, adapter, 1.0).float()
        torch.testing.assert_close(weights[path], wanted, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("naming", ["kohya", "ComfyUI", "DoRA"])
@pytest.mark.parametrize("name", AUTHORS)
def test_adapters_under_the_names_of_the_authors_are_the_sum_they_say(
    name: str, naming: str, folders: dict[str, Path], tmp_path: Path
) -> None:
    """Of all their layers, those that diffusers cuts in parts or turns around among them."""
    base = networks(opened(folders[name]))[-1].state_dict()
    theirs = AUTHORS[name](base)
    draw, tensors, wanted = torch.Generator().manual_seed(4), {}, dict(theirs)
    layers = [key for key in theirs if key.endswith(".weight") and theirs[key].dim() > 1]
    for place, key in enumerate(layers):
        layer, weight, rank = key.removesuffix(".weight"), theirs[key], RANKS[place % len(RANKS)]
        first = torch.randn(rank, *weight.shape[1:], generator=draw)
        second = torch.randn(len(weight), rank, *(1 for _ in weight.shape[2:]), generator=draw)
        alpha = float(rank) if naming == "ComfyUI" else ALPHAS[place % len(ALPHAS)]
        wanted[key] = summed(weight, (first, second, alpha), 1.0).float()
        flat = f"diffusion_model.{layer}" if naming == "ComfyUI" else f"lora_unet_{layer.replace('.', '_')}"
        names = ("lora_A", "lora_B") if naming == "ComfyUI" else ("lora_down", "lora_up")
        tensors |= {f"{flat}.{name}.weight": one for name, one in zip(names, (first, second), strict=True)}
        if naming != "ComfyUI":
            tensors[f"{flat}.alpha"] = torch.tensor(alpha)
        if naming == "DoRA":
            magnitude = torch.rand(len(weight), *(1 for _ in weight.shape[1:]), generator=draw)
            tensors[f"{flat}.dora_scale"] = magnitude
            length = wanted[key].flatten(1).norm(dim=1).reshape(magnitude.shape)
            wanted[key] = wanted[key] * magnitude / length
    file = tmp_path / "authors.safetensors"
    save_file(tensors, file)
    fused = AUTHORS[name](networks(opened(folders[name], file))[-1].state_dict())
    assert any("qkv" in key for key in tensors) and any("adaLN" in key for key in tensors)
    for key, value in wanted.items():
        torch.testing.assert_close(fused[key], value, rtol=1e-5, atol=1e-5)


def low_rank(layer: str, out: int, inside: int) -> dict[str, torch.Tensor]:
    return {f"{layer}.lora_down.weight": torch.ones(2, inside), f"{layer}.lora_up.weight": torch.ones(out, 2)}


ATTENTION = "transformer_blocks_0_attn1_to"
LEFT_OUT: dict[str, tuple[str, dict[str, torch.Tensor], dict[str, torch.Tensor], str]] = {
    "T5": (
        "flux", low_rank("lora_unet_double_blocks_0_img_attn_qkv", 48, 16),
        low_rank("lora_te3_encoder_block_0_layer_0_SelfAttention_q", 16, 24), "lora_te3_encoder_block_0",
    ),
    "a projection that FLUX has not": (
        "flux", low_rank("lora_unet_txt_in", 16, 24), low_rank("lora_te1_text_projection", 16, 16), "text_projection",
    ),
    "a text encoder under other names": (
        "flux", low_rank("transformer.transformer_blocks.0.attn.to_q", 16, 16),
        low_rank("text_encoder.text_model.encoder.layers.0.self_attn.q_proj", 16, 16), "text_encoder.text_model",
    ),
    "the same layer under two names": (
        "flux", low_rank("lora_unet_double_blocks_0_img_attn_qkv", 48, 16),
        low_rank("lora_transformer_transformer_blocks_0_attn_to_q", 16, 16), "two kinds",
    ),
    "Kronecker factors of a layer in parts": (
        "flux", low_rank("lora_unet_txt_in", 16, 24),
        {f"lora_unet_double_blocks_0_img_attn_qkv.lokr_w{n}": torch.ones(*shape) for n, shape in
         ((1, (6, 4)), (2, (8, 4)))}, "not cut into",
    ),
    "the first authors' names and diffusers'": (
        "sdxl", low_rank(f"lora_unet_down_blocks_0_attentions_0_{ATTENTION}_k", 8, 8),
        low_rank(f"lora_unet_input_blocks_1_1_{ATTENTION}_q", 8, 8), "names of two kinds",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", LEFT_OUT)
def test_what_would_be_left_out_of_a_file_is_refused(case: str, folders: dict[str, Path], tmp_path: Path) -> None:
    name, taken, left_out, named = LEFT_OUT[case]
    file = tmp_path / "whole.safetensors"
    save_file(taken, file)
    opened(folders[name], file)  # negative control
    save_file(taken | left_out, file)
    with pytest.raises(CheckpointError, match=named) as caught:
        opened(folders[name], file)
    assert "\n" not in str(caught.value)


FAULTS: dict[str, Callable[[dict[str, torch.Tensor]], object]] = {
    "a layer that is not there": lambda s: s.update(
        {key.replace("layers_0", "layers_7"): s[key] for key in [*s] if "layers_0_self_attn_q" in key}
    ),
    "half of a layer": lambda s: s.pop(next(key for key in s if key.endswith("up.weight"))),
    "an alpha of no layer": lambda s: s.update(
        {"lora_te_text_model_encoder_layers_7_mlp_fc1.alpha": torch.tensor(1.0)}
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_tensors_without_a_layer_are_refused(fault: str, folders: dict[str, Path], tmp_path: Path) -> None:
    file = tmp_path / "kohya.safetensors"
    tensors = kohya("lora_te", drawn(networks(opened(folders["sd"]))[0], TEXT, 0))
    save_file(tensors, file)
    opened(folders["sd"], file)  # negative control
    tensors = dict(load_file(file))
    FAULTS[fault](tensors)
    save_file({key: value.clone() for key, value in tensors.items()}, file)
    with pytest.raises(CheckpointError, match="adapter"):
        opened(folders["sd"], file)


def test_scaled_refuses_an_alpha_of_no_layer() -> None:
    state = {"unet.a.lora.up.weight": torch.ones(4, 2), "unet.a.lora.down.weight": torch.ones(2, 4)}
    assert torch.equal(scaled(state, {"unet.a.alpha": 1.0})["unet.a.lora.up.weight"], torch.full((4, 2), 0.5))
    with pytest.raises(ValueError, match="of no layer"):
        scaled(state, {"unet.b.alpha": 1.0})


def test_metadata_that_the_tensors_do_not_bear_out_is_refused(folders: dict[str, Path], tmp_path: Path) -> None:
    """peft only warns of alphas whose layer it does not find."""
    tensors = {}
    for layer, (first, second, _) in drawn(networks(opened(folders["sd"]))[-1], ("to_q",), 0).items():
        tensors |= {f"unet.{layer}.lora_A.weight": first[:1], f"unet.{layer}.lora_B.weight": second[:, :1]}
    tensors = {key: value.contiguous() for key, value in tensors.items()}
    stated: dict[str, object] = {"unet.r": 1, "unet.lora_alpha": 3, "unet.target_modules": ["to_q"]}
    file = tmp_path / "own.safetensors"
    save_file(tensors, file, metadata={"lora_adapter_metadata": json.dumps(stated)})
    opened(folders["sd"], file)  # negative control
    layer = next(iter(tensors)).rpartition(".lora_")[0]
    fewer = {key: value for key, value in tensors.items() if not key.startswith(layer)}
    save_file(fewer, file, metadata={"lora_adapter_metadata": json.dumps(stated)})
    with pytest.raises(CheckpointError, match="which its metadata names"):
        opened(folders["sd"], file)
    stated["unet.alpha_pattern"] = {"to_other": 7}
    save_file(tensors, file, metadata={"lora_adapter_metadata": json.dumps(stated)})
    with pytest.raises(CheckpointError, match="alpha_pattern"):
        opened(folders["sd"], file)
