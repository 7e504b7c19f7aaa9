"""The prompts of a comparison: every checkpoint is asked for the same, under the same noise."""

from __future__ import annotations

from dataclasses import replace

from auditor.checkpoint.tokens import read
from auditor.comparison_config import ComparisonConfig
from auditor.probes import choose
from auditor.stages.comparison.inputs import ComparedInputs
from auditor.stages.inputs import Images
from auditor.stages.prompt_list import joined, listed, merged
from auditor.stages.prompting import captioned, captions_of, most_prompts, refuse_unlike
from auditor.store.digest import value_digest
from auditor.store.prompting import Prompting
from auditor.store.run_directory import RunDirectory
from auditor.store.wording import count


def prompted(inputs: ComparedInputs, run: RunDirectory, config: ComparisonConfig, seed: str) -> ComparedInputs:
    """The inputs with every checkpoint asked for the same prompts; as they are where none are given.

    Args:
      seed: The comparison's root seed; which captions or lines are drawn depends on it.

    Raises:
      ConfigError: No captions, or far more on one side; an empty file.
    """
    if not config.prompts.given:
        return inputs
    key = {
        "prompts": described(config), "number": most_prompts(config), "seed": seed,
        "sets": [images.info.digest for images in image_sets(inputs)],
    }  # fmt: skip

    def compute() -> dict[str, list[str]]:
        if config.prompts.file:
            return {"file": choose(seed, "prompts", listed(config.prompts.file), most_prompts(config))}
        return draw_captions(inputs, most_prompts(config), seed)

    prompts = joined(run.value("inputs/prompts", key, compute))
    for model in inputs.models:  # one condition to any of them is one for all
        prompts = merged(prompts, [reading.seen for reading in read(model.checkpoint.denoiser, prompts.texts)])
    scales = config.generation.guidance_scales
    models = [replace(model, asked=prompts.bind(model.checkpoint).at_scales(scales)) for model in inputs.models]
    return replace(inputs, models=models, prompts=prompts)


def described(config: ComparisonConfig) -> dict[str, object]:
    """What determines the prompts, as plain values."""
    given = value_digest(listed(config.prompts.file)) if config.prompts.file else None
    return {"source": config.prompts.source, "seeds": config.prompts.seeds, "file": given}


def image_sets(inputs: ComparedInputs) -> list[Images]:
    """Each training set once, then the held-out images."""
    sets = {model.train.info.digest: model.train for model in inputs.models if model.train is not None}
    return [*sets.values(), *([inputs.holdout] if inputs.holdout is not None else [])]


def draw_captions(inputs: ComparedInputs, count: int, seed: str) -> dict[str, list[str]]:
    """Captions by side, of ``count`` distinct images of all sets together, each with the same chance.

    Images are told apart by their pixels, since training sets may share some. Only those drawn are read. The shares of
    captioned images are compared in whole sets, and among those drawn.

    Raises:
      ConfigError: No captions, or so unlike shares of captioned images that no draw is blind to the sides.
    """
    sets = [("holdout" if images is inputs.holdout else "train", images) for images in image_sets(inputs)]
    for side, images in sets:
        if inputs.holdout is not None and side == "train":
            refuse_unlike({"train": captioned(images), "holdout": captioned(inputs.holdout)})
    place: dict[str, tuple[str, Images, str]] = {}
    for side, images in sets:
        for name in images.distinct_ids:
            place.setdefault(images.digests[name].hex(), (side, images, name))
    drawn = [place[digest] for digest in choose(seed, "prompts", sorted(place), count)]
    captions: dict[str, list[str]] = {"train": [], "holdout": []}
    for side, images in sets:
        captions[side] += captions_of(images, [name for _, own, name in drawn if own is images])
    asked = {side: sum(own == side for own, *_ in drawn) for side in captions}
    refuse_unlike({side: (len(captions[side]), asked[side]) for side in captions if asked[side]})
    return captions


def prompting(config: ComparisonConfig, inputs: ComparedInputs) -> Prompting | None:
    """The record's entry; None where the checkpoints were asked for nothing."""
    prompts = inputs.prompts
    if prompts is None:
        return None
    return Prompting(
        source="file" if config.prompts.file else "captions",
        prompts=len(prompts.texts),
        from_training=len(prompts.from_training),
        from_holdout=len(prompts.from_holdout),
        seeds=config.generation.probes / len(prompts.texts),
        digest=value_digest(list(prompts.texts)),
    )


def prompt_notes(config: ComparisonConfig, inputs: ComparedInputs) -> list[str]:
    """What was not tested about prompts and guidance."""
    problems, guided = config.tasks.problems, config.generation.guidance_scale is not None
    if inputs.prompts is None:
        asked = any(model.checkpoint.text is not None for model in inputs.models)
        notes = ["Prompts: generations were made under the empty prompt alone." if asked
                 else "Prompts: the checkpoints take none."]  # fmt: skip
        return [*notes, *(["Tasks under guidance: they are done without."] if problems and guided else [])]
    notes = ["Other prompts than those above. The closed-form memorizer, and with it the regime: it does not read."]
    for model in inputs.models:
        cut = sum(reading.cut > 0 for reading in read(model.checkpoint.denoiser, inputs.prompts.texts))
        if cut:
            notes.append(f"What does not fit: of {count(cut, 'prompt')} {model.name} sees the beginning only.")
    if config.prompts.file:
        notes.append(
            "Whether the prompts given favour training images: what is said to come back, or to have moved, supposes "
            "that they were chosen without regard to which images were trained on."
        )
    elif inputs.holdout is None:
        notes.append("Other captions than those of training images, asked for alone: no held-out set is given.")
    return [*notes, *(["Tasks under prompts: they are done under the empty one."] if problems else [])]
