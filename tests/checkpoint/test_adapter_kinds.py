"""DoRA, LoHa and LoKr are fused as peft applies them, in peft's format and under LyCORIS' flat names."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import diffusers
import peft
import pytest
import torch
from peft.tuners.tuners_utils import BaseTunerLayer
from safetensors.torch import load_file, save_file

from auditor.checkpoint.asked import Asked
from auditor.checkpoint.load import LoadedCheckpoint, load
from auditor.checkpoint.scan import scan
from auditor.errors import CheckpointError
from tests.checkpoint.test_adapter_names import networks
from tests.text_pipelines import PROMPTS, save_sd, save_sdxl, seeded

LAYERS = ["to_q", "to_out.0", "conv1", "proj_in"]
NAME = "adapter_model.safetensors"
KINDS: dict[str, Callable[[], Any]] = {
    "dora": lambda: peft.LoraConfig(r=2, lora_alpha=3, use_dora=True, target_modules=LAYERS),
    "loha": lambda: peft.LoHaConfig(r=2, alpha=3, target_modules=LAYERS, alpha_pattern={"conv1": 5}),
    "loha with cores": lambda: peft.LoHaConfig(r=2, alpha=3, target_modules=LAYERS, use_effective_conv2d=True),
    "lokr": lambda: peft.LoKrConfig(r=1, alpha=3, target_modules=LAYERS, decompose_both=True, decompose_factor=2),
    "lokr with cores": lambda: peft.LoKrConfig(r=1, alpha=3, target_modules=LAYERS, use_effective_conv2d=True),
    "lokr of whole matrices": lambda: peft.LoKrConfig(r=64, alpha=32, target_modules=LAYERS),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_sd(tmp_path_factory.mktemp("base") / "sd")


@pytest.fixture(scope="module", params=KINDS)
def adapted(request: pytest.FixtureRequest, folder: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Path]:
    """peft's network with adapters beside their layers, and where peft saved them."""
    path = tmp_path_factory.mktemp(request.param.replace(" ", "-"))
    unet = diffusers.UNet2DConditionModel.from_pretrained(folder / "unet")
    network = seeded(lambda: peft.get_peft_model(unet, KINDS[request.param]()))
    draw = torch.Generator().manual_seed(1)
    for name, parameter in network.named_parameters():
        if parameter.requires_grad:
            drawn = 0.5 * torch.randn(parameter.shape, generator=draw)
            parameter.data = parameter.data * (1 + drawn.abs()) if "magnitude" in name else drawn
    network.save_pretrained(path)
    return network.eval(), path


def opened(folder: Path, adapter: Path | None = None, scale: float = 1.0) -> LoadedCheckpoint:
    return load(scan(folder, asked=Asked(adapter, scale))).with_prompts(PROMPTS)


def weights(checkpoint: LoadedCheckpoint) -> dict[str, torch.Tensor]:
    return {name: value.detach() for name, value in checkpoint.denoiser.parameters().items()}


def by_peft(network: Any, scale: float = 1.0) -> dict[str, torch.Tensor]:
    """Weights of adapted layers as peft would merge them."""
    found = {}
    for name, layer in network.get_base_model().named_modules():
        if not isinstance(layer, BaseTunerLayer):
            continue
        base = layer.get_base_layer().weight.detach()
        if isinstance(layer, peft.tuners.lora.LoraLayer):  # DoRA by its definition, from peft's own factors
            whole = base + scale * layer.get_delta_weight("default").detach()
            lengths = whole.flatten(1).norm(dim=1)
            magnitude = layer.lora_magnitude_vector["default"].weight.detach().flatten()
            found[name] = whole * (magnitude / lengths).reshape(-1, *(1 for _ in base.shape[1:]))
        else:
            found[name] = base + scale * layer.get_delta_weight("default").detach()
    return found


@pytest.mark.parametrize("scale", [1.0, 0.4])
def test_what_peft_saved_is_fused_as_peft_applies_it(adapted: tuple[Any, Path], folder: Path, scale: float) -> None:
    network, path = adapted
    fused, base = weights(opened(folder, path / NAME, scale)), weights(opened(folder))
    wanted = by_peft(network, scale)
    assert len(wanted) > 10
    for name, value in wanted.items():
        torch.testing.assert_close(fused[f"{name}.weight"], value)
        assert (fused[f"{name}.weight"] - base[f"{name}.weight"]).abs().max() > 1e-2
    others = [name for name in base if name.removesuffix(".weight") not in wanted]
    assert all(torch.equal(fused[name], base[name]) for name in others)


