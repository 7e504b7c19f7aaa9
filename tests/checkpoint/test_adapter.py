"""Adapters are fused as diffusers applies them, from every naming in use; what is not such an adapter is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import diffusers
import peft
import pytest
import torch
from safetensors.torch import load_file, save_file

from auditor.checkpoint.asked import Asked
from auditor.checkpoint.load import LoadedCheckpoint, load
from auditor.checkpoint.scan import scan
from auditor.diffusion.samplers import sample_ddim
from auditor.errors import AuditError, CheckpointError, ConfigError, UnsafeArtifactError
from tests.text_pipelines import PROMPTS, save_flux, save_pixart, save_sana, save_sd, save_sd3, save_sdxl, seeded

SAVERS: dict[str, Callable[[Path], Path]] = {
    "sd": save_sd, "sdxl": save_sdxl, "sd3": save_sd3, "flux": save_flux, "sana": save_sana,
}  # fmt: skip
RANK, ALPHA = 2, 3
LAYERS = ["to_q", "to_k", "to_v", "to_out.0"]
T = torch.tensor([700, 700, 700])
PLACES = torch.arange(3)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """One base per family, not to be changed."""
    root = tmp_path_factory.mktemp("bases")
    return {name: save(root / name) for name, save in SAVERS.items()} | {"pixart": save_pixart(root / "pixart")}


def adapted(network: Any, layers: list[str], seed: int) -> Any:
    """The network with adapters whose second factor is not zero, as training leaves them."""
    config = peft.LoraConfig(r=RANK, lora_alpha=ALPHA, target_modules=layers)
    seeded(lambda: network.add_adapter(config), seed)
    draw = torch.Generator().manual_seed(seed)
    for name, parameter in network.named_parameters():
        if "lora_B" in name:
            parameter.data = 0.5 * torch.randn(parameter.shape, generator=draw)
    return network


def opened(folder: Path, adapter: Path | None = None, scale: float = 1.0) -> LoadedCheckpoint:
    size = (16, 16) if folder.name == "flux" else None
    return load(scan(folder, asked=Asked(adapter, scale, size))).with_prompts(PROMPTS)


def output(checkpoint: LoadedCheckpoint) -> torch.Tensor:
    x = torch.randn(3, *checkpoint.denoiser.sample_shape, generator=torch.Generator().manual_seed(1))
    return checkpoint.denoiser(x, T, PLACES)


def save_adapter(folder: Path, target: Path, encoder: bool = True) -> Any:
    """Adapters on network and first text encoder in diffusers' format; the network with them."""
    kind = getattr(diffusers, diffusers.DiffusionPipeline.load_config(folder)["_class_name"])
    pipeline = seeded(lambda: kind.from_pretrained(folder, local_files_only=True))
    main = "unet" if hasattr(pipeline, "unet") else "transformer"
    network = adapted(getattr(pipeline, main), LAYERS, 1)
    kept = {f"{main}_lora_layers": peft.get_peft_model_state_dict(network)}
    kept[f"{main}_lora_adapter_metadata"] = {"r": RANK, "lora_alpha": ALPHA, "target_modules": LAYERS}
    if encoder and folder.name != "sana":
        text = adapted(pipeline.text_encoder, ["q_proj", "v_proj"], 2)
        kept["text_encoder_lora_layers"] = peft.get_peft_model_state_dict(text)
        kept["text_encoder_lora_adapter_metadata"] = {
            "r": RANK, "lora_alpha": ALPHA, "target_modules": ["q_proj", "v_proj"],
        }  # fmt: skip
    pipeline.save_lora_weights(target, **kept)
    return pipeline


