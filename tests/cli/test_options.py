"""Options of the commands that take an audit, as the configuration that they stand for."""

from __future__ import annotations

from pathlib import Path

import pytest

from auditor.cli.options import configuration

SETS = {"train": Path("train"), "holdout": Path("holdout")}


def test_text_and_fine_tune_options_reach_their_keys() -> None:
    given = {"adapter": Path("lora.safetensors"), "base": Path("sd"), "prompts": Path("asked.txt"), **SETS}
    config = configuration(Path("sd"), (), **given)
    assert config.checkpoint is not None and config.checkpoint.adapter == Path("lora.safetensors")
    assert config.prompts.file == Path("asked.txt")
    (base,) = config.membership.references
    assert (base.name, base.checkpoint, base.role) == ("base", Path("sd"), "base")


def test_a_single_file_comes_with_its_configuration() -> None:
    config = configuration(Path("sd.safetensors"), (), config=Path("sd"), **SETS)
    assert config.checkpoint is not None
    assert (config.checkpoint.path, config.checkpoint.config) == (Path("sd.safetensors"), Path("sd"))


@pytest.mark.parametrize("scale", [0.0, 7.5])
def test_a_guidance_scale_of_zero_is_given_too(scale: float) -> None:
    assert configuration(Path("sd"), (), guidance_scales=(scale,), **SETS).generation.guidance_scale == scale


def test_options_left_out_leave_the_defaults() -> None:
    config = configuration(Path("sd"), (), guidance_scales=(), adapter=None, base=None, prompts=None, **SETS)
    assert config.generation.guidance_scale is None and config.prompts.file is None
    assert config.membership.references == [] and config.checkpoint is not None and config.checkpoint.adapter is None
