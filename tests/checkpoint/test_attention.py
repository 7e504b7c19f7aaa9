"""Maps of attention to text of every family: they change nothing, and their rows and columns are what they say."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
import torch

from auditor.checkpoint.attention import Attending, attending, pixels_to_text
from auditor.checkpoint.attention_tokens import NO_TOKEN, columns
from auditor.checkpoint.attention_weights import mean_of_heads, recorded
from auditor.checkpoint.load import load
from auditor.checkpoint.scan import scan
from tests.text_pipelines import PROMPTS, save_flux, save_pixart, save_sana, save_sd, save_sd3, save_sdxl

SAVE: dict[str, Callable[[Path], Path]] = {
    "sd": save_sd, "sdxl": save_sdxl, "pixart": save_pixart, "sana": save_sana, "sd3": save_sd3, "flux": save_flux,
}  # fmt: skip
FAMILIES = pytest.mark.parametrize("family", SAVE)
JOINT = pytest.mark.parametrize("family", ["sd3", "flux"])
TEXTS = [*PROMPTS, "Dog face"]
TOLERANCE = 1e-5  # float32 sums of 300 to 500 weights


@cache
def opened(family: str) -> Attending:
    with TemporaryDirectory() as folder:
        found = attending(load(scan(SAVE[family](Path(folder) / "checkpoint"))).with_prompts(TEXTS).denoiser)
    assert found is not None
    return found


def inputs(denoiser: Attending, count: int = 3) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    x = torch.randn(count, denoiser.sample_shape[0], 8, 8, generator=torch.Generator().manual_seed(1))
    return x, torch.linspace(900, 1, count).long(), torch.arange(count)


@FAMILIES
def test_the_output_is_the_same_bit_by_bit_and_rows_sum_to_one(family: str) -> None:
    denoiser = opened(family)
    output, maps = denoiser.with_attention(*inputs(denoiser))
    assert torch.equal(output, denoiser(*inputs(denoiser)))
    tokens = denoiser.tokens(torch.arange(3), 3)
    assert maps and all(layer.shape[2] == tokens.ids.shape[1] for layer in maps.values())
    for layer in maps.values():
        assert layer.shape[1] in (16, 64) and (layer >= 0).all() and (layer.sum(2) - 1).abs().max() < TOLERANCE
    other = denoiser.with_attention(*inputs(denoiser)[:2], torch.tensor([1, 2, 0]))[1]
    assert all((other[name] - layer).abs().max() > 1e-4 for name, layer in maps.items())  # it is of the prompt


@FAMILIES
def test_a_query_s_weights_over_all_keys_sum_to_one(family: str) -> None:
    denoiser = opened(family)
    with recorded(denoiser.layers, torch.Tensor.clone) as whole:
        denoiser(*inputs(denoiser))
    tokens = denoiser.tokens(torch.arange(3), 3).ids.shape[1]
    for layer in whole.values():
        assert (layer.sum(2) - 1).abs().max() < TOLERANCE
        # image queries on text, or both on both
        assert layer.shape[1:] == ((16 + tokens,) * 2 if family in ("sd3", "flux") else (layer.shape[1], tokens))


@FAMILIES
def test_a_column_is_the_token_of_its_place(family: str) -> None:
    """A token's state changed alone moves its own column of the first layer, others by what it takes of them."""
    denoiser = opened(family)
    x, t, places = inputs(denoiser, 1)
    text, column = denoiser.denoiser.prompts.at(places, 1), 2
    changed = {**text, "states": text["states"].clone()}
    changed["states"][:, column] += 1.0
    before, after = (first_layer(denoiser, x, t, one) for one in (text, changed))
    moved = (after - before).abs().amax((0, 1))
    assert moved.argmax() == column and moved[column] > 1e-4
    assert torch.cat([moved[:column], moved[column + 1 :]]).max() < moved[column] / 2


@JOINT
def test_a_row_is_the_pixel_of_its_place(family: str) -> None:
    """A patch of the latents changed alone moves its own row of the first layer: keys of pixels are left out."""
    denoiser = opened(family)
    x, t, places = inputs(denoiser, 1)
    changed = x.clone()
    changed[:, :, 2:4, 6:8] += 1.0  # second of four rows, last of four columns of patches
    text = denoiser.denoiser.prompts.at(places, 1)
    before, after = (first_layer(denoiser, one, t, text) for one in (x, changed))
    moved = (after - before).abs().amax((0, 2))
    # heads weigh by their attention to text, of which a changed pixel takes some: a little moves elsewhere, too
    assert moved.argmax() == 7 and moved[7] > 1e-5
    assert torch.cat([moved[:7], moved[8:]]).max() < moved[7] / 4


def first_layer(denoiser: Attending, x: torch.Tensor, t: torch.Tensor, text: dict[str, torch.Tensor]) -> torch.Tensor:
    """The map of the layer that is computed first, Float32[B pixels tokens]."""
    count = text["states"].shape[1]
    with recorded(denoiser.layers, lambda weights: pixels_to_text(weights, count, denoiser.keys)) as maps:
        denoiser.denoiser.raw(x, t, text)
    found = next(iter(maps.values()))
    return found / found.sum(2, keepdim=True)


