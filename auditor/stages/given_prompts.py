"""The prompts of images made elsewhere, as those of an audit that asked for them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from auditor.stages.given import Given
from auditor.stages.prompt_list import Prompts


@dataclass(frozen=True)
class GivenPrompts(Prompts):
    """Which prompt each image was made under; an image without one has an empty text of its own."""

    places: NDArray[np.int64]  # [G], by probe

    def of_probe(self, probe: int) -> int:
        """The place of an image's prompt."""
        return int(self.places[probe])

    def of_probes(self, probes: NDArray[np.int64]) -> NDArray[np.int64]:
        """The places of images' prompts, Int64[G]."""
        return self.places[probes]


def prompts_of(given: Given) -> GivenPrompts | None:
    """None where no prompt is known and no two images share a seed."""
    none: frozenset[int] = frozenset()  # whether a training or held-out image has it as caption is not looked up
    return None if given.trials is None else GivenPrompts(given.prompts, none, none, given.trials)
