"""A pipeline of another kind is refused by its name, with those that are audited, before any weight is read."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from auditor.checkpoint.allowed import PIPELINES
from auditor.checkpoint.scan import scan
from auditor.errors import UnsafeArtifactError

OTHERS = [
    "StableVideoDiffusionPipeline", "KandinskyPipeline", "IFPipeline", "AudioLDMPipeline",
    "StableCascadeDecoderPipeline", "StableDiffusionInpaintPipeline", "FluxFillPipeline",
]  # fmt: skip


@pytest.mark.parametrize("pipeline", OTHERS)
@pytest.mark.parametrize("weights", [None, b"neither a header nor tensors", b"\x80\x04garbage"])
def test_another_pipeline_is_refused_whatever_its_weights(pipeline: str, weights: bytes | None, tmp_path: Path) -> None:
    index = {"_class_name": pipeline, "unet": ["diffusers", "UNetSpatioTemporalConditionModel"]}
    (tmp_path / "model_index.json").write_text(json.dumps(index))
    if weights is not None:
        (tmp_path / "unet").mkdir()
        (tmp_path / "unet" / "diffusion_pytorch_model.safetensors").write_bytes(weights)
    with pytest.raises(UnsafeArtifactError, match=pipeline) as caught:
        scan(tmp_path)
    assert all(name in str(caught.value) for name in PIPELINES)
