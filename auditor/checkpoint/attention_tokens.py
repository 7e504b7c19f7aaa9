"""Which tokens the columns of a map of attention to text are, for each way of encoding text."""

from __future__ import annotations

from functools import singledispatch
from typing import NamedTuple

import torch

from auditor.checkpoint.flux import PooledClipAndT5
from auditor.checkpoint.pixart import MaskedT5
from auditor.checkpoint.sana import LENGTH, InstructedGemma
from auditor.checkpoint.stable_diffusion import ClipStates
from auditor.checkpoint.stable_diffusion_3 import T5_LENGTH, ClipsThenT5
from auditor.checkpoint.stable_diffusion_xl import PairedClipStates
from auditor.checkpoint.text_encoders import TextEncoder

NO_TOKEN = -1  # id of a column in which no encoder's state stands


class Columns(NamedTuple):
    """Of one prompt, of T columns."""

    ids: torch.Tensor  # Int64[T]
    closing: torch.Tensor  # Bool[T], the end of text and the padding behind it
    end: int | None  # place of the end of text; None = the encoder marks none


@singledispatch
def columns(encode: object, text: str, *, null: bool = False) -> Columns:
    """The columns of a prompt.

    Args:
      encode: What encodes the prompt, by whose class the columns go.
      text: The prompt.
      null: Of what stands in the place of the empty prompt, where the family has another.

    Raises:
      TypeError: A way of encoding text whose columns are not known.
    """
    raise TypeError(f"columns: got {type(encode).__name__}; expected a known way of encoding text")


@columns.register
def _(encode: ClipStates, text: str, *, null: bool = False) -> Columns:
    return of_encoder(encode.encoder, text)


@columns.register
def _(encode: PairedClipStates, text: str, *, null: bool = False) -> Columns:
    """Both encoders read the same tokens, their states side by side in one column; padding alone has other ids."""
    return of_encoder(encode.first, text)


@columns.register
def _(encode: MaskedT5, text: str, *, null: bool = False) -> Columns:
    """T5's, as the network is told to leave padding out of sight: its weights are 0."""
    return of_encoder(encode.encoder, encode.cleaned(text))


@columns.register
def _(encode: PooledClipAndT5, text: str, *, null: bool = False) -> Columns:
    """T5's: CLIP's pooled state is no token. Padding is attended to."""
    return of_encoder(encode.t5, text)


@columns.register
def _(encode: ClipsThenT5, text: str, *, null: bool = False) -> Columns:
    """CLIP's, whose end of text is the one that sums the prompt up, then T5's, or zeros in their place."""
    clip = of_encoder(encode.clips[0], text)
    empty = clip.ids.new_full((T5_LENGTH,), NO_TOKEN)
    t5 = Columns(empty, empty == NO_TOKEN, None) if encode.t5 is None else of_encoder(encode.t5, text)
    device = clip.ids.device
    return Columns(torch.cat([clip.ids, t5.ids.to(device)]), torch.cat([clip.closing, t5.closing.to(device)]), clip.end)


@columns.register
def _(encode: InstructedGemma, text: str, *, null: bool = False) -> Columns:
    """The first token and the last of the instruction before the prompt; padding is out of sight, and no token ends."""
    asked, length = ("", LENGTH) if null else encode.asked(text)
    ids, mask = (found[0, encode.chosen(length)] for found in encode.encoder.tokens(asked, length))
    return Columns(ids, mask == 0, None)


def of_encoder(encoder: TextEncoder, text: str) -> Columns:
    """The columns of one encoder, in the order of its tokens; what it pads with is on the right."""
    ids, mask = (found[0] for found in encoder.tokens(text))
    last = int(mask.sum()) - 1
    if last < 0 or int(ids[last]) != encoder.tokenizer.eos_token_id:
        return Columns(ids, mask == 0, None)
    return Columns(ids, torch.arange(len(ids), device=ids.device) >= last, last)
