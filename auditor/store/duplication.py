"""Exposure against duplication: how often images are reproduced, by how often they stand in the training set."""

from __future__ import annotations

from auditor.store.parts import Curve, Estimate, Part


class RepeatBin(Part):
    """Training items that stand in the set about as often."""

    least: int  # times, near-duplicates counted
    most: int
    items: int
    reproduced: Estimate  # share of the items
    generations_per_item: float  # mean number of generations that land on one


class DuplicateCluster(Part):
    """One duplicate cluster of the training set."""

    id: str  # representative image
    times: int  # training images in it
    distinct: int  # with different pixels
    reproduced: bool
    generations: Estimate  # share of the generations that land on it


class Duplication(Part):
    """What repeating an image in the training set does to it, under one encoder."""

    threshold: float | None  # similarity to a generation from which an item counts; None: verbatim ones alone do
    certified: bool  # the threshold is that of the last certified item; otherwise just above every held-out item
    bins: list[RepeatBin]  # fewest times first
    held_out: Estimate  # the same of held-out items, which stand in it 0 times
    doubling: Estimate  # factor by which the odds of being reproduced grow with each doubling
    half: Estimate  # times at which half of the items are reproduced
    curve: Curve  # x = times; "fitted", "lower", "upper"; empty without a fit
    clusters: list[DuplicateCluster]  # those of most images, at most 20; single images are none
