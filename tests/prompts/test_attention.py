"""Recording attention changes nothing: not the output, not the network, not which tokens are read."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from auditor.checkpoint.load import LoadedCheckpoint, load
from auditor.checkpoint.scan import scan
from auditor.checkpoint.tokens import read
from tests.prompts.conftest import Captions, bind
from tests.text_pipelines import PROMPTS, save_flux, save_pixart, save_sana, save_sd3, save_sdxl


def inputs(count: int, channels: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    x = torch.randn(count, channels, 8, 8, generator=torch.Generator().manual_seed(1))
    return x, torch.linspace(999, 1, count).long(), torch.arange(count)


def test_output_is_the_same_and_rows_sum_to_one(twemoji: LoadedCheckpoint, captions: Captions) -> None:
    denoiser = bind(twemoji, captions.repeated[:3])
    before = dict(denoiser.denoiser.network.attn_processors)
    arguments = inputs(3, 8)
    output, maps = denoiser.with_attention(*arguments)
    assert torch.equal(output, denoiser(*arguments))
    assert denoiser.denoiser.network.attn_processors == before
    assert len(maps) == 7 and {layer.shape[2] for layer in maps.values()} == {24}
    assert all((layer.sum(2) - 1).abs().max() < 1e-5 for layer in maps.values())


def test_nothing_is_left_in_the_network_after_an_error(twemoji: LoadedCheckpoint, captions: Captions) -> None:
    denoiser = bind(twemoji, captions.repeated[:1])
    with pytest.raises(RuntimeError):
        denoiser.with_attention(torch.zeros(1, 3, 8, 8), torch.tensor([1]), torch.tensor([0]))
    assert not any(layer._forward_hooks or layer._forward_pre_hooks for layer in denoiser.layers.values())


def test_ends_and_readings(twemoji: LoadedCheckpoint) -> None:
    texts = ["dog face", "", "dog  face", "dog face " * 30, "犬の顔 🐶"]
    denoiser = bind(twemoji, texts)
    tokens = denoiser.tokens(torch.arange(5), 5)
    readings = read(denoiser.denoiser, texts)
    assert [reading.tokens for reading in readings] == [end - 1 for end in tokens.ends.tolist()]
    assert readings[0].seen == readings[2].seen != readings[1].seen  # spaces are no tokens
    assert readings[1].tokens == 0 and [reading.cut > 0 for reading in readings] == [False, False, False, True, False]
    assert readings[3].tokens == 22 and readings[3].cut == 60 - 22  # 24 places, two of which begin and end
    assert tokens.ids.shape == (5, 24) and (tokens.ids[range(5), tokens.ends.tolist()] == 1).all()
    places = torch.arange(24)
    assert torch.equal(tokens.closing, places >= tokens.ends[:, None])
    assert denoiser.tokens(None, 2).ends.tolist() == [1, 1]


@pytest.mark.parametrize("save", [save_sdxl, save_sd3, save_flux, save_pixart, save_sana])
def test_every_family_s_prompts_are_read(tmp_path: Path, save) -> None:
    checkpoint = load(scan(save(tmp_path / "checkpoint")))
    one, other, long = read(checkpoint.with_prompts(PROMPTS).denoiser, ["red apple", "dog", "dog " * 2000])
    assert one.seen != other.seen and one.tokens > 0 and one.cut == other.cut == 0
    assert long.cut > 0 and long.tokens + long.cut >= 2000
