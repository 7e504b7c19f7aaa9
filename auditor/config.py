"""What an audit is asked to do: read from TOML, unknown keys refused, every default written out."""

from __future__ import annotations

import math
import os
import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from auditor.errors import ConfigError

Count = Annotated[int, Field(ge=1)]
Share = Annotated[float, Field(gt=0, lt=1)]
ViewName = Literal["identity", "mirror", "crop"]
Offload = Literal["none", "parts", "blocks"]
AttackName = Literal["loss", "secmi", "pia", "pian", "sima", "pfami", "small_noise", "rediffuse", "clid", "gsa"]


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class CheckpointConfig(Section):
    path: Path
    allow_pickle: bool = False  # opt in to .bin/.pt/.pth/.ckpt, scanned and loaded with weights_only
    config: Path | None = None  # of a single file: a folder with model_index.json and what it names, but no weights
    adapter: Path | None = None  # low-rank adapters to fuse into it, one .safetensors file
    adapter_scale: Annotated[float, Field(allow_inf_nan=False)] = 1.0
    image_size: Count | None = None  # pixels a side, of text-to-image checkpoints; None = what the checkpoint states
    # of the denoising network and its text encoders; trajectories are float64 and the autoencoder float32 either way
    dtype: Literal["float32", "bfloat16", "float16"] = "float32"


class ImagesConfig(Section):
    """Images made elsewhere, in the place of a checkpoint."""

    path: Path
    metadata: Path | None = None  # .jsonl, .json or .csv with prompts and seeds; None = what lies with the images
    id_column: str | None = None
    image_column: str | None = None


class DataConfig(Section):
    train: Path
    holdout: Path
    train_ids: Path | None = None  # only the images listed, one id a line, as `auditor split` writes them
    holdout_ids: Path | None = None
    index: Path | None = None  # of the training set, by `auditor index build`: its embeddings are not made anew
    split: Literal["group", "image", "unknown"] = "unknown"  # how the held-out set was drawn
    groups: Path | None = None  # CSV id,group: what was dealt as one, as `auditor split` writes; None = near-duplicates
    resize: bool = False
    id_column: str | None = None
    image_column: str | None = None

    @model_validator(mode="after")
    def _check(self) -> DataConfig:
        if self.groups and self.split != "group":
            raise ValueError('groups is given for a split that was not drawn by group; set split = "group"')
        return self


class GenerationConfig(Section):
    probes: Count = 4096
    sampler: Literal["ddim", "dpmpp_2m", "heun"] = "ddim"
    steps: Count = 50
    batch_size: Count = 64
    guidance_scale: float | list[float] | None = None  # of checkpoints conditional on class or text; one or several
    salt: str | None = None  # pin the probes; None = drawn secretly at audit time and recorded afterwards

    @property
    def guidance_scales(self) -> list[float]:
        """Scales of classifier-free guidance that probes take in turn; none = the plain conditional network."""
        scale = self.guidance_scale
        return [] if scale is None else scale if isinstance(scale, list) else [scale]

    @field_validator("guidance_scale", mode="before")
    @classmethod
    def _one_or_distinct(cls, given: Any) -> Any:
        scales = given if isinstance(given, list) else [given]
        if given is None or (len(scales) == 1 and _is_scale(scales[0])):
            return given if given is None else scales[0]
        if not scales or not all(map(_is_scale, scales)):
            raise ValueError("a number of at least 0, or a list of such numbers")
        if len(set(scales)) < len(scales):
            raise ValueError("every scale once")
        return scales


