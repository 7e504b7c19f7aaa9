"""SD3 and FLUX in one file, whole or in part, are the folders that they were made of; nothing is passed over."""

from __future__ import annotations

from collections.abc import Callable, Collection
from pathlib import Path

import pytest
import torch
from diffusers.loaders.single_file_utils import convert_flux_transformer_checkpoint_to_diffusers
from safetensors.torch import load_file, save_file

from auditor.checkpoint.asked import Asked
from auditor.checkpoint.flux_names import flux_names
from auditor.checkpoint.load import LoadedCheckpoint, load
from auditor.checkpoint.scan import scan
from auditor.diffusion.precision import Precision
from auditor.diffusion.samplers import sample_ddim
from auditor.errors import CheckpointError
from tests.flow_files import save_flow_file, save_sd3_with_identity, save_wide_flux
from tests.text_pipelines import PROMPTS

SAVERS: dict[str, Callable[[Path], Path]] = {
    "sd3": save_sd3_with_identity,
    "sd3.5": lambda folder: save_sd3_with_identity(folder, qk_norm="rms_norm", dual_attention_layers=(0,)),
    "flux": save_wide_flux,
    "schnell": lambda folder: save_wide_flux(folder, guidance=False),
}
THREE, TWO = ("text_encoder", "text_encoder_2", "text_encoder_3"), ("text_encoder", "text_encoder_2")
ENCODERS = {"sd3": THREE, "sd3.5": THREE, "flux": TWO, "schnell": TWO}
SIZE = (16, 16)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("folders")
    return {name: save(root / name) for name, save in SAVERS.items()}


def opened(path: Path, config: Path | None = None, dtype: Precision = "float32") -> LoadedCheckpoint:
    return load(scan(path, asked=Asked(config=config, image_size=SIZE, dtype=dtype))).with_prompts(PROMPTS)


def made(checkpoint: LoadedCheckpoint) -> torch.Tensor:
    """Latents after three guided steps: text encoders take part."""
    noise = torch.randn(3, *checkpoint.denoiser.sample_shape, generator=torch.Generator().manual_seed(1))
    ladder = checkpoint.denoiser.schedule.ladder(3)
    return sample_ddim(checkpoint.guided(3.0), noise, ladder, condition=torch.arange(3))


CASES: list[tuple[str, Collection[str], bool]] = [
    ("sd3", ("vae", *ENCODERS["sd3"]), False),
    ("sd3.5", ("vae",), False),
    ("sd3.5", (), True),
    ("flux", ("vae", *ENCODERS["flux"]), False),
    ("flux", (), True),
    ("schnell", (), False),
]


@pytest.mark.parametrize(("name", "parts", "bare"), CASES)
def test_a_single_file_is_its_folder(
    name: str, parts: Collection[str], bare: bool, folders: dict[str, Path], tmp_path: Path
) -> None:
    file, config = save_flow_file(folders[name], tmp_path, parts, bare=bare)
    single, folder = opened(file, config), opened(folders[name])
    theirs = folder.denoiser.parameters()
    ours = single.denoiser.parameters()
    assert list(ours) == list(theirs) and all(torch.equal(ours[path], theirs[path]) for path in ours)
    latents = made(folder)
    assert torch.equal(made(single), latents) and latents.std() > 0.1
    assert (single.codec.to_pixels(latents) == folder.codec.to_pixels(latents)).all()
    held = ["transformer", *parts]
    others = [one for one in ("vae", *ENCODERS[name]) if one not in parts]
    rest = f"; {', '.join(others)} from {config}" if others else ""
    assert single.info.notes[0] == f"{', '.join(held)} from model.safetensors{rest}"


@pytest.mark.parametrize("name", ["sd3", "flux"])
def test_half_precision_is_the_folders(name: str, folders: dict[str, Path], tmp_path: Path) -> None:
    file, config = save_flow_file(folders[name], tmp_path, ENCODERS[name])
    single, folder = opened(file, config, "bfloat16"), opened(folders[name], dtype="bfloat16")
    theirs = folder.denoiser.parameters()
    for path, parameter in single.denoiser.parameters().items():
        assert parameter.dtype == torch.bfloat16 and torch.equal(parameter, theirs[path])
    assert torch.equal(made(single), made(folder))
    assert not torch.equal(made(single), made(opened(file, config)))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float8_e4m3fn])
def test_narrow_files_are_widened_as_they_are(dtype: torch.dtype, folders: dict[str, Path], tmp_path: Path) -> None:
    file, config = save_flow_file(folders["flux"], tmp_path, ENCODERS["flux"], dtype=dtype)
    theirs = opened(folders["flux"]).denoiser.parameters()
    for path, parameter in opened(file, config).denoiser.parameters().items():
        assert torch.equal(parameter, theirs[path].to(dtype).float())


