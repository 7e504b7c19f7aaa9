"""PFAMI: members are peaks of the likelihood, a crop of them is not (Fu et al. 2023, arXiv 2308.12143)."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from auditor.diffusion.sweep import Rounds, Samples
from auditor.membership.base import ATTACKS, mean_power, noised

FLOOR = 1e-6  # added to a loss before dividing by it


@dataclass(frozen=True)
class PFAMI:
    """How much the loss L_t rises when x0 is cropped: mean over t of L_t(crop) - L_t(x0) (their PFAMI_Met).

    A crop is the centre of the image brought back to full size. The relative variant divides each difference by
    L_t(x0), as Liang and You 2024 (arXiv 2410.03640) do, so that no time outweighs the others.

    Differences: their ten crops of 0.95 to 0.70 cost 110 evaluations; we take the single crop of 0.825 with which
    Zhai et al. 2024 (arXiv 2405.14800) run PFAMI, 20 evaluations. The crop is made of the tensor in model space
    (latents for a latent model). Both images get the same noise, which takes its variance out of the difference; the
    published code draws it anew.
    """

    times: tuple[int, ...] = tuple(range(0, 500, 50))
    crop: float = 0.825  # side of the crop over side of the image
    name: str = "pfami"

    def rounds(self, samples: Samples) -> Rounds:
        """One round: the image and its crop at all times together."""
        cropped = centre_crop(samples.x0, self.crop)
        asked = [noised(samples, x0, time) for x0 in (samples.x0, cropped) for time in self.times]
        answers = yield [request for request, _ in asked]
        losses = [mean_power(answer.eps - eps, 2) for answer, (_, eps) in zip(answers, asked, strict=True)]
        original, changed = torch.stack(losses).view(2, len(self.times), -1)
        rise = changed - original
        return {
            f"crop={self.crop}": rise.mean(0),
            f"crop={self.crop}, relative": (rise / (original + FLOOR)).mean(0),
        }


def centre_crop(x: torch.Tensor, share: float) -> torch.Tensor:
    """The central share of each side of Float[B C H W], resized bilinearly to H W."""
    height, width = x.shape[-2:]
    rows, columns = max(1, int(height * share)), max(1, int(width * share))
    top, left = (height - rows) // 2, (width - columns) // 2
    part = x[..., top : top + rows, left : left + columns]
    return torch.nn.functional.interpolate(part, size=(height, width), mode="bilinear", align_corners=False)


ATTACKS.register("pfami")(PFAMI())
