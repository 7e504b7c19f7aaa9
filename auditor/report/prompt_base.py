"""The part of a ranking's report about the base of a fine-tune."""

from __future__ import annotations

from auditor.report.comparison.blocks import Items, Section, Table, Text, folded
from auditor.store.prompts import PromptRanking, RankedPrompt
from auditor.store.wording import percent

BESIDE_BASE = (
    "What the fine-tune was made from is asked the same under the same noises. A prompt is charged to the fine-tune "
    "where it stands out beside controls, its score rose from the base by more than the controls' did, and the base "
    "does not call it."
)
ORIGINS = {
    "added": "added",
    "base": "called, the base's already",
    "undecided": "called, not shown to be added",
    "base alone": "the base's alone",
    "none": "–",
}
CLAIMED = (
    "Added: two claims at once, so that its p-value is the larger of two, the rank among controls of the score on the "
    "fine-tune and of its rise from the base, and 1 where the base calls the prompt. q-values are Benjamini and "
    "Hochberg's over all prompts tested.",
    "Known to the base already: called on both, on each at the same level. It is not charged to the fine-tune; whoever "
    "publishes both publishes it all the same.",
    "A prompt that the base does not call may be known to it weakly; that the base knows nothing of it is not shown.",
    "Fine-tuning moves prompts of its subject that it did not see, too: controls of that subject are needed, or moving "
    "with the subject looks like being learnt by heart.",
)
LONGEST = 120  # characters of a prompt in a table


def base_sections(ranking: PromptRanking) -> list[Section]:
    """Who knows each prompt, by the deciding detector; nothing without a base."""
    if ranking.base is None:
        return []
    header = ("Prompt", "Shown", "On the fine-tune", "On the base", "q on the base", "Rise", "q of the rise",
              "p added", "q added")  # fmt: skip
    rows = [_row(one, ranking.deciding) for one in ranking.prompts if ranking.deciding in one.base]
    base = ranking.base
    told = (
        f"{base.added:,} added by the fine-tune, {base.shared:,} known to its base already, {base.undecided:,} called "
        f"on the fine-tune without either being shown; the base alone calls {base.called - base.shared:,} that the "
        f"fine-tune does not. By {ranking.deciding}, false discovery rate {percent(ranking.alpha)}; "
        f"{base.evaluations:,} evaluations of the base."
    )
    if ranking.floor is None:
        told = "Nothing can be told apart without comparable controls; scores on both are shown."
    return [
        Section(
            "base",
            "Fine-tune and base",
            "Base",
            [Text(told), folded(Table("Prompts on the fine-tune and on its base", header, rows)), Items(CLAIMED)],
        )
    ]


def _row(one: RankedPrompt, deciding: str) -> tuple[str, ...]:
    own = one.base[deciding]
    return (
        shortened(one.prompt) or "(empty)",
        "–" if own.origin is None else ORIGINS[own.origin],
        figure(one.scores[deciding].score),
        figure(own.score.score),
        figure(own.score.q_value),
        figure(own.rise.score),
        figure(own.rise.q_value),
        figure(own.p_value),
        figure(own.q_value),
    )


def shortened(prompt: str) -> str:
    """The beginning of a prompt."""
    return prompt if len(prompt) <= LONGEST else f"{prompt[: LONGEST - 1]}…"


def figure(value: float | None) -> str:
    """Three digits, or a dash."""
    return "–" if value is None else f"{value:.3g}"