@pytest.mark.parametrize("name", SAVERS)
def test_a_fused_adapter_is_what_diffusers_applies(name: str, folders: dict[str, Path], tmp_path: Path) -> None:
    pipeline = save_adapter(folders[name], tmp_path)
    file = tmp_path / "pytorch_lora_weights.safetensors"
    base, fused = opened(folders[name]), opened(folders[name], file)
    # the base's own denoiser around diffusers' network and text encoder with adapters beside their layers
    network = pipeline.unet if hasattr(pipeline, "unet") else pipeline.transformer
    theirs = dict(network.named_parameters())
    for path, parameter in fused.denoiser.parameters().items():
        own = theirs.get(path)
        if own is None:  # a layer with an adapter
            layer = path.rpartition(".")[0]
            weight = theirs[f"{layer}.base_layer.{path.rpartition('.')[2]}"]
            if path.endswith("weight"):
                a, b = theirs[f"{layer}.lora_A.default.weight"], theirs[f"{layer}.lora_B.default.weight"]
                weight = weight + ALPHA / RANK * b @ a
            own = weight
        torch.testing.assert_close(parameter, own.detach())
    assert list(fused.denoiser.parameters()) == list(base.denoiser.parameters())
    assert (output(fused) - output(base)).abs().max() > 1e-2
    assert fused.info.digest != base.info.digest and fused.info.files[-1].path == f"adapter/{file.name}"
    assert fused.info.notes[-1].endswith("at scale 1") and "fused into" in fused.info.notes[-1]


@pytest.mark.parametrize("name", ["sd", "sdxl"])
def test_images_are_those_of_the_pipeline_with_the_adapter(name: str, folders: dict[str, Path], tmp_path: Path) -> None:
    save_adapter(folders[name], tmp_path)
    kind = getattr(diffusers, diffusers.DiffusionPipeline.load_config(folders[name])["_class_name"])
    pipeline = seeded(lambda: kind.from_pretrained(folders[name], local_files_only=True))
    seeded(lambda: pipeline.load_lora_weights(tmp_path, weight_name="pytorch_lora_weights.safetensors"))
    pipeline.set_progress_bar_config(disable=True)
    noise = torch.randn(3, 4, 8, 8, generator=torch.Generator().manual_seed(1))
    for scale in (1.0, 0.4):
        wanted = pipeline(
            PROMPTS, latents=noise, num_inference_steps=4, guidance_scale=3.0, output_type="latent",
            cross_attention_kwargs={"scale": scale},
        ).images  # fmt: skip
        checkpoint = opened(folders[name], tmp_path / "pytorch_lora_weights.safetensors", scale)
        ladder = checkpoint.denoiser.schedule.ladder(4)
        made = sample_ddim(checkpoint.guided(3.0), noise, ladder, condition=PLACES)
        assert (made - wanted).abs().max() < 1e-5 * wanted.std()
        other = sample_ddim(opened(folders[name]).guided(3.0), noise, ladder, condition=PLACES)
        assert (other - wanted).abs().max() > 0.01 * wanted.std()


