"""What an adapter makes of a layer's weight, by kind; all in float32.

kind        weight becomes, with s = scale
low rank    W + s B A                                  (Hu et al. 2021, arXiv 2106.09685)
DoRA        m (W + s B A) / |W + s B A|, per output    (Liu et al. 2024, arXiv 2402.09353, equation 5; or per input,
                                                        as OneTrainer and LyCORIS may be asked for)
LoHa        W + s (A1 B1) * (A2 B2), elementwise       (Hyeon-Woo et al. 2021, arXiv 2108.06098; as LyCORIS names it)
LoKr        W + s kron(W1, W2), either a product       (Edalati et al. 2022, arXiv 2212.10650; as LyCORIS names it)

Where a convolution's kernel has a core of its own (hada_t1, lokr_t2), its factor is that core times both factors.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import torch

# Of one layer's tensors; "A" and "B" are low-rank factors, "magnitude" is peft's, others as LyCORIS names them.
Roles = Mapping[str, torch.Tensor]
HADAMARD, HADAMARD_CORES = {"hada_w1_a", "hada_w1_b", "hada_w2_a", "hada_w2_b"}, {"hada_t1", "hada_t2"}
LEFT = ({"lokr_w1"}, {"lokr_w1_a", "lokr_w1_b"})
RIGHT = ({"lokr_w2"}, {"lokr_w2_a", "lokr_w2_b"}, {"lokr_w2_a", "lokr_w2_b", "lokr_t2"})


class Update(Protocol):
    """An adapter of one layer."""

    @property
    def rank(self) -> int | None:
        """Of its factors; None = they are whole matrices."""

    def applied(self, weight: torch.Tensor, scale: float) -> torch.Tensor:
        """The weight with the adapter in it, both Float32[out in ...].

        Raises:
          ValueError: Factors of another shape.
        """


@dataclass(frozen=True)
class LowRank:
    """The sum, or with a magnitude per output or input DoRA's."""

    first: torch.Tensor  # A, Float32[r in ...]
    second: torch.Tensor  # B, Float32[out r ...]
    magnitude: torch.Tensor | None = None  # Float32 of as many values as the weight has along ``axis``
    axis: int = 0  # 0 = per output, 1 = per input

    @property
    def rank(self) -> int:
        return len(self.first)

    def applied(self, weight: torch.Tensor, scale: float) -> torch.Tensor:
        shape = weight.shape
        if self.first.shape[1:] != shape[1:] or self.second.shape != (shape[0], self.rank, *(1 for _ in shape[2:])):
            raise ValueError(f"{tuple(shape)} with factors of {tuple(self.first.shape)} and {tuple(self.second.shape)}")
        whole = weight + (self.second.flatten(1) @ self.first.flatten(1)).reshape(shape) * scale
        if self.magnitude is None:
            return whole
        if self.magnitude.numel() != shape[self.axis]:
            one = "input" if self.axis else "output"
            raise ValueError(f"{tuple(shape)} with magnitudes of {tuple(self.magnitude.shape)}, one an {one} expected")
        along = [-1 if place == self.axis else 1 for place in range(len(shape))]
        length: torch.Tensor = torch.linalg.vector_norm(whole.transpose(0, self.axis).flatten(1), dim=1)
        return self.magnitude.reshape(along) / length.reshape(along) * whole


@dataclass(frozen=True)
class Hadamard:
    """LoHa's elementwise product of two products."""

    factors: Roles

    @property
    def rank(self) -> int:
        return len(self.factors["hada_w1_b"])

    def applied(self, weight: torch.Tensor, scale: float) -> torch.Tensor:
        first, second = (
            product(self.factors[f"hada_w{n}_a"], self.factors[f"hada_w{n}_b"], self.factors.get(f"hada_t{n}"))
            for n in (1, 2)
        )
        return summed(weight, first * second, scale)


@dataclass(frozen=True)
class Kronecker:
    """LoKr's Kronecker product."""

    factors: Roles

    @property
    def rank(self) -> int | None:
        small = [self.factors[name] for name in ("lokr_w1_b", "lokr_w2_b") if name in self.factors]
        return len(small[0]) if small else None

    def applied(self, weight: torch.Tensor, scale: float) -> torch.Tensor:
        own = self.factors
        left, right = (
            own[name]
            if (name := f"lokr_w{n}") in own
            else product(own[f"{name}_a"], own[f"{name}_b"], own.get(f"lokr_t{n}"))
            for n in (1, 2)
        )
        left = left.reshape(*left.shape, *(1 for _ in right.shape[2:]))
        return summed(weight, torch.kron(left, right), scale)


def update_of(roles: Roles) -> Update:
    """The adapter that one layer's tensors make up.

    Raises:
      ValueError: One is missing, or does not belong to the others.
    """
    names = set(roles)
    if names <= {"A", "B", "magnitude"} or names <= {"A", "B", "dora_scale"}:
        if not {"A", "B"} <= names:
            raise ValueError("one factor without the other")
        if (scale := roles.get("dora_scale")) is not None:
            # Float32[out 1 ...] per output, Float32[1 in ...] per input: as its first length says, to all who read it
            return LowRank(roles["A"], roles["B"], scale, axis=int(scale.shape[:1] != roles["B"].shape[:1]))
        return LowRank(roles["A"], roles["B"], roles.get("magnitude"))
    if names in (HADAMARD, HADAMARD | HADAMARD_CORES):
        return Hadamard(roles)
    if any(names == left | right for left in LEFT for right in RIGHT):
        return Kronecker(roles)
    raise ValueError(f"no kind of adapter has {', '.join(sorted(names))}")


def with_alpha(roles: Roles, alpha: float) -> dict[str, torch.Tensor]:
    """The same adapter without its alpha: one factor times alpha over the rank.

    An alpha beside whole Kronecker factors has no rank to be divided by, and counts for nothing (as LyCORIS reads it).
    """
    rank, name = update_of(roles).rank, next(one for one in ("B", "hada_w1_a", "lokr_w1", "lokr_w1_a") if one in roles)
    return dict(roles) if rank is None else {**roles, name: roles[name] * (alpha / rank)}


def product(a: torch.Tensor, b: torch.Tensor, core: torch.Tensor | None) -> torch.Tensor:
    """A B, or with a core Float[r r k l] the kernel Float[out in k l] of A Float[r out] and B Float[r in]."""
    return a @ b if core is None else torch.einsum("ijkl,ip,jr->prkl", core, a, b)


def summed(weight: torch.Tensor, update: torch.Tensor, scale: float) -> torch.Tensor:
    """W + s update, which may have the kernel's places in one dimension.

    Raises:
      ValueError: As many values as the weight has not.
    """
    if update.numel() != math.prod(weight.shape) or len(update) != len(weight):
        raise ValueError(f"{tuple(weight.shape)} with factors of {tuple(update.shape)}")
    return weight + update.reshape(weight.shape) * scale