def test_images_are_those_of_peft(adapted: tuple[Any, Path], folder: Path) -> None:
    network, path = adapted
    checkpoint = opened(folder, path / NAME)
    draw, t = torch.Generator().manual_seed(2), torch.tensor([700] * 3)
    x = torch.randn(3, *checkpoint.denoiser.sample_shape, generator=draw)
    states = torch.randn(3, 5, network.get_base_model().config.cross_attention_dim, generator=draw)
    theirs = network(x, t, states).sample.detach()
    ours = checkpoint.denoiser.network(x, t, states).sample.detach()
    torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=1e-4)


def flat(state: dict[str, torch.Tensor], alpha: float, start: str = "lora_unet_") -> dict[str, torch.Tensor]:
    """peft's tensors under LyCORIS' names; kohya's trainers call a DoRA's factors as those of their LoRA."""
    roles = {
        "lora_A.weight": "lora_down.weight",
        "lora_B.weight": "lora_up.weight",
        "lora_magnitude_vector": "dora_scale",
    }
    found = {}
    for key, value in state.items():
        layer, role = re.fullmatch(r"base_model\.model\.(.+)\.((?:lora|hada|lokr)_.+)", key).groups()
        name = start + layer.replace(".", "_")
        if role == "lora_magnitude_vector":
            value = value.reshape(-1, 1, *(1 for _ in value.shape[2:]))
        found |= {f"{name}.{roles.get(role, role)}": value.clone(), f"{name}.alpha": torch.tensor(alpha)}
    return found


def test_flat_names_mean_the_same_layers(adapted: tuple[Any, Path], folder: Path, tmp_path: Path) -> None:
    """Here every layer's alpha is 3; beside whole Kronecker factors, which have no rank, it counts for nothing."""
    network, path = adapted
    state = load_file(path / NAME)
    save_file(flat(state, 3.0), tmp_path / "flat.safetensors")
    fused, merged = weights(opened(folder, tmp_path / "flat.safetensors")), by_peft(network)
    for name, layer in network.get_base_model().named_modules():
        if not isinstance(layer, BaseTunerLayer):
            continue
        base, wanted = layer.get_base_layer().weight.detach(), merged[name]
        if not isinstance(layer, peft.tuners.lora.LoraLayer):
            whole = {f"base_model.model.{name}.lokr_w1", f"base_model.model.{name}.lokr_w2"} <= set(state)
            scale = 1.0 if whole else 3.0 / layer.r["default"]
            wanted = base + (wanted - base) * scale / layer.scaling["default"]
        torch.testing.assert_close(fused[f"{name}.weight"], wanted)


@pytest.mark.parametrize("layer", ["down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q", "conv_in"])
@pytest.mark.parametrize("axis", [0, 1])
def test_a_magnitude_is_per_output_or_per_input_as_its_shape_says(
    axis: int, layer: str, folder: Path, tmp_path: Path
) -> None:
    """OneTrainer writes [1 in ...], which in a square layer holds as many values as [out 1 ...]."""
    weight = weights(opened(folder))[f"{layer}.weight"]
    draw, shape = torch.Generator().manual_seed(3), weight.shape
    first = torch.randn(2, *shape[1:], generator=draw)
    second = torch.randn(shape[0], 2, *(1 for _ in shape[2:]), generator=draw)
    whole = weight + torch.einsum("or...,ri...->oi...", second, first)
    length = whole.square().sum([place for place in range(whole.dim()) if place != axis], keepdim=True).sqrt()
    magnitude = length * (1 + torch.rand(length.shape, generator=draw))
    name = "lora_unet_" + layer.replace(".", "_")
    file = tmp_path / "flat.safetensors"
    factors = {f"{name}.lora_down.weight": first, f"{name}.lora_up.weight": second}
    save_file(factors | {f"{name}.dora_scale": magnitude}, file)
    torch.testing.assert_close(weights(opened(folder, file))[f"{layer}.weight"], whole * magnitude / length)
    save_file(factors | {f"{name}.dora_scale": magnitude.flatten()[:-1]}, file)
    with pytest.raises(CheckpointError, match="magnitudes of"):
        opened(folder, file)