def test_flux_names_are_those_of_diffusers_converter() -> None:
    """It knows the published width alone, but looks at rows only: one column is enough."""
    width = 3072
    draw = torch.Generator().manual_seed(0)
    rows = {
        **{f"{name}_in.{way}_layer": 2 for name in ("time", "vector", "guidance") for way in ("in", "out")},
        "txt_in": 2, "img_in": 2, "final_layer.linear": 2, "final_layer.adaLN_modulation.1": 4,
    }  # fmt: skip
    for side in ("img", "txt"):
        rows |= {f"double_blocks.0.{side}_{layer}": 2 for layer in ("mod.lin", "attn.proj", "mlp.0", "mlp.2")}
        rows[f"double_blocks.0.{side}_attn.qkv"] = 6
    rows |= {"single_blocks.0.modulation.lin": 2, "single_blocks.0.linear1": 7 * width, "single_blocks.0.linear2": 2}
    tensors = {
        f"{name}.{leaf}": torch.randn(*((count, 1) if leaf == "weight" else (count,)), generator=draw)
        for name, count in rows.items()
        for leaf in ("weight", "bias")
    }
    for block in ("double_blocks.0.img_attn", "double_blocks.0.txt_attn", "single_blocks.0"):
        for kind in ("query", "key"):
            tensors[f"{block}.norm.{kind}_norm.scale"] = torch.randn(4, generator=draw)
    wanted = convert_flux_transformer_checkpoint_to_diffusers(dict(tensors))
    three = {key: value for key, value in tensors.items() if ".qkv." not in key}
    found = flux_names(three, width)
    for key, value in tensors.items():  # two rows a part, in place of 3,072
        if ".qkv." in key:
            found |= flux_names({key: value}, 2)
    assert found.keys() == wanted.keys()
    assert all(torch.equal(found[key], wanted[key]) for key in wanted)


NETWORK = "model.diffusion_model."
SD3_QKV = f"{NETWORK}joint_blocks.1.x_block.attn.qkv.weight"
FLUX_QKV = f"{NETWORK}double_blocks.1.img_attn.qkv.weight"
T5 = "text_encoders.t5xxl.transformer."
CLIP = "text_encoders.clip_l.transformer.text_model."
Fault = tuple[str, Callable[[dict[str, torch.Tensor]], object], str]
FAULTS: dict[str, Fault] = {
    "foreign": ("flux", lambda s: s.update({"control.weight": torch.ones(2)}), "control.weight"),
    "extra in SD3": ("sd3", lambda s: s.update({f"{NETWORK}new.weight": torch.ones(2)}), "unexpected.*new.weight"),
    "lost in SD3": ("sd3", lambda s: s.pop(SD3_QKV), "joint_blocks.1.x_block.attn.qkv.weight"),
    "a block lost in SD3": ("sd3", lambda s: [s.pop(key) for key in [*s] if "joint_blocks.1." in key], "transformer"),
    "extra in FLUX": ("flux", lambda s: s.update({f"{NETWORK}new.weight": torch.ones(2)}), "unexpected.*new.weight"),
    "scaled": ("flux", lambda s: s.update({f"{NETWORK}img_in.scale_weight": torch.ones(1)}), "scale_weight"),
    "lost in FLUX": ("flux", lambda s: s.pop(FLUX_QKV), "lacks.*transformer_blocks.1.attn.to_"),
    "cut in FLUX": ("flux", lambda s: s.update({FLUX_QKV: s[FLUX_QKV][:-1].clone()}), "img_attn.qkv.weight"),
    "another shape": ("flux", lambda s: s.update({FLUX_QKV: s[FLUX_QKV][:, 1:].clone()}), "transformer_blocks.1.attn"),
    "twice": ("flux", lambda s: s.update({"img_in.bias": s[f"{NETWORK}img_in.bias"].clone()}), "twice"),
    "not finite": ("flux", lambda s: s[FLUX_QKV].fill_(float("nan")), "NaN"),
    "no network": ("flux", lambda s: [s.pop(key) for key in [*s] if key.startswith(NETWORK)], "transformer"),
    "extra in T5": ("sd3", lambda s: s.update({f"{T5}new.weight": torch.ones(2)}), "text_encoder_3.*new.weight"),
    "lost in T5": ("sd3", lambda s: s.pop(f"{T5}shared.weight"), "text_encoder_3.*lacks.*embed_tokens.weight"),
    "two embeddings in T5": (
        "sd3", lambda s: s.update({f"{T5}encoder.embed_tokens.weight": s[f"{T5}shared.weight"] + 1}), "differ",
    ),
    "lost in CLIP": ("flux", lambda s: s.pop(f"{CLIP}final_layer_norm.bias"), "text_encoder.*final_layer_norm.bias"),
    "projected": (
        "sd3", lambda s: s.update({f"{CLIP[:-11]}text_projection.weight": 2 * torch.eye(16)}), "text_projection",
    ),
    "CLIP of another shape": (
        "sd3", lambda s: s.update({f"{CLIP}final_layer_norm.bias": torch.ones(9)}), "text_encoder",
    ),
    "lost in the autoencoder": ("flux", lambda s: s.pop("vae.encoder.conv_in.bias"), "vae.*encoder.conv_in.bias"),
    "extra in the autoencoder": ("flux", lambda s: s.update({"vae.new.weight": torch.ones(2)}), "vae.*unexpected"),
}  # fmt: skip


