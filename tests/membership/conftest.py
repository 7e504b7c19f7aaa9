"""Fixtures shared with the other tests of denoisers."""

from tests.denoisers import affine_denoiser, exploding, linear, network_denoiser, normal, one_thread

__all__ = ["affine_denoiser", "exploding", "linear", "network_denoiser", "normal", "one_thread"]
