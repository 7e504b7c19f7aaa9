"""How a denoiser's noise estimate changes along a direction: Jacobian-vector products, one per sample."""

from __future__ import annotations

import warnings

import torch
from torch.autograd import forward_ad
from torch.nn.attention import SDPBackend, sdpa_kernel

from auditor.diffusion.denoiser import Denoiser
from auditor.diffusion.prediction import read_output

EVALUATIONS = 2  # what a product costs in evaluations of the network: about as much as two, or two exactly
STEP = 1e-2  # of finite differences, relative to the norm of x_t; float32 leaves 5 digits of the difference


def eps_slope(
    denoiser: Denoiser,
    x_t: torch.Tensor,
    t: torch.Tensor,
    condition: torch.Tensor | None,
    direction: torch.Tensor,
    *,
    exact: bool = True,
) -> torch.Tensor:
    """J d, where J is the Jacobian of eps(x_t, t, condition) by x_t: Float32[B C H W].

    By forward-mode differentiation, attention in its plain form, since fused kernels have no forward derivative. For a
    network with another operation that lacks one, central differences (eps(x + h d) - eps(x - h d)) / (2 h).

    Args:
      denoiser: Treats its samples apart from each other, as all do here.
      x_t: Float[B C H W].
      t: Int64[B].
      condition: Int64[B] or None.
      direction: Float[B C H W].
      exact: False takes central differences at once.
    """
    signal, noise = denoiser.schedule.scales_at(t, x_t.float())

    def eps(x: torch.Tensor) -> torch.Tensor:
        return read_output(denoiser.prediction_type, denoiser(x, t, condition), x, signal, noise).eps

    x, along = x_t.float(), direction.float()
    with torch.inference_mode(False), torch.no_grad():
        x, along = x.clone(), along.clone()
        if exact:
            try:
                # Dual numbers, not torch.func.jvp: inside that, whatever else is made is wrapped, such as weights that
                # come to the device just then.
                with sdpa_kernel(SDPBackend.MATH), forward_ad.dual_level():
                    with warnings.catch_warnings():
                        warnings.simplefilter("ignore", FutureWarning)  # torch's first one, of its own TorchScript
                        dual = forward_ad.make_dual(x, along)  # type: ignore[no-untyped-call]  # torch's are
                    product: torch.Tensor | None = forward_ad.unpack_dual(eps(dual)).tangent  # type: ignore[no-untyped-call]  # likewise
                return torch.zeros_like(x) if product is None else product
            except (NotImplementedError, RuntimeError):  # no forward derivative; any other fault comes again below
                pass
        norms = [tensor.flatten(1).norm(dim=1).clamp_min(1e-12).view(-1, 1, 1, 1) for tensor in (x, along)]
        step = STEP * norms[0] / norms[1]
        rise: torch.Tensor = eps(x + step * along) - eps(x - step * along)
        slope: torch.Tensor = rise / (2 * step)
        return slope
