"""The prompts of an audit: distinct texts in the order in which probes ask for them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from auditor.checkpoint.load import LoadedCheckpoint
from auditor.data.prompts import read_prompts
from auditor.errors import ConfigError
from auditor.store.prompting import Origin


@dataclass(frozen=True)
class Prompts:
    """Distinct prompts in the order in which probes ask for them: probe i for prompt i modulo their number."""

    texts: tuple[str, ...]
    from_training: frozenset[int]  # places of those that are the caption of a training image
    from_holdout: frozenset[int]

    def bind(self, checkpoint: LoadedCheckpoint) -> LoadedCheckpoint:
        """The checkpoint as one that is conditional on the places of these prompts."""
        return checkpoint.with_prompts(self.texts)

    def of_probe(self, probe: int) -> int:
        """The place of the prompt that a probe asks for."""
        return probe % len(self.texts)

    def of_probes(self, probes: NDArray[np.int64]) -> NDArray[np.int64]:
        """The places of the prompts that probes ask for, Int64[G]."""
        return probes % len(self.texts)

    def origin(self, place: int) -> Origin:
        """Which set's caption a prompt is."""
        if place in self.from_training:
            return "both" if place in self.from_holdout else "training caption"
        return "held-out caption" if place in self.from_holdout else "given"


def listed(file: Path) -> list[str]:
    """The distinct prompts of a file (:func:`auditor.data.prompts.read_prompts`), in its order, without empty ones.

    Raises:
      ConfigError: No such file, or no prompt in it.
      DataError: Not what its name says.
    """
    texts = list(dict.fromkeys(text for text in read_prompts(file) if text))
    if not texts:
        raise ConfigError(str(file), "empty prompts alone", "at least one with text", "Correct the file.")
    return texts


def joined(drawn: dict[str, list[str]]) -> Prompts:
    """Distinct prompts, those of the sets interleaved as equal shares would, so that any first few are blind, too."""
    ranked = [
        ((rank + 0.5) / len(texts), name, text) for name, texts in drawn.items() for rank, text in enumerate(texts)
    ]
    texts = tuple(dict.fromkeys(text for _, _, text in sorted(ranked)))
    place = {text: number for number, text in enumerate(texts)}
    of = {name: frozenset(place[text] for text in drawn.get(name, [])) for name in ("train", "holdout")}
    return Prompts(texts, of["train"], of["holdout"])


def merged(prompts: Prompts, seen: Sequence[str]) -> Prompts:
    """The first of those prompts that a checkpoint sees the same of, for any set that has one of them.

    Spelt in capitals, or apart beyond the tokens that fit, they are one condition: counted as several, they would be
    independent trials that they are not.

    Args:
      prompts: Distinct texts.
      seen: Of each, what the checkpoint sees (:func:`auditor.checkpoint.tokens.read`).
    """
    place = {one: number for number, one in enumerate(dict.fromkeys(seen))}
    first: dict[str, str] = {}
    for text, one in zip(prompts.texts, seen, strict=True):
        first.setdefault(one, text)
    of_training, of_holdout = (
        frozenset(place[seen[number]] for number in numbers)
        for numbers in (prompts.from_training, prompts.from_holdout)
    )
    return Prompts(tuple(first.values()), of_training, of_holdout)