@pytest.mark.parametrize("family", ["pixart", "sana"])
def test_padding_that_is_out_of_sight_has_no_weight(family: str) -> None:
    denoiser = opened(family)
    _, maps = denoiser.with_attention(*inputs(denoiser))
    tokens = denoiser.tokens(torch.arange(3), 3)
    padding = tokens.closing.clone()
    if tokens.ends is not None:
        padding[torch.arange(3), tokens.ends] = False
    assert padding.sum(1).min() > 250
    for layer in maps.values():
        assert layer[padding[:, None].expand_as(layer)].max() == 0


@pytest.mark.parametrize("family", ["sd3", "flux"])
def test_padding_that_is_attended_to_has_weight(family: str) -> None:
    """The control of the test above: these networks are told of no padding."""
    denoiser = opened(family)
    _, maps = denoiser.with_attention(*inputs(denoiser))
    padding = denoiser.tokens(torch.arange(3), 3).closing
    for layer in maps.values():
        assert (layer * padding[:, None]).sum(2).min() > 0.5


def test_sd3_s_columns_are_clip_s_then_t5_s(tmp_path: Path) -> None:
    denoiser = opened("sd3")
    encode = denoiser.denoiser.prompts.encode
    clip, t5 = encode.clips[0].tokenizer, encode.t5.tokenizer
    found = columns(encode, "red apple")
    own, theirs = clip("red apple").input_ids, t5("red apple").input_ids
    assert found.ids[: len(own)].tolist() == own and found.end == len(own) - 1
    assert found.ids[24 : 24 + len(theirs)].tolist() == theirs and len(found.ids) == 24 + 256
    words = [*range(len(own) - 1), *range(24, 24 + len(theirs) - 1)]
    assert (~found.closing).nonzero().flatten().tolist() == words

    without = load(scan(save_sd3(tmp_path / "without", t5=False))).with_prompts(TEXTS).denoiser
    bare = columns(without.prompts.encode, "red apple")
    assert torch.equal(bare.ids[:24], found.ids[:24]) and bare.end == found.end
    assert (bare.ids[24:] == NO_TOKEN).all() and bare.closing[24:].all()


def test_pixart_reads_what_it_lowers_and_flux_s_columns_are_t5_s() -> None:
    pixart, flux = (opened(family).denoiser.prompts.encode for family in ("pixart", "flux"))
    assert torch.equal(columns(pixart, " Dog face").ids, columns(pixart, "dog face").ids)
    found, theirs = columns(flux, "red apple"), flux.t5.tokenizer("red apple").input_ids
    assert found.ids[: len(theirs)].tolist() == theirs and found.end == len(theirs) - 1
    assert len(found.ids) == 512 and int(found.closing.sum()) == 512 - found.end
    assert not torch.equal(columns(flux, "Dog").ids, columns(flux, "dog").ids)


def test_sana_s_columns_are_the_prompt_behind_the_end_of_its_instruction() -> None:
    denoiser = opened("sana")
    encode = denoiser.denoiser.prompts.encode
    found = columns(encode, "Red apple")
    tokenizer = encode.encoder.tokenizer
    prompt = tokenizer(encode.instruction + "red apple").input_ids[len(tokenizer(encode.instruction).input_ids) - 1 :]
    seen = found.ids[~found.closing].tolist()
    assert seen[0] == tokenizer.bos_token_id and seen[1:] == prompt and len(found.ids) == 300
    assert found.end is None and not denoiser.marks_end
    # the place after the last is what guidance is away from: nothing but the beginning
    null = denoiser.tokens(torch.tensor([len(TEXTS)]), 1)
    assert null.ends is None and (~null.closing).sum() == 1 and null.ids[0, 0] == tokenizer.bos_token_id


def test_weights_are_those_of_torch_s_attention() -> None:
    """Values that are unit vectors come back as the weights."""
    draw = torch.Generator().manual_seed(0)
    query, key = torch.randn(2, 3, 5, 8, generator=draw), torch.randn(2, 3, 7, 8, generator=draw)
    unit = torch.eye(7).expand(2, 3, 7, 7)
    seen = torch.rand(2, 1, 1, 7, generator=draw) > 0.3
    added = torch.randn(2, 3, 1, 7, generator=draw)
    for options in ({}, {"attn_mask": seen}, {"attn_mask": added}, {"scale": 0.1}):
        expected = torch.nn.functional.scaled_dot_product_attention(query, key, unit, **options).mean(1)
        found = mean_of_heads(torch.Tensor.clone, query, key, unit, **options)
        assert (found - expected).abs().max() < 1e-6


def test_attention_that_is_computed_otherwise_is_refused_not_left_out() -> None:
    from diffusers.models.attention_processor import AttnProcessor

    denoiser = opened("sd")
    network = denoiser.denoiser.network
    before = dict(network.attn_processors)
    network.set_attn_processor(AttnProcessor())
    try:
        with pytest.raises(RuntimeError, match="attention that is computed otherwise"):
            denoiser.with_attention(*inputs(denoiser))
    finally:
        network.set_attn_processor(before)
    assert denoiser.with_attention(*inputs(denoiser))[1]
