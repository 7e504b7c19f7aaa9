"""How the record's numbers are written in sentences, the same in every report, verdict and command."""

from __future__ import annotations

import math

from auditor.store.parts import Estimate

ATTACK_NAMES = {
    "loss": "Denoising loss", "secmi": "SecMI", "pia": "PIA", "pian": "PIAN", "sima": "SimA", "pfami": "PFAMI",
    "small_noise": "Small-noise aggregation", "rediffuse": "ReDiffuse", "clid": "CLiD",
    "gsa": "GSA gradient norms", "lira": "LiRA", "rmia": "RMIA", "combined": "Combined score",
}  # fmt: skip
AGAINST_BASE = "-base"  # ends the names of attacks that are differences to the base checkpoint


def percent(share: float) -> str:
    """A share as a percentage with three significant digits, never rounded to 0% or to 100% unless it is."""
    if not 0 < share < 1:
        return f"{100 * share:.0f}%"
    points = 100 * share
    digits = max(0, 2 - math.floor(math.log10(min(points, 100 - points))))
    text = f"{points:.{digits}f}"
    return f"{text.rstrip('0').rstrip('.') if digits else text}%"


def decimal(value: float) -> str:
    """A number with three decimals, more where it would vanish (``0.0004``), whole numbers as such (``2,048``)."""
    if value == round(value):
        return f"{value:,.0f}"
    return f"{value:.3f}" if abs(value) >= 0.001 else f"{value:.2g}"


def attack_name(name: str) -> str:
    """How a membership attack is called in a sentence or a table."""
    if name.endswith(AGAINST_BASE):
        return f"{attack_name(name.removesuffix(AGAINST_BASE))} against the base"
    return ATTACK_NAMES.get(name, name)


def count(number: int, noun: str) -> str:
    """``1 image``, ``2,000 images``."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def missing(estimate: Estimate) -> str:
    """Why an estimate, or one of its bounds, is not there."""
    return estimate.unscored or f"the record gives no interval for {estimate.name}"


def trials(rate: Estimate) -> str:
    """What a copy rate counts: "generations", "prompts" and so on."""
    return rate.unit.removeprefix("share of ") or "generations"


def bringing(rate: Estimate) -> str:
    """What some of these do: generations are copies, prompts bring one."""
    return "are copies" if trials(rate) == "generations" else "bring a copy"
