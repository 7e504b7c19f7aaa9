"""One component out of a single file (see :mod:`auditor.checkpoint.single_file`) as a network.

Converters pass over tensors that they do not know, so that values are tallied: what a component is given must be all
that the file has for it. Renaming, cutting, transposing and reordering change no tally.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any, cast

import torch

from auditor.checkpoint.flux_names import flux_names
from auditor.checkpoint.single_file import ENCODERS, NETWORK, PREFIXES, is_of

Tensors = dict[str, torch.Tensor]
Found = dict[str, list[str]]  # missing_keys and unexpected_keys, as ``from_pretrained`` reports them
SHARED, EMBEDDED = "shared.weight", "encoder.embed_tokens.weight"  # one tensor of T5 under two names
PIECE = 2**20  # values tallied together
PROJECTION = "text_projection.weight"


def load_component(
    file: Path, config: Path, pipeline: str, name: str, kind: str, dtype: torch.dtype
) -> tuple[Any, Found]:
    """A component out of the file, and tensors that are missing or left over.

    Args:
      file: The single file.
      config: The folder of its configuration.
      pipeline: A key of :data:`auditor.checkpoint.single_file.PREFIXES`.
      name: The component's name in model_index.json.
      kind: Its class, of diffusers or transformers.
      dtype: What it is stored in; each tensor is rounded once.

    Raises:
      ValueError: A tensor is missing or of another shape; converters raise other exceptions likewise.
    """
    import transformers

    prefixes = PREFIXES[pipeline][name]
    own = read_tensors(file, prefixes)
    if not hasattr(transformers, kind):
        return load_network(own, prefixes[0], config, name, kind, dtype)
    if prefixes[0] in sum(ENCODERS.values(), ()):
        return load_encoder(own, prefixes[0], config / name, kind, dtype)
    return load_older_encoder(file, own, prefixes[0], config, name, kind, dtype)


def read_tensors(file: Path, prefixes: tuple[str, ...]) -> Tensors:
    """The file's tensors of one component, as they lie in it."""
    from safetensors import safe_open

    with safe_open(file, framework="pt") as content:
        return {key: content.get_tensor(key) for key in content.keys() if is_of(key, prefixes)}  # noqa: SIM118  # no mapping


def load_network(
    own: Tensors, prefix: str, config: Path, name: str, kind: str, dtype: torch.dtype
) -> tuple[Any, Found]:
    """A transformer, UNet or autoencoder."""
    import diffusers

    origin = getattr(diffusers, kind)
    stated = origin.load_config(config, subfolder=name, local_files_only=True)
    with torch.device("meta"):
        network = origin.from_config(stated)
    state, left = to_diffusers(own, kind, network, stated)
    found = compare(own, state, min(left, default=f"{prefix}..."))
    if found["missing_keys"] or found["unexpected_keys"]:
        return network, found
    keys = network.load_state_dict({key: value.to(dtype) for key, value in state.items()}, strict=False, assign=True)
    return network, {"missing_keys": list(keys.missing_keys), "unexpected_keys": list(keys.unexpected_keys)}


def to_diffusers(own: Tensors, kind: str, network: Any, stated: dict[str, Any]) -> tuple[Tensors, Tensors]:
    """The tensors under diffusers' names, and those that its converter left where it takes them out one by one."""
    from diffusers.loaders.single_file_model import SINGLE_FILE_LOADABLE_CLASSES

    if kind == "FluxTransformer2DModel":
        bare = {key.removeprefix(NETWORK): value for key, value in own.items()}
        if len(bare) < len(own):
            raise ValueError("tensors that stand there twice, with and without a prefix")
        return flux_names(bare, network.config.num_attention_heads * network.config.attention_head_dim), {}
    left, classes = dict(own), cast(dict[str, Any], SINGLE_FILE_LOADABLE_CLASSES)
    try:
        state = classes[kind]["checkpoint_mapping_fn"](checkpoint=left, config=stated)
    except KeyError as missing:
        raise ValueError(f"a file that lacks the tensor {missing.args[0]}") from missing
    return state, left if len(left) < len(own) else {}


