"""Fusing takes the sum in float32 and rounds it once, whatever the base is stored in, and holds no wide copy."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from auditor.checkpoint.adapter_scale import refuse_lost, scales
from auditor.checkpoint.adapter_updates import LowRank
from auditor.checkpoint.asked import Asked
from auditor.checkpoint.load import LoadedCheckpoint, load
from auditor.checkpoint.scan import scan
from auditor.diffusion.precision import DTYPES, Precision
from tests.checkpoint.test_adapter_names import drawn, networks, summed
from tests.flow_files import save_flow_file, save_wide_flux
from tests.single_files import save_single_file
from tests.text_pipelines import save_flux, save_sd, save_sd3, save_sdxl, seeded, text_unet

SAVERS: dict[str, Callable[[Path], Path]] = {"sd": save_sd, "sdxl": save_sdxl, "sd3": save_sd3, "flux": save_flux}
ENDS = ("to_q", "to_v", "q_proj", "fc1")
HALF: list[Precision] = ["bfloat16", "float16"]


def opened(
    path: Path, adapter: Path | None, dtype: Precision = "float32", config: Path | None = None
) -> LoadedCheckpoint:
    return load(scan(path, asked=Asked(adapter, image_size=(16, 16), dtype=dtype, config=config)))


def save_adapter(folder: Path, file: Path) -> None:
    """Adapters of alpha = rank on the network and the first text encoder."""
    parts = networks(opened(folder, None))
    main = "unet" if (folder / "unet").is_dir() else "transformer"
    tensors = {}
    for name, part in ((main, parts[-1]), ("text_encoder", parts[0])):
        for layer, (first, second, _) in drawn(part, ENDS, 1).items():
            tensors |= {f"{name}.{layer}.lora_A.weight": first, f"{name}.{layer}.lora_B.weight": second}
    save_file(tensors, file)


def store(folder: Path, dtype: torch.dtype) -> None:
    """The same pipeline's networks in another dtype."""
    for file in folder.rglob("*.safetensors"):
        if file.parent.name not in ("vae", "text_encoder_2", "text_encoder_3"):
            save_file({key: value.to(dtype) for key, value in load_file(file).items()}, file, {"format": "pt"})


@pytest.mark.parametrize("stored", [torch.float32, torch.float16])
@pytest.mark.parametrize("name", SAVERS)
def test_fused_weights_are_the_float32_sum_rounded_once(name: str, stored: torch.dtype, tmp_path: Path) -> None:
    folder, file = SAVERS[name](tmp_path / "folder"), tmp_path / "adapter.safetensors"
    store(folder, stored)
    save_adapter(folder, file)
    base = networks(opened(folder, None))
    wide = networks(opened(folder, file))
    for dtype in HALF:
        half = networks(opened(folder, file, dtype))
        plain = networks(opened(folder, None, dtype))
        for before, fused, rounded, untouched in zip(base, wide, half, plain, strict=True):
            starts, sums, others = (dict(one.named_parameters()) for one in (before, fused, untouched))
            for path, parameter in rounded.named_parameters():
                assert parameter.dtype == others[path].dtype  # T5 keeps float32 where it does without an adapter
                assert torch.equal(parameter, sums[path].to(parameter.dtype))
                assert torch.equal(starts[path].to(parameter.dtype), others[path])
            assert all(torch.equal(*pair) for pair in zip(rounded.buffers(), untouched.buffers(), strict=True))
    for part, seed in ((0, 1), (-1, 1)):
        sums = dict(wide[part].named_parameters())
        for layer, (first, second, _) in drawn(base[part], ENDS, seed).items():
            weight = dict(base[part].named_parameters())[f"{layer}.weight"]
            wanted = summed(weight, (first, second, float(len(first))), 1.0).float()
            torch.testing.assert_close(sums[f"{layer}.weight"], wanted)
            assert not torch.equal(wanted, weight)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ["sd", "flux"])