def _is_scale(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < math.inf


class PromptsConfig(Section):
    """What a text-to-image checkpoint is asked for; without effect on any other."""

    source: Literal["captions", "training", "empty"] = "captions"  # training: a worst case, no evidence by competition
    file: Path | None = None  # these prompts instead, one a line
    reword: Literal["no", "shuffle", "drop"] = "no"  # the words of each in random order, or one of them left out
    seeds: Count = 4  # probes per prompt

    @model_validator(mode="after")
    def _check(self) -> PromptsConfig:
        if self.file and self.source != "captions":
            raise ValueError("file and source are both given; remove one of them")
        return self


class EncoderConfig(Section):
    name: Literal["pixel", "clip", "sscd"]
    model: str | None = None  # clip: an open_clip model name or "local-dir:<folder>"
    weights: Path | None = None  # clip, sscd: a file


class CopiesConfig(Section):
    alpha: Share = 0.10  # false discovery rate of the certified list
    level: Share = 0.95  # of the lower bound X and of every interval
    evidence: Count = 200  # most items listed with images
    views: list[ViewName] = ["identity", "mirror"]  # what generations are compared as; "crop": five windows of each
    closer: Annotated[int, Field(ge=0)] = 2048  # generations looked at for parts, blends and kinds of copies; 0 = none

    @model_validator(mode="after")
    def _check(self) -> CopiesConfig:
        if "identity" not in self.views or len(set(self.views)) < len(self.views):
            got = "without 'identity'" if "identity" not in self.views else "with one of them twice"
            raise ValueError(f'views {got}; list "identity", and each of "mirror" and "crop" at most once')
        return self


class ReferenceConfig(Section):
    name: str
    checkpoint: Path
    role: Literal["base", "reference"] = "reference"  # base: the one that the audited checkpoint was fine-tuned from
    trained_on: Path | None = None  # ids of the audited images that it was trained on; None = taken to be none


class MembershipConfig(Section):
    enabled: bool = True
    attacks: list[AttackName] = ["loss", "secmi", "pia", "pian"]
    members: Count = 1000
    nonmembers: Count = 1000
    calibration: Share = 0.3  # share of both used to choose each attack's variant
    references: list[ReferenceConfig] = []  # at most one base
    control: Path | None = None  # a checkpoint trained on none of these images; None = the audited network, untrained
    dataset_inference: bool = True  # was this set of records used?
    suspects: Path | None = None  # the training ids of which to ask it, one a line; None = the members tested

    @model_validator(mode="after")
    def _check(self) -> MembershipConfig:
        twice = sorted({name for name in self.attacks if self.attacks.count(name) > 1})
        if twice:
            raise ValueError(f"attacks lists {twice[0]!r} twice; remove one of them")
        if self.enabled and not self.attacks:
            raise ValueError("attacks is empty; list one or more, or set enabled = false")
        given = {"references": self.references, "suspects": self.suspects, "control": self.control}
        unused = [name for name, value in given.items() if value]
        if not self.enabled and unused:
            raise ValueError(f"{unused[0]} is given, but enabled = false; remove one of them")
        return self


class RegimeConfig(Section):
    probes: Annotated[int, Field(ge=0)] = 1024  # that the closed-form memorizer answers, too; 0 = no regime


class CanariesConfig(Section):
    ledger: Path | None = None  # canaries.json, as `auditor canary` wrote it before training; None = no canaries
    images: Path | None = None  # all canaries, included or not; None = the folder "canaries" beside the ledger
    delta: Annotated[float, Field(ge=0, lt=1)] = 0.0  # at which epsilon is bounded from below, per record


class ExecutionConfig(Section):
    """Who makes the pieces of an audit, in what memory; affects neither what is asked for nor any result."""

    executor: Literal["local", "processes", "ray"] = "local"
    workers: Count | None = None  # None = one a GPU, else as many as there are cores for their threads
    offload: Offload = "none"  # keep on the host what a GPU is not using; "parts" of a checkpoint, or "blocks" of one


class AuditConfig(Section):
    """A whole audit. Paths are relative to the file they stand in."""

    schema_version: Literal[1] = 1
    checkpoint: CheckpointConfig | None = None  # this, or images
    images: ImagesConfig | None = None
    data: DataConfig
    generation: GenerationConfig = GenerationConfig()
    prompts: PromptsConfig = PromptsConfig()
    encoders: Annotated[list[EncoderConfig], Field(min_length=1)] = [EncoderConfig(name="pixel")]
    copies: CopiesConfig = CopiesConfig()
    membership: MembershipConfig = MembershipConfig()
    regime: RegimeConfig = RegimeConfig()
    canaries: CanariesConfig = CanariesConfig()
    policy: Path | None = None
    execution: ExecutionConfig = ExecutionConfig()
    threads: Count | None = None  # CPU threads; does not affect what is asked for

    @property
    def network(self) -> CheckpointConfig:
        """The checkpoint, for what cannot be done without one.

        Raises:
          ConfigError: There are only images.
        """
        if self.checkpoint is None:
            got, expected = "images made elsewhere", "a checkpoint"
            raise ConfigError("audit", got, expected, "Of images alone, `auditor run` tells all that can be told.")
        return self.checkpoint

    @model_validator(mode="before")
    @classmethod
    def _leave_out(cls, raw: Any) -> Any:
        """Of images made elsewhere, what takes a network is left out unless it is asked for, which is refused."""
        if not isinstance(raw, dict) or raw.get("images") is None:
            return raw
        for section, off in (("membership", {"enabled": False}), ("regime", {"probes": 0})):
            given = raw.get(section, {})
            raw = raw | {section: off | given if isinstance(given, dict) else given}
        return raw

    @model_validator(mode="after")
    def _check(self) -> AuditConfig:
        if (self.checkpoint is None) == (self.images is None):
            both = "neither of" if self.images is None else "both"
            raise ValueError(f"{both} [checkpoint] and [images]; give one of them")
        if self.images is not None:
            self._check_without_network()
        kinds = [(encoder.name, encoder.model, encoder.weights) for encoder in self.encoders]
        twice = [name for place, (name, *_) in enumerate(kinds) if kinds[place] in kinds[:place]]
        if twice:
            raise ValueError(
                f"the encoder {twice[0]!r} is listed twice with the same model and weights; remove one of them"
            )
        return self

    def _check_without_network(self) -> None:
        salt = GenerationConfig(salt=self.generation.salt)
        needing = {
            "membership.enabled": self.membership.enabled, "regime.probes": self.regime.probes,
            "canaries.ledger": self.canaries.ledger, "generation (but for salt)": self.generation != salt,
            "prompts": self.prompts != PromptsConfig(),
        }  # fmt: skip
        asked = [name for name, value in needing.items() if value]
        if asked:
            raise ValueError(f"{asked[0]} takes a checkpoint, and there are only images; leave it out")


def read_config(path: Path | str) -> AuditConfig:
    """The audit that a TOML file asks for, its paths taken from the file's own folder.

    Raises:
      ConfigError: No such file, not TOML, an unknown key, or a value out of range.
    """
    return resolve_paths(validate(read_raw(Path(path)), str(path)), Path(path).parent)


def read_raw(path: Path) -> dict[str, Any]:
    """A TOML file as plain values, not yet checked against the schema."""
    if not path.is_file():
        raise ConfigError(
            str(path), "no file", "a TOML file", "Write one with `auditor init` (`--compare` for a comparison)."
        )
    try:
        return tomllib.loads(path.read_text())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(str(path), error, "valid TOML", "Correct the line named.") from error


def validate(raw: object, subject: str) -> AuditConfig:
    """Check a parsed configuration; the first fault is reported with its key."""
    try:
        return AuditConfig.model_validate(raw)
    except ValidationError as error:
        raise config_error(error, subject) from error


def config_error(error: ValidationError, subject: str, template: str = "auditor init") -> ConfigError:
    """One line for the first fault of a validation: key, value, what was expected.

    What is wrong with a section as a whole is said by its own check, as what was found and, after a semicolon, what
    to do; of a value, the check says what was expected.

    Args:
      template: The command that prints every key.
    """
    first = error.errors()[0]
    place = ": ".join(filter(None, [subject, ".".join(str(part) for part in first["loc"])]))
    if first["type"] == "extra_forbidden":
        return ConfigError(place, "an unknown key", "a documented key", f"`{template}` prints them all.")
    said = first["msg"].removeprefix("Value error, ")
    if first["type"] == "value_error" and isinstance(first["input"], dict):
        found, _, remedy = said.partition("; ")
        return ConfigError(
            place, found, "options that fit together", f"{remedy[:1].upper()}{remedy[1:]}." if remedy else "Correct it."
        )
    return ConfigError(place, repr(first["input"])[:80], said, "Correct the value.")


def resolve_paths(config: AuditConfig, base: Path) -> AuditConfig:
    """The same configuration with every relative path taken from ``base``, which may itself be relative."""
    names = ("train", "holdout", "train_ids", "holdout_ids", "index", "groups")
    given = {name: getattr(config.data, name) for name in names}
    data = config.data.model_copy(update={name: below(base, path) for name, path in given.items() if path})
    encoders = [
        encoder.model_copy(
            update={
                "weights": below(base, encoder.weights) if encoder.weights else None,
                "model": local_dir(encoder.model, base),
            }
        )
        for encoder in config.encoders
    ]
    checkpoint = config.checkpoint
    if checkpoint is not None:
        given = {name: getattr(checkpoint, name) for name in ("path", "config", "adapter")}
        checkpoint = checkpoint.model_copy(update={name: below(base, path) for name, path in given.items() if path})
    images = config.images and config.images.model_copy(
        update={
            "path": below(base, config.images.path),
            "metadata": below(base, config.images.metadata) if config.images.metadata else None,
        }
    )
    references = [
        reference.model_copy(
            update={
                "checkpoint": below(base, reference.checkpoint),
                "trained_on": below(base, reference.trained_on) if reference.trained_on else None,
            }
        )
        for reference in config.membership.references
    ]
    control = below(base, config.membership.control) if config.membership.control else None
    suspects = below(base, config.membership.suspects) if config.membership.suspects else None
    others = {"control": control, "suspects": suspects}
    membership = config.membership.model_copy(update={"references": references, **others})
    policy = below(base, config.policy) if config.policy else None
    file = below(base, config.prompts.file) if config.prompts.file else None
    prompts = config.prompts.model_copy(update={"file": file})
    listed = {name: getattr(config.canaries, name) for name in ("ledger", "images")}
    canaries = config.canaries.model_copy(update={name: below(base, path) for name, path in listed.items() if path})
    placed = {"data": data, "encoders": encoders, "checkpoint": checkpoint, "membership": membership, "policy": policy}
    return config.model_copy(update=placed | {"canaries": canaries, "prompts": prompts, "images": images})


def below(base: Path, path: Path) -> Path:
    """``path`` from ``base``, without ``..`` inside it where that is plain text."""
    return Path(os.path.normpath(base / path))


def local_dir(model: str | None, base: Path) -> str | None:
    """``local-dir:<folder>`` with the folder taken from ``base``; other names unchanged."""
    prefix = "local-dir:"
    if model is None or not model.startswith(prefix):
        return model
    return f"{prefix}{below(base, Path(model.removeprefix(prefix)))}"
