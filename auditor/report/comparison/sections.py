"""The report of a comparison from top to bottom, as sections that every format writes."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence

from auditor.report.charts import histogram
from auditor.report.comparison import charts, story, tables
from auditor.report.comparison.blocks import (
    Block,
    Charts,
    Details,
    Facts,
    Items,
    Section,
    Sheet,
    Source,
    Table,
    Terms,
    Text,
)
from auditor.report.comparison.curve import curve_sentence, places, series
from auditor.report.comparison.glossary import ATTRIBUTE_TERMS, CURVE_TERMS, MATRIX_TERMS, MEMORIZER_TERMS, TERMS
from auditor.report.comparison.matrix import SIGNS, Entry, matrix
from auditor.store.comparison import Comparison, MemorizerAgreement, Reproducibility
from auditor.store.wording import count

LONG = 24  # rows after which a table is folded
MAX_PICTURES = 720
MAX_HISTOGRAMS = 4
MAX_CLUSTER_ROWS = 12
OPEN_CLUSTERS = 4  # checkpoints whose clusters are shown unfolded
MAX_SOURCES = 6  # sets of images in one drawing
MAX_UNREADABLE = 100  # per set


def sections(comparison: Comparison) -> list[Section]:
    """Every section that has something to say, in the order in which it is read."""
    made = [
        Section("sheet", "The same noise, side by side", "Side by side", list(_sheet(comparison))),
        Section("terms", "What was done, and the words for it", "What was done", list(_introduction(comparison))),
        Section("matrix", "How alike are the answers?", "Matrix", list(_matrix(comparison))),
        Section("pairs", "Pair by pair", "Pairs", list(_pairs(comparison))),
        Section("memorizer", "Against the closed-form memorizer", "Memorizer", list(_memorizer(comparison))),
        Section("curve", "When does it memorise?", "Curve", list(_curve(comparison))),
        Section("moved", "What fine-tuning moved", "Fine-tunes", list(_moved(comparison))),
        Section("tasks", "What is filled in where an image is hidden", "Tasks", list(_tasks(comparison))),
        Section("attributes", "What is reproduced of the distribution", "Attributes", list(_attributes(comparison))),
        Section("compared", "What was compared", "What was compared", list(_compared(comparison))),
        Section("untested", "What was not tested", "Not tested", list(_untested(comparison))),
        Section("figures", "All figures", "All figures", list(_figures(comparison))),
        Section("reproduce", "How to reproduce this comparison", "How to reproduce", list(_reproduce(comparison))),
    ]
    return [section for section in made if section.blocks]


def folded(table: Table, summary: str = "") -> Block:
    """A table, closed behind its caption when it is long."""
    if len(table.rows) <= LONG and not summary:
        return table
    return Details(summary or f"{table.caption}: {count(len(table.rows), 'row')}", [table])


def _introduction(comparison: Comparison) -> Iterator[Block]:
    checkpoints = sum(column.kind == "checkpoint" for column in comparison.columns)
    memorizers = len(comparison.columns) - checkpoints
    beside = f", and so did {count(memorizers, 'closed-form memorizer')}" if memorizers else ""
    yield Text(
        f"{count(checkpoints, 'checkpoint column')} answered the same {count(comparison.probes, 'probe')}{beside}. All "
        "of them started a probe from the same noise, so where two answers differ, the noise is not why. "
        f"Verdicts rest on the encoder {comparison.decisive}."
    )
    yield Terms(TERMS)
    if comparison.regimes:
        yield folded(tables.regimes(comparison))
    if comparison.notes:
        yield Text("About these inputs:")
        yield Items(comparison.notes)


def _sheet(comparison: Comparison) -> Iterator[Block]:
    if not comparison.sheet or not comparison.sheet_columns:
        return
    fitting = max(1, MAX_PICTURES // len(comparison.sheet_columns))
    shown = comparison.sheet[:fitting]
    rest = len(comparison.sheet) - len(shown)
    left_out = f" {count(rest, 'more row')} in the record." if rest else ""
    yield Text(
        "Each row is one probe: every picture in it began as the same noise. Each column is one checkpoint or "
        f"memorizer. A row of one and the same picture is what reproducibility looks like.{left_out}"
    )
    yield Sheet(comparison.sheet_columns, [(f"probe {row.probe:,}", row.images) for row in shown])


def _matrix(comparison: Comparison) -> Iterator[Block]:
    if not comparison.pairs:
        return
    yield Text(story.matrix_sentence(comparison), "lead")
    yield Terms(MATRIX_TERMS)
    names = [column.name for column in comparison.columns]
    decisive = [pair for pair in comparison.pairs if pair.encoder == comparison.decisive]
    matched = {(p.left, p.right): Entry(p.matched, p.data) for p in decisive}
    rp = {(p.left, p.right): Entry(p.rp, p.data) for p in decisive}
    signs = ", ".join(f"{sign} {relation}" for relation, sign in SIGNS.items())
    drawn = [
        (
            matrix("matched", "Centred similarity on the same noise", names, matched, share=False),
            f"Centred similarity of answers to the same noise, {comparison.decisive}: 0 is unrelated, 1 the same "
            "picture. A frame marks the same training images, a dashed frame overlapping ones. In the corner, if there "
            f"is room: {signs}.",
        ),
        (
            matrix("rp", "RP score, calibrated", names, rp, share=True),
            f"RP score, calibrated, {comparison.decisive}: the share of probes (in percent) with more alike answers "
            "than all but 1% of answers to different noise.",
        ),
    ]
    yield Charts([one for one in drawn if one[0]], wide=len(names) > 6)


def _pairs(comparison: Comparison) -> Iterator[Block]:
    for encoder in _encoders(comparison, [pair.encoder for pair in comparison.pairs]):
        blocks = [
            folded(tables.pairs(f"{caption}, {encoder}", rows))
            for caption, rows in _grouped(comparison, encoder)
            if rows
        ]
        if encoder == comparison.decisive:
            yield from blocks
            yield from _histograms(comparison)
        else:
            yield Details(f"Encoder {encoder}", blocks)


def _encoders(comparison: Comparison, used: Sequence[str]) -> list[str]:
    """Encoders in use, the decisive one first."""
    names = dict.fromkeys(used)
    return sorted(names, key=lambda name: name != comparison.decisive)


def _grouped(comparison: Comparison, encoder: str) -> list[tuple[str, list[Reproducibility]]]:
    """Pairs under an encoder, by how many of the two are memorizers."""
    groups: list[list[Reproducibility]] = [[], [], []]
    for pair in comparison.pairs:
        if pair.encoder == encoder:
            sides = (pair.left, pair.right)
            groups[sum(not story.is_checkpoint(comparison, name) for name in sides)].append(pair)
    return list(zip(("Between checkpoints", "Checkpoint and memorizer", "Between memorizers"), groups, strict=True))


def _histograms(comparison: Comparison) -> Iterator[Block]:
    drawn = []
    for place, pair in enumerate(_telling(comparison)):
        title = f"{pair.left} × {pair.right}"
        picture = histogram(f"similar{place}", title, pair.similarity, "centred similarity", of="answers")
        drawn.append((picture, f"{title}: answers to the same noise (filled) against answers to different noise."))
    if any(picture for picture, _ in drawn):
        yield Charts([one for one in drawn if one[0]])


def _telling(comparison: Comparison) -> list[Reproducibility]:
    """Pairs to draw: between checkpoints first; of many, the most and the least alike."""
    between, beside, _ = (rows for _, rows in _grouped(comparison, comparison.decisive))
    if len(between) <= MAX_HISTOGRAMS:
        return [*between, *beside][:MAX_HISTOGRAMS]
    ordered = sorted(between, key=lambda pair: -(pair.matched.value or 0.0))
    return [*ordered[: MAX_HISTOGRAMS // 2], *ordered[-(MAX_HISTOGRAMS // 2) :]]


def _memorizer(comparison: Comparison) -> Iterator[Block]:
    if not comparison.memorizer:
        return
    yield Text(story.memorizer_sentence(comparison), "lead")
    yield Terms(MEMORIZER_TERMS)
    for encoder in _encoders(comparison, [a.encoder for a in comparison.memorizer]):
        shown = [a for a in comparison.memorizer if a.encoder == encoder]
        blocks = list(_agreements(shown, encoder == comparison.decisive))
        if encoder == comparison.decisive:
            yield from blocks
        else:
            yield Details(f"Encoder {encoder}", blocks)


def _agreements(shown: Sequence[MemorizerAgreement], decisive: bool) -> Iterator[Block]:
    blind = [a.column for a in shown if not a.resolving]
    if blind:
        yield Text(
            f"This encoder does not tell copies from look-alikes on the training images of {story.enumerated(blind)}. "
            "Read what it says of landings there as a hint, not as evidence."
        )
    yield folded(tables.landing(shown))
    yield folded(tables.nearness(shown))
    clustered = [
        block
        for place, agreement in enumerate(shown)
        if agreement.clusters
        for block in [*(_cluster_chart(place, agreement) if decisive else []), tables.clusters(agreement)]
    ]
    if clustered and (len(shown) > OPEN_CLUSTERS or not decisive):
        yield Details("Cluster by cluster", clustered)
    else:
        yield from clustered


def _cluster_chart(place: int, agreement: MemorizerAgreement) -> Iterator[Block]:
    worst = tables.worst_first(agreement.clusters)[:MAX_CLUSTER_ROWS]
    rows = [charts.Dot(c.cluster, agreement.column, c.share, c.chance) for c in worst]
    drawn = charts.dots(f"clusters{place}", f"{agreement.column}: landings by cluster", rows, wide=True)
    if drawn:
        yield Charts([(drawn, f"{agreement.column}: probes that land where the memorizer does, by cluster, worst "
                       "first. The short upright line is chance.")], wide=True)  # fmt: skip


def _curve(comparison: Comparison) -> Iterator[Block]:
    drawn, by_size = series(comparison), comparison.curve == "size"
    if not drawn:
        return
    x_name = "Training images" if by_size else "Training step"
    yield Text(curve_sentence(comparison), "lead")
    yield Terms(CURVE_TERMS if by_size else CURVE_TERMS[:2])
    label = "training images (logarithmic)" if by_size else "training step"
    title = f"Regime against {'number of training images' if by_size else 'training step'}"
    caption = f"{comparison.decisive}: one marker per checkpoint or pair, with its interval; lines join the means."
    yield Charts([(charts.curve("curve-drawing", title, drawn, by_size, label), caption)], wide=True)
    yield tables.curve(drawn, places(comparison), x_name)
    yield folded(tables.points(drawn, x_name), "Every point of the curve")


def _moved(comparison: Comparison) -> Iterator[Block]:
    for encoder in _encoders(comparison, [m.encoder for m in comparison.moved]):
        shown = [m for m in comparison.moved if m.encoder == encoder]
        if encoder == comparison.decisive:
            yield from (Text(story.moved_sentence(m), "lead") for m in shown[:3])
        yield tables.moved(shown)


def _tasks(comparison: Comparison) -> Iterator[Block]:
    if not comparison.tasks:
        return
    decisive = [task for task in comparison.tasks if task.encoder == comparison.decisive]
    yield Text(story.task_sentence(decisive or comparison.tasks), "lead")
    yield Text(
        "A part of a real image is hidden, and the checkpoint fills it in. Training images stand against as many "
        "held-out ones. Error is the root mean square over the hidden part, with pixels from 0 to 1. “Training "
        "restored better” is the probability that a training image comes back with less error than a held-out one: 0.5 "
        "is chance. An image is recognised if what was filled in lands on it."
    )
    for table in (tables.tasks_restored(comparison.tasks), tables.tasks_alike(comparison.tasks)):
        if table.rows:
            yield folded(table)


def _attributes(comparison: Comparison) -> Iterator[Block]:
    if not comparison.attributes:
        return
    yield Text(story.attribute_sentence(comparison.attributes), "lead")
    yield Terms(ATTRIBUTE_TERMS)
    for place, encoder in enumerate(_encoders(comparison, [d.encoder for d in comparison.attributes])):
        shown = [d for d in comparison.attributes if d.encoder == encoder]
        rows = [charts.Dot(item.value, d.source, item.share) for d in shown[:MAX_SOURCES] for item in d.shares]
        drawn = charts.dots(f"attributes{place}", f"Shares of each value, {encoder}", rows, wide=True)
        rest = len(shown) - MAX_SOURCES
        more = f" {count(rest, 'more set')} in the table." if rest > 0 else ""
        if drawn:
            yield Charts([(drawn, f"Share of each value with its interval, as {encoder} sees it.{more}")], wide=True)
        yield tables.attributes(shown)
        if any(d.amplification for d in shown):
            yield tables.amplification(shown)
        yield tables.accuracy(shown)


def _compared(comparison: Comparison) -> Iterator[Block]:
    yield folded(tables.models(comparison))
    notes = [f"{m.name}: {note}" for m in comparison.models for note in m.checkpoint.notes]
    if notes:
        yield Items(notes)
    yield folded(tables.image_sets(comparison))
    yield folded(tables.columns(comparison))
    yield Facts(
        [
            *((f"Checkpoint {m.name}, SHA-256", m.checkpoint.digest) for m in comparison.models),
            *((f"Images, {name}, SHA-256", s.digest) for name, s in story.image_sets(comparison) if s),
            *(
                (
                    f"Encoder {e.name}",
                    f"{e.detail}, {count(e.dim, 'dimension')}, weights SHA-256 {e.weights_sha256 or '–'}",
                )
                for e in comparison.encoders
            ),
        ]
    )
    yield folded(tables.files(comparison), "Files of the checkpoints, with digests")
    yield from _unreadable(comparison)


def _unreadable(comparison: Comparison) -> Iterator[Block]:
    for name, images in story.image_sets(comparison):
        if images and images.unreadable:
            items = [f"{id}: {reason}" for id, reason in images.unreadable[:MAX_UNREADABLE]]
            more = len(images.unreadable) - len(items)
            yield Details(
                f"{count(len(images.unreadable), 'unreadable image')}, {name}",
                [Items([*items, f"{more:,} more in the record"] if more else items)],
            )


def _untested(comparison: Comparison) -> Iterator[Block]:
    yield Text(
        "A comparison is no audit: it applies no policy and clears nothing for release. It says nothing about:",
    )
    probes = count(comparison.probes, "probe")
    yield Items([*comparison.not_tested, f"Images that none of the {probes} brought out."])


def _figures(comparison: Comparison) -> Iterator[Block]:
    table = tables.figures(comparison)
    if table.rows:
        yield folded(table)


def _reproduce(comparison: Comparison) -> Iterator[Block]:
    drawn = (
        "pinned in the configuration: whoever trained a checkpoint could have known them"
        if comparison.seed_pinned
        else "drawn when the comparison was made"
    )
    environment = ", ".join(f"{key} {value}" for key, value in sorted(comparison.environment.items()))
    yield Text(
        "The same inputs and configuration give the same numbers. What depends on floating-point hardware is named in "
        "the environment."
    )
    yield Facts(
        [
            ("auditor", comparison.tool_version),
            ("Started", comparison.started),
            ("Comparison digest", comparison.comparison_digest),
            ("Probes", f"{comparison.probes:,}, {drawn}"),
            ("Salt of the probes", comparison.salt),
            ("Root seed of the probes", comparison.root_seed),
            ("Record schema", str(comparison.schema_version)),
            ("Environment", environment),
            ("Time per stage", ", ".join(f"{stage} {spent:.1f} s" for stage, spent in comparison.seconds.items())),
        ]
    )
    config = json.dumps(comparison.config, indent=1, sort_keys=True, ensure_ascii=False)
    yield Details("Configuration, every default written out", [Source(config)])
