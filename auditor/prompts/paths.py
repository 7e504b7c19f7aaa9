"""A guided path of DDIM steps from noise to a picture that nobody looks at, shared by all detectors that walk it."""

from __future__ import annotations

from collections.abc import Callable, Generator
from itertools import pairwise
from typing import TypeVar

from auditor.diffusion.steps import towards
from auditor.prompts.base import Answer, Ask, Batch

T = TypeVar("T")


def walk(
    batch: Batch, note: Callable[[Answer, Answer], T], *, attention: bool = False
) -> Generator[list[Ask], list[Answer], list[T]]:
    """What ``note`` makes of (with the prompt, under the empty one) at every step, from the noisiest on.

    Costs two evaluations a step. Detectors that walk the same batch ask for the same inputs bit by bit, which are then
    evaluated once.
    """
    x, noted = batch.start, []
    for here, there in pairwise(batch.rungs):
        given, null = yield [Ask(x, here.t, attention=attention), Ask(x, here.t, prompted=False)]
        noted.append(note(given, null))
        x = towards(x, batch.guided(given.prediction, null.prediction), here, there)
    return noted
