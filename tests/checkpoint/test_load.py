"""Loaded denoisers give what the saved networks give, called as their own pipelines call them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import diffusers
import pytest
import torch
from safetensors.torch import load_file, save_file

from auditor.checkpoint.load import load
from auditor.checkpoint.scan import scan
from auditor.diffusion.denoiser import predict
from auditor.errors import CheckpointError, ConfigError

WEIGHTS = "unet/diffusion_pytorch_model.safetensors"
TIMES = torch.tensor([3, 40])


def noise(*shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(1))


def network(folder: Path, name: str = "unet") -> torch.nn.Module:
    kind = json.loads((folder / name / "config.json").read_text())["_class_name"]
    with torch.random.fork_rng(devices=[]):
        return getattr(diffusers, kind).from_pretrained(folder / name, low_cpu_mem_usage=False).eval()


def edit_weights(file: Path, change: Callable[[dict[str, torch.Tensor]], object]) -> None:
    tensors = {name: tensor.clone() for name, tensor in load_file(file).items()}
    change(tensors)
    save_file(tensors, file)


@pytest.mark.parametrize("pipeline", ["DDPMPipeline", "DDIMPipeline", "PNDMPipeline"])
@pytest.mark.parametrize("kind", ["epsilon", "sample", "v_prediction"])
def test_unet_output_is_the_networks_own(pipeline: str, kind: str, save: Callable[..., Path]) -> None:
    scheduler = diffusers.PNDMScheduler if pipeline == "PNDMPipeline" else diffusers.DDIMScheduler
    folder = save(scheduler(prediction_type=kind, beta_schedule="squaredcos_cap_v2"), pipeline)
    loaded = load(scan(folder))
    x = noise(2, 1, 8, 8)
    # The same kernels on the same numbers; weights may lie at other addresses, which changes last bits.
    torch.testing.assert_close(loaded.denoiser(x, TIMES), network(folder)(x, TIMES).sample, rtol=1e-5, atol=1e-5)
    assert loaded.denoiser.prediction_type == kind and loaded.info.pipeline == pipeline
    assert loaded.denoiser.sample_shape == loaded.codec.pixel_shape == (1, 8, 8)
    assert loaded.num_classes is None and loaded.scheduler_config["beta_schedule"] == "squaredcos_cap_v2"


def test_loading_leaves_a_frozen_network_and_a_full_record(saved: dict[str, Path]) -> None:
    loaded = load(scan(saved["ddpm"]))
    inner = loaded.denoiser.network
    assert not inner.training and not any(parameter.requires_grad for parameter in inner.parameters())
    assert {parameter.dtype for parameter in inner.parameters()} == {torch.float32}
    info = loaded.info
    assert info.parameters == sum(tensor.numel() for tensor in load_file(saved["ddpm"] / WEIGHTS).values())
    assert (info.network, info.train_timesteps, info.sample_shape) == ("UNet2DModel", 1000, [1, 8, 8])
    assert not info.conditional and info.digest == scan(saved["ddpm"]).digest


def test_half_precision_weights_are_widened(ddpm: Path) -> None:
    edit_weights(ddpm / WEIGHTS, lambda tensors: tensors.update({k: v.half() for k, v in tensors.items()}))
    inner = load(scan(ddpm)).denoiser.network
    assert torch.equal(inner.conv_in.weight, load_file(ddpm / WEIGHTS)["conv_in.weight"].float())


def test_class_conditional_unet_needs_labels(save: Callable[..., Path]) -> None:
    folder = save(num_class_embeds=3)
    loaded = load(scan(folder))
    x, labels = noise(2, 1, 8, 8), torch.tensor([0, 2])
    expected = network(folder)(x, TIMES, class_labels=labels).sample
    torch.testing.assert_close(loaded.denoiser(x, TIMES, labels), expected, rtol=1e-5, atol=1e-5)
    assert loaded.num_classes == 3 and loaded.info.conditional
    with pytest.raises(ValueError, match="labels"):
        loaded.denoiser(x, TIMES)
    with pytest.raises(ConfigError, match="null label"):
        loaded.guided(2.0)


def test_unconditional_unet_refuses_labels(saved: dict[str, Path]) -> None:
    with pytest.raises(ValueError, match="no labels"):
        load(scan(saved["ddpm"])).denoiser(noise(2, 1, 8, 8), TIMES, TIMES)


def test_learned_variance_is_cut(save: Callable[..., Path]) -> None:
    folder = save(out_channels=2)
    loaded = load(scan(folder))
    x = noise(2, 1, 8, 8)
    torch.testing.assert_close(loaded.denoiser(x, TIMES), network(folder)(x, TIMES).sample[:, :1], rtol=1e-5, atol=1e-5)
    assert "learned variance" in loaded.info.notes[0]


def test_score_network_reads_as_the_noise_its_scheduler_removes(saved: dict[str, Path]) -> None:
    loaded, inner = load(scan(saved["score_sde"])), network(saved["score_sde"])
    scheduler = diffusers.ScoreSdeVeScheduler(num_train_timesteps=50, sigma_max=50.0)
    x0, eps = noise(2, 2, 3, 8, 8)
    sigma = scheduler.discrete_sigmas[TIMES].view(-1, 1, 1, 1)
    x = x0 + sigma * eps
    score = inner(x, sigma.flatten()).sample
    expected = -sigma * score
    torch.testing.assert_close(loaded.denoiser(x, TIMES), expected, rtol=1e-4, atol=1e-4)
    # diffusers' predictor moves the mean by (sigma_i^2 - sigma_{i-1}^2) * score. Down to sigma = 0 in one step that is
    # x + sigma^2 score (Tweedie), which must be the x0 that we read.
    read = predict(loaded.denoiser, x, TIMES)
    torch.testing.assert_close(read.x0, x + sigma**2 * score, rtol=1e-4, atol=1e-3)
    scheduler.set_timesteps(50)
    u = TIMES[1] / 49 + 1e-4  # the time in [0, 1] of training index 40, safely above it
    step = scheduler.step_pred(score[1:], float(u), x[1:], generator=torch.Generator().manual_seed(0))
    drop = scheduler.discrete_sigmas[40] ** 2 - scheduler.discrete_sigmas[39] ** 2
    ours = x[1:] - drop / scheduler.discrete_sigmas[40] * read.eps[1:]
    torch.testing.assert_close(ours, step.prev_sample_mean, rtol=1e-4, atol=1e-3)


def test_dit_output_labels_and_guidance(saved: dict[str, Path]) -> None:
    loaded, inner = load(scan(saved["dit"])), network(saved["dit"], "transformer")
    x, labels, null = noise(2, 4, 4, 4), torch.tensor([1, 4]), torch.tensor([5, 5])
    with torch.no_grad():
        towards = inner(x, timestep=TIMES, class_labels=labels).sample[:, :4]
        away = inner(x, timestep=TIMES, class_labels=null).sample[:, :4]
    close = {"rtol": 1e-4, "atol": 1e-5}  # a doubled batch and other addresses change last bits
    torch.testing.assert_close(loaded.denoiser(x, TIMES, labels), towards, **close)
    torch.testing.assert_close(loaded.denoiser(x, TIMES), away, **close)
    assert not torch.allclose(towards, away, atol=1e-3)  # else guidance could not be told from none
    for scale, expected in ((0.0, away), (1.0, towards), (4.0, away + 4 * (towards - away))):
        torch.testing.assert_close(loaded.guided(scale)(x, TIMES, labels), expected, rtol=1e-4, atol=1e-4)
    with pytest.raises(ValueError, match="labels"):
        loaded.guided(2.0)(x, TIMES)
    assert (loaded.num_classes, loaded.null_class, loaded.denoiser.sample_shape) == (5, 5, (4, 4, 4))
    assert loaded.codec.pixel_shape == (3, 8, 8)


def test_latent_unet_output_is_the_networks_own(saved: dict[str, Path]) -> None:
    loaded = load(scan(saved["ldm"]))
    x = noise(2, 3, 8, 8)
    expected = network(saved["ldm"])(x, TIMES).sample
    torch.testing.assert_close(loaded.denoiser(x, TIMES), expected, rtol=1e-5, atol=1e-5)
    assert loaded.codec.pixel_shape == (3, 16, 16)


def lose(tensors: dict[str, torch.Tensor]) -> None:
    del tensors["conv_in.bias"]


WEIGHT_FAULTS = {
    "conv_in.bias": lose,
    "extra.weight": lambda tensors: tensors.update({"extra.weight": torch.zeros(2)}),
    "conv_out.weight": lambda tensors: tensors["conv_out.weight"].view(-1)[3:5].fill_(float("nan")),
    "conv_out.bias": lambda tensors: tensors["conv_out.bias"].fill_(float("inf")),
    "conv_in.weight": lambda tensors: tensors.update({"conv_in.weight": torch.zeros(8, 2, 3, 3)}),
}


@pytest.mark.parametrize("tensor", WEIGHT_FAULTS)
def test_faulty_weights_are_refused_by_name(tensor: str, ddpm: Path) -> None:
    load(scan(ddpm))  # negative control
    edit_weights(ddpm / WEIGHTS, WEIGHT_FAULTS[tensor])
    with pytest.raises(CheckpointError, match=tensor) as caught:
        load(scan(ddpm))
    assert "\n" not in str(caught.value)


CONFIG_FAULTS = {
    ("scheduler/scheduler_config.json", "prediction_type"): "flow_prediction",
    ("scheduler/scheduler_config.json", "beta_schedule"): "laplace",
    ("scheduler/scheduler_config.json", "_class_name"): "FlowMatchEulerDiscreteScheduler",
    ("unet/config.json", "sample_size"): None,
    ("unet/config.json", "class_embed_type"): "timestep",
    ("unet/config.json", "block_out_channels"): [8, 8],
    ("unet/config.json", "down_block_types"): ["NoSuchBlock", "DownBlock2D"],
}


@pytest.mark.parametrize(("file", "key"), CONFIG_FAULTS)
def test_unsupported_configuration_is_refused(file: str, key: str, ddpm: Path) -> None:
    config = json.loads((ddpm / file).read_text())
    (ddpm / file).write_text(json.dumps(config | {key: CONFIG_FAULTS[file, key]}))
    with pytest.raises(CheckpointError) as caught:
        load(scan(ddpm))
    assert "\n" not in str(caught.value)


def test_pipeline_and_scheduler_must_fit(save: Callable[..., Path], saved: dict[str, Path], tmp_path: Path) -> None:
    folder = save(diffusers.ScoreSdeVeScheduler(), "DDPMPipeline")
    with pytest.raises(CheckpointError, match="variance-exploding"):
        load(scan(folder))


def test_scheduler_defaults_are_those_of_its_class(ddpm: Path) -> None:
    # Heun's default betas (0.00085 to 0.012) are not DDPM's: a silent configuration must not mean DDPM's.
    file = ddpm / "scheduler" / "scheduler_config.json"
    file.write_text(json.dumps({"_class_name": "HeunDiscreteScheduler"}))
    expected = diffusers.HeunDiscreteScheduler().alphas_cumprod.double()
    found = torch.from_numpy(load(scan(ddpm)).denoiser.schedule.signal_scale) ** 2
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=0)


def test_zero_terminal_snr_under_epsilon_is_noted(save: Callable[..., Path]) -> None:
    folder = save(diffusers.DDIMScheduler(rescale_betas_zero_snr=True))
    assert "no signal is left" in load(scan(folder)).info.notes[0]
