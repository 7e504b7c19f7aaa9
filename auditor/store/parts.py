"""The pieces that every part of a record is made of.

Every number with uncertainty is an :class:`Estimate`; what could not be measured has ``value=None`` and says why.
"""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict

Outcome = Literal["pass", "fail", "cannot conclude"]


class Part(BaseModel):
    """Base of all record parts: unknown keys are refused, values do not change."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Estimate(Part):
    """A number with its uncertainty, or the reason why there is none."""

    name: str
    value: float | None
    lower: float | None = None
    upper: float | None = None
    level: float | None = None  # coverage of [lower, upper], such as 0.95
    method: str = ""  # such as "Clopper-Pearson, one-sided"
    n: int | None = None
    unit: str = ""
    unscored: str | None = None  # why value is None


class Outcomed(Part):
    """An outcome and the sentences that led to it, most important first."""

    outcome: Outcome
    reasons: list[str]
    remedies: list[str] = []  # what would settle a "cannot conclude"


class Curve(Part):
    """A plotted line or histogram: x and one or more series of the same length."""

    x: list[float]
    series: dict[str, list[float]]
