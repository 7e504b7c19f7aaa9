"""report.md: the same story as report.html, for pull requests and terminals."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from auditor.report import duplication, given, kinds, prompting, story
from auditor.report.findings import findings
from auditor.report.markdown_signals import signals
from auditor.report.markdown_text import escape, table
from auditor.report.pages import Images, link
from auditor.store.record import Competition, CopyEvidence, Record
from auditor.store.wording import count, percent


def write_markdown(record: Record, out: Path, *, images: Images = "full") -> Path:
    """``out``, written whole: the report of a record as Markdown, with pictures by path from the run directory."""
    partial_file = out.with_suffix(f"{out.suffix}.part")
    partial_file.write_text(markdown(record, images=images), encoding="utf-8")
    partial_file.replace(out)
    return out


def markdown(record: Record, *, images: Images = "full") -> str:
    """The report as a string; the same record gives the same bytes."""
    sections = [
        _verdict(record),
        _findings(record),
        _audited(record),
        *(_copies(competition, images) for competition in record.copies),
        signals(record),
        _checks(record),
        _rules(record),
        _comparison(record),
        _untested(record),
        _figures(record),
        _provenance(record),
    ]
    return "\n".join(line for section in sections for line in section)


def _verdict(record: Record) -> Iterator[str]:
    told = story.verdict(record)
    yield f"# {told.word}: {escape(record.audited)}"
    yield ""
    yield f"**{escape(told.reason)}** {escape(told.meaning)}".rstrip()
    yield ""
    if told.further:
        yield from ("Also:", "", *(f"- {escape(statement)}" for statement in told.further), "")
    if told.remedies:
        yield f"{told.remedies_title}:"
        yield ""
        yield from (f"- {escape(remedy)}" for remedy in told.remedies)
        yield ""
    rows = [(figure.title, figure.value, figure.note) for figure in story.key_figures(record)]
    yield from table(("Key figure", "Value", "Note"), rows)


def _findings(record: Record) -> Iterator[str]:
    listed = findings(record)
    yield "## Findings"
    yield ""
    if not listed:
        yield "Nothing was found that the policy forbids, and nothing is left open."
        yield ""
        return
    rows = [(item.severity, item.statement, item.id) for item in listed[:50]]
    yield from table(("Severity", "Finding", "Id"), rows)
    if len(listed) > 50:
        yield f"{len(listed) - 50} more in the record."
        yield ""


def _audited(record: Record) -> Iterator[str]:
    yield "## What was audited"
    yield ""
    rows = [
        *_maker(record),
        ("Training set", f"{record.training.path}: {_set(record.training.images, record.training.distinct)}"),
        *([("Index", f"{record.index.path}, SHA-256 {record.index.digest}")] if record.index else []),
        ("Held-out set", f"{record.holdout.path}: {_set(record.holdout.images, record.holdout.distinct)}"),
        ("Unreadable", f"{len(record.training.unreadable)} training, {len(record.holdout.unreadable)} held-out images"),
        ("Encoders", "; ".join(f"{encoder.name} ({encoder.detail})" for encoder in record.encoders)),
    ]
    yield from table(("", ""), rows)
    yield from (f"- {escape(note)}" for note in (record.checkpoint.notes if record.checkpoint else ()))


def _maker(record: Record) -> Iterator[tuple[str, str]]:
    """What generated, and how; or the images, of which that is not known."""
    checkpoint, generation, images = record.checkpoint, record.generation, record.images
    if images is not None:
        yield "Checkpoint", given.UNKNOWN
        yield "Images made elsewhere", f"{images.path}: {given.size_sentence(images)} SHA-256 {images.digest}"
        yield "Prompts and seeds", given.unit_sentence(images)
    if checkpoint is not None:
        drawn = "pinned in the configuration" if generation.seed_pinned else "drawn secretly at audit time"
        yield "Checkpoint", f"{checkpoint.name}, SHA-256 {checkpoint.digest}"
        network = f"{checkpoint.network}, {checkpoint.parameters:,} parameters"
        yield "Model", f"{checkpoint.pipeline}, {network}, {checkpoint.size}"
        guided = f", {prompting.guidance_phrase(generation)}" if generation.guidance_scale is not None else ""
        yield "Probes", f"{generation.probes:,} with {generation.sampler}, {generation.steps} steps{guided}; {drawn}"
    if generation.prompts is not None:
        yield "Prompts", prompting.asked_sentence(generation.prompts)


def _set(images: int, distinct: int) -> str:
    return f"{count(images, 'image')}, {distinct:,} distinct"


def _copies(competition: Competition, images: Images) -> Iterator[str]:
    c = competition
    yield f"## Reproduced training images ({escape(c.encoder)})"
    yield ""
    yield f"{escape(story.copies_sentence(c))} {escape(story.resolution_sentence(c))}"
    yield ""
    rows = [
        ("Competitors", f"{c.n_items:,} training, {c.m_items:,} held-out items"),
        ("Hits", f"{c.training_hits:,} training, {c.holdout_hits:,} held-out"),
        ("Certified, verbatim, suspect", f"{c.certified}, {c.verbatim}, {c.suspects}"),
        ("Floor of power", count(c.floor, "item")),
        *([("Dealt together by the split", count(c.related_items, "item"))] if c.related_items else []),
        (story.rate_title(c), story.estimate_text(c.copy_rate, share=True)),
        ("Planted copies found", story.estimate_text(c.planted_recall, share=True)),
        *((f"Planted: {name}", percent(recall)) for name, recall in c.recall_by_transformation.items()),
    ]
    yield from table(("Figure", "Value"), rows)
    shown, rest = story.shown_evidence(c)
    if shown:
        pictures = ("Generation", "Training image", "Nearest held-out") if images == "full" else ()
        header = ("Training image", "Tier", "Similarity", "Margin", "q", "Probe", "In the set", *pictures)
        plain = list(table(header[:7], [_evidence(evidence) for evidence in shown]))
        yield f"| {' | '.join(header)} |"
        yield f"|{'---|' * len(header)}"
        for line, evidence in zip(plain[2:], shown, strict=False):
            yield line + (f" {' | '.join(_pictures(evidence))} |" if images == "full" else "")
        yield ""
        if rest:
            yield f"{count(len(rest), 'more item')} in the record."
            yield ""
    yield from prompting.lines(c)
    yield from kinds.lines(c, images)
    yield from duplication.lines(c)


def _evidence(evidence: CopyEvidence) -> tuple[object, ...]:
    q = "–" if evidence.q_value is None else f"{evidence.q_value:.3g}"
    numbers = (f"{evidence.similarity:.4f}", f"{evidence.margin:+.4f}", q, evidence.probe)
    return (evidence.id, story.TIER_WORDS[evidence.tier], *numbers, f"{len(evidence.members)}x")


def _pictures(evidence: CopyEvidence) -> list[str]:
    paths = [evidence.generation_image, evidence.image, evidence.nearest_holdout and evidence.nearest_holdout.image]
    return [f"![]({link(path)})" if path else "–" for path in paths]


def _checks(record: Record) -> Iterator[str]:
    yield "## Can this audit be relied on?"
    yield ""
    rows = [
        (f"{check.title} {f'({check.encoder})' if check.encoder else ''}", check.status, check.statement, check.power)
        for check in record.checks
    ]
    yield from table(("Check", "Result", "What was seen", "What it could have seen"), rows)


def _rules(record: Record) -> Iterator[str]:
    if record.judgement is None:
        return
    yield f"## Policy, rule by rule ({escape(record.judgement.policy)})"
    yield ""
    rows = [(rule.title, rule.outcome, rule.statement) for rule in record.judgement.rules]
    yield from table(("Rule", "Outcome", "What was found"), rows)


def _comparison(record: Record) -> Iterator[str]:
    rows = [(e.name, c.encoder, story.estimate_text(e)) for c in record.copies for e in c.uncalibrated]
    if rows:
        yield "## For comparison with published work (uncalibrated; no part in the verdict)"
        yield ""
        yield from table(("Figure", "Encoder", "Value"), rows)


def _untested(record: Record) -> Iterator[str]:
    yield "## What was not tested"
    yield ""
    yield from (f"- {escape(item)}" for item in record.not_tested)
    probes = f"{record.generation.probes:,}"
    yield f"- Attacks other than those listed, and images that none of the {probes} probes brought out."
    yield ""


def _figures(record: Record) -> Iterator[str]:
    yield "## All figures"
    yield ""
    rows = [
        (e.name, origin, story.estimate_text(e), "–" if e.level is None else percent(e.level), e.n or "–", e.method)
        for origin, e in story.estimates(record)
    ]
    yield from table(("Figure", "From", "Value", "Level", "n", "Method"), rows)


def _provenance(record: Record) -> Iterator[str]:
    yield "## Provenance"
    yield ""
    environment = ", ".join(f"{key} {value}" for key, value in sorted(record.environment.items()))
    files = record.checkpoint.files if record.checkpoint else []
    rows = [
        ("Audit digest", record.audit_digest),
        ("Started", record.started),
        ("auditor", record.tool_version),
        ("Salt of the probes", record.generation.salt),
        ("Root seed of the probes", record.generation.root_seed),
        ("Training set, SHA-256", record.training.digest),
        ("Held-out set, SHA-256", record.holdout.digest),
        ("Environment", environment),
        *((f"Checkpoint file {file.path}", file.sha256) for file in files),
    ]
    yield from table(("", ""), rows)
    yield "The verdict follows from record.json alone: `auditor gate RUN_DIR` gives it again."
    yield ""
