"""Cliques: pictures that a checkpoint makes again and again from independent noise, found without any training set."""

from __future__ import annotations

from auditor.store.parts import Part


class Clique(Part):
    """One picture that several probes came to."""

    generations: int  # of all cliques that show it
    probes: list[int]  # a few of them, the one that the others were compared with first
    spread: float  # largest distance of a generation from that first one
    training_id: str | None = None  # the training image nearest to the first generation; None without a training set
    on_training: bool | None = None  # every generation of the clique lands on that image or a duplicate of it
    images: list[str] = []  # relative paths of PNG files in the run directory, in the order of ``probes``
    training_image: str | None = None


class CliqueSearch(Part):
    """Coincidences under one measure of distance."""

    measure: str  # "patched pixels", or an encoder's name
    generations: int  # compared
    flat: int  # generations left out for showing next to nothing
    least: int  # generations that make a clique
    radius: float | None = None  # within which all of a clique are from each other
    expected: float | None = None  # chance cliques at most, on average, at that radius
    dimension: float | None = None  # of the cloud of generations, that the expectation was carried down with
    different: int = 0  # generations that the expectation was read off
    pictures: int | None = None  # that cliques show; with probability 1 - expected none of them is by chance
    repeated: int | None = None  # generations in cliques
    detectable: float | None = None  # share of generations showing one picture, from which it is found 19 times in 20
    published: int | None = None  # cliques of at least 10 within 0.15, uncalibrated; None for other measures
    checked: int | None = None  # pictures held against the training set; None without one
    on_training: int | None = None  # of which so many lie on a training image
    cliques: list[Clique] = []  # most generations first
    unscored: str | None = None  # why there is no radius
