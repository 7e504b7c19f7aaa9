"""What an extraction tries on each named record."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from auditor.config import Count, Section, Share

Problem = Literal["left half", "right half", "centre"]


class ExtractionConfig(Section):
    """Two kinds of attacks: from partly noised versions at rising noise, and under masks."""

    levels: list[Share] = [0.3, 0.45, 0.6, 0.75]  # of the training times, noised to and sampled down from
    problems: list[Problem] = ["left half", "right half"]  # what is hidden, and filled in
    solver: Literal["replacement", "null_space", "posterior"] = "null_space"
    draws: Count = 4  # noises per record and attack; the nearest answer counts
    holdout: Annotated[int, Field(ge=20)] = 200  # held-out images that are attacked likewise

    @model_validator(mode="after")
    def _check(self) -> ExtractionConfig:
        if not self.levels and not self.problems:
            raise ValueError("levels and problems are both empty; ask for one attack or more")
        if self.levels != sorted(set(self.levels)) or len(set(self.problems)) < len(self.problems):
            raise ValueError("levels that do not rise, or a problem listed twice; list each once, levels rising")
        return self

    @property
    def attacks(self) -> list[str]:
        """Names of the attacks, in their order."""
        return [*(f"noised to {level:.0%}" for level in self.levels), *(f"hidden {name}" for name in self.problems)]
