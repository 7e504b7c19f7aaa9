"""The unrelated checkpoint of the negative control, where one is named: scanned and tried before anything is spent."""

from __future__ import annotations

from auditor.checkpoint.load import LoadedCheckpoint, load
from auditor.checkpoint.scan import Scan, scan
from auditor.config import AuditConfig
from auditor.errors import ConfigError
from auditor.membership.base import training_time


def open_control(config: AuditConfig, audited: Scan, checkpoint: LoadedCheckpoint, device: str) -> Scan | None:
    """Scan ``membership.control`` as the audited checkpoint is scanned, load it once, and refuse one that does not fit.

    Returns:
      The scan; None where fresh weights of the audited architecture serve as control.

    Raises:
      UnsafeArtifactError, CheckpointError: As for the audited checkpoint.
      ConfigError: It is the audited checkpoint, takes images of another shape, or has too short a schedule.
    """
    path = config.membership.control
    if path is None or not config.membership.enabled:
        return None
    found = scan(path, allow_pickle=config.network.allow_pickle, asked=audited.asked.beside(path))
    if found.digest == audited.digest:
        remedy = "Name a checkpoint trained on other data, or leave the key out."
        raise ConfigError("membership.control", "the audited checkpoint itself", "an unrelated one", remedy)
    other = load(found, device=device)
    ours, theirs = checkpoint.codec.pixel_shape, other.codec.pixel_shape
    if ours != theirs:
        expected = f"{ours}, as the audited checkpoint's"
        raise ConfigError("membership.control", f"images of {theirs}", expected, "Name another, or leave the key out.")
    training_time(other.denoiser.schedule, 0)
    return found
