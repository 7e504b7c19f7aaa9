"""What a text-to-image checkpoint is asked for: captions of real images, a list of prompts, or nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from scipy.stats import fisher_exact

from auditor.checkpoint.tokens import read
from auditor.comparison_config import ComparisonConfig
from auditor.config import AuditConfig
from auditor.copies.decide import CopyDecision
from auditor.copies.pool import Pool
from auditor.copies.summary import landed_generations
from auditor.errors import ConfigError
from auditor.probes import choose
from auditor.stages.inputs import Images, Inputs
from auditor.stages.prompt_list import Prompts, joined, listed, merged
from auditor.stages.rewording import reworded
from auditor.store.digest import value_digest
from auditor.store.prompting import CopiedPrompt, Prompting
from auditor.store.record import Check
from auditor.store.run_directory import RunDirectory
from auditor.store.wording import count

MOST_IMAGES = 10  # training images named for one prompt
BLOCK = 256  # images whose captions are read at a time
UNLIKE_LEVEL = 0.01
MOST_UNLIKE = 0.05  # by which the shares of captioned images may differ between the two sets


def prompted(inputs: Inputs, run: RunDirectory, config: AuditConfig, seed: str) -> Inputs:
    """The inputs with the prompts of this audit, drawn once and kept in the run directory.

    Captions are drawn label-blind: every distinct captioned image of either set has the same chance, so that a
    checkpoint that favours none of them gives training and held-out images the same chance of being met.

    Args:
      seed: The audit's root seed; which captions are drawn depends on it.

    Raises:
      ConfigError: Prompts for a checkpoint that takes none; no captions, or far more on one side; an empty file.
    """
    asked = config.prompts
    if inputs.checkpoint.text is None or (asked.source == "empty" and not asked.file):
        return inputs
    key = {
        "prompts": describe_prompts(config), "number": most_prompts(config), "seed": seed,
        "sets": [inputs.train.info.digest, inputs.holdout.info.digest],
    }  # fmt: skip

    def compute() -> dict[str, list[str]]:
        if asked.file:
            drawn = {"file": choose(seed, "prompts", listed(asked.file), most_prompts(config))}
        else:
            drawn = draw_captions(inputs, asked.source == "training", most_prompts(config), seed)
        return {name: reworded(texts, asked.reword, seed) for name, texts in drawn.items()}

    prompts = joined(run.value("inputs/prompts", key, compute))
    readings = read(inputs.checkpoint.denoiser, prompts.texts)
    return replace(inputs, prompts=merged(prompts, [reading.seen for reading in readings]))


def most_prompts(config: AuditConfig | ComparisonConfig) -> int:
    """As many prompts as there are probes for, ``prompts.seeds`` each."""
    return max(1, config.generation.probes // config.prompts.seeds)


def planned_prompts(config: AuditConfig, inputs: Inputs) -> int:
    """How many prompts there will be, at most: captions that several images share, or that are missing, are fewer."""
    if config.prompts.file:
        return min(most_prompts(config), len(listed(config.prompts.file)))
    sets = [inputs.train] if config.prompts.source == "training" else [inputs.train, inputs.holdout]
    return min(most_prompts(config), sum(len(images.distinct_ids) for images in sets))


def describe_prompts(config: AuditConfig) -> dict[str, object]:
    """What determines the prompts, as plain values."""
    file = config.prompts.file
    given = value_digest(listed(file)) if file else None
    asked: dict[str, object] = {"source": config.prompts.source, "seeds": config.prompts.seeds, "file": given}
    return asked if config.prompts.reword == "no" else asked | {"reword": config.prompts.reword}


def draw_captions(inputs: Inputs, training_alone: bool, count: int, seed: str) -> dict[str, list[str]]:
    """Captions by the set that they are from, of ``count`` distinct images of both sets together.

    Only the images drawn are read; of those without caption there is none in their place. A few of them do not show
    that one set has no captions, so the shares of whole sets are compared, too, where the survey counted them.

    Raises:
      ConfigError: No captions, or so unlike shares of captioned images that no draw is blind to the sets.
    """
    sets = {"train": inputs.train} if training_alone else {"train": inputs.train, "holdout": inputs.holdout}
    if all(images.index is None for images in sets.values()):  # else nobody looked at the captions of all
        refuse_unlike({name: captioned(images) for name, images in sets.items()})
    pooled = [f"{name}/{identity}" for name, images in sets.items() for identity in images.distinct_ids]
    drawn: dict[str, list[str]] = {name: [] for name in sets}
    for place in choose(seed, "prompts", pooled, count):
        name, _, identity = place.partition("/")
        drawn[name].append(identity)
    captions = {name: captions_of(images, drawn[name]) for name, images in sets.items()}
    refuse_unlike({name: (len(captions[name]), len(ids)) for name, ids in drawn.items()})
    return captions


def captioned(images: Images) -> tuple[int, int]:
    """How many images of a set state a caption, by its survey, and how many there are."""
    return len(images.digests) - images.uncaptioned, len(images.digests)


def captions_of(images: Images, ids: Sequence[str]) -> list[str]:
    """The captions of those of the images that state one, in the order drawn."""
    found: dict[str, str] = {}
    for batch in images.source.batches(BLOCK, only=frozenset(ids)) if ids else ():
        found |= {name: (text or "").strip() for name, text in zip(batch.ids, batch.captions, strict=True)}
    return [found[name] for name in ids if found.get(name)]


def refuse_unlike(captioned: Mapping[str, tuple[int, int]]) -> None:
    """Captions must be there, and about as often on either side.

    Args:
      captioned: By set, how many images state a caption, and how many there are: of all, and of those drawn.

    Raises:
      ConfigError: None does, or the shares differ by more than 5 points, and by more than chance (Fisher, 1%).
    """
    remedy = 'Add captions, give prompts.file, or set prompts.source = "empty".'
    if not any(found for found, _ in captioned.values()):
        raise ConfigError("prompts", "no captioned image", "images with captions to ask for", remedy)
    shares = {name: found / drawn for name, (found, drawn) in captioned.items() if drawn}
    table = [[found, drawn - found] for found, drawn in captioned.values()]
    apart = len(table) == 2 and fisher_exact(table).pvalue <= UNLIKE_LEVEL
    if apart and max(shares.values()) - min(shares.values()) > MOST_UNLIKE:
        got = " and ".join(f"{share:.0%} of {name} captioned" for name, share in shares.items())
        expected = f"shares that differ by at most {MOST_UNLIKE:.0%}, so that prompts do not tell the sets apart"
        raise ConfigError("prompts", got, expected, remedy)


def copied_prompts(
    pool: Pool, decision: CopyDecision, prompts: NDArray[np.int64], asked: Prompts
) -> list[CopiedPrompt]:
    """Prompts under which a generation lands on a certified or verbatim copy, those that land most often first.

    Args:
      pool: Training rows, then held-out ones.
      decision: Under one encoder.
      prompts: Int64[G], the place of each generation's prompt.
      asked: The prompts.
    """
    landing, (landed, _) = decision.landing, landed_generations(decision)
    group = decision.groups.group[: pool.training]
    found = []
    for place in np.unique(prompts[landed]).tolist():
        if not asked.texts[place]:  # an image made elsewhere of which no prompt is known
            continue
        own = prompts == place
        rows = np.flatnonzero(np.isin(group, landing.item[own & landed]))
        found.append(
            CopiedPrompt(
                prompt=asked.texts[place],
                origin=asked.origin(place),
                generations=int(own.sum()),
                landing=int((own & landed).sum()),
                images=[pool.ids[row] for row in rows[:MOST_IMAGES]],
            )
        )
    return sorted(found, key=lambda one: (-one.landing / one.generations, one.prompt))


def prompting(config: AuditConfig, inputs: Inputs) -> Prompting | None:
    """The record's entry about all prompts; None where the checkpoint takes none."""
    prompts = inputs.prompts
    if inputs.checkpoint.text is None:
        return None
    if prompts is None:
        return Prompting(
            source="empty", prompts=1, from_training=0, from_holdout=0, seeds=config.generation.probes,
            digest=value_digest([""]),
        )  # fmt: skip
    return Prompting(
        source="file" if config.prompts.file else config.prompts.source,
        reworded=config.prompts.reword,
        prompts=len(prompts.texts),
        from_training=len(prompts.from_training),
        from_holdout=len(prompts.from_holdout),
        seeds=config.generation.probes / len(prompts.texts),
        digest=value_digest(list(prompts.texts)),
    )


