"""The report of a ranking: which prompts a checkpoint seems to know by heart, and how sure that is."""

from __future__ import annotations

from auditor.report.comparison.blocks import Block, Facts, Items, Section, Sheet, Table, Text, folded
from auditor.report.leaflet import Leaflet
from auditor.report.prompt_base import BESIDE_BASE, ORIGINS, base_sections, figure, shortened
from auditor.store.prompts import BaseOfPrompts, PromptRanking, RankedPrompt
from auditor.store.wording import count, percent

TITLES = {
    "magnitude": "How much the prompt changes the first step",
    "path_magnitude": "How much it changes every step of a path",
    "one_step": "How far one guided step carries from the noise",
    "consistency": "Whether all noises lead to one picture",
    "edges": "Edges that one step draws at the same place from every noise",
    "sharpness": "How sharply the density bends where the prompt pulls",
    "first_entropy": "How widely the first step looks over the prompt's tokens",
    "entropy": "How widely the last steps look over them",
    "bright_ending": "Change of every step, where attention to the end of the text is bright",
    "regeneration": "Whether whole paths from all noises end in one picture",
}
METHOD = (
    "A prompt that a checkpoint knows by heart calls for one picture: it changes what the network predicts from pure "
    "noise, and more than other prompts do. Detectors measure that without making a picture and without training data. "
    "How much a prompt changes depends on its length and wording too, so that is taken out, and what is left is "
    "compared with control prompts."
)
NOT_SHOWN = (
    "A called prompt stands out. That its picture is in the training set is not shown: generate from it, and look the "
    "result up with `auditor lookup` or in an image search.",
    "A prompt that is not called may be memorised all the same: weakly, or in a way that no detector here sees. "
    "Prompts that nobody listed were not tested.",
    "Controls are taken to be prompts that were not trained on. Any that were make the test miss prompts, not invent "
    "them.",
)


def prompts_sentence(ranking: PromptRanking) -> str:
    """How many prompts are called, or why none can be."""
    scored = sum(one.unscored is None for one in ranking.prompts)
    if ranking.floor is None:
        why = ranking.comparison.status
        reason = "without control prompts" if why == "no controls" else "controls are too different"
        return f"{count(scored, 'prompt')} ranked by {ranking.deciding}; none is called ({reason})."
    if ranking.floor > scored and not ranking.called:
        return f"{count(scored, 'prompt')} ranked by {ranking.deciding}; controls are too few to call any."
    if ranking.base is not None:
        return _base_sentence(ranking, ranking.base, scored)
    verb = "is" if ranking.called == 1 else "are"
    called = f"{ranking.called:,}" if ranking.called else "None"
    rate = f"at a false discovery rate of {percent(ranking.alpha)}"
    return f"{called} of {count(scored, 'prompt')} {verb} called memorised by {ranking.deciding}, {rate}."


def _base_sentence(ranking: PromptRanking, base: BaseOfPrompts, scored: int) -> str:
    """What the fine-tune added, and apart from it what its base knows."""
    verb, added = ("is" if base.added == 1 else "are"), (f"{base.added:,}" if base.added else "None")
    said = (
        f"{added} of {count(scored, 'prompt')} {verb} called memorised and added by the fine-tune, by "
        f"{ranking.deciding}, at a false discovery rate of {percent(ranking.alpha)}."
    )
    rest = [f"{base.shared:,} known to its base already" * bool(base.shared)]
    rest += [f"{base.undecided:,} not shown to be either's" * bool(base.undecided)]
    others = " and ".join(filter(None, rest))
    return f"{said} Of the {ranking.called:,} called on the fine-tune, {others}." if others else said


def _title(ranking: PromptRanking) -> str:
    if ranking.base is None:
        return "Prompts seem memorised" if ranking.called else "Prompts ranked, none called"
    if ranking.base.added:
        return "The fine-tune seems to have memorised prompts"
    return "No prompt shown to be memorised by the fine-tune alone" if ranking.called else "Prompts ranked, none called"


def charged(ranking: PromptRanking) -> int:
    """Prompts called and charged to the checkpoint; of a fine-tune beside its base, those that it added."""
    return ranking.called if ranking.base is None else ranking.base.added


def prompts_leaflet(ranking: PromptRanking) -> Leaflet:
    """Every format's content."""
    return Leaflet(
        kind="Memorised prompts",
        title=_title(ranking),
        lead=prompts_sentence(ranking),
        tone="fail" if charged(ranking) else "open",
        note=METHOD if ranking.base is None else f"{METHOD} {BESIDE_BASE}",
        made=f"{ranking.started}, auditor {ranking.tool_version}",
        source="prompts.json",
        sections=[
            _prompts(ranking),
            *base_sections(ranking),
            _detectors(ranking),
            _controls(ranking),
            *_masks(ranking),
            _unsaid(),
            _made(ranking),
        ],
    )


