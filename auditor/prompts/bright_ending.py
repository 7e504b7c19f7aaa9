"""Where in a picture it is known by heart (Chen, Liu, Shah and Xu 2025, arXiv 2410.21665)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch

from auditor.prompts.base import DETECTORS, Answer, Batch, Need, Rounds, norms
from auditor.prompts.paths import walk


@dataclass(frozen=True)
class BrightEnding:
    """The path's magnitude, weighted by the mask of attention to the end-of-text token at its last step.

    Published for CLIP's token, in which the prompt is summed up. T5's end (PixArt, FLUX) is an analogue without a
    published result; Gemma's text (Sana) has none.

    |mask * (eps_prompt - eps_empty)|_2 / mean(mask), mean over steps and noises: where only a part of
    the picture is memorised, such as a frame around varying goods, the rest does not dilute it.
    """

    name: str = "bright_ending"
    needs: frozenset[Need] = frozenset({"attention", "ending"})

    def rounds(self, batch: Batch) -> Rounds:
        """One round per step."""
        assert batch.ends is not None  # see ``needs``
        ends, size = batch.ends, (batch.start.shape[-2], batch.start.shape[-1])
        masks: list[torch.Tensor] = []

        def difference(given: Answer, null: Answer) -> torch.Tensor:
            masks[:] = [ending_mask(given.attention, ends, size)]
            return given.prediction.eps - null.prediction.eps

        steps = yield from walk(batch, difference, attention=True)
        (mask,) = masks
        weighted = torch.stack([norms(mask[:, None] * step) for step in steps]).mean(0)
        return batch.per_prompt(weighted / mask.flatten(1).mean(1))


@dataclass(frozen=True)
class EndingMask:
    """The mask itself, mean over noises: no detector, since it ranks nothing. Float64[P H W]."""

    name: str = "ending_mask"
    needs: frozenset[Need] = frozenset({"attention", "ending"})

    def rounds(self, batch: Batch) -> Rounds:
        """One round per step."""
        assert batch.ends is not None  # see ``needs``
        ends, size = batch.ends, (batch.start.shape[-2], batch.start.shape[-1])
        last: list[torch.Tensor] = []

        def keep(given: Answer, null: Answer) -> None:
            last[:] = [ending_mask(given.attention, ends, size)]

        yield from walk(batch, keep, attention=True)
        return last[0].view(-1, batch.noises, *size).mean(1)


def ending_mask(layers: Mapping[str, torch.Tensor], ends: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """Attention to the end-of-text token, Float64[R H W] in [0, 1].

    Mean over heads and over the layers of the finest map, brought to H W bilinearly. Layers whose pixels do not form a
    grid of H:W are passed over.

    Args:
      layers: By name, Float32[R pixels tokens].
      ends: Int64[R], places of the end-of-text token.
      size: (H, W) of a sample in model space.
    """
    finest = max(attention.shape[1] for attention in layers.values())
    chosen = [attention for attention in layers.values() if attention.shape[1] == finest]
    ratio = (size[0] * size[1] / finest) ** 0.5
    grid = round(size[0] / ratio), round(size[1] / ratio)
    places = ends.view(-1, 1, 1)
    to_end = [attention.double().gather(2, places.expand(-1, finest, 1))[..., 0] for attention in chosen]
    mask = torch.stack(to_end).mean(0).view(-1, 1, *grid)
    return torch.nn.functional.interpolate(mask, size, mode="bilinear", align_corners=False)[:, 0]


DETECTORS.register("bright_ending")(BrightEnding())
