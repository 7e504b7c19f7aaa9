"""What one step makes of pure noise under a prompt (Webster 2023, arXiv 2305.08694).

A prompt that is known by heart calls for one picture, whatever the noise: a single step to x0 already shows it.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations

import torch

from auditor.prompts.base import DETECTORS, Ask, Batch, Need, Rounds

LARGEST = 256  # side of the picture in which edges are counted; larger ones are reduced, smaller ones stay


@dataclass(frozen=True)
class OneStep:
    """Mean square of (guided x0 of the first step - the noise that it was made from): his white-box score.

    The further a step carries, the surer is the denoiser of where to go. His step is one of Heun's method on Karras's
    noise levels, with one noise; ours is the sampler's first, with each noise.
    """

    name: str = "one_step"
    needs: frozenset[Need] = frozenset()

    def rounds(self, batch: Batch) -> Rounds:
        """One round, of two evaluations."""
        given, null = yield [Ask(batch.start, batch.first.t), Ask(batch.start, batch.first.t, prompted=False)]
        moved = batch.guided(given.prediction, null.prediction) - batch.start
        return batch.per_prompt(moved.square().flatten(1).mean(1))


@dataclass(frozen=True)
class Consistency:
    """Mean cosine between the x0 that different noises lead to, without guidance: one evaluation.

    The idea of his black-box score (the same picture from every noise), taken before it is made into edges, so that it
    needs no decoder and no threshold. Guidance is left out since it multiplies what differs between noises.
    """

    name: str = "consistency"
    needs: frozenset[Need] = frozenset()

    def rounds(self, batch: Batch) -> Rounds:
        """One round."""
        (given,) = yield [Ask(batch.start, batch.first.t)]
        return mean_cosine(given.prediction.x0.flatten(1).view(-1, batch.noises, batch.start[0].numel()))


@dataclass(frozen=True)
class Edges:
    """Share of pixels that are an edge in more than half of the pictures made by one guided step: his black-box score.

    An edge is where the Sobel gradients of all channels sum to more than 1.5, pixels in [0, 1]. He brings pictures to
    256x256 first; smaller ones are left as they are.
    """

    threshold: float = 1.5
    name: str = "edges"
    needs: frozenset[Need] = frozenset({"pixels"})

    def rounds(self, batch: Batch) -> Rounds:
        """One round, of two evaluations, and a decoding of each noise's picture."""
        given, null = yield [Ask(batch.start, batch.first.t), Ask(batch.start, batch.first.t, prompted=False)]
        assert batch.to_pixels is not None  # see ``needs``
        pictures = batch.to_pixels(batch.guided(given.prediction, null.prediction).float()).double()
        edge = (edge_strength(pictures) > self.threshold).double().view(-1, batch.noises, *_inner(pictures))
        return (edge.mean(1) > 0.5).double().flatten(1).mean(1)


def mean_cosine(points: torch.Tensor) -> torch.Tensor:
    """Mean cosine over all pairs of the S points of each prompt: Float[P S D] to Float[P]; 0 for a single one."""
    unit = torch.nn.functional.normalize(points, dim=2)
    cosines = [(unit[:, one] * unit[:, other]).sum(1) for one, other in combinations(range(points.shape[1]), 2)]
    return torch.stack(cosines).mean(0) if cosines else points.new_zeros(len(points))


def edge_strength(pictures: torch.Tensor) -> torch.Tensor:
    """Sobel gradient of each pixel but the outermost, summed over channels: Float[B C H W] to Float[B H-2 W-2]."""
    scale = LARGEST / max(pictures.shape[-2:])
    if scale < 1:
        size = [max(3, round(side * scale)) for side in pictures.shape[-2:]]
        pictures = torch.nn.functional.interpolate(pictures, size, mode="bilinear", antialias=True)
    smooth, differ = pictures.new_tensor([1.0, 2.0, 1.0]), pictures.new_tensor([-1.0, 0.0, 1.0])
    kernels = torch.stack([torch.outer(smooth, differ), torch.outer(differ, smooth)])[:, None]
    across, down = torch.nn.functional.conv2d(pictures.flatten(0, 1)[:, None], kernels).unbind(1)
    strength: torch.Tensor = torch.hypot(across, down)
    return strength.view(*pictures.shape[:2], *strength.shape[1:]).sum(1)


def _inner(pictures: torch.Tensor) -> tuple[int, int]:
    height, width = edge_strength(pictures[:1]).shape[-2:]
    return height, width


DETECTORS.register("one_step")(OneStep())
DETECTORS.register("consistency")(Consistency())
DETECTORS.register("edges")(Edges())