def _prompts(ranking: PromptRanking) -> Section:
    others = [one.name for one in ranking.detectors if one.unscored is None and one.name != ranking.deciding]
    header = ("Prompt", "Called", ranking.deciding, "p", "q", *others, "Tokens", "Place in the list")
    rows = [_row(one, ranking.deciding, others) for one in ranking.prompts]
    table = folded(Table("Prompts, the most suspicious first", header, rows))
    notes: list[Block] = [Items(ranking.notes)] if ranking.notes else []
    said = (
        "Scores are larger for what is more likely memorised. p is the share of control prompts that score as high "
        "once length and style are taken out; q is the false discovery rate at which the prompt would be called."
    )
    return Section("prompts", "Prompt by prompt", "Prompts", [*notes, table, Text(said, "note")])


def _row(one: RankedPrompt, deciding: str, others: list[str]) -> tuple[str, ...]:
    text, lines = shortened(one.prompt) or "(empty)", ", ".join(map(str, one.lines[:4]))
    lines += f" and {len(one.lines) - 4} more" if len(one.lines) > 4 else ""
    tokens = f"{one.tokens}" + (f" of {one.tokens + one.cut}" if one.cut else "")
    if one.unscored:
        return (text, f"not ranked: {one.unscored}", *("–" for _ in range(3 + len(others))), tokens, lines)
    decide = one.scores[deciding]
    origin = one.base[deciding].origin if deciding in one.base else None
    called = "called" if one.called else "–"
    return (
        text,
        called if origin in (None, "none") else ORIGINS[origin],
        figure(decide.score),
        figure(decide.p_value),
        figure(decide.q_value),
        *(figure(one.scores[name].score) for name in others),
        tokens,
        lines,
    )


def _detectors(ranking: PromptRanking) -> Section:
    header = ("Detector", "What it measures", "Evaluations a prompt", "Called by it")
    rows = []
    for one in ranking.detectors:
        if one.unscored:
            rows.append((one.name, TITLES.get(one.name, ""), "not run", one.unscored))
        else:
            called = "–" if one.called is None else f"{one.called:,} of {one.scored:,}"
            called += "" if one.added is None else f", {one.added:,} added"
            rows.append((one.name, TITLES.get(one.name, ""), f"{one.evaluations:.1f}", called))
    n = sum(one.unscored is None for one in ranking.prompts)
    said = (
        f"{ranking.deciding} decides, fixed before anything was measured. Detectors share evaluations: "
        f"{ranking.evaluations:,} of the network were made for {n:,} prompts and their controls together."
    )
    return Section(
        "detectors", "Detector by detector", "Detectors", [Table("Detectors", header, rows), Text(said, "note")]
    )


def _controls(ranking: PromptRanking) -> Section:
    blocks: list[Block] = [Text(ranking.comparison.statement)]
    if ranking.floor is not None:
        blocks.append(
            Text(f"Prompts that have to beat every control before any can be called: {ranking.floor:,}.", "note")
        )
    return Section("controls", "Are controls comparable?", "Controls", blocks)


def _masks(ranking: PromptRanking) -> list[Section]:
    rows: list[tuple[str, list[str | None]]] = [
        (shortened(one.prompt), [one.mask]) for one in ranking.prompts if one.mask is not None
    ]
    if not rows:
        return []
    caption = (
        "Where the last step attends to the end of the text, brightest white: in the part of the picture that is "
        "memorised, if the prompt is."
    )
    return [Section("masks", "Bright endings", "Masks", [Sheet(["mask"], rows, caption=caption, of="Prompt")])]


def _unsaid() -> Section:
    return Section("unsaid", "What this does not show", "Not shown", [Items(NOT_SHOWN)])


def _made(ranking: PromptRanking) -> Section:
    lists = [("Prompts", ranking.tested), ("Controls", ranking.controls)]
    opened = [("Checkpoint", ranking.checkpoint)] + ([("Base", ranking.base.checkpoint)] if ranking.base else [])
    facts = [
        *((role, "; ".join([f"{one.name} ({one.digest})", *one.notes])) for role, one in opened),
        *(
            (name, f"{one.source}: {one.prompts:,}, {one.distinct:,} distinct, {one.truncated:,} cut ({one.digest})")
            for name, one in lists
            if one is not None
        ),
        ("Asked", ", ".join(f"{key} {value}" for key, value in ranking.asked.items())),
        ("Salt of the noise", f"{ranking.salt}{' (pinned)' if ranking.seed_pinned else ''}"),
        ("Specification", ranking.digest),
    ]
    return Section("made", "How it was made", "Made", [Facts(facts)])