def load_encoder(own: Tensors, prefix: str, folder: Path, kind: str, dtype: torch.dtype) -> tuple[Any, Found]:
    """A text encoder of SD3 or FLUX, which is under transformers' own names.

    Their CLIP-L has no projection: SD3 takes the identity in its place, FLUX none. Files that are saved by other
    programs hold that identity.

    Raises:
      ValueError: A projection that is not the identity, which would be passed over elsewhere, or T5's embeddings twice
        and not the same.
    """
    import transformers

    state = {key.removeprefix(prefix): value for key, value in own.items()}
    origin = getattr(transformers, kind)
    stated = origin.config_class.from_pretrained(folder, local_files_only=True)
    if prefix in ENCODERS["clip_l"]:
        identity = torch.eye(stated.hidden_size)
        if not torch.equal(state.pop(PROJECTION, identity).float(), identity):
            raise ValueError(f"{prefix}{PROJECTION} other than the identity, which others pass over")
        if kind == "CLIPTextModelWithProjection":
            state[PROJECTION] = identity
    if {SHARED, EMBEDDED} <= state.keys() and not torch.equal(state.pop(EMBEDDED).float(), state[SHARED].float()):
        raise ValueError(f"{prefix}{SHARED} and {EMBEDDED} that differ")
    # as transformers names them since its CLIPTextModel is flat; it renames older names in files alone
    if kind == "CLIPTextModel":
        state = {key.removeprefix("text_model."): value for key, value in state.items()}
    network, found = origin.from_pretrained(
        None, config=stated, state_dict=state, dtype=dtype, output_loading_info=True
    )
    return network, {key: sorted(found[key]) for key in ("missing_keys", "unexpected_keys")}


def load_older_encoder(
    file: Path, own: Tensors, prefix: str, config: Path, name: str, kind: str, dtype: torch.dtype
) -> tuple[Any, Found]:
    """A text encoder of Stable Diffusion 1.x, 2.x or XL."""
    import transformers
    from diffusers.loaders.single_file_utils import create_diffusers_clip_model_from_ldm
    from safetensors.torch import load_file

    # tells kinds of checkpoints apart by names of other components too
    create: Any = create_diffusers_clip_model_from_ldm
    network = create(
        getattr(transformers, kind), load_file(file), config=str(config), subfolder=name, local_files_only=True,
        torch_dtype=torch.float32,
    )  # fmt: skip
    unset = [key for key, value in network.state_dict().items() if value.is_meta]
    if unset:
        return network, {"missing_keys": unset, "unexpected_keys": []}
    found = compare(own, network.state_dict(), f"{prefix}...")  # before it is rounded
    return network.to(dtype), found


def compare(own: Tensors, state: Tensors, suspect: str) -> Found:
    """Whether the values of ``state`` are all of ``own``; if not, ``suspect`` is named as what is too much or lacks."""
    found: Found = {"missing_keys": [], "unexpected_keys": []}
    given, taken = tally(own.values()), tally(state.values())
    if not all(math.isfinite(number) for number in given):  # these are named where weights are checked
        return found
    if not all(math.isclose(a, b, rel_tol=1e-9, abs_tol=1e-9) for a, b in zip(taken, given, strict=True)):
        key = "unexpected_keys" if given[0] > taken[0] else "missing_keys"
        found[key] = [f"{suspect} ({given[0]} values, {taken[0]} or others needed)"]
    return found


def tally(tensors: Iterable[torch.Tensor]) -> tuple[int, float, float]:
    """How many values there are, the sum of their magnitudes and of their squares: renaming and cutting change none."""
    count, magnitude, square = 0, 0.0, 0.0
    for tensor in tensors:
        count += tensor.numel()
        for piece in torch.split(tensor.detach().flatten(), PIECE):
            wide = piece.double()
            magnitude += wide.abs().sum().item()
            square += wide.square().sum().item()
    return count, magnitude, square
