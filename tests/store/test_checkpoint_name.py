"""What a record calls the checkpoint that was audited, and what it says that it makes."""

from __future__ import annotations

from auditor.store.record import Checkpoint

PLAIN = Checkpoint(
    path="models/sd", digest="0" * 64, files=[], pipeline="StableDiffusionPipeline", network="UNet2DConditionModel",
    parameters=1, prediction_type="epsilon", sample_shape=[4, 64, 64], pixel_shape=[3, 512, 512], train_timesteps=1000,
    conditional=False, text=True,
)  # fmt: skip


def test_an_adapter_is_named_with_the_checkpoint_it_was_fused_into() -> None:
    assert PLAIN.name == "models/sd"
    assert PLAIN.model_copy(update={"adapter": "lora.safetensors"}).name == "models/sd with lora.safetensors"


def test_images_are_told_from_latents() -> None:
    assert PLAIN.size == "images of 3 × 512 × 512 made of latents of 4 × 64 × 64"
    assert PLAIN.model_copy(update={"sample_shape": [3, 512, 512]}).size == "images of 3 × 512 × 512"


def test_records_from_before_pixel_shapes_were_kept_still_read() -> None:
    old = {key: value for key, value in PLAIN.model_dump().items() if key not in ("pixel_shape", "adapter")}
    assert Checkpoint.model_validate(old).size == "images of 4 × 64 × 64"
