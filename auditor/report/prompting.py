"""What the reports say about prompts, and about the base of a fine-tune."""

from __future__ import annotations

import math
from collections.abc import Iterator

from auditor.report.markdown_text import escape, table
from auditor.report.story import estimate_text
from auditor.store.prompting import CopiedPrompt, Prompting
from auditor.store.record import Competition, Generation
from auditor.store.wording import bringing, count, missing, percent, trials

HEADER = ("Prompt", "It is", "Generations that land", "On")
GUIDANCE_HEADER = ("Guidance scale", "Generations", "Copy rate", "Distinct training images")
GUIDANCE_NOTE = (
    "Every prompt or class was asked for once under each scale before any came again, and every prompt is counted as "
    "often under one scale as under another. What counts as a copy was decided on all generations together."
)
SHOWN = 20  # prompts listed
MOST = 80  # characters of a prompt, and of the ids beside it


def guidance_phrase(generation: Generation) -> str:
    """Under what guidance generations were made; empty where under none."""
    scale = generation.guidance_scale
    if isinstance(scale, list):
        return f"guidance scales {', '.join(map(scale_text, scale))} in turn"
    return "" if scale is None else f"guidance scale {scale_text(scale)}"


def scale_text(scale: float) -> str:
    """A guidance scale as it was given: ``7.5``, ``1``."""
    return f"{scale:g}"


def guidance_rows(c: Competition) -> list[tuple[str, ...]]:
    """One row per guidance scale, where there are several."""
    return [
        (scale_text(one.scale), f"{one.generations:,}", estimate_text(one.copy_rate, share=True), f"{one.images:,}")
        for one in c.by_guidance
    ]


def asked_sentence(asked: Prompting) -> str:
    """What the checkpoint was asked for."""
    each = f"{count(asked.prompts, 'prompt')}, {_seeds(asked.seeds)} each"
    both = asked.from_training + asked.from_holdout - asked.prompts
    origin = f"{count(asked.from_training, 'caption')} of training images, {asked.from_holdout:,} of held-out ones"
    origin += f" ({both:,} of both)" if both > 0 else ""
    said = {
        "captions": f"{each}: {origin}, drawn without regard to which.",
        "training": f"{each}, all captions of training images: a worst case.",
        "file": f"{each}, as given.",
        "empty": "Nothing: the empty prompt.",
    }
    changed = {"no": "", "shuffle": " The words of each in random order.", "drop": " One word of each left out."}
    return said[asked.source] + changed[asked.reworded]


def _seeds(mean: float) -> str:
    """How many generations a prompt has: as many for each, or one more for the first ones."""
    least = math.floor(mean)
    return count(least, "generation") if mean == least else f"{least:,} or {least + 1:,} generations"


def prompts_sentence(c: Competition) -> str:
    """Under how many prompts copies were made, and of what kind these are."""
    found, asked = c.copied_prompts, c.copy_rate.n or 0
    of_training = sum(prompt.origin in ("training caption", "both") for prompt in found)
    said = f"{len(found):,} of {count(asked, 'prompt')} led to a copy at least once"
    if c.copy_rate.unit != "share of prompts":  # images without a prompt are among the trials
        said = f"{count(len(found), 'prompt')} led to a copy at least once"
    if any(prompt.origin != "given" for prompt in found):  # else whose captions they are was not looked up
        said += f"; {of_training:,} of them are captions of training images"
    return said + "."


def rows(c: Competition) -> list[tuple[str, ...]]:
    """One row per prompt, those that land most often first."""
    return [_row(prompt) for prompt in c.copied_prompts[:SHOWN]]


def _row(prompt: CopiedPrompt) -> tuple[str, ...]:
    landing = f"{prompt.landing} of {prompt.generations}"
    return _short(prompt.prompt), prompt.origin, landing, _short(", ".join(prompt.images))


def _short(text: str) -> str:
    return text if len(text) <= MOST else f"{text[: MOST - 1]}…"


def base_sentence(c: Competition) -> str:
    """What the base copies, and what the fine-tune added; empty without a base."""
    base = c.base
    if base is None:
        return ""
    name = "The base" if base.name == "base" else f"The base {base.name}"
    bound, rate = base.lower_bound, base.copy_rate
    if bound.value is None:
        many = f"reproduces an unknown number of training images ({missing(bound)})"
    elif bound.value > 0:
        images, level = count(int(bound.value), "training image"), percent(bound.level or 0.95)
        many = f"reproduces at least {images} ({level} confidence)"
    else:
        many = "is not shown to reproduce any training image"
    return (
        f"{name}, on the same probes and prompts, {many}; {estimate_text(rate, share=True)} of {rate.n or 0:,} "
        f"{trials(rate)} {bringing(rate)}. Of the {count(base.shared + base.added, 'image')} found here, "
        f"{base.shared:,} are copied by the base as well and {base.added:,} are what the fine-tuning added."
    )


def lines(c: Competition) -> Iterator[str]:
    """The Markdown report's lines about prompts, guidance and the base."""
    if c.base is not None:
        yield from (escape(base_sentence(c)), "")
    if c.by_guidance:
        yield from table(GUIDANCE_HEADER, guidance_rows(c))
        yield from (escape(GUIDANCE_NOTE), "")
    if c.copy_rate.unit.startswith("share of prompts") and c.copied_prompts:
        yield from (escape(prompts_sentence(c)), "")
        yield from table(HEADER, rows(c))
