"""Kinds of copies: each told from the others, templates from blurred pictures above all."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from auditor.copies.kinds import is_template, kind_of, likeness
from auditor.validity.transformations import blur, jpeg, noise, tone
from tests.copies.textures import Pictures, textures

ONE, OTHER = textures(np.random.default_rng(61), 2)


def coarse(picture: Pictures) -> np.ndarray:
    """What eight pixels a side keep of it, smoothly enlarged to full size."""
    cells = picture.reshape(3, 8, 8, 8, 8).mean(axis=(2, 4)).astype(np.float32)
    large = [Image.fromarray(channel).resize((64, 64), Image.Resampling.BICUBIC) for channel in cells]
    return np.stack([np.asarray(channel) for channel in large])


def with_details_of(layout: Pictures, details: Pictures) -> Pictures:
    return np.clip(coarse(layout) + details - coarse(details), 0, 255).astype(np.uint8)


def test_the_same_layout_with_other_details_is_a_template() -> None:
    like = likeness(with_details_of(ONE, OTHER), ONE)
    assert like.coarse > 0.95
    assert like.fine < 0.1
    assert is_template(like)
    assert kind_of(like) == "template"


@pytest.mark.parametrize(
    "change", [blur(0.05), jpeg(30), noise(12.0), tone(0.8, 10.0)], ids=["blur", "jpeg", "noise", "tone"]
)
def test_control_a_worse_copy_is_no_template(change) -> None:
    # A blurred copy has the layout and not the details, but no other details instead.
    like = likeness(change(ONE, np.random.default_rng(62)), ONE)
    assert not is_template(like)
    assert kind_of(like) == "near"


def test_control_another_picture_is_no_template() -> None:
    assert not is_template(likeness(OTHER, ONE))
    assert not is_template(likeness(np.full_like(ONE, 7), ONE))


@pytest.mark.parametrize(
    ("found", "kind"),
    [
        ({"verbatim": True}, "exact"),
        ({"verbatim": True, "mirrored": True}, "mirrored"),
        ({"blended": True, "size": 0.2, "covered": 0.3}, "blend"),
        ({"size": 0.8, "covered": 0.9}, "near"),
        ({"size": 0.8, "covered": 0.9, "mirrored": True}, "mirrored"),
        ({"size": 0.5, "covered": 0.7, "scale": 2.0}, "cropped"),
        ({"size": 0.2, "covered": 0.2}, "part"),
        ({"size": 0.2, "covered": 0.7, "scale": 0.5}, "near"),
        ({}, "near"),
        ({"mirrored": True}, "mirrored"),
    ],
)
def test_kinds_follow_from_how_the_picture_lies(found: dict, kind: str) -> None:
    assert kind_of(likeness(OTHER, ONE), **found) == kind