@pytest.fixture(scope="module")
def whole(folders: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Path, Path]]:
    """Whole single files, not to be changed, which load."""
    found = {}
    for name in ("sd3", "flux"):
        target = tmp_path_factory.mktemp(name)
        found[name] = save_flow_file(folders[name], target, ("vae", *ENCODERS[name]))
        opened(*found[name])  # negative control
    return found


@pytest.mark.parametrize("fault", FAULTS)
def test_what_does_not_fit_the_configuration_is_refused(
    fault: str, whole: dict[str, tuple[Path, Path]], tmp_path: Path
) -> None:
    name, change, named = FAULTS[fault]
    tensors = {key: value.clone() for key, value in load_file(whole[name][0]).items()}
    change(tensors)
    save_file(tensors, tmp_path / "faulty.safetensors")
    with pytest.raises(CheckpointError, match=named) as caught:
        opened(tmp_path / "faulty.safetensors", whole[name][1])
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("bare", [False, True])
def test_a_network_for_editing_is_refused_by_its_channels(bare: bool, folders: dict[str, Path], tmp_path: Path) -> None:
    file, config = save_flow_file(folders["flux"], tmp_path, (), bare=bare)
    tensors, first = load_file(file), f"{'' if bare else NETWORK}img_in.weight"
    save_file(tensors | {first: torch.ones(16, 96)}, file)
    with pytest.raises(CheckpointError, match=r"transformer: got 96 channels in, 16 out.*editing"):
        scan(file, asked=Asked(config=config))


def test_what_other_programs_repeat_is_accepted(whole: dict[str, tuple[Path, Path]], tmp_path: Path) -> None:
    file, config = whole["sd3"]
    tensors = dict(load_file(file))
    tensors[f"{CLIP[:-11]}text_projection.weight"] = torch.eye(16)
    tensors[f"{T5}encoder.embed_tokens.weight"] = tensors[f"{T5}shared.weight"].clone()
    save_file(tensors, tmp_path / "saved.safetensors")
    assert torch.equal(made(opened(tmp_path / "saved.safetensors", config)), made(opened(file, config)))


def test_a_component_that_neither_holds_is_refused_first(folders: dict[str, Path], tmp_path: Path) -> None:
    file, config = save_flow_file(folders["flux"], tmp_path, ("text_encoder",))
    scan(file, asked=Asked(config=config))  # negative control
    for component in ("vae", "text_encoder_2"):
        (weights,) = (config / component).glob("*.safetensors")
        kept = weights.read_bytes()
        weights.unlink()
        with pytest.raises(CheckpointError, match=rf"safetensors: {component}: .*no weights in .*{component}"):
            scan(file, asked=Asked(config=config))
        weights.write_bytes(kept)


def test_a_component_that_the_configuration_leaves_out_is_refused(folders: dict[str, Path], tmp_path: Path) -> None:
    file, config = save_flow_file(folders["sd3"], tmp_path, ENCODERS["sd3"])
    index = config / "model_index.json"
    index.write_text(index.read_text().replace('"T5EncoderModel"', "null").replace(
        '[\n    "transformers",\n    null\n  ]', "[null, null]"))  # fmt: skip
    with pytest.raises(CheckpointError, match=r"the tensor text_encoders\.t5xxl"):
        scan(file, asked=Asked(config=config))


def test_file_and_folder_decide_the_digest(folders: dict[str, Path], tmp_path: Path) -> None:
    file, config = save_flow_file(folders["flux"], tmp_path, ())
    first = scan(file, asked=Asked(config=config))
    assert scan(file, asked=Asked(config=config)).digest == first.digest
    (weights,) = (config / "vae").glob("*.safetensors")
    tensors = load_file(weights)
    save_file({**tensors, "decoder.conv_in.bias": tensors["decoder.conv_in.bias"] + 1}, weights)
    second = scan(file, asked=Asked(config=config))
    network = load_file(file)
    save_file({**network, f"{NETWORK}img_in.bias": network[f"{NETWORK}img_in.bias"] + 1}, file)
    third = scan(file, asked=Asked(config=config))
    assert len({first.digest, second.digest, third.digest}) == 3


def test_a_file_in_its_own_configurations_folder_counts_once(folders: dict[str, Path], tmp_path: Path) -> None:
    file, config = save_flow_file(folders["flux"], tmp_path, ())
    inside = config / file.name
    file.rename(inside)
    scanned = scan(inside, asked=Asked(config=config))
    assert [one.path for one in scanned.files].count(file.name) == 1
    made(opened(inside, config))
