"""What the words of a comparison mean, for someone who meets them here first."""

from __future__ import annotations

TERMS = (
    ("Probe", "One draw of start noise. A checkpoint turns it into one image, always the same one."),
    (
        "Column",
        "One way to answer the probes: a checkpoint with a sampler, or the memorizer of a training set.",
    ),
    (
        "Memorizer",
        "A formula, not a network. It denoises as well as anything can that knows the training images and nothing "
        "else, so each of its answers is a training image. It shows where pure memory leads from a probe.",
    ),
    (
        "Memorization",
        "The checkpoint answers as the memorizer does: most probes land on the same training images.",
    ),
    (
        "Generalization",
        "The checkpoint answers with new images, and would have given much the same ones after training on other "
        "images of the same kind.",
    ),
    (
        "Transition",
        "Between the two: most probes do not land where the memorizer does, but training images are favoured. It "
        "memorises some.",
    ),
    (
        "Encoder",
        "Turns an image into a list of numbers, so that similar images have similar numbers. Similarity is 1 for "
        "identical ones; larger means more alike.",
    ),
    (
        "Confidence interval",
        "Written in brackets: the range that covers the true value in 95 of 100 comparisons, unless another level is "
        "named.",
    ),
)

MATRIX_TERMS = (
    (
        "Centred similarity",
        "Similarity after what all answers of a column have in common was taken off. It is 0 on average between "
        "answers to different noise.",
    ),
    (
        "RP score",
        "Reproducibility: the share of probes to which two columns give much the same image. Published: similarity "
        "above 0.6, whatever the images. Calibrated: centred similarity above what 1% of answers to "
        "different noise reach.",
    ),
    (
        "Identified",
        "The share of probes whose answer can be picked out of all answers on the other side, as the most similar one.",
    ),
    ("Disjoint data", "No training image of one model, by its pixels, is among those of the other."),
)

PROMPTED_MATRIX_TERMS = tuple(
    {
        **dict(MATRIX_TERMS),
        "Centred similarity": "Similarity after what a column's answers to one prompt have in common was taken off. "
        "Between answers to different noise it is 0 on average if the noise decides nothing beyond the prompt; if it "
        "does, below 0, since answers that share their mean lie on opposite sides of it.",
        "RP score": "Reproducibility: the share of probes to which two columns give much the same image. Published: "
        "similarity above 0.6, whatever the images. Calibrated: centred similarity above what 1% of answers to "
        "different noise reach. Of columns that agree it is higher the fewer noises a prompt has, so compare scores "
        "of equally many.",
        "Identified": "The share of probes whose answer can be picked out of the other side's answers to the same "
        "prompt, as the most similar one.",
    }.items()
)

MEMORIZER_TERMS = (
    (
        "Landing",
        "A generated image lands on a real one if it is nearer to it than to any other real image, and nearer than any "
        "other real image is to it.",
    ),
    (
        "By chance",
        "How often a checkpoint would land where the memorizer does if their noise had nothing to do with each other.",
    ),
    (
        "Control",
        "The same with the memorizer of as many held-out images, which no checkpoint here saw. What is true of "
        "training images but not of these is owed to training.",
    ),
    ("p", "How likely so many more training images than held-out ones would be reached if training had no part in it."),
    (
        "Plausible",
        "The share of generations as near to real images as all but 1% of held-out images are. A checkpoint that draws "
        "nothing real neither memorises nor generalises.",
    ),
    (
        "GL score",
        "Generalization: the share of generations that are near no training image. Published: no similarity above 0.6. "
        "Calibrated: near none by a threshold that 1% exceed with held-out images in their place.",
    ),
    (
        "X",
        "At least so many distinct training images are reproduced, by the competition of training with held-out "
        "images. Certified are those that can be named.",
    ),
)

CURVE_TERMS = (
    (
        "Agreement",
        "The share of probes that land where the memorizer does: near 1 where a model memorises, near 0 where it "
        "generalises.",
    ),
    ("GL", "The share of generations near no training image: it rises as agreement falls."),
    (
        "RP",
        "The share of probes on which two models agree. On disjoint data they agree only if both generalise; on the "
        "same data also if both memorise. In between, models differ most.",
    ),
)

ATTRIBUTE_TERMS = (
    (
        "Share",
        "How many images of a set have this value, as one classifier sees every set. Its mistakes are in all of them.",
    ),
    (
        "Amplification",
        "The share among generations divided by the share in the training set. 1 is faithful; above 1 the checkpoint "
        "overdoes what it was shown.",
    ),
)
