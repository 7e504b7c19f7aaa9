"""One component of a scanned checkpoint as a network ready to be called, with every tensor accounted for."""

from __future__ import annotations

import importlib
import inspect
import re
from collections.abc import Collection
from pathlib import Path
from typing import Any

import torch

from auditor.checkpoint.manifest import component_config, component_folder
from auditor.checkpoint.safetensors_header import check_header
from auditor.checkpoint.scan import Scan
from auditor.checkpoint.single_component import load_component
from auditor.checkpoint.single_file import PREFIXES, is_of
from auditor.diffusion.precision import DTYPES
from auditor.errors import CheckpointError

SAVE_AGAIN = "Download or save the checkpoint again."
DTYPE_KEY = {"diffusers": "torch_dtype", "transformers": "dtype"}  # of from_pretrained
AUTOENCODERS = ("vae", "vqvae")
# Loaded as float32 whatever is asked for, and narrowed afterwards: small, and some hold Fourier frequencies.
WIDE = ("UNet2DModel",)
# Trained in bfloat16 with activations beyond what float16 holds; T5's are kept in bounds by transformers, which leaves
# the layers that overflow in float32.
OVERFLOWING = ("Gemma2Model",)
WITHOUT_ADAPTERS = ("Gemma2Model", "T5EncoderModel")
STORED = {"F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}  # names of dtypes in safetensors
PIECE = 2**22  # values looked at together: a check takes no memory to speak of
VARIANT = re.compile(r"\.(?!index)(\w+)(-\d+-of-\d+)?\.safetensors$")  # model.fp16-00001-of-00002.safetensors
COUNTED = re.compile(r"(^|\.)embeddings\.position_ids$")  # 0, 1, 2, ...: older versions saved them as if learnt


def load_network(scan: Scan, name: str, kind: str, device: str, *, library: str = "diffusers") -> Any:
    """The component as an instance of the library's class ``kind``: evaluation mode, no gradients.

    It is :func:`loading_dtype`'s. Half-precision weights stay what they are where half precision is asked for: memory
    peaks at the weights' own size and the largest tensor's.

    Args:
      scan: The checkpoint.
      name: The component's name in model_index.json.
      kind: A class on the allow-list.
      device: As torch names it.
      library: diffusers or transformers.

    Raises:
      CheckpointError: Weights are missing, left over, of another shape than the configuration says, or not finite.
    """
    subject = f"{scan.path}: {name}"
    if scan.model_index.get(name) in (None, [None, None]):
        raise CheckpointError(subject, "no such component in model_index.json", f"a {kind}", SAVE_AGAIN)
    single = scan.weights if name in scan.held else None
    subject = f"{single or scan.path}: {name}"
    folder, dtype = component_folder(scan.path, name), loading_dtype(scan, name, kind)
    refuse_stray_adapter(folder, subject)
    origin = importlib.import_module(library)
    origin.utils.logging.disable_progress_bar()
    try:
        # Constructors draw initial weights: the global random state is put back afterwards.
        with torch.random.fork_rng(devices=[]):
            if single is not None:
                pipeline = str(scan.model_index["_class_name"])
                network, found = load_component(single, scan.path, pipeline, name, kind, dtype)
            else:
                network, found = getattr(origin, kind).from_pretrained(
                    folder,
                    use_safetensors=None if scan.pickled else True,
                    local_files_only=True,
                    variant=variant_of(folder),
                    output_loading_info=True,
                    **{DTYPE_KEY[library]: dtype},
                )
    except Exception as error:  # configurations are foreign: constructors raise whatever they meet
        got = " ".join(str(error).split())[:300] or type(error).__name__
        raise CheckpointError(subject, got, f"weights and configuration of a {kind}", SAVE_AGAIN) from error
    unexpected = [key for key in found["unexpected_keys"] if not COUNTED.search(key)]
    for keys, fault in ((found["missing_keys"], "that lacks the"), (unexpected, "with the unexpected")):
        if keys:
            more = f" and {len(keys) - 1} more" if len(keys) > 1 else ""
            got = f"a file {fault} tensor {sorted(keys)[0]}{more}"
            raise CheckpointError(subject, got, f"exactly the tensors of its {kind} configuration", SAVE_AGAIN)
    if not awaits_adapter(scan, name, kind):
        own_memory(network, stored_dtypes(folder) if single is None else set(STORED.values()))
    check_finite(network, subject)
    return network.to(device).eval().requires_grad_(False)


def loading_dtype(scan: Scan, name: str, kind: str) -> torch.dtype:
    """What a component is loaded in: as asked for; an autoencoder in float32, what awaits an adapter as stored."""
    if name in AUTOENCODERS or kind in WIDE:
        return torch.float32
    if awaits_adapter(scan, name, kind):
        folder = component_folder(scan.path, name)
        stored = component_dtypes(scan, name) if name in scan.held else stored_dtypes(folder)
        return stored.pop() if len(stored) == 1 else torch.float32
    return narrowest(kind, DTYPES[scan.asked.dtype])


def awaits_adapter(scan: Scan, name: str, kind: str) -> bool:
    """Whether an adapter may be fused into a component, which is then settled (:mod:`auditor.checkpoint.adapter`)."""
    return scan.asked.adapter is not None and name not in AUTOENCODERS and kind not in WITHOUT_ADAPTERS


def narrowest(kind: str, dtype: torch.dtype) -> torch.dtype:
    """``dtype``, or bfloat16 in place of float16 where a class's activations do not fit into it."""
    return torch.bfloat16 if kind in OVERFLOWING and dtype == torch.float16 else dtype


def stored_dtypes(folder: Path) -> set[torch.dtype]:
    """The floating dtypes in the folder's safetensors files; all of them where there are other files."""
    files = [*folder.glob("*.safetensors")]
    names = {tensor.dtype for file in files for tensor in check_header(file)}
    return {STORED[name] for name in names & STORED.keys()} if files else set(STORED.values())


def component_dtypes(scan: Scan, name: str) -> set[torch.dtype]:
    """The floating dtypes of a component's tensors in the single file; float32 among them for float8."""
    assert scan.weights is not None  # it holds the component
    prefixes = PREFIXES[str(scan.model_index["_class_name"])][name]
    names = {tensor.dtype for tensor in check_header(scan.weights) if is_of(tensor.name, prefixes)}
    return {STORED.get(one, torch.float32) for one in names}


def variant_of(folder: Path) -> str | None:
    """Such as ``fp16`` if the folder holds weights under one variant's names alone, as half-precision copies come."""
    found = {variant[1] if (variant := VARIANT.search(file.name)) else None for file in folder.glob("*.safetensors")}
    return found.pop() if len(found) == 1 else None


def refuse_stray_adapter(folder: Path, subject: str) -> None:
    """Raise CheckpointError if transformers would change the component by an adapter that lies beside its weights."""
    if (folder / "adapter_config.json").is_file():
        remedy = "Name it as checkpoint.adapter, or fuse it into the weights."
        raise CheckpointError(subject, "adapter_config.json", "weights without an adapter beside them", remedy)


def own_memory(network: torch.nn.Module, mapped: Collection[torch.dtype]) -> None:
    """Copy weights out of the mapped file into aligned memory of their own, one after the other.

    Kernels may round differently for weights at odd addresses, so that the same weights in another file would give
    other last bits; and a file overwritten during an audit would change a mapped network, or kill the process. Weights
    of dtypes that the file does not hold were converted, and lie in memory of their own already.
    """
    for tensor in [*network.parameters(), *network.buffers()]:
        if tensor.dtype in mapped or not tensor.is_floating_point():
            tensor.data = tensor.data.clone()


def check_finite(network: torch.nn.Module, subject: str) -> None:
    """Raise CheckpointError naming the first tensor that holds NaN or infinite values."""
    for name, tensor in [*network.named_parameters(), *network.named_buffers()]:
        pieces = torch.split(tensor.detach().flatten(), PIECE)
        broken = sum(int((~torch.isfinite(piece)).sum()) for piece in pieces)
        if broken:
            got = f"{broken} of {tensor.numel()} values NaN or infinite in {name}"
            remedy = "Audit a checkpoint whose training did not diverge."
            if tensor.dtype == torch.float16:
                remedy = "Ask for bfloat16 or float32, which hold larger values; or its training diverged."
            raise CheckpointError(subject, got, "finite weights", remedy)


def refuse_shift(scan: Scan, autoencoder: Any) -> None:
    """Raise CheckpointError for a shift of latents in a family whose pipeline passes over it."""
    shift = autoencoder.config.get("shift_factor")
    if shift:
        remedy = "Remove it if it was trained without."
        raise CheckpointError(f"{scan.path}: vae: shift_factor", shift, "none, as its pipeline heeds none", remedy)


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
