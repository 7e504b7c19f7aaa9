"""Every family's generation beside the bare calls of its network, and beside diffusers' own pipeline.

Part of ``make bench``. Ours is what an audit does of one part: noise, embeddings of prompts, guidance, sampling,
decoding, pixels. Bare are the same calls of the same network once more, on inputs kept from ours: embeddings are made
and guidance is batched already. diffusers' pipeline embeds, guides and decodes too, from the same latents.
"""

from __future__ import annotations

import statistics
import sys
import time
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import diffusers
import transformers
from bench_pipelines import CASES, Case
from bench_sides import BATCH, STEPS, Ours, Theirs, again, apart
from bench_table import ROUNDS, alternate, conditions

NOTE = """\
Calls are of the denoising network: steps times batches are needed, a guided one on twice the batch; FLUX.1 dev is told
its guidance. *Over bare calls*: of that network alone, on inputs kept from ours; the embedding of the prompts and the
decoding of the images count as ours. *Over all networks'*: the bare calls of text encoders and decoder are added to the
yardstick. diffusers' pipelines embed, guide and decode too. Beside other work, ratios move by up to 0.1 from run to
run; *outside them*, the share of a part's time in none of its networks, is taken within a run and does not.

*Apart*: largest difference from their images from the same latents, in standard deviations of the latents and in levels
of 255; of the UNet of classes, which they have no pipeline for, from a loop over their scheduler. score-SDE's pipeline
draws noise at every step. LDM decodes the nearest of its codes: a latent between two may fall to either."""


class Outside:
    """A part that keeps what share of its time is spent in none of its networks, both taken from the same run."""

    def __init__(self, ours: Ours) -> None:
        self.ours, self.inside = ours, 0.0
        self.shares: list[float] = []
        for network in ours.networks():
            network.register_forward_pre_hook(self.enter)
            network.register_forward_hook(self.leave)

    def enter(self, *_: object) -> None:
        self.inside -= time.perf_counter()

    def leave(self, *_: object) -> None:
        self.inside += time.perf_counter()

    def __call__(self) -> None:
        self.inside, began = 0.0, time.perf_counter()
        self.ours.part()
        self.shares.append(1 - self.inside / (time.perf_counter() - began))


def row(name: str, case: Case, folder: Path) -> str:
    """One line of the table."""
    path = case.save(folder / "checkpoint")
    ours = Ours(case, path)
    theirs = None if case.beside == "nothing" else Theirs(case, path, ours)
    (calls, encoding), final = ours.calls(), ours.latents()

    def beside() -> None:
        again(encoding)
        ours.codec.to_pixels(final)

    part = Outside(ours)
    made, alone, others, *own = alternate(part, partial(again, calls), beside, *([theirs.images] if theirs else []))
    cells = [
        name,
        "told" if case.told else "yes" if case.guidance else "no",
        f"{STEPS} / {len(calls)}",
        f"{1000 * alone / len(calls):.0f}",
        f"{made / alone:.3f}",
        f"{made / (alone + others):.3f}",
        f"{statistics.median(part.shares[1:]):.1%}",
        f"{made / own[0]:.2f}" if own else "",
        *(apart(ours, theirs) if theirs else ("", "")),
    ]
    return f"| {' | '.join(cells)} |"


def measure() -> list[str]:
    """The section's lines."""
    diffusers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    rows = []
    for name, case in CASES.items():
        with TemporaryDirectory() as folder:
            rows.append(row(name, case, Path(folder)))
            print(rows[-1], file=sys.stderr, flush=True)
    return [
        "## Families", "",
        f"One part of an audit, {BATCH} images in {STEPS} steps, from noise to pixels, of networks of random weights. "
        f"{conditions()} Medians of {ROUNDS} alternating runs.", "",
        "| family | guided | calls needed / made | ms a call | over bare calls | over all networks' | outside them | "
        "over diffusers' pipeline | latents apart | pixels apart |",
        "|---|---|--:|--:|--:|--:|--:|--:|--:|--:|",
        *rows, "", NOTE,
    ]  # fmt: skip