def prompt_check(config: AuditConfig, prompts: Prompts | None) -> list[Check]:
    """Training captions alone favour training images, whatever the checkpoint learnt: a blocking check that fails."""
    if prompts is None or config.prompts.source != "training":
        return []
    return [
        Check(
            id="prompts",
            title="Prompts are blind to the sets",
            encoder=None,
            status="failed",
            statement=f"All {len(prompts.texts):,} prompts are captions of training images, which are met more often "
            "than held-out ones for that reason alone: a worst case, in which only verbatim copies are proof.",
        )
    ]


def prompt_notes(config: AuditConfig, inputs: Inputs) -> list[str]:
    """What the record says was not tested about prompts."""
    if inputs.checkpoint.text is None:
        return []
    if inputs.prompts is None:
        return ["Prompts: generations were made under the empty prompt alone."]
    cut = sum(reading.cut > 0 for reading in read(inputs.checkpoint.denoiser, inputs.prompts.texts))
    beyond = [f"What does not fit: of {count(cut, 'prompt')} the checkpoint sees the beginning only."] if cut else []
    if config.prompts.file:
        return [
            *beyond,
            "Whether the prompts given favour training images: certification supposes that they were chosen without "
            "regard to which images were trained on.",
        ]
    return [
        *beyond,
        "Other prompts than those drawn, such as paraphrases or prompts made to bring a training image back.",
    ]
