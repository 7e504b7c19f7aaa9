"""A single file with its configuration is the folder that it was made of; nothing in it is passed over in silence."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import pytest
import torch
from safetensors.torch import load_file, save_file

from auditor.checkpoint.asked import Asked
from auditor.checkpoint.attention import text_encoders
from auditor.checkpoint.load import LoadedCheckpoint, load
from auditor.checkpoint.scan import scan
from auditor.checkpoint.single_file import NETWORK
from auditor.diffusion.precision import DTYPES, Precision
from auditor.errors import AuditError, CheckpointError, ConfigError, UnsafeArtifactError
from tests.single_files import save_single_file
from tests.text_pipelines import PROMPTS, ddim, save_pixart, save_sd, save_sd3, save_sdxl

SAVERS: dict[str, Callable[[Path], Path]] = {"sd": save_sd, "sdxl": save_sdxl}


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("folders")
    return {name: save(root / name) for name, save in SAVERS.items()}


@pytest.mark.parametrize(("name", "open_clip"), [("sd", False), ("sd", True), ("sdxl", False)])
def test_a_single_file_is_its_folder(name: str, open_clip: bool, folders: dict[str, Path], tmp_path: Path) -> None:
    file, config = save_single_file(folders[name], tmp_path, open_clip)
    scanned = scan(file, asked=Asked(config=config))
    single, folder = load(scanned), load(scan(folders[name]))
    theirs = folder.denoiser.parameters()
    for path, parameter in single.denoiser.parameters().items():
        assert torch.equal(parameter, theirs[path])
    x = torch.randn(3, 4, 8, 8, generator=torch.Generator().manual_seed(1))
    t, places = torch.tensor([9, 500, 900]), torch.arange(3)
    made, wanted = (one.with_prompts(PROMPTS).denoiser(x, t, places) for one in (single, folder))
    torch.testing.assert_close(made, wanted)  # text encoders too
    assert (single.codec.to_pixels(x) == folder.codec.to_pixels(x)).all()
    assert single.info.path == str(file) and single.info.files[-1].path == "model.safetensors"
    assert single.info.digest != folder.info.digest and single.info.parameters == folder.info.parameters
    assert "2 averaged weights (model_ema) not used" in single.info.notes


@pytest.mark.parametrize("name", ["sd", "sdxl"])
def test_half_precision_is_the_folders(name: str, folders: dict[str, Path], tmp_path: Path) -> None:
    file, config = save_single_file(folders[name], tmp_path)
    for dtype in get_args(Precision):
        single = load(scan(file, asked=Asked(config=config, dtype=dtype)))
        folder = load(scan(folders[name], asked=Asked(dtype=dtype)))
        for one, other in ((single.denoiser, folder.denoiser), *zip(*map(encoders, (single, folder)), strict=True)):
            theirs = dict(network_of(other).named_parameters())
            for path, parameter in network_of(one).named_parameters():
                assert parameter.dtype == theirs[path].dtype == DTYPES[dtype] and torch.equal(parameter, theirs[path])


def encoders(checkpoint: LoadedCheckpoint) -> list[Any]:
    return list(text_encoders(checkpoint.denoiser))


def network_of(part: Any) -> torch.nn.Module:
    return part.network


IN_LAYER = "model.diffusion_model.input_blocks.1.0.in_layers.0.weight"
TEXT = "cond_stage_model.transformer.text_model.final_layer_norm.bias"
QUANT = "first_stage_model.quant_conv.bias"
FAULTS: dict[str, tuple[Callable[[dict[str, torch.Tensor]], object], str]] = {
    "foreign": (lambda s: s.update({"control_model.zero.weight": torch.zeros(2)}), "control_model"),
    "extra in the network": (lambda s: s.update({"model.diffusion_model.extra": torch.ones(2)}), "with the unexp"),
    "lost in the network": (lambda s: s.pop(IN_LAYER), "unet"),
    "lost in the text encoder": (lambda s: s.pop(TEXT), "text_encoder"),
    "lost in the autoencoder": (lambda s: s.pop(QUANT), "vae"),
    "renamed in the autoencoder": (lambda s: s.update({f"{QUANT}ed": s.pop(QUANT)}), "vae"),
    "not finite": (lambda s: s[IN_LAYER].fill_(float("nan")), "NaN"),
    "another shape": (lambda s: s.update({IN_LAYER: torch.ones(9)}), "unet"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_what_does_not_fit_the_configuration_is_refused(fault: str, folders: dict[str, Path], tmp_path: Path) -> None:
    file, config = save_single_file(folders["sd"], tmp_path)
    load(scan(file, asked=Asked(config=config)))  # negative control
    tensors = {key: value.clone() for key, value in load_file(file).items()}
    change, named = FAULTS[fault]
    change(tensors)
    save_file(tensors, file)
    with pytest.raises(CheckpointError, match=named) as caught:
        load(scan(file, asked=Asked(config=config)))
    assert "\n" not in str(caught.value)


def test_files_and_configurations_that_cannot_be_are_refused_first(folders: dict[str, Path], tmp_path: Path) -> None:
    file, config = save_single_file(folders["sd"], tmp_path)
    other = tmp_path / "model.ckpt"
    other.write_bytes(b"\x80\x04")
    cut = tmp_path / "cut.safetensors"
    cut.write_bytes(file.read_bytes()[:-8])
    sd3, pixart = save_sd3(tmp_path / "sd3"), save_pixart(tmp_path / "pixart")
    cases: list[tuple[Path, Path | None, type[AuditError]]] = [
        (file, None, ConfigError),
        (file, tmp_path / "nowhere", ConfigError),
        (file, pixart, ConfigError),
        (file, sd3, CheckpointError),
        (folders["sd"], config, ConfigError),
        (other, config, ConfigError),
        (cut, config, UnsafeArtifactError),
        (file, folders["sdxl"], CheckpointError),
    ]
    for path, given, kind in cases:
        with pytest.raises(kind):
            scan(path, asked=Asked(config=given))
    scanned = scan(file, asked=Asked(config=config))
    file.write_bytes(file.read_bytes())
    with pytest.raises(UnsafeArtifactError, match="changed"):
        load(scanned)


@pytest.mark.parametrize("name", ["sd", "sdxl"])
def test_a_network_for_inpainting_is_refused_by_its_channels(
    name: str, folders: dict[str, Path], tmp_path: Path
) -> None:
    """Only its header is looked at, whatever the configuration says."""
    file, config = save_single_file(folders[name], tmp_path)
    tensors, first = load_file(file), f"{NETWORK}input_blocks.0.0.weight"
    save_file(tensors | {first: torch.ones(8, 9, 3, 3)}, file)
    with pytest.raises(CheckpointError, match=r"unet: got 9 channels in, 4 out.*inpainting"):
        scan(file, asked=Asked(config=config))


V, ZERO = {"prediction_type": "v_prediction"}, {"rescale_betas_zero_snr": True}
EMPTY = torch.empty(0)
# what the file states in tensors and metadata, the scheduler's configuration that agrees, and one that does not
TRAININGS: dict[str, tuple[dict[str, torch.Tensor], dict[str, str], dict[str, object], dict[str, object], str]] = {
    "metadata, v": ({}, {"modelspec.prediction_type": "v"}, V, {}, "v_prediction, as modelspec.prediction_type"),
    "metadata, epsilon": ({}, {"modelspec.prediction_type": "epsilon"}, {}, V, "epsilon, as modelspec.prediction_type"),
    "v_pred": ({"v_pred": EMPTY}, {}, V, {}, "v_prediction, as the tensor v_pred"),
    "ztsnr": ({"v_pred": EMPTY, "ztsnr": EMPTY}, {}, V | ZERO, V, "ztsnr"),
    "a table": ({"alphas_cumprod": ddim(**ZERO).alphas_cumprod.half()}, {}, ZERO, {}, "alphas_cumprod"),
    "a short table": ({"alphas_cumprod": torch.ones(1)}, {}, {}, {}, "alphas_cumprod"),
}


@pytest.mark.parametrize("training", TRAININGS)
def test_a_training_that_the_file_states_is_that_of_the_configuration(
    training: str, folders: dict[str, Path], tmp_path: Path
) -> None:
    tensors, metadata, agreed, other, named = TRAININGS[training]
    file, config = save_single_file(folders["sd"], tmp_path)
    left = {key: value for key, value in load_file(file).items() if key != "alphas_cumprod"}
    save_file(left | tensors, file, metadata=metadata)
    scheduler = config / "scheduler" / "scheduler_config.json"
    stated = json.loads(scheduler.read_text())
    if agreed != other:
        scheduler.write_text(json.dumps(stated | agreed))
        assert load(scan(file, asked=Asked(config=config))).denoiser.prediction_type == agreed.get(
            "prediction_type", "epsilon"
        )
    scheduler.write_text(json.dumps(stated | other))
    with pytest.raises(CheckpointError, match=named):
        load(scan(file, asked=Asked(config=config)))
