"""Which GPU each worker process of one machine sees."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence

VISIBLE = "CUDA_VISIBLE_DEVICES"


def cuda_devices() -> list[str]:
    """Names of the GPUs that this process may use, as CUDA_VISIBLE_DEVICES takes them."""
    import torch  # here, since only those who start workers need it

    count = torch.cuda.device_count()
    listed = [name.strip() for name in os.environ.get(VISIBLE, "").split(",") if name.strip()]
    return listed[:count] if listed else [str(number) for number in range(count)]


def device_of(devices: Sequence[str], slot: int) -> Mapping[str, str]:
    """What a worker's environment says about GPUs: one of several, in turn; nothing where there is no choice."""
    return {VISIBLE: devices[slot % len(devices)]} if len(devices) > 1 else {}
