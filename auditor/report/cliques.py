"""What the reports say about cliques: sentences and rows, the same in every format."""

from __future__ import annotations

from collections.abc import Sequence

from auditor.store.cliques import Clique, CliqueSearch
from auditor.store.wording import count, decimal, percent

QUESTION = (
    "Nothing ties the noise of one probe to that of another. A checkpoint that draws new pictures makes two alike only "
    "as often as it is dense there; one that has a picture by heart makes it again and again. This is seen without any "
    "training set."
)
MEANING = (
    "That a picture comes back does not say that it was a training image: a checkpoint may also concentrate on a "
    "template, a logo or a placeholder. That none does says nothing about images that few probes or no probe reach."
)
ASSUMPTION = (
    "How many chance coincidences to expect is read off the generations themselves, at the distances of the nearest 3% "
    "and 30% of all pairs, and carried down to small distances by the power law that holds between them. This errs on "
    "the safe side where generations are spread smoothly; it cannot tell memorization from another reason to bunch at "
    "one point. Of generations made under one prompt the first alone is compared: they are alike for what was asked."
)
HEADER = ("Measure", "Pictures", "Generations in them", "On a training image", "Radius", "By chance", "Found from")
PUBLISHED = "cliques of 10 within 0.15, as published for one model and one set of prompts; uncalibrated"


def cliques_sentence(searches: Sequence[CliqueSearch]) -> str:
    """What the first measure with a result found."""
    found = first_scored(searches)
    if found is None:
        reason = searches[0].unscored if searches else "not searched"
        return f"Whether pictures come back could not be told from chance: {reason}."
    if not found.pictures:
        return (
            f"No picture comes back more often than chance explains, among {count(found.generations, 'generation')} "
            f"from independent noise ({found.measure}); one that {percent(found.detectable or 1.0)} of the generations "
            "show would have been found 19 times in 20."
        )
    pictures = "picture comes" if found.pictures == 1 else "pictures come"
    them = "it" if found.pictures == 1 else "one of them"
    return (
        f"{found.pictures:,} {pictures} back more often than chance explains: "
        f"{count(found.repeated or 0, 'generation')} of {found.generations:,} from independent noise show {them} "
        f"({found.measure}){truth(found)}."
    )


def truth(found: CliqueSearch) -> str:
    """How many of the pictures are training images, where a training set is at hand."""
    if found.checked is None:
        return ""
    return f"; {found.on_training or 0:,} of {found.checked:,} lie on a training image"


def first_scored(searches: Sequence[CliqueSearch]) -> CliqueSearch | None:
    """The search that the lead sentence tells of: the first with a radius."""
    return next((search for search in searches if search.unscored is None), None)


def search_rows(searches: Sequence[CliqueSearch]) -> list[tuple[str, ...]]:
    """One row per measure."""
    rows = []
    for search in searches:
        if search.unscored is not None:
            rows.append((search.measure, f"not measured: {search.unscored}", *["–"] * 5))
            continue
        on_training = "–" if search.checked is None else f"{search.on_training:,} of {search.checked:,}"
        rows.append(
            (
                search.measure, f"{search.pictures:,}", f"{search.repeated:,} of {search.generations:,}", on_training,
                decimal(search.radius or 0.0), decimal(search.expected or 0.0),
                f"{percent(search.detectable or 1.0)} of generations",
            )
        )  # fmt: skip
    return rows


def notes(searches: Sequence[CliqueSearch]) -> list[str]:
    """How to read the table, what was left out, and the published count."""
    if not searches:
        return []
    first = searches[0]
    said = [
        f"A clique is {first.least} or more generations, each within the radius of all others; by chance at most so "
        "many cliques are expected, on average. Cliques whose first generations are at most two radii apart count as "
        "one picture.",
        ASSUMPTION,
    ]
    if first.flat:
        said.append(f"{count(first.flat, 'generation')} that show next to nothing were left out: such are alike.")
    said += [f"For comparison: {one.published:,} {PUBLISHED}." for one in searches if one.published is not None]
    return said


def clique_rows(search: CliqueSearch) -> list[tuple[str, Clique]]:
    """The pictures that are shown, each with a line on it."""
    return [(clique_line(clique), clique) for clique in search.cliques]


def clique_line(clique: Clique) -> str:
    """How many generations, how far apart, and where they lie."""
    line = f"{count(clique.generations, 'generation')}, spread {decimal(clique.spread)}"
    if clique.on_training is None:
        return line
    if clique.on_training:
        return f"{line}; all land on training image {clique.training_id}"
    return f"{line}; not all land on one training image"
