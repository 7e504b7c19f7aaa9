"""report.html: one file that loads nothing and runs nothing, readable by someone who was not there."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable
from functools import partial
from importlib.resources import files
from pathlib import Path
from typing import Any

from jinja2 import Environment
from markupsafe import Markup

from auditor.report import (
    agreement,
    canaries,
    charts,
    cliques,
    duplication,
    exposure,
    given,
    kinds,
    prompting,
    regime,
    story,
)
from auditor.report.membership import footing
from auditor.report.pages import Images, templates, write_whole
from auditor.report.pictures import Picture, embed_picture
from auditor.store.canaries import CanaryAudit
from auditor.store.membership import Membership
from auditor.store.record import Check, Competition, Judgement, Record
from auditor.store.wording import attack_name, count, decimal, missing, percent

MARKS = {
    "pass": {"glyph": "✓", "tone": "pass"},
    "fail": {"glyph": "✕", "tone": "fail"},
    "cannot conclude": {"glyph": "?", "tone": "open"},
    "passed": {"glyph": "✓", "tone": "pass"},
    "failed": {"glyph": "✕", "tone": "fail"},
    "not tested": {"glyph": "–", "tone": "open"},
}
SIMILARITY = "similarity to the nearest generation"
TAIL = 0.05  # share of held-out items in the enlarged right end of the score chart
TONES = {"verbatim": "fail", "certified": "fail", "suspect": "open"}


def write_html(record: Record, run_dir: Path, out: Path, *, images: Images = "full") -> Path:
    """``out``, written whole: the report of a record as a single HTML file.

    Args:
      record: With its judgement, if it was judged.
      run_dir: Where the record's picture paths start. Pictures that are missing are said, never an error.
      out: File to write.
      images: ``none`` leaves every picture out, for readers who may not see the training data.
    """
    return write_whole(out, html(record, run_dir, images=images))


def html(record: Record, run_dir: Path, *, images: Images = "full") -> str:
    """The report as a string; the same record and pictures give the same bytes."""
    style = Markup(files("auditor.report").joinpath("templates/report.css").read_text(encoding="utf-8"))
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    told = story.verdict(record)
    look = MARKS.get(told.word.lower(), {"glyph": "–", "tone": "open"})
    decisive = story.primary(record.copies)
    found = record.regime.agreement if record.regime else None
    told_apart = agreement.side_by_side(record)
    page = _environment(_embedder(run_dir, images)).get_template("report.html.j2")
    return page.render(
        record=record,
        judgement=record.judgement,
        verdict={**vars(told), **look},
        style=style,
        style_hash=f"sha256-{digest}",
        pictures_shown=images == "full",
        key_figures=story.key_figures(record),
        competitions=[_copies_view(place, c, c is decisive) for place, c in enumerate(record.copies)],
        uncalibrated=[(c.encoder, estimate) for c in record.copies for estimate in c.uncalibrated],
        membership_sentence=story.membership_sentence(record.membership) if record.membership else "",
        membership_charts=_membership_charts(record.membership),
        membership_footing=list(footing(record.membership)) if record.membership else [],
        regime_sentence=regime.sentence(record.regime) if record.regime else "",
        regime_figures=list(regime.figures(found)) if found else [],
        side_by_side=told_apart,
        agreement_sentence=agreement.sentence(told_apart),
        **_canaries_view(record.canaries),
        estimates=list(story.estimates(record)),
        config=json.dumps(record.config, indent=1, sort_keys=True, ensure_ascii=False),
    )


def _environment(embed: Callable[[str | None], Picture]) -> Environment:
    """Where the templates are, with everything escaped that is not markup made here."""
    environment = templates()
    environment.filters |= {
        "percent": percent,
        "count": count,
        "missing": missing,
        "number": lambda value, share: percent(value) if share else decimal(value),
        "bounds": story.interval,
        "counts": _counts,
        "attack": attack_name,
    }
    environment.globals |= {"embed": embed, "marks": MARKS, "tones": TONES, "tier_words": story.TIER_WORDS}
    environment.globals |= {"exposure": exposure, "cliques": cliques, "duplication": duplication, "kinds": kinds}
    environment.globals |= {"given": given, "prompting": prompting}
    return environment


def _counts(check: Check, judgement: Judgement) -> bool:
    """Whether a check had a part in the judgement; one of an encoder that decides nothing has none."""
    id = f"validity.{check.id}" + (f".{check.encoder}" if check.encoder else "")
    return any(rule.id == id for rule in judgement.rules)


def _embedder(run_dir: Path, images: Images) -> Callable[[str | None], Picture]:
    if images == "none":
        return lambda relative: Picture("", absent="left out")
    return partial(embed_picture, run_dir)


def _copies_view(place: int, competition: Competition, is_primary: bool) -> dict[str, Any]:
    shown, rest = story.shown_evidence(competition)
    title, scores = f"Scores of training and held-out items under {competition.encoder}", competition.scores
    role = "suspects only" if not competition.resolving else "decides" if is_primary else "supports"
    return {
        "competition": competition,
        "role": role,
        "sentence": story.copies_sentence(competition),
        "rate_title": story.rate_title(competition),
        "resolution": story.resolution_sentence(competition),
        "shown": shown,
        "rest": rest,
        "chart": charts.histogram(f"scores{place}", title, scores, SIMILARITY),
        "repeats": duplication.chart(
            f"repeats{place}", f"Reproduced by times seen, {competition.encoder}", competition.duplication
        ),
        "tail": charts.histogram(f"tail{place}", f"{title}, right end", scores, SIMILARITY, tail=TAIL),
    }


def _canaries_view(audit: CanaryAudit | None) -> dict[str, Any]:
    if audit is None:
        return {}
    return {
        "canary_sentence": canaries.canary_sentence(audit),
        "canary_meaning": canaries.MEANING,
        "canary_header": canaries.HEADER,
        "canary_epsilon": canaries.EPSILON,
        "canary_method": canaries.method_sentence(audit),
    }


def _membership_charts(membership: Membership | None) -> dict[str, Any]:
    """ROC curves of all attacks (one blind curve: they share it), AUC intervals, scores of the strongest attack."""
    best = story.strongest(membership)
    if membership is None or not membership.attacks:
        return {}
    curves = {
        attack_name(attack.name): (attack.roc.x, attack.roc.series["attack"])
        for attack in membership.attacks
        if "attack" in attack.roc.series
    }
    first = membership.attacks[0].roc
    if "blind" in first.series:
        curves["Blind baseline"] = (first.x, first.series["blind"])
    aucs = [attack.auc.model_copy(update={"name": attack_name(attack.name)}) for attack in membership.attacks]
    aucs.append(membership.blind_auc.model_copy(update={"name": "Blind baseline"}))
    lowest = min([0.4, *(auc.lower for auc in aucs if auc.lower is not None)])
    return {
        "roc": charts.roc("roc", "True against false positives", curves),
        "roc_log": charts.roc("roc-log", "True positives at low false positive rates", curves, log=True),
        "aucs": charts.intervals("aucs", "AUC of each attack", aucs, max(0.0, lowest), 1.0, 0.5),
        "scores": charts.histogram("scores-m", "Membership scores", best.scores, "membership score") if best else "",
        "strongest": attack_name(best.name) if best else "",
    }
