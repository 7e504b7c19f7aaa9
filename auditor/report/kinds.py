"""What the reports say about kinds of copies: a label for each, an example of each, and parts and blends."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from auditor.report.markdown_text import escape, table
from auditor.report.pages import Images, link
from auditor.report.story import estimate_text
from auditor.store.kinds import CopyKind, KindEvidence, KindSearch
from auditor.store.record import Competition, CopyEvidence
from auditor.store.wording import count, missing, percent

WORDS: dict[CopyKind, str] = {
    "exact": "exact copy",
    "near": "near-copy",
    "mirrored": "mirrored copy",
    "cropped": "cropped copy",
    "part": "partial copy",
    "template": "same layout, other details",
    "blend": "blend of two pictures",
}
TITLES = {"parts": "Parts of pictures", "blends": "Blends of two pictures"}
MEANING = {
    "parts": "Each generation was looked at beside its nearest real pictures, training and held-out alike, patch by "
    "patch. What counts is how much more it repeats of one picture, in one place and size, than of any other.",
    "blends": "Each generation was explained by every two of its nearest real pictures, laid over each other. What "
    "counts is how much worse the best explanation becomes without a picture.",
}
SHOWN = 6  # with pictures, of each search
WHOLE = ("near", "mirrored")  # kinds of parts that are shown among whole copies already
APART = "This competition has a false discovery rate and a bound of its own, beside those of whole copies."


@dataclass(frozen=True)
class Example:
    """One pair that shows a kind of copy."""

    kind: str
    id: str
    probe: int
    said: str
    image: str | None
    generation_image: str | None
    further_image: str | None = None  # the mask of a part, the other picture of a blend
    further: str = ""


def label(item: CopyEvidence) -> str:
    """The kind of a listed item, in words; empty where nobody looked."""
    if item.kind is None:
        return ""
    if item.tier == "suspect" and item.kind == "near":
        return "resemblance"
    if item.covered is None or item.kind in ("exact", "template", "blend"):
        return WORDS[item.kind]
    return f"{WORDS[item.kind]}, {percent(round(item.covered, 2))} of it"


def examples(competition: Competition) -> list[Example]:
    """The strongest copy of each kind that was called, and of templates also a suspect one; none if all are near.

    Crops, parts and blends are shown as the closer look found them, with the mask or the other picture.
    """
    looked_at = [item for search in competition.closer for item in search.evidence if item.certified]
    found: dict[str, Example] = {}
    for part in looked_at:
        if part.kind not in WHOLE:
            found.setdefault(part.kind, _example(part))
    for item in competition.evidence:
        if item.kind and (item.tier != "suspect" or item.kind == "template"):
            said = f"{'suspect, ' if item.tier == 'suspect' else ''}similarity {item.similarity:.4f}"
            one = Example(WORDS[item.kind], item.id, item.probe, said, item.image, item.generation_image)
            found.setdefault(item.kind, one)
    for part in looked_at:
        found.setdefault(part.kind, _example(part))
    return [found[kind] for kind in WORDS if kind in found] if set(found) != {"near"} else []


def _example(item: KindEvidence) -> Example:
    further = (item.mask_image, "what it repeats") if item.beside is None else (item.beside_image, f"and {item.beside}")
    return Example(WORDS[item.kind], item.id, item.probe, statement(item), item.image, item.generation_image, *further)


def sentence(search: KindSearch) -> str:
    """What a search for parts or blends shows."""
    what = "repeated in part or whole" if search.what == "parts" else "blended with another picture"
    if search.lower_bound.value is None:
        return f"Whether training images are {what} cannot be said: {missing(search.lower_bound)}."
    least = search.lower_bound.value
    if least > 0:
        bound = f"At least {count(int(least), 'training image')} {'is' if least == 1 else 'are'} {what}"
        return f"{bound} ({percent(search.lower_bound.level or 0.0)} confidence); {search.certified:,} are certified."
    if search.certified:
        images = f"{count(search.certified, 'training image')} {'is' if search.certified == 1 else 'are'}"
        return f"{images} certified as {what}, without a lower bound above zero."
    return f"No training image is shown to be {what}; it would take {search.floor:,} to certify any."


def statement(item: KindEvidence) -> str:
    """One piece of evidence in words."""
    if item.beside is not None:
        other = "" if item.beside_training else "the held-out image "
        return f"blended with {other}{item.beside}; the two explain {percent(round(item.explained or 0.0, 3))} of it"
    scale = item.scale or 1.0
    size = f", enlarged {scale:g} times" if scale > 1 else f", reduced to {percent(scale)}" if scale < 1 else ""
    turned = ", mirrored" if item.mirrored else ""
    return f"{percent(round(item.covered or 0.0, 2))} of the generation repeats it{size}{turned}"


def shown(search: KindSearch) -> list[KindEvidence]:
    """What is shown with pictures: certified items only, kinds in turn, those that whole copies show already last."""
    certified, seen = [item for item in search.evidence if item.certified], Counter[CopyKind]()
    turn = []
    for item in certified:
        turn.append((item.kind in WHOLE, seen[item.kind]))
        seen[item.kind] += 1
    return [certified[place] for place in sorted(range(len(certified)), key=turn.__getitem__)][:SHOWN]


def lines(competition: Competition, images: Images) -> Iterator[str]:
    """The Markdown report's part under one encoder."""
    found = examples(competition)
    if found:
        yield f"### One example of each kind of copy ({escape(competition.encoder)})"
        yield ""
        pictures = ("Generation", "Training image", "Beside") if images == "full" else ()
        rows = [(one.kind, one.id, one.probe, one.said, *_pictures(one)[: len(pictures)]) for one in found]
        plain = list(table(("Kind", "Training image", "Probe", "What was seen"), [row[:4] for row in rows]))
        yield f"{plain[0]} {' | '.join(pictures)} |" if pictures else plain[0]
        yield plain[1] + "---|" * len(pictures)
        for line, row in zip(plain[2:], rows, strict=False):
            yield f"{line} {' | '.join(str(cell) for cell in row[4:])} |" if pictures else line
        yield ""
    for search in competition.closer:
        yield f"### {TITLES[search.what]} ({escape(competition.encoder)})"
        yield ""
        yield f"{sentence(search)} {MEANING[search.what]} {APART}"
        yield ""
        rows = [
            ("Generations looked at", f"{search.generations:,}"),
            ("Competitors", f"{search.n_items:,} training, {search.m_items:,} held-out items"),
            ("Hits", f"{search.training_hits:,} training, {search.holdout_hits:,} held-out"),
            ("Certified", f"{search.certified:,} (false discovery rate {percent(search.alpha)})"),
            ("Training images, at least", estimate_text(search.lower_bound)),
        ]
        yield from table(("Figure", "Value"), rows)
        certified = [item for item in search.evidence if item.certified]
        listed = [(item.id, WORDS[item.kind], item.probe, statement(item)) for item in certified]
        if listed:
            yield from table(("Training image", "Kind", "Probe", "What was seen"), listed)


def _pictures(one: Example) -> tuple[str, ...]:
    paths = (one.generation_image, one.image, one.further_image)
    return tuple(f"![]({link(path)})" if path else "–" for path in paths)
