"""The CLIP encoder on the fixture model: open_clip's own numbers, and no way to random weights."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import open_clip
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from auditor.config import EncoderConfig
from auditor.encoders.base import Encoder
from auditor.encoders.build import build_encoder
from auditor.errors import ConfigError
from auditor.store.digest import file_digest
from tests.encoders.pictures import garments, jpeg, noisy, ranks_of_originals


def build(model: str | None, weights: Path | None = None) -> Encoder:
    config = EncoderConfig(name="clip", model=model, weights=weights)
    return build_encoder(config, channels=1, height=16, width=16)


@pytest.fixture(scope="module")
def folder() -> Path:
    return Path(__file__).resolve().parents[2] / "fixtures" / "tiny-clip"


@pytest.fixture(scope="module")
def encode(folder: Path) -> Encoder:
    return build(f"local-dir:{folder}")


def test_spec_says_what_determines_the_result(encode: Encoder, folder: Path) -> None:
    assert encode.spec.name == "clip" and encode.spec.dim == 128
    assert encode.spec.weights_sha256 == file_digest(folder / "open_clip_model.safetensors")
    assert "squash to 32x32, bicubic, mean 0.5 0.5 0.5" in encode.spec.detail


def test_embeddings_are_open_clips_own(encode: Encoder, folder: Path, fixtures: Path) -> None:
    pixels = garments(fixtures, 24)
    with torch.no_grad(), torch.random.fork_rng(devices=[]):  # open_clip draws weights before it loads them
        model, transform = open_clip.create_model_from_pretrained(f"local-dir:{folder}")
        pictures = torch.stack([transform(Image.fromarray(image[0])) for image in pixels])
        theirs = model.eval().encode_image(pictures, normalize=True).numpy()
    # float32 networks agree to about 1e-6; resizing may differ by a level in a pixel or two (see test_preprocess)
    assert (encode(pixels) * theirs).sum(axis=1).min() > 1 - 1e-4
    assert (encode(pixels) * np.roll(theirs, 1, axis=0)).sum(axis=1).min() < 1 - 1e-2  # negative control


def test_an_embedding_does_not_depend_on_its_batch(encode: Encoder, fixtures: Path) -> None:
    pixels = garments(fixtures, 13)
    alone = np.concatenate([encode(pixels[i : i + 1]) for i in range(13)])
    # convolutions may sum in another order for another batch size: float32, a few layers deep
    assert np.abs(encode(pixels) - alone).max() < 1e-5
    assert np.abs(encode(pixels[::-1])[::-1] - encode(pixels)).max() < 1e-5
    assert np.abs(np.linalg.norm(alone, axis=1) - 1).max() < 1e-6


def test_grey_images_and_their_rgb_twins_are_one(encode: Encoder, fixtures: Path) -> None:
    pixels = garments(fixtures, 5)
    assert np.array_equal(encode(pixels), encode(np.repeat(pixels, 3, axis=1)))


def test_copies_are_nearer_than_other_garments(encode: Encoder, fixtures: Path) -> None:
    pixels = garments(fixtures, 200)
    originals = encode(pixels)
    for copies in (jpeg(pixels, 75), noisy(pixels, 8, seed=1)):
        assert np.median(ranks_of_originals(encode(copies), originals)) == 0
    strangers = np.roll(originals, 1, axis=0)  # negative control: the median rank of a stranger is near the middle
    assert np.median(ranks_of_originals(encode(jpeg(pixels, 75)), strangers)) > 10


@pytest.fixture
def copied(folder: Path, tmp_path: Path) -> Path:
    """The model's folder, to be damaged."""
    target = tmp_path / "model"
    target.mkdir()
    for name in ("open_clip_config.json", "open_clip_model.safetensors"):
        shutil.copyfile(folder / name, target / name)
    return target


def test_a_folder_without_weights_is_refused_not_initialised(copied: Path) -> None:
    (copied / "open_clip_model.safetensors").unlink()
    with pytest.raises(ConfigError, match=r"without weights; expected open_clip_model\.safetensors"):
        build(f"local-dir:{copied}")


def test_a_folder_without_configuration_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"expected a folder with open_clip_config\.json"):
        build(f"local-dir:{tmp_path}")


def test_weights_that_lack_a_tensor_are_refused_in_one_line(copied: Path) -> None:
    tensors = load_file(copied / "open_clip_model.safetensors")
    tensors.pop("visual.layer1.0.conv1.weight")
    save_file(tensors, copied / "open_clip_model.safetensors")
    with pytest.raises(ConfigError) as caught:
        build(f"local-dir:{copied}")
    assert "visual.layer1.0.conv1.weight" in str(caught.value) and "\n" not in str(caught.value)


def test_a_changed_configuration_changes_the_spec(copied: Path, encode: Encoder) -> None:
    config = copied / "open_clip_config.json"
    config.write_text(config.read_text().replace('"bicubic"', '"bilinear"'))
    assert build(f"local-dir:{copied}").spec.detail != encode.spec.detail


@pytest.mark.parametrize(
    ("model", "weights", "expected"),
    [
        (None, None, "an open_clip name or local-dir"),
        ("ViT-B-33", None, "a model that open_clip knows"),
        ("hf-hub:org/model", None, "a model that open_clip knows"),
        ("ViT-B-32", None, "a weights file"),
        ("ViT-B-32", Path("/nowhere/model.safetensors"), "an existing file"),
    ],
)
def test_what_would_download_or_be_random_is_refused(model: str | None, weights: Path | None, expected: str) -> None:
    with pytest.raises(ConfigError, match=f"expected {expected}"):
        build(model, weights)


def test_a_name_whose_published_weights_preprocess_differently_is_refused(folder: Path) -> None:
    # ViT-L-14: OpenAI's weights use CLIP's mean and deviation, one of LAION's uses 0.5
    with pytest.raises(ConfigError, match=r"preprocessing of ViT-L-14: got [0-9]+ ways"):
        build("ViT-L-14", folder / "open_clip_model.safetensors")


def test_a_named_model_refuses_weights_of_another(folder: Path) -> None:
    with pytest.raises(ConfigError, match="RN50"):
        build("RN50", folder / "open_clip_model.safetensors")
