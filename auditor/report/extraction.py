"""The report of an extraction: what was got out about records attacked by name, beside held-out images."""

from __future__ import annotations

from auditor.report.comparison.blocks import Block, Facts, Figure, Items, Section, Sheet, Table, Text, folded
from auditor.report.leaflet import Leaflet
from auditor.store.extraction import AttackedRecord, Attempt, Extraction
from auditor.store.wording import count, decimal, percent

METHOD = (
    "Every record was noised part of the way and sampled down again, at rising noise, and filled in where parts of it "
    "were hidden. An attack shows the checkpoint a part of the record, so it brings back a part of any image. What "
    "counts is whether a record is brought back better than held-out images that were attacked likewise."
)
NOT_SHOWN = (
    "That a record is not extracted does not show that it was not trained on, nor that no other attack, prompt, mask "
    "or number of draws would bring it back.",
    "An extracted record was brought back from a part of itself: whoever does not hold that part does not get it this "
    "way. Whether free generations show it is what `auditor run` tests.",
    "Records are compared with held-out images that stand as alone and have as much detail. Records that were chosen "
    "because they are unusual in another way may be easier or harder to bring back for that reason.",
)


def extraction_sentence(found: Extraction) -> str:
    """How many of the named records were extracted."""
    tested = [record for record in found.records if record.verdict != "untestable"]
    if not tested:
        return "None of the named records can be tested."
    at_least = int(found.lower_bound.value or 0)
    if found.extracted == 0 and at_least:
        are = "is" if at_least == 1 else "are"
        return (
            f"At least {at_least:,} of {count(len(tested), 'named record')} {are} extracted, with "
            f"{percent(found.level)} confidence; which is not shown, for none is called at a false discovery rate of "
            f"{percent(found.alpha)}."
        )
    if found.extracted == 0:
        bound = found.lower_bound.unscored
        doubt = f" ({bound})" if bound else ""
        return f"None of {count(len(tested), 'named record')} is shown to be extracted{doubt}."
    many = f"; at least {at_least:,} with {percent(found.level)} confidence" if at_least else ""
    return (
        f"{found.extracted:,} of {count(len(tested), 'named record')} {'is' if found.extracted == 1 else 'are'} "
        f"extracted, at a false discovery rate of {percent(found.alpha)} over all attacks{many}."
    )


def extraction_leaflet(found: Extraction) -> Leaflet:
    """Every format's content."""
    tested = sum(record.verdict != "untestable" for record in found.records)
    able = tested > 0 and found.resolving and found.floor <= tested
    extracted = bool(found.extracted or found.lower_bound.value)  # a number of them, if none by name
    title = "Records were extracted" if extracted else "No record was extracted" if able else "Cannot tell"
    return Leaflet(
        kind="Extraction of named training records",
        title=title,
        lead=extraction_sentence(found),
        tone="fail" if extracted else "open",
        note=METHOD,
        made=f"{found.started}, auditor {found.tool_version}",
        source="extract.json",
        sections=[_attacks(found), _records(found), *_pictures(found), _unsaid(), _made(found)],
    )


def _attacks(found: Extraction) -> Section:
    header = ("Attack", "Shown to the checkpoint", "Records hit", "Held-out images hit", "Called", "At least")
    rows = []
    for attack in found.attacks:
        if attack.sigma is not None:
            shown = f"the image under {decimal(attack.sigma)} times as much noise"
        else:
            shown = f"the image but for {percent(attack.hidden_share or 0.0)} of it"
        hits = f"{attack.record_hits:,} of {attack.records:,}", f"{attack.holdout_hits:,} of {attack.holdout:,}"
        rows.append((attack.name, shown, *hits, f"{attack.certified:,}", Figure(attack.lower_bound)))
    table = Table("Each attack; a hit is an answer nearer to its image than any other real image is", header, rows)
    said = (
        f"Records compete with held-out images attack by attack; each of {len(found.attacks)} attacks has its part of "
        f"the false discovery rate of {percent(found.alpha)} and of the confidence of {percent(found.level)}, so that "
        "both hold for all of them together."
    )
    failed = sum(attack.failed_answers for attack in found.attacks)
    notes = [
        *found.notes,
        *([f"{count(failed, 'answer')} came out as NaN or infinity and count as none."] if failed else []),
    ]
    blocks: list[Block] = [table, Text(said, "note"), *([Items(notes)] if notes else [])]
    return Section("attacks", "Attack by attack", "Attacks", blocks)


def _records(found: Extraction) -> Section:
    header = (
        "Record",
        "Verdict",
        "Best attack",
        "Similarity",
        "Margin",
        "Beyond matched",
        "p",
        "q",
        "In the set",
        "Why",
    )
    rows = [_row(record) for record in found.records]
    return Section("records", "Record by record", "Records", [folded(Table("Named records", header, rows))])


def best_attempt(record: AttackedRecord) -> Attempt | None:
    """The attempt that speaks most for extraction."""
    return max(record.attempts, key=lambda one: (-one.p_value, one.margin), default=None)


def _row(record: AttackedRecord) -> tuple[str, ...]:
    best, name = best_attempt(record), record.id + (f" (and {len(record.also)} like it)" if record.also else "")
    if best is None:
        return (name, record.verdict, "–", "–", "–", "–", "–", "–", f"{record.times_in_set}x", record.why)
    return (
        name,
        record.verdict,
        best.attack,
        f"{best.similarity:.4f}",
        f"{best.margin:+.2f}",
        f"{best.matched_below} of {best.matched}",
        "–" if record.p_value is None else f"{record.p_value:.3g}",
        "–" if record.q_value is None else f"{record.q_value:.3g}",
        f"{record.times_in_set}x",
        record.why,
    )


def _pictures(found: Extraction) -> list[Section]:
    pictured = [record for record in found.records if record.image is not None]
    if not pictured:
        return []
    columns = ["the image", *(attack.name for attack in found.attacks)]
    rows: list[tuple[str, list[str | None]]] = []
    for record in pictured:
        rows.append((f"{record.id}: {record.verdict}", [record.image, *(one.image for one in record.attempts)]))
        if record.matched_id is not None:
            rows.append((f"held out: {record.matched_id}", [record.matched_image, *record.matched_answers]))
    caption = (
        "Each record, what every attack brought back of it, and below it the held-out image most like it in "
        "difficulty, attacked likewise."
    )
    sheet = Sheet(columns, rows, caption=caption, of="Image")
    return [Section("pictures", "What came back", "Pictures", [sheet])]


def _unsaid() -> Section:
    return Section("unsaid", "What this does not show", "Not shown", [Items(NOT_SHOWN)])


def _made(found: Extraction) -> Section:
    evaluations = sum(attack.denoiser_evaluations for attack in found.attacks)
    facts = [
        ("Checkpoint", f"{found.checkpoint.name} ({found.checkpoint.digest})"),
        ("Training set", f"{found.training.path} ({found.training.digest})"),
        ("Held-out set", f"{found.holdout.path} ({found.holdout.digest})"),
        ("Encoder", f"{found.encoder.name} ({found.encoder.detail})"),
        ("Duplicates from", f"similarity {found.threshold:.4f}"),
        ("Attacks", ", ".join(f"{key} {value}" for key, value in found.asked.items())),
        ("Denoiser evaluations", f"{evaluations:,}"),
        ("Salt of the noise", f"{found.salt}{' (pinned)' if found.seed_pinned else ''}"),
        ("Specification", found.digest),
    ]
    return Section("made", "How it was made", "Made", [Facts(facts)])
