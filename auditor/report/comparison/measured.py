"""How alike the columns are, pair by pair and beside their memorizers: sections."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from auditor.report.charts import histogram
from auditor.report.comparison import charts, story, tables
from auditor.report.comparison.blocks import Block, Charts, Details, Terms, Text, folded
from auditor.report.comparison.glossary import MATRIX_TERMS, MEMORIZER_TERMS, PROMPTED_MATRIX_TERMS
from auditor.report.comparison.matrix import SIGNS, Entry, matrix
from auditor.store.comparison import Comparison, Reproducibility
from auditor.store.regime import MemorizerAgreement

MAX_HISTOGRAMS = 4
MAX_CLUSTER_ROWS = 12
OPEN_CLUSTERS = 4  # checkpoints whose clusters are shown unfolded


def alike(comparison: Comparison) -> Iterator[Block]:
    if not comparison.pairs:
        return
    yield Text(story.matrix_sentence(comparison), "lead")
    yield Terms(MATRIX_TERMS if comparison.prompts is None else PROMPTED_MATRIX_TERMS)
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


def pairs(comparison: Comparison) -> Iterator[Block]:
    for encoder in story.encoders(comparison, [pair.encoder for pair in comparison.pairs]):
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


def memorizer(comparison: Comparison) -> Iterator[Block]:
    if not comparison.memorizer:
        return
    yield Text(story.memorizer_sentence(comparison), "lead")
    yield Terms(MEMORIZER_TERMS)
    for encoder in story.encoders(comparison, [a.encoder for a in comparison.memorizer]):
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
