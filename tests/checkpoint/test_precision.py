"""Half precision: what is loaded in it, that nothing is widened on the way, and what must stay wide."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from auditor.checkpoint.asked import Asked
from auditor.checkpoint.attention import text_encoders
from auditor.checkpoint.load import LoadedCheckpoint, load
from auditor.checkpoint.scan import scan
from auditor.diffusion.precision import DTYPES
from auditor.errors import CheckpointError
from tests.checkpoint.conftest import save_dit
from tests.text_pipelines import (
    PROMPTS,
    save_flux,
    save_pixart,
    save_sana,
    save_sd,
    save_sd3,
    save_sdxl,
    seeded,
    text_unet,
)

FAMILIES: dict[str, Callable[[Path], Path]] = {
    "sd": save_sd, "sdxl": save_sdxl, "sd3": save_sd3, "flux": save_flux, "pixart": save_pixart, "sana": save_sana,
}  # fmt: skip
HALF = ["bfloat16", "float16"]


def opened(folder: Path, name: str, dtype: str) -> LoadedCheckpoint:
    size = (16, 16) if name == "flux" else None
    return load(scan(folder, asked=Asked(image_size=size, dtype=dtype)))


def networks(checkpoint: LoadedCheckpoint) -> list[Any]:
    denoiser: Any = checkpoint.denoiser
    return [denoiser.network, *(encoder.network for encoder in text_encoders(denoiser))]


def dtypes(network: torch.nn.Module) -> set[torch.dtype]:
    return {parameter.dtype for parameter in network.parameters()}


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("half")
    return {name: save(root / name) for name, save in (FAMILIES | {"dit": save_dit}).items()}


@pytest.mark.parametrize("dtype", HALF)
@pytest.mark.parametrize("name", [*FAMILIES, "dit"])
def test_loading_narrow_and_narrowing_give_the_same_weights(
    name: str, dtype: str, folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    narrow = opened(folders[name], name, dtype)
    monkeypatch.setattr("auditor.checkpoint.components.loading_dtype", lambda *_: torch.float32)
    narrowed = opened(folders[name], name, dtype)
    for ours, theirs in zip(networks(narrow), networks(narrowed), strict=True):
        assert DTYPES[dtype] in dtypes(ours) or type(ours).__name__ == "Gemma2Model"
        parameters = dict(theirs.named_parameters())
        assert all(torch.equal(one, parameters[key]) for key, one in ours.named_parameters())
        assert {key: one.dtype for key, one in ours.named_parameters()} == {k: p.dtype for k, p in parameters.items()}
        assert all(torch.equal(*pair) for pair in zip(ours.buffers(), theirs.buffers(), strict=True))


@pytest.mark.parametrize("dtype", HALF)
@pytest.mark.parametrize("name", FAMILIES)
def test_answers_stay_near_those_in_float32(name: str, dtype: str, folders: dict[str, Path]) -> None:
    full, half = (opened(folders[name], name, kind).with_prompts(PROMPTS) for kind in ("float32", dtype))
    noise = torch.randn(3, *full.denoiser.sample_shape, generator=torch.Generator().manual_seed(1))
    t, places = torch.tensor([300, 500, 700]), torch.arange(3)
    with torch.inference_mode():
        made, wanted = half.denoiser(noise, t, places), full.denoiser(noise, t, places)
    assert made.dtype == torch.float32
    # eight bits of mantissa, or eleven: 0.005 to 0.015 of the standard deviation as seen, or 0.001 to 0.002; Sana's
    # Gemma keeps the eight
    most = 0.05 if dtype == "bfloat16" or name == "sana" else 0.005
    assert 0 < (made - wanted).square().mean().sqrt() < most * wanted.std()
    embedding = half.denoiser.prompts.embedding(0)
    assert embedding["states"].dtype == torch.float32
    assert not torch.equal(embedding["states"], full.denoiser.prompts.embedding(0)["states"])


def test_what_overflows_or_decides_pixels_stays_wide(folders: dict[str, Path]) -> None:
    flux, sana = opened(folders["flux"], "flux", "float16"), opened(folders["sana"], "sana", "float16")
    _, clip, t5 = networks(flux)
    wide = {name for name, parameter in t5.named_parameters() if parameter.dtype == torch.float32}
    assert wide == {name for name, _ in t5.named_parameters() if name.endswith(".wo.weight")} and wide
    assert dtypes(clip) == {torch.float16}
    assert dtypes(networks(sana)[1]) == {torch.bfloat16}
    for checkpoint in (flux, sana):
        assert dtypes(checkpoint.codec.network) == {torch.float32}
    assert dtypes(networks(opened(folders["flux"], "flux", "bfloat16"))[2]) == {torch.bfloat16}


def test_weights_beyond_float16_are_refused_with_a_way_out(tmp_path: Path) -> None:
    folder = save_sd(tmp_path / "sd")
    file = folder / "unet/diffusion_pytorch_model.safetensors"
    tensors = {name: tensor.clone() for name, tensor in load_file(file).items()}
    tensors["conv_out.weight"].view(-1)[7] = 1e6
    save_file(tensors, file, {"format": "pt"})
    with pytest.raises(CheckpointError, match=r"1 of 288 values NaN or infinite in conv_out.*bfloat16 or float32"):
        opened(folder, "sd", "float16")
    assert torch.isfinite(networks(opened(folder, "sd", "bfloat16"))[0].conv_out.weight).all()


PEAK = """
import re, sys, threading, time
from pathlib import Path
from auditor.checkpoint.asked import Asked
from auditor.checkpoint.load import load
from auditor.checkpoint.scan import scan

def own_memory():
    return 1024 * int(re.search(r"RssAnon:\\s+(\\d+)", Path("/proc/self/status").read_text())[1])

load(scan(Path(sys.argv[2])))  # whatever is imported, is by now
before, peak, over = own_memory(), 0, threading.Event()

def watch():
    global peak
    while not over.wait(0.002):
        peak = max(peak, own_memory() - before)

watcher = threading.Thread(target=watch)
watcher.start()
found = load(scan(Path(sys.argv[1]), asked=Asked(dtype=sys.argv[3])))
over.set()
watcher.join()
held = [*found.denoiser.network.parameters(), *found.codec.network.parameters()]
print(peak / sum(tensor.nbytes for tensor in held))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_half_precision_weights_are_loaded_without_a_wide_copy(tmp_path: Path, folders: dict[str, Path]) -> None:
    """Peak of memory that no file backs, in multiples of the weights: 1.1 as seen; 2.2 if loaded wide and narrowed."""
    folder = save_sd(tmp_path / "sd")
    unet = seeded(partial(text_unet, block_out_channels=(128, 768), attention_head_dim=8))
    unet.half().save_pretrained(folder / "unet")
    command = [sys.executable, "-c", PEAK, str(folder), str(folders["sd"]), "float16"]
    out = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert float(out.split()[-1]) < 1.5
    command[-1] = "float32"
    wide = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert float(wide.split()[-1]) < 1.5  # of twice as much: widened tensor by tensor, likewise
