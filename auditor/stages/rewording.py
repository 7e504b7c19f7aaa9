"""Prompts in other words, without a model that could know the training set: does a copy need its very caption?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from auditor.probes import generator

Reword = Literal["no", "shuffle", "drop"]


def reworded(texts: Sequence[str], how: Reword, seed: str) -> list[str]:
    """Each text changed by the same rule, whatever set it is from.

    A crude stand-in for the paraphrases that users type: a checkpoint that copies under reworded captions is asked
    for the picture, not only for the string. (Somepalli et al. 2023, arXiv 2305.20086, reword captions in training to
    lessen copying.)

    Args:
      texts: Prompts.
      how: "shuffle": the words in random order, another one where there are two different words or more; "drop": one
        word less, of texts of two words or more; "no": as they are.
      seed: The audit's root seed; a text's change depends on it, the text and nothing else.
    """
    return [_reworded(text, how, seed) for text in texts]


def _reworded(text: str, how: Reword, seed: str) -> str:
    words = text.split()
    if how == "no" or len(words) < 2:
        return text
    draw = generator(seed, f"reword/{how}/{text}")
    if how == "drop":
        left_out = int(draw.integers(len(words)))
        return " ".join(words[:left_out] + words[left_out + 1 :])
    order = draw.permutation(len(words))
    shuffled = [words[place] for place in order]
    if shuffled == words:
        shuffled = words[1:] + words[:1]
    return " ".join(shuffled)
