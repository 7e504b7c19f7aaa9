"""CLIP image towers through open_clip: any architecture it knows, with weights from disk, never random ones."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from auditor.config import EncoderConfig
from auditor.encoders.base import EncoderSpec
from auditor.encoders.preprocess import Preprocess, to_device, unit_rows
from auditor.errors import ConfigError
from auditor.store.digest import file_digest

LOCAL_DIR = "local-dir:"
PREPROCESS_KEYS = ("mean", "std", "interpolation", "resize_mode")


class ClipEncoder:
    """L2-normalised image embeddings of a CLIP model (Radford et al. 2021, arXiv 2103.00020), in float32.

    CLIP was trained to match captions: it finds images *about* the same thing. Beside copies it brings out variants of
    one motif, which is why an audit calibrates it on planted copies before believing it.
    """

    def __init__(self, model: Any, preprocess: Preprocess, spec: EncoderSpec, device: str, name: str) -> None:
        self._model, self._preprocess, self._spec, self._device, self._name = model, preprocess, spec, device, name

    @property
    def spec(self) -> EncoderSpec:
        """Architecture, preprocessing and the weights' digest."""
        return self._spec

    @property
    def preprocess(self) -> Preprocess:
        """The model's own preprocessing."""
        return self._preprocess

    def __call__(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """UInt8[B C H W] to Float32[B D] unit vectors; batch size moves a value by less than 1e-5."""
        return self.forward(self.prepare(pixels))

    @torch.inference_mode()
    def prepare(self, pixels: NDArray[np.uint8]) -> torch.Tensor:
        """UInt8[B C H W] to the tower's input Float32[B 3 h w] on its device."""
        return to_device(self._preprocess(pixels), self._device)

    @torch.inference_mode()
    def forward(self, prepared: torch.Tensor) -> NDArray[np.float32]:
        """The tower's input to Float32[B D] unit vectors."""
        return unit_rows(self._model.encode_image(prepared).float())

    @torch.inference_mode()
    def embed_texts(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Texts as Float32[C D] unit vectors in the space of the images, by the model's own tokenizer.

        Raises:
          ConfigError: The tokenizer is not on this machine.
        """
        import open_clip

        try:
            tokens = open_clip.get_tokenizer(self._name)(list(texts))
        except Exception as error:  # open_clip and transformers raise their own
            reason = str(error).strip().split("\n")[0][:200]
            remedy = "Leave attributes.prompts out, or use a model whose tokenizer ships with it."
            raise ConfigError("encoder clip: tokenizer", reason, "one that can be loaded", remedy) from error
        return unit_rows(self._model.encode_text(tokens.to(self._device)).float())


def build_clip(config: EncoderConfig, channels: int, height: int, width: int, device: str) -> ClipEncoder:
    """The image tower that ``config.model`` and ``config.weights`` name, on ``device``.

    Args:
      config: ``model`` is ``local-dir:<folder>`` with weights and open_clip_config.json, preprocessing included;
        or a name from ``open_clip.list_models()`` together with ``weights``, a file: safetensors, or a pickle of
        tensors that is read with torch's ``weights_only``.
      channels, height, width: The images' shape; the model's own preprocessing takes any.
      device: A torch device.

    Raises:
      ConfigError: No model named, unknown model, missing or unfitting weights, or preprocessing that is not certain.
    """
    if config.model is None:
        raise ConfigError("encoder clip: model", "none", "an open_clip name or local-dir:<folder>", "Name a model.")
    if config.model.startswith(LOCAL_DIR):
        weights, overrides = _local_weights(Path(config.model.removeprefix(LOCAL_DIR))), {}
    else:
        weights, overrides = _named_weights(config.model, config.weights), _published_preprocess(config.model)
    model = _load(config.model, weights, overrides)
    preprocess = _preprocess_of(model)
    with torch.inference_mode():
        dim = model.encode_image(preprocess(np.zeros((1, 3, height, width), np.uint8))).shape[1]
    detail = f"open_clip {_architecture(config.model)}, {weights.name}, {preprocess}"
    spec = EncoderSpec("clip", detail, dim, file_digest(weights))
    return ClipEncoder(model.to(device), preprocess, spec, device, config.model)


def _local_weights(folder: Path) -> Path:
    """The weights file of an open_clip folder that open_clip will choose: safetensors first."""
    if not (folder / "open_clip_config.json").is_file():
        remedy = "Name a folder that open_clip can load as local-dir."
        raise ConfigError("encoder clip: model", folder, "a folder with open_clip_config.json", remedy)
    from open_clip.factory import _find_checkpoint_in_dir  # the choice itself, so that the digest is the loaded file's

    found = _find_checkpoint_in_dir(folder)
    if found is None:
        remedy = "Put the weights there; random weights are never used."
        raise ConfigError("encoder clip: model", f"{folder} without weights", "open_clip_model.safetensors", remedy)
    return Path(found)


def _architecture(model: str) -> str:
    """The name, or for a folder the digest of its configuration: the same weights can mean another network."""
    if not model.startswith(LOCAL_DIR):
        return model
    return f"configuration {file_digest(Path(model.removeprefix(LOCAL_DIR)) / 'open_clip_config.json')[:16]}"


def _named_weights(model: str, weights: Path | None) -> Path:
    """The weights file for a model that open_clip knows by name."""
    import open_clip

    if model not in open_clip.list_models():
        remedy = "See open_clip.list_models(); hf-hub: names are not downloaded, pass their files as local-dir."
        raise ConfigError("encoder clip: model", repr(model), "a model that open_clip knows, or local-dir:", remedy)
    if weights is None:
        remedy = "Set encoders.weights to the model's file; random weights are never used."
        raise ConfigError(f"encoder clip: weights of {model}", "none", "a weights file", remedy)
    if not weights.is_file():
        raise ConfigError("encoder clip: weights", weights, "an existing file", "Download it and correct the path.")
    return weights.resolve()


def _published_preprocess(model: str) -> dict[str, Any]:
    """How all published weights of a model preprocess, as overrides for open_clip's factory.

    A bare weights file does not say. Guessing wrong shifts every similarity without a sign of it, therefore a model
    whose published weights disagree among themselves is refused.
    """
    import open_clip

    tags = open_clip.list_pretrained_tags_by_model(model)
    known = [open_clip.get_pretrained_cfg(model, tag) for tag in tags]
    distinct = {tuple(str(entry.get(key)) for key in PREPROCESS_KEYS) for entry in known}
    if len(distinct) > 1:
        remedy = (
            "Put the file in a folder with open_clip_config.json that has preprocess_cfg, and use local-dir:<folder>."
        )
        got = f"{len(distinct)} ways among its {len(tags)} published weights"
        raise ConfigError(f"encoder clip: preprocessing of {model}", got, "one way", remedy)
    return {f"image_{key}": known[0].get(key) for key in PREPROCESS_KEYS} if known else {}


def _load(model: str, weights: Path, overrides: dict[str, Any]) -> Any:
    """The open_clip model with its weights, or a one-line reason why not."""
    import open_clip

    pretrained = None if model.startswith(LOCAL_DIR) else str(weights)
    try:
        with torch.random.fork_rng(devices=[]):  # it draws initial weights, from torch's global generator, to overwrite
            loaded = open_clip.create_model_from_pretrained(model, pretrained, return_transform=False, **overrides)
    except Exception as error:  # open_clip, torch, safetensors and json each raise their own
        reason = str(error).strip().replace("\n", " ")[:200]
        remedy = "Use the weights that were made for this model."
        raise ConfigError(f"encoder clip: {model}", reason, f"{weights.name} to fit the model", remedy) from error
    return loaded.eval()  # it comes in training mode, in which an embedding depends on its batch


def _preprocess_of(model: Any) -> Preprocess:
    """The model's own preprocessing as open_clip attached it."""
    import open_clip

    own = open_clip.get_model_preprocess_cfg(model)
    size = own["size"]
    height, width = (size, size) if isinstance(size, int) else (int(size[0]), int(size[-1]))
    return Preprocess(
        height,
        width,
        tuple(own["mean"]),
        tuple(own["std"]),
        "bilinear" if own["interpolation"] == "bilinear" else "bicubic",  # "random" is for training; means bicubic here
        own["resize_mode"],
        own["fill_color"],
    )
