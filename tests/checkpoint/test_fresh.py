"""A network with fresh weights: the same architecture, nothing of what was learnt, and the same at every call."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from auditor.checkpoint.asked import Asked
from auditor.checkpoint.fresh import reinitialise
from auditor.checkpoint.load import LoadedCheckpoint, load
from auditor.checkpoint.scan import scan
from tests.text_pipelines import save_flux, save_pixart, save_sana, save_sd, save_sd3, save_sdxl


@pytest.fixture(scope="module")
def trained() -> LoadedCheckpoint:
    folder = Path(__file__).resolve().parents[2] / "fixtures" / "memorized" / "checkpoint"
    return load(scan(folder), device="cpu")


def answer(checkpoint: LoadedCheckpoint) -> torch.Tensor:
    x_t = torch.randn(4, *checkpoint.denoiser.sample_shape, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        return checkpoint.denoiser(x_t, torch.tensor([10, 100, 300, 800]))


def test_shapes_stay_and_weights_do_not(trained: LoadedCheckpoint) -> None:
    fresh = reinitialise(trained, "seed")
    ours, theirs = (dict(one.denoiser.network.named_parameters()) for one in (fresh, trained))
    assert {name: p.shape for name, p in ours.items()} == {name: p.shape for name, p in theirs.items()}
    matrices = [name for name, p in theirs.items() if p.dim() > 1]
    assert len(matrices) > 20 and not any(torch.equal(ours[name], theirs[name]) for name in matrices)
    assert not fresh.denoiser.network.training and not any(p.requires_grad for p in ours.values())
    assert fresh.denoiser.schedule is trained.denoiser.schedule and fresh.codec is trained.codec


def test_the_seed_alone_decides(trained: LoadedCheckpoint) -> None:
    assert torch.equal(answer(reinitialise(trained, "seed")), answer(reinitialise(trained, "seed")))
    assert not torch.equal(answer(reinitialise(trained, "seed")), answer(reinitialise(trained, "another")))


def test_the_trained_network_is_left_as_it_was(trained: LoadedCheckpoint) -> None:
    before = answer(trained)
    reinitialise(trained, "seed")
    assert torch.equal(answer(trained), before)


@pytest.mark.parametrize("save", [save_sd, save_sdxl, save_sd3, save_flux, save_pixart, save_sana])
def test_networks_that_take_text_start_anew_too(save: Callable[[Path], Path], tmp_path: Path) -> None:
    size = (16, 16) if save is save_flux else None
    scanned = scan(save(tmp_path), asked=Asked(image_size=size, dtype="bfloat16"))
    own = load(scanned).with_prompts(["dog face", "red apple"])
    fresh = reinitialise(own, "seed")
    assert torch.equal(answer(fresh), answer(reinitialise(own, "seed")))
    assert not torch.allclose(answer(fresh), answer(own), atol=1e-2)
    dtypes = [{parameter.dtype for parameter in one.denoiser.network.parameters()} for one in (own, fresh)]
    assert dtypes == [{torch.bfloat16}] * 2
