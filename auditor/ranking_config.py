"""How a ranking of prompts is made."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, model_validator

from auditor.config import Count, Offload, Section, Share

DetectorName = Literal[
    "magnitude", "consistency", "one_step", "sharpness", "edges", "first_entropy", "path_magnitude", "entropy",
    "bright_ending", "regeneration",
]  # fmt: skip

OPENED = frozenset({"image_size", "dtype", "offload"})  # which digests of checkpoints have, or which affects no result


class RankingConfig(Section):
    """The first detector decides which prompts are called; the others are reported beside it."""

    detectors: Annotated[list[DetectorName], Field(min_length=1)] = [
        "magnitude",
        "consistency",
        "one_step",
        "sharpness",
    ]
    noises: Count = 4  # start noises per prompt, the same for every prompt
    steps: Count = 10  # of the detectors that follow a path (path_magnitude, entropy, bright_ending, regeneration)
    guidance_scale: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 7.5  # of paths, one_step and edges
    batch_size: Count = 64  # rows per denoiser call
    alpha: Share = 0.10  # false discovery rate of the called prompts
    column: str | None = None  # of a table of prompts; None = the first usual name
    adapter: Path | None = None  # low-rank adapters to fuse into the checkpoint, one .safetensors file
    adapter_scale: Annotated[float, Field(allow_inf_nan=False)] = 1.0
    config: Path | None = None  # of a checkpoint or a base in a single file: the folder that describes it
    base: Path | None = None  # what the checkpoint was fine-tuned from; may be the checkpoint without ``adapter``
    allow_pickle: bool = False
    image_size: Count | None = None  # pixels a side; None = what the checkpoint states
    dtype: Literal["float32", "bfloat16", "float16"] = "float32"  # of the network and its text encoders
    offload: Offload = "none"  # keep on the host what a GPU is not using; no effect on any result
    salt: str | None = None  # pin the noises; None = drawn secretly and recorded afterwards

    @model_validator(mode="after")
    def _check(self) -> RankingConfig:
        twice = sorted({name for name in self.detectors if self.detectors.count(name) > 1})
        if twice:
            raise ValueError(f"detectors lists {twice[0]!r} twice; remove one of them")
        comparing = [name for name in ("consistency", "regeneration") if name in self.detectors]
        if comparing and self.noises < 2:
            raise ValueError(f"{comparing[0]} compares noises and needs two or more; raise noises or leave it out")
        return self
