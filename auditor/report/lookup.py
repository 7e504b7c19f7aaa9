"""What is said about an image that was looked up, and what that does not show."""

from __future__ import annotations

from collections.abc import Iterator

from auditor.report.story import TIER_WORDS
from auditor.stats.power import zero_hit_bound
from auditor.store.lookup import LookedUnder, LookedUp, Lookup
from auditor.store.prompting import PromptSource
from auditor.store.wording import attack_name, count, percent

LEVEL = 0.95
UNEQUAL: dict[PromptSource | None, str] = {  # what p-values are worth where prompts may know the training set
    "training": "All prompts of this audit were captions of training images. These were asked for, and the held-out "
    "images that they are compared with were not, so a small p-value is no sign of memorization here.",
    "file": "The prompts were given by whoever made the audit. A p-value supposes that they were chosen without regard "
    "to which images were trained on.",
}


def headline(image: LookedUp) -> str:
    """In the training set or not, and reproduced or not, in a few words."""
    if image.unscored:
        return f"Not looked up: {image.unscored}."
    return f"{_place(image)}; {_reproduced(image)}."


def _place(image: LookedUp) -> str:
    decisive = deciding(image)
    if image.exact:
        times = len(image.exact)
        return f"In the training set, {'once' if times == 1 else f'{times:,} times'}"
    if decisive and decisive.resolving and decisive.near:
        return f"A near-duplicate is in the training set ({decisive.near[0].id})"
    if decisive and decisive.resolving and decisive.near_mirrored:
        return f"A mirrored near-duplicate is in the training set ({decisive.near_mirrored[0].id})"
    return "Held out, not trained on" if image.exact_holdout else "Not found in the training set"


def _reproduced(image: LookedUp) -> str:
    if image.copy_found and image.copy_found.tier != "suspect":
        return f"reproduced ({TIER_WORDS[image.copy_found.tier].lower()})"
    decisive = deciding(image)
    if decisive and decisive.probes_landing:
        return f"{count(decisive.probes_landing, 'probe')} landed on it, which no competition certifies"
    return "no probe landed on it"


def deciding(image: LookedUp) -> LookedUnder | None:
    """Under the first encoder that tells copies from look-alikes, else under the first."""
    return next((one for one in image.under if one.resolving), image.under[0] if image.under else None)


def sentences(image: LookedUp, probes: int) -> Iterator[str]:
    """Everything that was found, encoder by encoder."""
    if image.unscored:
        return
    if image.stored_as:
        yield (
            f"The file has {image.stored_as} and was brought to the size that the checkpoint was audited in; whether "
            "it then equals or resembles the training image made of it depends on how the training reduced it."
        )
    if image.exact:
        yield f"Pixel for pixel in the training set as {_some(image.exact)}."
    if image.exact_holdout:
        yield f"Pixel for pixel in the held-out set as {_some(image.exact_holdout)}."
    for one in image.under:
        yield _training(one)
        if one.resolving:
            yield _generations(one, probes)
    if image.copy_found:
        copy = image.copy_found
        q = "" if copy.q_value is None else f", q = {copy.q_value:.3g}"
        yield (
            f"{TIER_WORDS[copy.tier]} of {copy.id} by probe {copy.probe:,} under {copy.encoder} "
            f"(similarity {copy.similarity:.4f}{q})."
        )
    for row in image.membership:
        best = ", ".join(f"{attack_name(name)} {value:.3g}" for name, value in row.scores.items() if value is not None)
        yield (
            f"Membership scores of {row.id}: {best}; {_share(row.p_value)} of held-out images score as high "
            f"(q = {_number(row.q_value)} among the records scored)."
        )


def _training(one: LookedUnder) -> str:
    if not one.resolving:
        return f"Under {one.encoder}, which does not tell copies from look-alikes on this data, nothing can be said."
    near = _some([f"{neighbour.id} ({neighbour.similarity:.4f})" for neighbour in one.near])
    mirrored = _some([f"{neighbour.id} ({neighbour.similarity:.4f})" for neighbour in one.near_mirrored])
    turned = f" Mirrored, it is as near to {mirrored}." if one.near_mirrored else ""
    if one.near:
        return f"Under {one.encoder}: as near as a copy ({one.threshold:.4f}) to {near}.{turned}"
    nearest = "" if one.nearest is None else f"; the nearest is {one.nearest.id} ({one.nearest.similarity:.4f})"
    return f"Under {one.encoder}: no training image is as near as a copy ({one.threshold:.4f}){nearest}.{turned}"


def _generations(one: LookedUnder, probes: int) -> str:
    if one.probes_landing:
        landed = f"{count(one.probes_landing, 'generation')} {'is' if one.probes_landing == 1 else 'are'} nearer"
    else:
        landed = "no generation is nearer"
    as_near = f"{one.holdout_as_near:,} of {one.holdout:,} held-out images have one as near (p = {one.p_value:.3g})"
    return (
        f"Of {probes:,} probes, {landed} to it than the nearest other real image; the nearest, of probe {one.probe:,}, "
        f"has similarity {one.similarity:.4f}{f'; {as_near}' if one.holdout else ''}."
    )


def not_shown(lookup: Lookup) -> list[str]:
    """What none of this shows, in plain words."""
    said = [
        "Not found in the training set means: not in the set that this audit was given. Crops, collages, other "
        "renderings and images that were used but not handed over are not found this way.",
        _missed(lookup),
        "A p-value is about one image. Among many images looked up, some small ones arise by chance: 1 in 20 is below "
        "0.05. It supposes an image like the held-out ones; for pictures of another kind it says little.",
        "A high membership score is no proof for a single record, and a low one does not show that it was not used.",
    ]
    if lookup.asked_for in UNEQUAL:
        said.append(UNEQUAL[lookup.asked_for])
    if not lookup.scored:
        said.append("Membership scores were not made for single records in this audit.")
    elif lookup.scored < lookup.training_images:
        said.append(
            f"Membership was scored for {lookup.scored:,} of {lookup.training_images:,} training images; about the "
            "others it says nothing."
        )
    return said


def _missed(lookup: Lookup) -> str:
    """How often an image may be shown that no probe landed on, in the unit whose trials are independent."""
    trials = lookup.probes if lookup.trials is None else lookup.trials
    bound, level = percent(zero_hit_bound(trials, LEVEL)), percent(LEVEL)
    rest = (
        "masks or noised versions of the image were not tried; `auditor extract` does that for named training images."
    )
    if trials == lookup.probes and lookup.asked_for is None:
        return (
            f"No probe landed on it means: not among {lookup.probes:,} free generations. An image that up to {bound} "
            f"of all generations show could have been missed ({level} confidence), and prompts, {rest}"
        )
    return (
        f"No probe landed on it means: not among {lookup.probes:,} generations, or {trials:,} independent trials, "
        f"as those of one prompt stand or fall together. An image that up to {bound} of all such prompts bring back "
        f"could have been missed ({level} confidence). Unless its own caption was among them it was not asked for, and "
        f"{rest}"
    )


def _some(names: list[str], most: int = 4) -> str:
    rest = len(names) - most
    return ", ".join(names[:most]) + (f" and {rest:,} more" if rest > 0 else "")


def _share(value: float | None) -> str:
    return "an unknown share" if value is None else percent(value)


def _number(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.3g}"
