"""What no search may see is refused, and the image is named."""

from __future__ import annotations

import numpy as np
import pytest

from auditor.encoders.base import check_vectors
from auditor.encoders.pixel import PixelEncoder
from auditor.errors import DataError

ENCODER = PixelEncoder(1, 8, 8)
IDS = [f"image-{i}" for i in range(6)]


def vectors() -> np.ndarray:
    return ENCODER(np.random.default_rng(3).integers(0, 256, (6, 1, 8, 8), dtype=np.uint8))


def test_unit_vectors_are_accepted() -> None:
    check_vectors(vectors(), IDS, ENCODER)


@pytest.mark.parametrize("value", [np.nan, np.inf, 2.0])
def test_what_is_no_unit_vector_is_refused_by_name(value: float) -> None:
    broken = vectors()
    broken[3, 0] = value  # as broken weights would
    with pytest.raises(DataError, match="encoder pixel: image image-3: got an embedding of norm"):
        check_vectors(broken, IDS, ENCODER)


@pytest.mark.parametrize("change", [lambda v: v.astype(np.float64), lambda v: v[:, :-1], lambda v: v[:-1]])
def test_another_shape_or_dtype_is_refused(change) -> None:
    with pytest.raises(DataError, match="encoder pixel: got float"):
        check_vectors(change(vectors()), IDS, ENCODER)
