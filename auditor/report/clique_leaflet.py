"""The report of cliques alone, for a checkpoint without its training set."""

from __future__ import annotations

from auditor.report import cliques
from auditor.report.comparison.blocks import Block, Facts, Items, Section, Sheet, Table, Text
from auditor.report.leaflet import Leaflet
from auditor.store.clique_report import CliqueReport
from auditor.store.cliques import CliqueSearch

SHOWN = 5  # generations in a row


def clique_leaflet(report: CliqueReport) -> Leaflet:
    """Every format's content."""
    told = cliques.first_scored(report.searches)
    found = bool(told and told.pictures)
    title = "Pictures come back" if found else "No picture comes back" if told else "Cannot tell"
    return Leaflet(
        kind="Cliques among generations from independent noise",
        title=title,
        lead=cliques.cliques_sentence(report.searches),
        tone="fail" if found else "open",
        note=cliques.MEANING,
        made=f"{report.started}, auditor {report.tool_version}",
        source="cliques.json",
        sections=[_measures(report), *_pictures(report.searches), _made(report)],
    )


def _measures(report: CliqueReport) -> Section:
    rows = cliques.search_rows(report.searches)
    table = Table("Coincidences, by measure of distance", cliques.HEADER, rows)
    blocks: list[Block] = [Text(cliques.QUESTION), table, Items(cliques.notes(report.searches))]
    return Section("cliques", "What was found", "Found", blocks)


def _pictures(searches: list[CliqueSearch]) -> list[Section]:
    told = cliques.first_scored(searches)
    if told is None or not told.cliques:
        return []
    columns = [f"generation {number}" for number in range(1, SHOWN + 1)]
    rows = [
        (line, [*clique.images, *[None] * (SHOWN - len(clique.images))][:SHOWN])
        for line, clique in cliques.clique_rows(told)
    ]
    caption = "Rows: pictures, those of most generations first. Some of the generations that show each."
    sheet = Sheet(columns, rows, caption=caption, of="Picture")
    return [Section("pictures", f"Pictures that came back, by {told.measure}", "Pictures", [sheet])]


def _made(report: CliqueReport) -> Section:
    made, checkpoint = report.generation, report.checkpoint
    facts = [
        ("Checkpoint", f"{checkpoint.name} ({checkpoint.digest})"),
        ("Model", f"{checkpoint.pipeline}, {checkpoint.network}, {checkpoint.parameters:,} parameters"),
        ("Probes", f"{made.probes:,} with {made.sampler}, {made.steps} steps; {made.non_finite} without an image"),
        ("Salt of the probes", f"{made.salt}{' (pinned)' if made.seed_pinned else ''}"),
        ("Encoders", "; ".join(f"{encoder.name} ({encoder.detail})" for encoder in report.encoders)),
        ("Specification", report.digest),
    ]
    return Section("made", "How it was made", "Made", [Facts(facts)])
