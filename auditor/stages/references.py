"""Other checkpoints that membership is tested against: scanned and tried before anything is spent, loaded when used."""

from __future__ import annotations

from dataclasses import dataclass

from auditor.checkpoint.load import LoadedCheckpoint, load
from auditor.checkpoint.scan import Scan, scan
from auditor.config import AuditConfig, ReferenceConfig
from auditor.data import read_ids
from auditor.errors import ConfigError
from auditor.membership.base import training_time
from auditor.store.digest import value_digest


@dataclass(frozen=True)
class Reference:
    """A checkpoint found safe and fit to stand beside the audited one."""

    config: ReferenceConfig
    scan: Scan
    trained_on: frozenset[str]  # listed ids; empty where no list is given

    def describe(self) -> dict[str, object]:
        """What of it determines a result, as plain values."""
        listed = value_digest(sorted(self.trained_on)) if self.trained_on else None
        return {"name": self.config.name, "role": self.config.role, "digest": self.scan.digest, "trained_on": listed}


def open_references(config: AuditConfig, audited: Scan, checkpoint: LoadedCheckpoint, device: str) -> list[Reference]:
    """Scan every reference as the audited checkpoint is scanned, load it once, and refuse one that does not fit.

    Raises:
      UnsafeArtifactError, CheckpointError: As for the audited checkpoint.
      ConfigError: A reference is the audited checkpoint, takes images of another shape or other classes, or has a
        schedule too short for attacks; a list of ids cannot be read.
    """
    if not config.membership.enabled:
        return []
    refuse_bad_choice(config)
    found = []
    for given in config.membership.references:
        subject = f"membership.references: {given.name}"
        beside = audited.asked.beside(given.checkpoint)
        scanned = scan(given.checkpoint, allow_pickle=config.network.allow_pickle, asked=beside)
        if scanned.digest == audited.digest:
            raise ConfigError(subject, "the audited checkpoint itself", "another one", "Name the base or a reference.")
        other = load(scanned, device=device)
        for what, ours, theirs in (
            ("images", checkpoint.codec.pixel_shape, other.codec.pixel_shape),
            ("samples", checkpoint.denoiser.sample_shape, other.denoiser.sample_shape),
            ("classes", checkpoint.num_classes, other.num_classes),
        ):
            if ours != theirs:
                expected = f"{ours}, as the audited checkpoint's"
                raise ConfigError(subject, f"{what} of {theirs}", expected, "Leave the reference out.")
        training_time(other.denoiser.schedule, 0)
        listed = read_ids(given.trained_on) if given.trained_on else []
        found.append(Reference(given, scanned, frozenset(listed)))
    return found


def refuse_bad_choice(config: AuditConfig) -> None:
    """References that the configuration alone shows to be unusable.

    Raises:
      ConfigError: A name twice, two bases, or references without the denoising loss that they are compared by.
    """
    subject, references = "membership.references", config.membership.references
    names = [reference.name for reference in references]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ConfigError(subject, f"{twice[0]!r} twice", "distinct names", "Rename one.")
    bases = [reference.name for reference in references if reference.role == "base"]
    if len(bases) > 1:
        got, remedy = f"{len(bases)} of role base ({', '.join(bases)})", "Keep the one that it was fine-tuned from."
        raise ConfigError(subject, got, "at most one", remedy)
    if len(references) > len(bases) and "loss" not in config.membership.attacks:
        remedy = 'Add "loss" to membership.attacks.'
        raise ConfigError(subject, "references without the attack loss", "the loss, which LiRA and RMIA read", remedy)


def refuse_bad_lists(references: list[Reference], train: set[str], holdout: set[str]) -> None:
    """Lists of what references were trained on must name images of this audit, and a base's none that is held out.

    Raises:
      ConfigError: No listed id is in either set, one is in both, or the base was trained on held-out images.
    """
    for reference in references:
        subject, listed = f"membership.references: {reference.config.name}: trained_on", reference.trained_on
        if not listed:
            continue
        both = sorted(listed & train & holdout)
        if both:
            got = f"{both[0]!r}, which is an id of the training set and of the held-out set"
            raise ConfigError(subject, got, "ids that say which image is meant", "Rename the images.")
        if not listed & (train | holdout):
            got = f"{len(listed):,} ids, none of this audit's images"
            raise ConfigError(subject, got, "ids of the training or held-out set", "Correct or remove the list.")
        known = sorted(listed & holdout)
        if known and reference.config.role == "base":
            got = f"{len(known):,} held-out images (such as {known[0]})"
            remedy = "Hold out other images: next to those that the base knows, all others look like members."
            raise ConfigError(subject, got, "a base that saw no held-out image", remedy)