def test_adapters_on_a_single_file_are_those_on_its_folder(name: str, dtype: Precision, tmp_path: Path) -> None:
    folder, adapter = (
        (save_sd if name == "sd" else save_wide_flux)(tmp_path / "folder"),
        tmp_path / "adapter.safetensors",
    )
    save_adapter(folder, adapter)
    whole = ("vae", "text_encoder", "text_encoder_2")
    file, config = save_single_file(folder, tmp_path) if name == "sd" else save_flow_file(folder, tmp_path, whole)
    for one, other in zip(*(networks(opened(*given)) for given in (
        (file, adapter, dtype, config), (folder, adapter, dtype),
    )), strict=True):  # fmt: skip
        theirs = dict(other.named_parameters())
        for path, parameter in one.named_parameters():
            assert parameter.dtype == theirs[path].dtype and torch.equal(parameter, theirs[path])


def test_scales_are_those_that_peft_reads() -> None:
    layers = {name: LowRank(torch.ones(4, 3), torch.ones(5, 4)) for name in ("a.to_q", "b.to_q")}
    stated = {"r": 4, "lora_alpha": 6}
    assert scales(layers, {}) == {"a.to_q": 1, "b.to_q": 1}
    assert scales(layers, stated | {"alpha_pattern": {"b.to_q": 2}}) == {"a.to_q": 1.5, "b.to_q": 0.5}
    assert scales(layers, stated | {"use_rslora": True}) == {"a.to_q": 3, "b.to_q": 3}
    refuse_lost(layers, layers, {"target_modules": ["to_q"]})
    for wrong in ({"r": 8}, {"alpha_pattern": {"c": 2}}, {"use_dora": True}, {"init_lora_weights": "pissa"}):
        with pytest.raises(ValueError, match=r"to_q|of no layer|adapters"):
            scales(layers, stated | wrong)
    with pytest.raises(ValueError, match="names"):
        refuse_lost(layers, ["a.to_q"], {"target_modules": ["to_q"]})


PEAK = """
import re, sys, threading
from pathlib import Path
from auditor.checkpoint.asked import Asked
from auditor.checkpoint.load import load
from auditor.checkpoint.scan import scan

def own_memory():
    return 1024 * int(re.search(r"RssAnon:\\s+(\\d+)", Path("/proc/self/status").read_text())[1])

base, small, small_adapter, dtype, adapter, config = [None if one == "-" else one for one in sys.argv[1:]]
load(scan(Path(small), asked=Asked(Path(small_adapter))))  # whatever is imported, is by now
before, peak, over = own_memory(), 0, threading.Event()

def watch():
    global peak
    while not over.wait(0.002):
        peak = max(peak, own_memory() - before)

watcher = threading.Thread(target=watch, daemon=True)
watcher.start()
asked = Asked(Path(adapter) if adapter else None, config=Path(config) if config else None, dtype=dtype)
found = load(scan(Path(base), asked=asked))
over.set()
watcher.join()
held = [*found.denoiser.network.parameters(), *found.codec.network.parameters()]
print(peak / sum(tensor.nbytes for tensor in held))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_fusing_and_single_files_hold_no_wide_copy(tmp_path: Path) -> None:
    """Peak of memory that no file backs, in multiples of the weights in half precision; 2.3 if fused in float32."""
    small, folder = save_sd(tmp_path / "small"), save_sd(tmp_path / "sd")
    save_adapter(small, tmp_path / "small.safetensors")
    unet = seeded(partial(text_unet, block_out_channels=(128, 768), attention_head_dim=8))
    unet.half().save_pretrained(folder / "unet")
    save_adapter(folder, tmp_path / "adapter.safetensors")
    file, config = save_single_file(folder, tmp_path)
    start = [sys.executable, "-c", PEAK]
    rest = [str(small), str(tmp_path / "small.safetensors"), "float16"]
    adapter = str(tmp_path / "adapter.safetensors")
    for base, given in ((folder, [adapter, "-"]), (file, ["-", str(config)]), (file, [adapter, str(config)])):
        command = [*start, str(base), *rest, *given]
        out = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120).stdout
        assert float(out.split()[-1]) < 1.5
