"""Every encoder by its name in the configuration."""

from __future__ import annotations

from typing import Protocol

from auditor.config import EncoderConfig
from auditor.encoders.base import Encoder
from auditor.encoders.clip import build_clip
from auditor.encoders.pixel import build_pixel
from auditor.encoders.sscd import build_sscd
from auditor.registry import Registry


class Build(Protocol):
    """What makes an encoder of one kind."""

    def __call__(self, config: EncoderConfig, channels: int, height: int, width: int, device: str) -> Encoder:
        """An encoder for images of this shape, its weights loaded and tried once."""


ENCODERS: Registry[Build] = Registry("encoder")
ENCODERS.register("pixel")(build_pixel)
ENCODERS.register("clip")(build_clip)
ENCODERS.register("sscd")(build_sscd)


def build_encoder(config: EncoderConfig, *, channels: int, height: int, width: int, device: str = "cpu") -> Encoder:
    """The encoder that the configuration names, ready for UInt8[B channels height width].

    Raises:
      ConfigError: Weights missing or unfit, an unknown model, or a package that is not installed.
    """
    return ENCODERS[config.name](config, channels, height, width, device)
