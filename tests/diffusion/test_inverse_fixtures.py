"""What really trained checkpoints fill in: the memorising one its training images, the generalising one no one's."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from auditor.checkpoint.load import load
from auditor.checkpoint.scan import scan
from auditor.data import Geometry, open_source, pixels_of, survey
from auditor.diffusion.inverse import SOLVERS
from auditor.diffusion.measurement import MEASUREMENTS, hidden_error
from auditor.probes import choose, probe_noise

IMAGES = 24
RESTORED = 0.05  # root mean square error of hidden pixels in [0, 1]; between garments it is 0.3
SETS = {
    "memorized": ("memorized/train", "memorized/holdout", None),
    "general-a": ("general/train-a.parquet", "general/holdout.parquet", "id"),
}


def hidden_errors(fixtures: Path, name: str, solver: str, steps: int) -> list[np.ndarray]:
    """Error of the hidden right half, pixels in [0, 1], of training and of held-out images on the same noise."""
    loaded = load(scan(fixtures / name / "checkpoint"))
    measurement = MEASUREMENTS["inpaint, right half"](16, 16)
    noise = probe_noise("inverse", "start", range(IMAGES), (1, 16, 16))
    errors = []
    for path in SETS[name][:2]:
        source = open_source(fixtures / path, Geometry(1, 16, 16), id_column=SETS[name][2])
        x0 = loaded.codec.to_model(pixels_of(source, choose("inverse", "images", list(survey(source).digests), IMAGES)))
        ladder = loaded.denoiser.schedule.ladder(steps)
        made = SOLVERS[solver].solve(loaded.denoiser, noise, ladder, measurement, measurement.measure(x0))
        errors.append((hidden_error(measurement, made, x0) / 2).numpy())
    return errors


def auc(lower: np.ndarray, higher: np.ndarray) -> float:
    """Probability that one of ``lower`` is below one of ``higher``, ties half."""
    return float((lower[:, None] < higher).mean() + 0.5 * (lower[:, None] == higher).mean())


# Under no difference, the AUC of 24 against 24 has a standard deviation of sqrt(49 / (12 * 24 * 24)) = 0.084.
@pytest.mark.parametrize(
    ("solver", "steps", "least_auc", "least_restored"),
    [("null_space", 20, 0.9, 0.75), ("replacement", 20, 0.65, 0.1), ("posterior", 40, 0.8, 0.6)],
)
def test_the_memorising_checkpoint_restores_its_training_images(fixtures, solver, steps, least_auc, least_restored):
    train, holdout = hidden_errors(fixtures, "memorized", solver, steps)
    assert auc(train, holdout) > least_auc
    assert (train < RESTORED).mean() > least_restored
    assert (holdout < RESTORED).mean() == 0


@pytest.mark.parametrize(("solver", "steps"), [("null_space", 20), ("replacement", 20), ("posterior", 20)])
def test_the_generalising_checkpoint_restores_training_images_no_better(fixtures, solver, steps):
    train, holdout = hidden_errors(fixtures, "general-a", solver, steps)
    assert abs(auc(train, holdout) - 0.5) < 3 * 0.084
    assert (train < RESTORED).mean() == (holdout < RESTORED).mean() == 0
    assert np.isfinite([train, holdout]).all()
