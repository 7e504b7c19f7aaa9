"""What the report says about sets and single records: was this set used, and which records are given away most."""

from __future__ import annotations

from collections.abc import Iterator

from auditor.report.story import TIER_WORDS
from auditor.store.membership import DatasetInference, ExposedRecord, RecordScores
from auditor.store.record import Tier
from auditor.store.wording import attack_name, count, percent

QUESTION = (
    "One record is rarely proof; a set of them can be. This test asks whether the checkpoint, over a whole set of "
    "records, behaves unlike it does on records of the same origin that it never saw."
)
SIZES_HEADER = ("Records in the set", "Caught at p <= 0.05", "Caught at p <= 0.01")
RECORDS_HEADER = ("Training image", "In the set", "p", "q", "Score", "Scored by the fit on", "Copy evidence")
OTHER_SLICE = {"calibration": "the report slice", "report": "the calibration slice"}
TIERS: dict[str, Tier] = {tier: tier for tier in TIER_WORDS}
ANSWERS = {
    "used": "By this test, yes.",
    "not shown": "It is not shown that these records were used.",
    "withheld": "No conclusion: the two sets differ, but not necessarily by what the checkpoint makes of them.",
    "not tested": "Not tested.",
}


def set_sentences(found: DatasetInference) -> Iterator[str]:
    """Answer, reason and figures; then the size at which such a set would have been caught."""
    whose = "listed records" if found.listed else "training records, drawn at random,"
    yield f"{ANSWERS[found.outcome]} {found.statement}"
    if found.p_value is None or found.blind_p_value is None:
        return
    yield (
        f"Tested: {found.suspects:,} {whose} against {found.heldout:,} held-out ones, by {found.signals:,} signals "
        f"combined out of fold; p = {found.p_value:.3g} ({found.permutations:,} permutations of the labels through all "
        f"fits), and p = {found.blind_p_value:.3g} for the images alone, without the checkpoint."
    )
    if found.outcome == "not shown":
        yield "That a set is not shown to be used does not show that it was not used."
    yield size_sentence(found)


def size_sentence(found: DatasetInference) -> str:
    """From how many records on a set would have been caught."""
    if not found.sizes:
        return "The size from which such sets would be caught takes at least 40 records to estimate."
    smallest, largest = found.sizes[0].records, found.sizes[-1].records
    tested = f"sizes tested: {smallest:,} to {largest:,}" if largest > smallest else f"size tested: {smallest:,}"
    levels = ((found.caught_at_5pct, 0.05), (found.caught_at_1pct, 0.01))
    parts = [f"at p <= {level} {_from(size, smallest)}" for size, level in levels]
    return (
        f"Four in five random sets of such records would have been caught {' and '.join(parts)} "
        f"({tested}, {found.subsets:,} sets each)."
    )


def _from(size: int | None, smallest: int) -> str:
    if size is None:
        return "at no size tested"
    return f"from {size:,} records on, perhaps fewer" if size == smallest else f"from {size:,} records on"


def size_rows(found: DatasetInference) -> list[tuple[str, str, str]]:
    """One row per tested size."""
    return [(f"{size.records:,}", percent(size.caught_at_5pct), percent(size.caught_at_1pct)) for size in found.sizes]


def records_sentence(records: RecordScores) -> str:
    """Where the scores of all records are, and what their q-values can show."""
    alpha = percent(records.alpha)
    begin = (
        f"{records.file} holds {count(records.records, 'training image')} with every score, a p-value (the share of "
        f"held-out images that score as high; {attack_name(records.score).lower()}) and a q-value "
        "(Benjamini-Hochberg within each slice, doubled, so that both slices together keep the rate)."
    )
    if records.called:
        stand = "stands" if records.called == 1 else "stand"
        found = f"{count(records.called, 'image')} {stand} out at a false discovery rate of {alpha}."
    else:
        found = f"None stands out at a false discovery rate of {alpha}."
    floor = (
        f"With these held-out images, {count(records.needed, 'image')} would have to score above all of them before a "
        f"q-value could come down to {alpha}."
    )
    return f"{begin} {found} {floor if records.needed > 1 else ''}".rstrip()


def record_rows(exposed: list[ExposedRecord]) -> list[tuple[str, ...]]:
    """One row per exposed record, in the order of the record."""
    return [
        (
            record.id,
            f"{record.times_in_set}x",
            f"{record.p_value:.3g}",
            f"{record.q_value:.3g}",
            f"{record.score:.2f}",
            OTHER_SLICE[record.slice],
            TIER_WORDS[TIERS[record.tier]] if record.tier in TIERS else "–",
        )
        for record in exposed
    ]
