"""Image sources: folders, webdataset tars, parquet, Arrow and npz as one stream of (id, pixels, caption)."""

from auditor.data.base import Geometry, ImageBatch, ImageSource
from auditor.data.open import open_source
from auditor.data.selection import read_ids, refuse_missing, select
from auditor.data.survey import Survey, describe, pixel_digests, pixels_of, survey

__all__ = [
    "Geometry",
    "ImageBatch",
    "ImageSource",
    "Survey",
    "describe",
    "open_source",
    "pixel_digests",
    "pixels_of",
    "read_ids",
    "refuse_missing",
    "select",
    "survey",
]
