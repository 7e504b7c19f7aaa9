"""What a single file says of its training, held against the scheduler that its configuration names.

A network's weights do not tell what it predicts, nor over which schedule. Some files do, in three places: metadata by
Stability AI's model specification, the tensors ``v_pred`` and ``ztsnr``, which hold nothing, and ``alphas_cumprod``.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from auditor.checkpoint.family import Trained
from auditor.diffusion.flow import FlowSchedule
from auditor.diffusion.prediction import PredictionType
from auditor.errors import CheckpointError

STATED = "modelspec.prediction_type"
PREDICTIONS = {"epsilon": PredictionType.EPSILON, "v": PredictionType.V_PREDICTION}
TABLE = "alphas_cumprod"
ROUNDED = 5e-3  # a table in bfloat16 is off by up to half of this; without a signal at its end, by seven times as much


def refuse_other_training(file: Path, trained: Trained) -> None:
    """Raise CheckpointError if the file says that it was trained otherwise than its configuration does.

    Of flows nothing is asked: trainers state an epsilon prediction of them, too.
    """
    from safetensors import safe_open

    if isinstance(trained.schedule, FlowSchedule):
        return
    with safe_open(file, framework="pt") as content:
        names, metadata = set(content.keys()), content.metadata() or {}
        table = content.get_tensor(TABLE) if TABLE in names else None
    remedy = "Give the scheduler_config.json of its training."
    stated = PREDICTIONS["v"] if "v_pred" in names else PREDICTIONS.get(metadata.get(STATED, ""))
    if stated not in (None, trained.prediction_type):
        where = "the tensor v_pred" if "v_pred" in names else f"{STATED} in its metadata"
        got, expected = f"{trained.prediction_type} in its configuration", f"{stated}, as {where} says"
        raise CheckpointError(f"{file}: prediction_type", got, expected, remedy)
    if "ztsnr" in names and trained.schedule.signal_scale[-1] > 0:
        got, expected = "a signal left at the last training time", "none, as the tensor ztsnr says"
        raise CheckpointError(f"{file}: rescale_betas_zero_snr", got, expected, remedy)
    if table is not None and table.dtype in (torch.float64, torch.float32, torch.float16, torch.bfloat16):
        own = trained.schedule.signal_scale**2
        apart = np.abs(table.double().numpy() - own).max() if table.shape == own.shape else np.inf
        if not apart <= ROUNDED:
            got, expected = f"another table of {len(own)} in its configuration", f"its own {list(table.shape)}"
            raise CheckpointError(f"{file}: {TABLE}", got, expected, remedy)
