"""Are the captions of training and held-out images written alike? What is asked for by text rests on both."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from auditor.checkpoint.tokens import read
from auditor.config import AuditConfig
from auditor.diffusion.denoiser import Denoiser
from auditor.errors import DataError
from auditor.prompts.style import style_features
from auditor.stages.extraction_conditions import stated_captions
from auditor.stages.inputs import Inputs
from auditor.store.record import Check
from auditor.validity.blind import blind_check, blind_scores


def captions_check(
    inputs: Inputs, members: Sequence[str], nonmembers: Sequence[str], config: AuditConfig, seed: str
) -> list[Check]:
    """The blind check of captions; none where no checkpoint is asked for them.

    A caption that says more, or is written as those of the training were, lowers a network's error and brings its
    image nearer, whether that image was trained on or not. Captions that the checkpoint sees the same of count once a
    side, and not at all where they stand on both.

    Args:
      members: Training images, drawn at random.
      nonmembers: Held-out images, likewise.
    """
    drawn = inputs.prompts is not None and config.prompts.file is None and config.prompts.source == "captions"
    if inputs.checkpoint.text is None or not (drawn or config.membership.enabled):
        return []
    stated = [stated_captions(*side) for side in ((inputs.train, members), (inputs.holdout, nonmembers))]
    complete = sum(map(len, stated)) == len(members) + len(nonmembers)
    if not all(stated) or not (drawn or complete):  # else members are attacked under the empty prompt
        return []
    return [written_alike(inputs.checkpoint.denoiser, [list(side.values()) for side in stated], seed)]


def written_alike(denoiser: Denoiser, sides: Sequence[Sequence[str]], seed: str) -> Check:
    """The blind check of captions of training images, then of held-out ones, as a checkpoint sees them."""
    texts = seen_texts(denoiser, [text for side in sides for text in side])
    is_member = np.arange(len(texts)) < len(sides[0])
    readings = read(denoiser, texts)
    features = style_features(texts, [one.tokens for one in readings])
    group = np.unique([one.seen for one in readings], return_inverse=True)[1].astype(np.int64)
    try:
        scores = blind_scores(features, is_member, group, seed)
    except DataError:  # both sides have the same few captions; the check says that there are too few
        scores = np.zeros(len(texts))
    return blind_check(scores, is_member, group, seen="captions")


def seen_texts(denoiser: Denoiser, texts: Sequence[str]) -> list[str]:
    """Captions without what the checkpoint does not see of them: letters are folded where their case is lost on it."""
    folded = [text.casefold() for text in texts]
    own, other = (read(denoiser, which) for which in (texts, folded))
    same = [a.seen == b.seen for a, b in zip(own, other, strict=True)]
    return [small if alike else text for text, small, alike in zip(texts, folded, same, strict=True)]