def hadamard(out: int, inside: int, seed: int) -> dict[str, torch.Tensor]:
    draw = torch.Generator().manual_seed(seed)
    shapes = {"hada_w1_a": (out, 2), "hada_w1_b": (2, inside), "hada_w2_a": (out, 2), "hada_w2_b": (2, inside)}
    return {name: torch.randn(shape, generator=draw) for name, shape in shapes.items()}


def product(factors: dict[str, torch.Tensor]) -> torch.Tensor:
    return (factors["hada_w1_a"] @ factors["hada_w1_b"]) * (factors["hada_w2_a"] @ factors["hada_w2_b"])


@pytest.fixture(scope="module")
def sdxl(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_sdxl(tmp_path_factory.mktemp("xl") / "sdxl")


TO_Q = "down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q"
FIRST_AUTHORS = "lora_unet_input_blocks_1_1_transformer_blocks_0_attn1_to_q"
ENCODER = "lora_te2_text_model_encoder_layers_0_self_attn_q_proj"


def test_flat_names_of_text_encoders_and_of_the_first_authors(sdxl: Path, tmp_path: Path) -> None:
    base = opened(sdxl)
    text = "text_model.encoder.layers.0.self_attn.q_proj.weight"
    unet, encoder = weights(base)[f"{TO_Q}.weight"], dict(networks(base)[1].named_parameters())[text].detach()
    first, second = hadamard(*unet.shape, 1), hadamard(*encoder.shape, 2)
    state = {f"{FIRST_AUTHORS}.{role}": value for role, value in first.items()}
    state |= {f"{ENCODER}.{role}": value for role, value in second.items()}
    state |= {f"{ENCODER}.alpha": torch.tensor(1.0)}  # of rank 2
    save_file(state, tmp_path / "flat.safetensors")
    fused = opened(sdxl, tmp_path / "flat.safetensors")
    torch.testing.assert_close(weights(fused)[f"{TO_Q}.weight"], unet + product(first))
    found = dict(networks(fused)[1].named_parameters())[text].detach()
    torch.testing.assert_close(found, encoder + product(second) / 2)
    assert sum("adapter fused into 1 layers" in note for note in fused.info.notes) == 2


def test_dotted_names_as_comfyui_writes_them_mean_the_same(sdxl: Path, tmp_path: Path) -> None:
    base = opened(sdxl)
    both = {
        "lora_unet_input_blocks_1_1_transformer_blocks_0_attn1_to_q":
            "diffusion_model.input_blocks.1.1.transformer_blocks.0.attn1.to_q",
        "lora_te1_text_model_encoder_layers_0_self_attn_q_proj":
            "text_encoders.clip_l.transformer.text_model.encoder.layers.0.self_attn.q_proj",
        "lora_te2_text_model_encoder_layers_0_self_attn_q_proj":
            "text_encoders.clip_g.transformer.text_model.encoder.layers.0.self_attn.q_proj",
    }  # fmt: skip
    flat_file, dotted_file = tmp_path / "flat.safetensors", tmp_path / "dotted.safetensors"
    draw, state = torch.Generator().manual_seed(5), dict[str, torch.Tensor]()
    for name, width in zip(both, (8, 16, 24), strict=True):
        state |= {f"{name}.lora_{way}.weight": torch.randn(shape, generator=draw)
                  for way, shape in (("down", (2, width)), ("up", (width, 2)))}  # fmt: skip
        state[f"{name}.alpha"] = torch.tensor(3.0)
    save_file(state, flat_file)
    save_file(
        {f"{both[key.split('.')[0]]}.{key.partition('.')[2]}": value for key, value in state.items()}, dotted_file
    )
    flat_ones, dotted_ones = networks(opened(sdxl, flat_file)), networks(opened(sdxl, dotted_file))
    for before, one, other in zip(networks(base), flat_ones, dotted_ones, strict=True):
        theirs, start = dict(other.named_parameters()), dict(before.named_parameters())
        changed = [name for name, value in one.named_parameters() if not torch.equal(value, start[name])]
        assert len(changed) == 1 and all(torch.equal(value, theirs[name]) for name, value in one.named_parameters())


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        ("input_blocks_0_0", "conv_in"),
        ("input_blocks_1_0_in_layers_2", "down_blocks.0.resnets.0.conv1"),
        ("input_blocks_2_0_op", "down_blocks.0.downsamplers.0.conv"),
        ("input_blocks_3_0_emb_layers_1", "down_blocks.1.resnets.0.time_emb_proj"),
        ("input_blocks_3_0_skip_connection", "down_blocks.1.resnets.0.conv_shortcut"),
        ("middle_block_1_proj_in", "mid_block.attentions.0.proj_in"),
        ("middle_block_2_out_layers_3", "mid_block.resnets.1.conv2"),
        ("output_blocks_1_2_conv", "up_blocks.0.upsamplers.0.conv"),
        ("output_blocks_2_1_transformer_blocks_0_ff_net_2", "up_blocks.1.attentions.0.transformer_blocks.0.ff.net.2"),
        ("time_embed_2", "time_embedding.linear_2"),
        ("label_emb_0_0", "add_embedding.linear_1"),
        ("out_2", "conv_out"),
    ],
)
def test_every_kind_of_layer_is_found_under_the_first_authors_name(
    theirs: str, ours: str, sdxl: Path, tmp_path: Path
) -> None:
    before = weights(opened(sdxl))
    whole = before[f"{ours}.weight"].flatten(1)
    both = {f"lora_unet_{theirs}.{role}": value for role, value in hadamard(*whole.shape, 3).items()}
    save_file(both, tmp_path / "flat.safetensors")
    after = weights(opened(sdxl, tmp_path / "flat.safetensors"))
    changed = {name.removesuffix(".weight") for name, value in after.items() if not torch.equal(value, before[name])}
    assert changed == {ours}


