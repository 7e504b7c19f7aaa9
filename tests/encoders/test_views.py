"""Views of a picture: a mirror undoes itself, windows stay inside, and nothing changes shape."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from auditor.encoders.views import IDENTITY, MIRROR, WINDOWS, names_of, view, window

SIDES = st.integers(1, 40)


def images(height: int, width: int, channels: int = 3, count: int = 2) -> np.ndarray:
    rng = np.random.default_rng([height, width, channels])
    return rng.integers(0, 256, (count, channels, height, width), dtype=np.uint8)


@given(SIDES, SIDES, st.sampled_from([1, 3]))
def test_a_mirror_undoes_itself(height: int, width: int, channels: int) -> None:
    pixels = images(height, width, channels)
    assert np.array_equal(view(view(pixels, MIRROR), MIRROR), pixels)
    assert np.array_equal(view(pixels, MIRROR)[..., 0], pixels[..., -1])


@given(SIDES, SIDES, st.sampled_from(sorted(WINDOWS)))
def test_windows_lie_inside_and_hold_a_pixel(height: int, width: int, name: str) -> None:
    top, left, bottom, right = window(name, height, width)
    assert 0 <= top < bottom <= height
    assert 0 <= left < right <= width


@given(SIDES, SIDES, st.sampled_from([IDENTITY, MIRROR, *WINDOWS]), st.sampled_from([1, 3]))
def test_every_view_keeps_the_shape(height: int, width: int, name: str, channels: int) -> None:
    pixels = images(height, width, channels)
    assert view(pixels, name).shape == pixels.shape
    assert view(pixels, name).dtype == np.uint8


def test_a_window_shows_what_stands_there_enlarged() -> None:
    # A picture shrunk to 60% in the corner of a grey one: the corner's window gives it back, but for the two resizings.
    ramp = np.linspace(0, 255, 60).astype(np.uint8)
    small = np.broadcast_to(ramp[None, None, None, :36], (1, 3, 36, 36))
    pixels = np.full((1, 3, 60, 60), 128, np.uint8)
    pixels[..., :36, :36] = small
    found = view(pixels, "top left 60%").astype(int)
    expected = np.interp((np.arange(60) + 0.5) * 0.6 - 0.5, np.arange(36), small[0, 0, 0])
    assert np.abs(found[0, 0, 30] - expected).max() <= 2
    assert np.abs(view(pixels, "bottom right 60%").astype(int)[0, 0, 30] - expected).max() > 60


def test_names_of_leaves_the_picture_itself_out() -> None:
    assert names_of(["identity"]) == []
    assert names_of(["identity", "mirror", "crop"]) == [MIRROR, *WINDOWS]
