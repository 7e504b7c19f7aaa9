"""Image sets and generations to unit vectors, in blocks that survive a kill."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field

import numpy as np
from numpy.typing import NDArray

from auditor.encoders.base import Encoder, check_vectors
from auditor.encoders.views import IDENTITY, view
from auditor.indexing.stream import BATCH, embed_stream
from auditor.progress import Progress
from auditor.stages.generate import Generations, Made
from auditor.stages.inputs import Images, Inputs
from auditor.store.digest import value_digest
from auditor.store.run_directory import RunDirectory

BLOCK = 2_048  # images per ledger entry

Vectors = NDArray[np.float32]


@dataclass(frozen=True)
class Embedded:
    """Everything that one encoder made of the audit's images; rows follow the ids."""

    name: str  # of the encoder; numbered where one kind is listed twice
    encoder: Encoder
    train: Vectors
    holdout: Vectors
    generations: Vectors
    control: Vectors  # generations of the closed-form memorizer of the training set
    views: Mapping[str, Vectors] = field(default_factory=dict)  # of the generations, beside the picture as it is
    control_views: Mapping[str, Vectors] = field(default_factory=dict)


def embed_everything(
    run: RunDirectory, inputs: Inputs, made: Made, views: Sequence[str], show: Progress
) -> list[Embedded]:
    """All images of the audit under every encoder; what was generated also under further views."""

    def turned(name: str, kind: str, of: Generations, encoder: Encoder) -> dict[str, Vectors]:
        stages = {one: f"{name}/{kind}/{one.replace(' ', '-')}" for one in views}
        return {one: embed_generations(run, stages[one], of, made.key, encoder, show, one) for one in views}

    return [
        Embedded(
            name=name,
            encoder=encoder,
            train=embed_images(run, f"{name}/train", inputs.train, encoder, show),
            holdout=embed_images(run, f"{name}/holdout", inputs.holdout, encoder, show),
            generations=embed_generations(run, f"{name}/generations", made.generations, made.key, encoder, show),
            control=embed_generations(run, f"{name}/memorizer", made.control, made.key, encoder, show),
            views=turned(name, "generations", made.generations, encoder),
            control_views=turned(name, "memorizer", made.control, encoder),
        )
        for name, encoder in named(inputs.encoders).items()
    ]


def named(encoders: Sequence[Encoder]) -> dict[str, Encoder]:
    """Encoders by name; a second one of the same kind is ``clip-2``."""
    names: dict[str, Encoder] = {}
    for encoder in encoders:
        kind = encoder.spec.name
        same = sum(name.split("-")[0] == kind for name in names)
        names[kind if same == 0 else f"{kind}-{same + 1}"] = encoder
    return names


def embed_images(run: RunDirectory, stage: str, images: Images, encoder: Encoder, show: Progress) -> Vectors:
    """Embeddings of all readable images of a set in the order of ids, Float32[N D], memory-mapped.

    An index of the set that was made with this encoder has them already.
    """
    ids, spec = list(images.digests), asdict(encoder.spec)
    if images.index is not None and images.index.manifest.encoder == encoder.spec:
        return images.index.embeddings(ids, run.path / "embed" / stage / "all.npy")
    blocks = []
    with show.stage(f"embed {stage}", len(ids), "image") as meter:
        for start in range(0, len(ids), BLOCK):
            block = ids[start : start + BLOCK]
            key = {"set": images.info.digest, "ids": value_digest(block), "encoder": spec, "batch": BATCH}

            def compute(block: Sequence[str] = block) -> dict[str, Vectors]:
                stream = embed_stream(images.source, encoder, BATCH, only=frozenset(block))
                return {"vectors": np.concatenate([batch.vectors for batch in stream])}

            blocks.append(run.arrays(f"embed/{stage}/{start // BLOCK:05d}", key, compute)["vectors"])
            meter(len(block))
    return join(run, f"embed/{stage}", blocks)


def embed_generations(
    run: RunDirectory,
    stage: str,
    generations: Generations,
    key: object,
    encoder: Encoder,
    show: Progress,
    turned: str = IDENTITY,
) -> Vectors:
    """Embeddings of all generations in probe order, Float32[G D].

    Args:
      key: What determined the generations.
      turned: The view that is embedded (:mod:`auditor.encoders.views`).
    """
    spec = {"generations": key, "encoder": asdict(encoder.spec), **({} if turned == IDENTITY else {"view": turned})}

    def compute() -> dict[str, Vectors]:
        with show.stage(f"embed {stage}", len(generations.probe), "image") as meter:
            vectors = []
            for pixels in generations.batches():
                pixels = np.ascontiguousarray(view(pixels, turned))
                vectors.append(checked(encoder, pixels, ["a generation"] * len(pixels)))
                meter(len(pixels))
        return {"vectors": np.concatenate(vectors)}

    return run.arrays(f"embed/{stage}", spec, compute)["vectors"]


def join(run: RunDirectory, stage: str, blocks: Sequence[Vectors]) -> Vectors:
    """The blocks as one memory-mapped array, written anew block by block."""
    if len(blocks) == 1:
        return blocks[0]
    file = run.path / stage / "all.npy"
    file.parent.mkdir(parents=True, exist_ok=True)
    shape = (sum(len(block) for block in blocks), blocks[0].shape[1])
    partial = file.with_suffix(".npy.part")
    whole = np.lib.format.open_memmap(partial, mode="w+", dtype=np.float32, shape=shape)
    row = 0
    for block in blocks:
        whole[row : row + len(block)] = block
        row += len(block)
    whole.flush()
    partial.replace(file)
    joined: Vectors = np.load(file, mmap_mode="r", allow_pickle=False)
    return joined


def checked(encoder: Encoder, pixels: NDArray[np.uint8], ids: list[str]) -> Vectors:
    """One batch through an encoder; anything but unit vectors is refused."""
    vectors = encoder(pixels)
    check_vectors(vectors, ids, encoder)
    return vectors
