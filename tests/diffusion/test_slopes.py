"""Jacobian-vector products say nothing on the terminal of who asks for them."""

from __future__ import annotations

import subprocess
import sys

PROGRAM = """
import types
import torch
from auditor.diffusion.prediction import PredictionType
from auditor.diffusion.slopes import eps_slope

class Cubic:
    prediction_type, sample_shape = PredictionType.EPSILON, (1, 2, 2)
    schedule = types.SimpleNamespace(scales_at=lambda t, x: (torch.ones(len(x), 1, 1, 1), torch.ones(len(x), 1, 1, 1)))

    def __call__(self, x_t, t, condition=None):
        return x_t ** 3

ones = torch.ones(1, 1, 2, 2)
assert torch.equal(eps_slope(Cubic(), 2 * ones, torch.tensor([1]), None, ones), 12 * ones)
"""


def test_the_first_product_of_a_process_warns_of_nothing() -> None:
    """PyTorch announces its TorchScript's end when it first makes a dual number."""
    arguments = [sys.executable, "-W", "error::FutureWarning", "-c", PROGRAM]
    ended = subprocess.run(arguments, capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stderr) == (0, "")
