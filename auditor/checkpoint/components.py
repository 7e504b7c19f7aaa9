"""One component of a scanned checkpoint as a network ready to be called, with every tensor accounted for."""

from __future__ import annotations

import inspect
from typing import Any

import torch

from auditor.checkpoint.manifest import component_config, component_folder
from auditor.checkpoint.scan import Scan
from auditor.errors import CheckpointError

SAVE_AGAIN = "Download or save the checkpoint again."


def load_network(scan: Scan, name: str, kind: str, device: str) -> Any:
    """The component as an instance of diffusers' class ``kind``: float32, evaluation mode, no gradients.

    Raises:
      CheckpointError: Weights are missing, left over, of another shape than the configuration says, or not finite.
    """
    import diffusers

    subject = f"{scan.path}: {name}"
    try:
        # Constructors draw initial weights: the global random state is put back afterwards.
        with torch.random.fork_rng(devices=[]):
            network, found = getattr(diffusers, kind).from_pretrained(
                component_folder(scan.path, name),
                use_safetensors=None if scan.pickled else True,
                local_files_only=True,
                low_cpu_mem_usage=False,
                torch_dtype=torch.float32,
                output_loading_info=True,
            )
    except Exception as error:  # configurations are foreign: constructors raise whatever they meet
        got = " ".join(str(error).split())[:300] or type(error).__name__
        raise CheckpointError(subject, got, f"weights and configuration of a {kind}", SAVE_AGAIN) from error
    for keys, fault in ((found["missing_keys"], "lacks"), (found["unexpected_keys"], "has unexpected")):
        if keys:
            more = f" and {len(keys) - 1} more" if len(keys) > 1 else ""
            got = f"a file that {fault} the tensor {sorted(keys)[0]}{more}"
            raise CheckpointError(subject, got, f"exactly the tensors of its {kind} configuration", SAVE_AGAIN)
    own_memory(network)
    check_finite(network, subject)
    return network.to(device).eval().requires_grad_(False)


def own_memory(network: torch.nn.Module) -> None:
    """Copy weights out of the mapped file into aligned memory of their own.

    Kernels may round differently for weights at odd addresses, so that the same weights in another file would give
    other last bits; and a file overwritten during an audit would change a mapped network, or kill the process.
    """
    for tensor in [*network.parameters(), *network.buffers()]:
        tensor.data = tensor.data.clone()


def check_finite(network: torch.nn.Module, subject: str) -> None:
    """Raise CheckpointError naming the first tensor that holds NaN or infinite values."""
    for name, tensor in [*network.named_parameters(), *network.named_buffers()]:
        broken = int((~torch.isfinite(tensor)).sum())
        if broken:
            got = f"{broken} of {tensor.numel()} values NaN or infinite in {name}"
            raise CheckpointError(subject, got, "finite weights", "Audit a checkpoint whose training did not diverge.")


def scheduler_config(scan: Scan) -> dict[str, object]:
    """scheduler_config.json with the defaults of diffusers' class of that name filled in where it is silent."""
    import diffusers

    stated = component_config(scan.path, "scheduler")
    kind = getattr(diffusers, str(stated.get("_class_name")), None)
    parameters = inspect.signature(kind.__init__).parameters if kind is not None else {}
    defaults = {key: value.default for key, value in parameters.items() if value.default is not inspect.Parameter.empty}
    return defaults | stated


def image_size(scan: Scan, name: str, value: object) -> tuple[int, int]:
    """(H, W) of a ``sample_size`` entry, which is one number or two."""
    sizes = list(value) if isinstance(value, list | tuple) else [value, value]
    whole = [size for size in sizes if isinstance(size, int) and not isinstance(size, bool) and size > 0]
    if len(sizes) != 2 or len(whole) != 2:
        expected = "one or two positive whole numbers"
        raise CheckpointError(f"{scan.path}: {name}: sample_size", repr(value), expected, "State it in config.json.")
    return whole[0], whole[1]
