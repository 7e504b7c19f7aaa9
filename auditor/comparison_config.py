"""What a comparison is asked to do: read from TOML, unknown keys refused, every default written out."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, ValidationError, model_validator

from auditor.config import Count, EncoderConfig, Offload, Section, Share, below, config_error, local_dir, read_raw
from auditor.errors import ConfigError

SamplerName = Literal["ddim", "dpmpp_2m", "heun"]


class ModelConfig(Section):
    """One checkpoint, and what is known of its training."""

    checkpoint: Path
    name: str | None = None  # None = the folder's name, or the adapter's
    allow_pickle: bool = False
    config: Path | None = None  # of a single .safetensors file: the folder that describes it
    adapter: Path | None = None  # low-rank adapters to fuse into it, one .safetensors file
    adapter_scale: Annotated[float, Field(allow_inf_nan=False)] = 1.0
    train: Path | None = None  # its training images; without them there is no memorizer and no regime
    ids: Path | None = None  # the ids among them that it was trained on, one a line
    size: Count | None = None  # only the first so many of these ids; also the position on the curve
    step: Count | None = None  # position on a curve along one training
    base: str | None = None  # name of the model that it was fine-tuned from


class ComparedData(Section):
    holdout: Path | None = None
    holdout_ids: Path | None = None
    split: Literal["group", "image", "unknown"] = "unknown"  # how the held-out set was drawn
    resize: bool = False
    id_column: str | None = None
    image_column: str | None = None


class ComparedGeneration(Section):
    probes: Annotated[int, Field(ge=2)] = 1024
    samplers: Annotated[list[SamplerName], Field(min_length=1)] = ["ddim"]
    steps: Count = 50
    batch_size: Count = 64
    image_size: Count | None = None  # pixels a side, of text-to-image checkpoints; None = what each states
    dtype: Literal["float32", "bfloat16", "float16"] = "float32"  # of the networks; trajectories are float64 either way
    guidance_scale: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = (
        None  # of checkpoints of classes or text
    )
    salt: str | None = None  # pin the probes; None = drawn secretly and recorded afterwards

    @property
    def guidance_scales(self) -> list[float]:
        """The scale of classifier-free guidance; none = the plain conditional networks."""
        return [] if self.guidance_scale is None else [self.guidance_scale]


class ComparedPrompts(Section):
    """What text-to-image checkpoints are asked for: all of them the same, under several noises each."""

    source: Literal["empty", "captions"] = "empty"  # captions of all image sets, drawn without regard to which
    file: Path | None = None  # these prompts instead, one a line
    seeds: Annotated[int, Field(ge=2)] = 4  # probes per prompt: noise is told from prompt within these

    @property
    def given(self) -> bool:
        """Whether there are any."""
        return self.file is not None or self.source == "captions"

    @model_validator(mode="after")
    def _check(self) -> ComparedPrompts:
        if self.file and self.source == "captions":
            raise ValueError("file and source are both given; remove one of them")
        return self


class TasksConfig(Section):
    """Inverse problems: what do the checkpoints fill in where a real image was hidden?"""

    problems: list[Literal["inpaint", "superresolve"]] = []
    solvers: Annotated[list[Literal["replacement", "null_space", "posterior"]], Field(min_length=1)] = ["null_space"]
    images: Annotated[int, Field(ge=2)] = 64  # training images of each checkpoint, and as many held-out ones


class AttributesConfig(Section):
    """What is reproduced: shares of attribute values in training set, held-out set and generations."""

    captions: bool = False  # the captions are class labels; a classifier on embeddings reads them off generations
    prompts: list[str] = []  # zero-shot classes instead, under the clip encoder


class ComparisonConfig(Section):
    """A whole comparison. Paths are relative to the file they stand in."""

    schema_version: Literal[1] = 1
    models: Annotated[list[ModelConfig], Field(min_length=1)]
    data: ComparedData = ComparedData()
    generation: ComparedGeneration = ComparedGeneration()
    prompts: ComparedPrompts = ComparedPrompts()
    encoders: Annotated[list[EncoderConfig], Field(min_length=1)] = [EncoderConfig(name="pixel")]
    level: Share = 0.95  # of every interval
    curve: Literal["size", "step"] | None = None  # what the models are ordered along
    clusters: Annotated[int, Field(ge=0)] = 10  # of training images, where no captions label them; 0 = none
    sheet: Annotated[int, Field(ge=0)] = 16  # probes shown in pictures
    tasks: TasksConfig = TasksConfig()
    attributes: AttributesConfig = AttributesConfig()
    threads: Count | None = None  # CPU threads; does not affect what is asked for
    offload: Offload = "none"  # keep on the host what a GPU is not using; does not affect it either

    @model_validator(mode="after")
    def _check(self) -> ComparisonConfig:
        names = self.names()
        twice = {name for name in names if names.count(name) > 1}
        if twice:
            raise ValueError(f"two models are called {sorted(twice)[0]!r}; give each a name of its own")
        for model, name in zip(self.models, names, strict=True):
            self._check_model(model, name, names)
        for what in (
            self.generation.samplers,
            [(encoder.name, encoder.model, encoder.weights) for encoder in self.encoders],
        ):
            if len(set(what)) < len(what):
                raise ValueError("a sampler or encoder is listed twice")
        if self.attributes.prompts and not any(encoder.name == "clip" for encoder in self.encoders):
            raise ValueError("attributes.prompts need a clip encoder")
        if self.prompts.given:
            self._check_prompts()
        return self

    def _check_prompts(self) -> None:
        """Raise ValueError for prompts that there are too few probes or no captions for, or that decide the result."""
        if self.attributes.captions or self.attributes.prompts:
            raise ValueError("under prompts, attributes are what was asked for; leave one of them out")
        if self.generation.probes < self.prompts.seeds:
            raise ValueError(f"{self.generation.probes} probes for {self.prompts.seeds} seeds per prompt; take more")
        sets = [self.data.holdout, *(model.train for model in self.models)]
        if self.prompts.source == "captions" and not any(sets):
            raise ValueError('prompts.source = "captions" without image sets; give training or held-out images')

    def _check_model(self, model: ModelConfig, name: str, names: list[str]) -> None:
        """Raise ValueError if what is stated of one model contradicts itself, or lacks what is asked."""
        if model.base is not None and (model.base not in names or model.base == name):
            raise ValueError(f"{name} names {model.base!r} as its base, which is no other model here")
        if model.base is not None and model.train is None:
            raise ValueError(f"{name} names its base, but no training set that probes could have moved onto")
        if model.ids is not None and model.train is None:
            raise ValueError(f"{name} lists ids without a training set")
        if self.curve == "step" and model.step is None:
            raise ValueError(f"curve = 'step', but {name} has no step")
        if self.curve == "size" and model.size is None and model.train is None:
            raise ValueError(f"curve = 'size', but {name} has neither size nor training set")

    def names(self) -> list[str]:
        """The models' names, in order: given, or the folder's (its parent's where that is ``checkpoint``).

        With an adapter, its file's, or its folder's where the file has a name that all have.
        """
        return [
            model.name or (adapter_name(model.adapter) if model.adapter else folder_name(model.checkpoint))
            for model in self.models
        ]


def folder_name(path: Path) -> str:
    """A checkpoint's telling name: its folder's, or its file's."""
    absolute = path.absolute()
    if absolute.suffix == ".safetensors":
        return absolute.stem
    return absolute.parent.name if absolute.name == "checkpoint" else absolute.name


def adapter_name(path: Path) -> str:
    """An adapter file's telling name: its folder's, where training frameworks chose the file's."""
    usual = path.stem in {"pytorch_lora_weights", "adapter_model"}
    return path.absolute().parent.name if usual else path.stem


def read_comparison(path: Path | str) -> ComparisonConfig:
    """The comparison that a TOML file asks for, its paths taken from the file's own folder.

    Raises:
      ConfigError: No such file, not TOML, an unknown key, or a value out of range.
    """
    return resolve_comparison(validate_comparison(read_raw(Path(path)), str(path)), Path(path).parent)


def validate_comparison(raw: object, subject: str) -> ComparisonConfig:
    """Check a parsed configuration; the first fault is reported with its key."""
    try:
        return ComparisonConfig.model_validate(raw)
    except ValidationError as error:
        first = error.errors()[0]
        if first["type"] == "value_error":
            got = str(first["ctx"]["error"])
            raise ConfigError(subject, got, "a comparison that can be made", "Correct the file or options.") from error
        raise config_error(error, subject, "auditor init --compare") from error


def resolve_comparison(config: ComparisonConfig, base: Path) -> ComparisonConfig:
    """The same configuration with every relative path taken from ``base``."""

    def placed(path: Path | None) -> Path | None:
        return None if path is None else below(base, path)

    models = [
        model.model_copy(
            update={name: placed(getattr(model, name)) for name in ("checkpoint", "config", "adapter", "train", "ids")}
        )
        for model in config.models
    ]
    data = config.data.model_copy(
        update={"holdout": placed(config.data.holdout), "holdout_ids": placed(config.data.holdout_ids)}
    )
    encoders = [
        encoder.model_copy(update={"weights": placed(encoder.weights), "model": local_dir(encoder.model, base)})
        for encoder in config.encoders
    ]
    prompts = config.prompts.model_copy(update={"file": placed(config.prompts.file)})
    return config.model_copy(update={"models": models, "data": data, "encoders": encoders, "prompts": prompts})
