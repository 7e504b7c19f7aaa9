"""Text as a condition: the place of a prompt in a list, its embedding known to the checkpoint alone.

Whatever samples, attacks or guides sees Int64 conditions, as of a class-conditional checkpoint, so that nothing above
this package knows how a family encodes text.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol, Self, runtime_checkable

import torch

from auditor.checkpoint.family import OpenNetwork
from auditor.diffusion.denoiser import Denoiser
from auditor.diffusion.prediction import PredictionType
from auditor.diffusion.schedule import NoiseSchedule

KEPT_BYTES = 2**28  # of embeddings kept for later batches: 1,500 prompts of Stable Diffusion, 30 of FLUX
KEPT_PROMPTS = 129  # kept whatever they take, 1.1 GB of FLUX: the images attacked together, and the null prompt
Embedding = dict[str, torch.Tensor]  # Float32[B ...], masks Int64[B T], by names that the family chooses
EncodeText = Callable[[str], Embedding]


@runtime_checkable
class TextConditioner(Protocol):
    """A denoiser that can be bound to a list of prompts."""

    def with_prompts(self, prompts: Sequence[str]) -> Denoiser:
        """The denoiser whose condition Int64[B] is places in ``prompts``.

        ``len(prompts)`` is what guidance is away from, which condition None means too: the empty prompt, or what the
        family was trained with in its place.
        """


@dataclass(frozen=True)
class Prompts:
    """A list of prompts, the one guidance is away from after its end, each embedded when it is first asked for.

    Each alone, so that an embedding's last bits do not depend on the prompts beside it. Embeddings are kept up to
    :data:`KEPT_BYTES`, or :data:`KEPT_PROMPTS` if these are more, the longest unused leaving first: memory does not
    grow with the list. A list of no more than that is embedded as a whole, so that encoders which take turns with the
    network on the device come once for it.
    """

    encode: EncodeText
    texts: tuple[str, ...] = ()
    null: Callable[[], Embedding] | None = None  # of families whose null is not the empty prompt; None = it is
    kept: OrderedDict[str | None, Embedding] = field(default_factory=OrderedDict, compare=False, repr=False)

    def of(self, texts: Sequence[str]) -> Prompts:
        """Other texts for the same encoder, sharing what is kept."""
        return replace(self, texts=tuple(texts))

    def at(self, condition: torch.Tensor | None, count: int) -> Embedding:
        """Embeddings Float32[B ...] by name, at Int64[B] places; without places, ``count`` times the null prompt.

        Raises:
          ValueError: A place outside 0..len(texts).
        """
        places = self.places(condition, count)
        found = {place: self.embedding(place) for place in self._at_once(dict.fromkeys(places))}
        self._forget(len(found))
        return {name: torch.cat([found[place][name] for place in places]) for name in found[places[0]]}

    def places(self, condition: torch.Tensor | None, count: int) -> list[int]:
        """Int64[B] as a list; without it, ``count`` times the place after the last."""
        return [len(self.texts)] * count if condition is None else condition.tolist()

    def text(self, place: int) -> str:
        """The prompt at a place; the empty one at the place after the last."""
        if not 0 <= place <= len(self.texts):
            raise ValueError(f"condition: got {place}; expected places of prompts, 0..{len(self.texts)}")
        return "" if place == len(self.texts) else self.texts[place]

    def embedding(self, place: int) -> Embedding:
        """The embedding of the prompt at a place, Float32[1 ...] by name."""
        text, null = self.text(place), self.null if place == len(self.texts) else None
        key = self._key(place)
        if key not in self.kept:
            # Tensors made in inference mode could not serve a later gradient.
            with torch.inference_mode(False), torch.no_grad():
                self.kept[key] = null() if null else self.encode(text)
        self.kept.move_to_end(key)
        return self.kept[key]

    def _key(self, place: int) -> str | None:
        text = self.text(place)
        return None if self.null and place == len(self.texts) else text

    def _at_once(self, places: Iterable[int]) -> list[int]:
        """These places, after all others of a short list if one of these is yet to be embedded."""
        asked = list(places)
        if len(self.texts) >= KEPT_PROMPTS or all(self._key(place) in self.kept for place in asked):
            return asked
        return list(dict.fromkeys([*range(len(self.texts)), *asked]))

    def _forget(self, least: int) -> None:
        """Forget what is over the limits, but not the ``least`` used last."""
        size = sum(tensor.nbytes for embedding in self.kept.values() for tensor in embedding.values())
        while size > KEPT_BYTES and len(self.kept) > max(least, KEPT_PROMPTS):
            _, embedding = self.kept.popitem(last=False)
            size -= sum(tensor.nbytes for tensor in embedding.values())


@dataclass(frozen=True)
class TextDenoiser(OpenNetwork, ABC):
    """A network conditional on text as a denoiser; each family says how it is called."""

    network: Any  # torch.nn.Module
    prediction_type: PredictionType
    schedule: NoiseSchedule
    sample_shape: tuple[int, int, int]
    prompts: Prompts

    def __call__(self, x_t: torch.Tensor, t: torch.Tensor, condition: torch.Tensor | None = None) -> torch.Tensor:
        """See :class:`auditor.diffusion.denoiser.Denoiser`; without condition, under the null prompt.

        Raises:
          ValueError: A place outside the list of prompts.
        """
        return self.raw(x_t, t, self.prompts.at(condition, len(x_t)))

    @abstractmethod
    def raw(self, x_t: torch.Tensor, t: torch.Tensor, text: Embedding) -> torch.Tensor:
        """Raw output Float32[B C H W] under embeddings Float32[B ...]; one call of the network."""

    def with_prompts(self, prompts: Sequence[str]) -> Self:
        """See :class:`TextConditioner`."""
        return replace(self, prompts=self.prompts.of(prompts))
