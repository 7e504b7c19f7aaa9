"""Tokenizers and text encoders of a scanned checkpoint, from transformers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from auditor.checkpoint.components import SAVE_AGAIN, load_network, narrowest
from auditor.checkpoint.manifest import component_folder
from auditor.checkpoint.scan import Scan
from auditor.diffusion.precision import widen_output
from auditor.errors import CheckpointError


@dataclass(frozen=True)
class TextEncoder:
    """One tokenizer with the network that reads its tokens."""

    tokenizer: Any  # transformers.PreTrainedTokenizerBase
    network: Any  # transformers.PreTrainedModel
    length: int  # tokens of every prompt, padded or cut

    def tokens(self, text: str, length: int | None = None) -> tuple[torch.Tensor, torch.Tensor]:
        """Ids and mask of one prompt, Int64[1 length] each on the network's device; the mask is 0 on padding."""
        found = self.tokenizer(
            text, padding="max_length", max_length=length or self.length, truncation=True, return_tensors="pt",
            return_attention_mask=True,
        )  # fmt: skip
        device = self.network.device
        return found.input_ids.to(device), found.attention_mask.to(device)


def load_text_encoder(scan: Scan, kind: str, device: str, place: str = "", length: int | None = None) -> TextEncoder:
    """``tokenizer`` and ``text_encoder`` of a checkpoint, or those whose names end in ``place``.

    The network computes in what the checkpoint is loaded in, and gives float32.

    Args:
      scan: The checkpoint.
      kind: The text encoder's class in transformers.
      device: As torch names it.
      place: "", "_2" or "_3".
      length: Tokens of a prompt; None = what the tokenizer states, which must be no more than the network's places.

    Raises:
      CheckpointError: No tokenizer of a known class can be read, or its ids are more than the network's.
    """
    network = load_network(scan, f"text_encoder{place}", kind, device, library="transformers")
    widen_output(network)
    tokenizer = load_tokenizer(scan, f"tokenizer{place}")
    if len(tokenizer) > network.config.vocab_size:
        expected = f"at most {network.config.vocab_size}, as the text encoder knows"
        raise CheckpointError(f"{scan.path}: tokenizer{place}", f"{len(tokenizer)} tokens", expected, SAVE_AGAIN)
    places = getattr(network.config, "max_position_embeddings", None)
    if length is None:
        length = tokenizer.model_max_length if places is None else min(tokenizer.model_max_length, places)
    return TextEncoder(tokenizer, network, length)


def narrow_encoder(network: Any, dtype: torch.dtype) -> None:
    """Make a text encoder that was loaded in float32 what loading it in ``dtype`` makes of it, in place.

    Layers that overflow float16 stay in float32, as transformers has it (T5's ``wo``); so do whole networks that
    :func:`auditor.checkpoint.components.narrowest` widens.
    """
    dtype = narrowest(type(network).__name__, dtype)
    kept = (network._keep_in_fp32_modules or ()) if dtype == torch.float16 else ()
    for name, parameter in network.named_parameters():
        if not set(name.split(".")) & set(kept):
            parameter.data = parameter.data.to(dtype)


def load_tokenizer(scan: Scan, name: str) -> Any:
    """The tokenizer of the class that model_index.json states, from its own files."""
    import transformers

    subject, entry = f"{scan.path}: {name}", scan.model_index.get(name)
    if not isinstance(entry, list) or entry == [None, None]:
        raise CheckpointError(subject, "no entry in model_index.json", "a tokenizer", SAVE_AGAIN)
    try:
        return getattr(transformers, str(entry[1])).from_pretrained(
            component_folder(scan.path, name), local_files_only=True, trust_remote_code=False
        )
    except Exception as error:  # files are foreign: constructors raise whatever they meet
        got = " ".join(str(error).split())[:300] or type(error).__name__
        raise CheckpointError(subject, got, f"the files of a {entry[1]}", SAVE_AGAIN) from error
