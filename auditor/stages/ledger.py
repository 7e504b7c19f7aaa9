"""Canaries opened beside the training set, and refused where the two do not belong together."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from auditor.canaries.files import read_ledger
from auditor.canaries.verify import refuse_other_images, refuse_other_training
from auditor.config import CanariesConfig
from auditor.data import Geometry, ImageSource, open_source, survey
from auditor.store.canaries import Ledger
from auditor.store.digest import value_digest
from auditor.store.record import ImageSet


@dataclass(frozen=True)
class Planted:
    """The ledger and every canary's image, found to fit the training set.

    Attributes:
      ledger: As `auditor canary` wrote it.
      source: The canary images; ids are the ledger's.
      info: Of these images.
      digests: By id, 16 bytes that are equal exactly where the pixels are.
    """

    ledger: Ledger
    source: ImageSource
    info: ImageSet
    digests: dict[str, bytes]

    def describe(self) -> dict[str, object]:
        """What of them determines a result, as plain values."""
        return {"ledger": value_digest(self.ledger.model_dump(mode="json")), "images": self.info.digest}


def open_canaries(
    config: CanariesConfig, geometry: Geometry, trained: Mapping[str, bytes], held_out: Mapping[str, bytes]
) -> Planted | None:
    """The canaries that the configuration names, or None.

    Args:
      geometry: Of the audit.
      trained: Pixel digest of every training image by id.
      held_out: Of every held-out image.

    Raises:
      ConfigError: No ledger there, or one that describes other canary images or another training set.
      DataError: No canary image is readable, or one has another shape than the audit's.
    """
    if config.ledger is None:
        return None
    ledger = read_ledger(config.ledger)
    source = open_source(config.images or config.ledger.parent / "canaries", geometry)
    info, digests, _ = survey(source)
    refuse_other_images(ledger, digests, (geometry.channels, geometry.height, geometry.width))
    refuse_other_training(ledger, digests, trained.values(), held_out.values())
    return Planted(ledger, source, info, digests)