FAULTS: dict[str, tuple[Callable[[dict[str, torch.Tensor]], object], str]] = {
    "a lost factor": (lambda s: s.pop(f"{FIRST_AUTHORS}.hada_w2_b"), "no kind of adapter"),
    "factors of two kinds": (lambda s: s.update({f"{FIRST_AUTHORS}.lokr_w1": torch.ones(2, 2)}), "no kind of adapter"),
    "an unknown layer": (lambda s: s.update({"lora_unet_lost.hada_w1_a": torch.ones(2, 2)}), "lora_unet_lost"),
    "an unknown encoder": (lambda s: s.update({"lora_te3_q.hada_w1_a": torch.ones(2, 2)}), "lora_te3"),
    "an alpha of nothing": (
        lambda s: s.update({ENCODER.replace("q_proj", "k_proj") + ".alpha": torch.tensor(1.0)}), "no adapter",
    ),
    "another shape": (lambda s: s.update({f"{FIRST_AUTHORS}.hada_w1_a": torch.ones(9, 2)}), "."),
    "another number of outputs": (
        lambda s: s.update({f"{FIRST_AUTHORS}.hada_w{n}_a": torch.ones(4, 2) for n in (1, 2)}), "with factors of",
    ),
    "a tensor of the base": (lambda s: s.update({"conv_in.weight": torch.ones(2, 2)}), "conv_in"),
}  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS)
def test_what_fits_no_layer_or_kind_is_refused(fault: str, sdxl: Path, tmp_path: Path) -> None:
    shape = weights(opened(sdxl))[f"{TO_Q}.weight"].shape
    state = {f"{FIRST_AUTHORS}.{role}": value for role, value in hadamard(*shape, 1).items()}
    save_file(state, tmp_path / "flat.safetensors")
    opened(sdxl, tmp_path / "flat.safetensors")  # negative control
    change, named = FAULTS[fault]
    change(state)
    save_file(state, tmp_path / "flat.safetensors")
    with pytest.raises(CheckpointError, match=named) as caught:
        opened(sdxl, tmp_path / "flat.safetensors")
    assert "\n" not in str(caught.value)


def test_other_kinds_of_peft_are_refused_before_anything_is_read(folder: Path, tmp_path: Path) -> None:
    unet = diffusers.UNet2DConditionModel.from_pretrained(folder / "unet")
    network = seeded(lambda: peft.get_peft_model(unet, peft.IA3Config(target_modules=["to_q"], feedforward_modules=[])))
    network.save_pretrained(tmp_path)
    with pytest.raises(CheckpointError, match="ia3_l"):
        scan(folder, asked=Asked(tmp_path / NAME))