def kohya(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The same adapters as kohya's trainers name them, alphas beside the factors."""
    named = {}
    for key, value in state.items():
        layer, factor = key.removeprefix("unet.").split(".lora_")
        flat = "lora_unet_" + layer.replace(".", "_")
        named[f"{flat}.lora_{'down' if factor[0] == 'A' else 'up'}.weight"] = value
        named[f"{flat}.alpha"] = torch.tensor(float(ALPHA))
    return named


def test_every_naming_means_the_same_network(folders: dict[str, Path], tmp_path: Path) -> None:
    save_adapter(folders["sd"], tmp_path, encoder=False)
    file = tmp_path / "pytorch_lora_weights.safetensors"
    wanted = output(opened(folders["sd"], file))
    state = load_file(file)
    save_file(kohya(state), tmp_path / "kohya.safetensors")
    peft_names = {key.replace("unet.", "base_model.model."): value for key, value in state.items()}
    save_file(peft_names, tmp_path / "adapter_model.safetensors")
    config = peft.LoraConfig(r=RANK, lora_alpha=ALPHA, target_modules=LAYERS).to_dict()
    plain = {key: sorted(value) if isinstance(value, set) else value for key, value in config.items()}
    (tmp_path / "adapter_config.json").write_text(json.dumps(plain | {"peft_type": "LORA"}))
    for name in ("kohya", "adapter_model"):
        torch.testing.assert_close(output(opened(folders["sd"], tmp_path / f"{name}.safetensors")), wanted)
    save_file(state, tmp_path / "no-alpha.safetensors")  # without metadata, alpha is the rank: another network
    assert (output(opened(folders["sd"], tmp_path / "no-alpha.safetensors")) - wanted).abs().max() > 1e-3
    digests = {scan(folders["sd"], asked=Asked(path)).digest for path in sorted(tmp_path.glob("*.safetensors"))}
    assert len(digests) == 4
    assert scan(folders["sd"], asked=Asked(file, 0.5)).digest not in digests


UNET = "unet.down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q"
FAULTS: dict[str, tuple[Callable[[dict[str, torch.Tensor]], object], str]] = {
    "another kind": (lambda s: s.update({f"{UNET}.oft_R.weight": torch.ones(8)}), "oft_R"),
    "magnitudes that diffusers leaves out": (lambda s: s.update({f"{UNET}.dora_scale": torch.ones(8)}), "dora_scale"),
    "a tensor of the base": (lambda s: s.update({"unet.conv_in.weight": torch.zeros(8, 4, 3, 3)}), "conv_in"),
    "an unknown layer": (
        lambda s: s.update({"unet.lost.lora_A.weight": torch.ones(2, 8), "unet.lost.lora_B.weight": torch.ones(8, 2)}),
        "find their layers",
    ),
    "another component": (lambda s: s.update({"text_encoder_3.q.lora_A.weight": torch.ones(2, 8)}), "text_encoder_3"),
    "a lost factor": (lambda s: s.pop(f"{UNET}.lora_B.weight"), "adapter"),
    "another shape": (lambda s: s.update({f"{UNET}.lora_A.weight": torch.ones(RANK, 9)}), "adapter"),
    "not finite": (lambda s: s[f"{UNET}.lora_A.weight"].fill_(float("nan")), "NaN"),
    "nothing": (lambda s: s.clear(), "no tensors"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_what_does_not_fit_the_base_is_refused(fault: str, folders: dict[str, Path], tmp_path: Path) -> None:
    save_adapter(folders["sd"], tmp_path)
    file = tmp_path / "pytorch_lora_weights.safetensors"
    opened(folders["sd"], file)  # negative control
    state = {key: value.clone() for key, value in load_file(file).items()}
    change, named = FAULTS[fault]
    change(state)
    save_file(state, file)
    with pytest.raises(CheckpointError, match=named) as caught:
        opened(folders["sd"], file)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("fault", ["an unknown layer", "another shape"])
def test_adapters_of_another_base_are_told_to_name_it(fault: str, folders: dict[str, Path], tmp_path: Path) -> None:
    save_adapter(folders["sd"], tmp_path)
    file = tmp_path / "pytorch_lora_weights.safetensors"
    state = {key: value.clone() for key, value in load_file(file).items()}
    FAULTS[fault][0](state)
    save_file(state, file)
    with pytest.raises(CheckpointError, match=r"Name the base that it was trained on\.") as caught:
        opened(folders["sd"], file)
    assert {"an unknown layer": "lost", "another shape": UNET.removeprefix("unet.")}[fault] in str(caught.value)


def test_files_and_bases_that_cannot_be_are_refused_first(
    folders: dict[str, Path], saved: dict[str, Path], tmp_path: Path
) -> None:
    save_adapter(folders["sd"], tmp_path)
    file = tmp_path / "pytorch_lora_weights.safetensors"
    torch.save({}, tmp_path / "adapter.bin")
    (tmp_path / "cut.safetensors").write_bytes(file.read_bytes()[:-8])
    refused: list[tuple[Path, Path, type[AuditError]]] = [
        (folders["sd"], tmp_path / "missing.safetensors", ConfigError),
        (folders["sd"], tmp_path / "adapter.bin", ConfigError),
        (folders["sd"], tmp_path / "cut.safetensors", UnsafeArtifactError),
        (saved["ddpm"], file, ConfigError),
        (folders["pixart"], file, CheckpointError),
    ]
    for folder, adapter, kind in refused:
        with pytest.raises(kind):
            load(scan(folder, asked=Asked(adapter)))
    scanned = scan(folders["sd"], asked=Asked(file))
    file.write_bytes(file.read_bytes())
    with pytest.raises(UnsafeArtifactError, match="changed"):
        load(scanned)
