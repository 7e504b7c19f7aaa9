"""The Markdown report's sections on what is known of the training set beyond copies."""

from __future__ import annotations

from collections.abc import Iterator

from auditor.report import agreement, canaries, cliques, exposure, regime, story
from auditor.report.markdown_text import escape, table
from auditor.report.membership import footing
from auditor.store.canaries import CanaryAudit
from auditor.store.cliques import CliqueSearch
from auditor.store.membership import Membership
from auditor.store.record import Record
from auditor.store.wording import attack_name


def signals(record: Record) -> Iterator[str]:
    """Cliques, membership, canaries and regime, and whether they agree with the copies."""
    yield from _cliques(record.cliques)
    yield from _membership(record.membership)
    yield from _canaries(record.canaries)
    yield from _regime(record)
    yield from _agreement(record)


def _cliques(searches: list[CliqueSearch]) -> Iterator[str]:
    if not searches:
        return
    yield "## Pictures that come back from independent noise"
    yield ""
    yield escape(cliques.cliques_sentence(searches))
    yield ""
    yield f"{escape(cliques.QUESTION)} {escape(cliques.MEANING)}"
    yield ""
    yield from table(cliques.HEADER, cliques.search_rows(searches))
    told = cliques.first_scored(searches)
    if told is not None and told.cliques:
        yield from (f"- {escape(line)}" for line, _ in cliques.clique_rows(told))
        yield ""
    yield from (line for sentence in cliques.notes(searches) for line in (escape(sentence), ""))


def _membership(membership: Membership | None) -> Iterator[str]:
    yield "## Membership"
    yield ""
    if membership is None:
        yield "Membership was not tested."
        yield ""
        return
    yield escape(story.membership_sentence(membership))
    yield ""
    rows: list[tuple[object, ...]] = [
        (
            attack_name(attack.name),
            story.estimate_text(attack.auc),
            story.estimate_text(attack.excess_over_blind),
            story.estimate_text(attack.tpr_at_1pct_fpr, share=True),
            *(
                "–" if tail is None else story.estimate_text(tail, share=True)
                for tail in (attack.tpr_at_10pct_fpr, attack.tpr_at_01pct_fpr)
            ),
            "–" if attack.p_adjusted is None else f"{attack.p_adjusted:.3g}",
            attack.variant,
        )
        for attack in membership.attacks
    ]
    rows.append(("Blind baseline", story.estimate_text(membership.blind_auc), *["–"] * 5, "sees no checkpoint"))
    tails = ("TPR at 1% FPR", "TPR at 10% FPR", "TPR at 0.1% FPR")
    yield from table(("Attack", "AUC", "Excess over blind", *tails, "Adjusted p", "Setting"), rows)
    for sentence in footing(membership):
        yield escape(sentence)
        yield ""
    if membership.shift is not None and membership.shift.features:
        features = [
            (feature.name, f"{feature.difference:+.2f}", f"{feature.p_adjusted:.3g}")
            for feature in membership.shift.features
        ]
        yield from table(("Difference of members, no checkpoint", "Standard deviations", "Adjusted p"), features)
    yield from _exposure(membership)


def _exposure(membership: Membership) -> Iterator[str]:
    found = membership.dataset_inference
    if found is not None:
        yield "### Was this set used?"
        yield ""
        for sentence in (exposure.QUESTION, *exposure.set_sentences(found)):
            yield escape(sentence)
            yield ""
        if found.sizes:
            yield from table(exposure.SIZES_HEADER, exposure.size_rows(found))
    if membership.records is not None:
        yield "### The most exposed records"
        yield ""
        yield escape(exposure.records_sentence(membership.records))
        yield ""
        yield from table(exposure.RECORDS_HEADER, exposure.record_rows(membership.exposed))


def _canaries(audit: CanaryAudit | None) -> Iterator[str]:
    if audit is None:
        return
    yield "## Canaries"
    yield ""
    yield f"{escape(canaries.canary_sentence(audit))} {escape(canaries.MEANING)}"
    yield ""
    rows = [
        (
            tier.repetitions,
            tier.included,
            tier.excluded,
            story.estimate_text(tier.auc),
            *(story.estimate_text(e, share=True) for e in (tier.tpr_at_5pct_fpr, tier.landed, tier.landed_excluded)),
            *(story.estimate_text(e) for e in (tier.epsilon, tier.epsilon_per_record)),
        )
        for tier in audit.tiers
    ]
    yield from table(canaries.HEADER, rows)
    yield f"{escape(canaries.EPSILON)} {escape(canaries.method_sentence(audit))}"
    yield ""


def _regime(record: Record) -> Iterator[str]:
    if record.regime is None:
        return
    yield "## Regime"
    yield ""
    yield escape(regime.sentence(record.regime))
    yield ""
    yield from (f"- {escape(reason)}" for reason in record.regime.verdict.reasons)
    yield from (f"- To settle it: {escape(remedy)}" for remedy in record.regime.verdict.remedies)
    yield ""
    if record.regime.agreement is not None:
        rows = [
            (name, story.estimate_text(estimate, share=share), meaning)
            for name, estimate, share, meaning in regime.figures(record.regime.agreement)
        ]
        yield from table(("Figure", "Value", "Meaning"), rows)


def _agreement(record: Record) -> Iterator[str]:
    told = agreement.side_by_side(record)
    if told:
        yield "## Do the tests agree?"
        yield ""
        yield escape(agreement.sentence(told))
        yield ""
        yield from table(("Test", "Exposure", "What it found"), told)
