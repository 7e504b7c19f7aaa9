"""Embedding against the bare encoder: images on disk to unit vectors, beside the network's forward passes alone.

Part of ``make bench``. The network is open_clip's ViT-B/32 with random weights, which take as long as trained ones; the
images are 224-pixel JPEG cuttings of scikit-learn's two photographs.
"""

from __future__ import annotations

import time
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import open_clip
import torch
from bench_table import alternate, conditions
from PIL import Image
from sklearn.datasets import load_sample_images

from auditor.data import Geometry, open_source
from auditor.encoders.base import Encoder, EncoderSpec
from auditor.encoders.clip import ClipEncoder
from auditor.encoders.preprocess import Preprocess
from auditor.indexing.stream import BATCH, Timing, embed_stream
from auditor.probes import generator

MODEL, IMAGES, ROUNDS, SIDE = "ViT-B-32", 384, 3, 224
MEAN, STD = open_clip.OPENAI_DATASET_MEAN, open_clip.OPENAI_DATASET_STD


def measure(images: int = IMAGES) -> list[str]:
    """The section's lines."""
    with TemporaryDirectory() as name:
        folder = Path(name)
        cut_photographs(folder, images)
        model, encoder = random_clip()
        batches = [torch.zeros(BATCH, 3, SIDE, SIDE)] * (images // BATCH)

        @torch.inference_mode()
        def bare() -> None:
            for batch in batches:
                model.encode_image(batch)

        timings: list[Timing] = []
        ours, theirs = alternate(lambda: timings.append(embed_all(folder, encoder)), bare, rounds=ROUNDS)
        fast = embed_all(folder, Mean())
    share, last = theirs / ours, timings[-1]
    return [
        "## Embedding", "",
        f"{images:,} JPEG images of {SIDE} pixels. {conditions()} Medians of {ROUNDS} alternating runs.", "",
        "| encoder | images/s | bare forward, images/s | of the bare rate | waited for images | bottleneck |",
        "|---|--:|--:|--:|--:|---|",
        f"| open_clip {MODEL} | {images / ours:.1f} | {images / theirs:.1f} | {share:.1%} | {waited(last)} | "
        f"{last.bottleneck} |",
        f"| the mean colour | {images / (fast.waiting + fast.encoding):,.0f} | | | {waited(fast)} | "
        f"{fast.bottleneck} |",
    ]  # fmt: skip


def forward_seconds(batch: int = 64) -> float:
    """Seconds an image of the network's forward pass; the faster of two batches."""
    model, _ = random_clip()
    images, seconds = torch.zeros(batch, 3, SIDE, SIDE), []
    with torch.inference_mode():
        for _ in range(2):
            began = time.perf_counter()
            model.encode_image(images)
            seconds.append(time.perf_counter() - began)
    return min(seconds) / batch


def embed_all(folder: Path, encoder: Encoder) -> Timing:
    """Open a folder and embed every image in it, as an index does."""
    stream = embed_stream(open_source(folder, Geometry(3, SIDE, SIDE)), encoder)
    for _ in stream:
        pass
    return stream.timing


def waited(timing: Timing) -> str:
    """Share of the time without an image to encode."""
    return f"{timing.waiting / (timing.waiting + timing.encoding):.1%}"


def cut_photographs(folder: Path, count: int) -> None:
    """Cuttings at random places of two photographs, as JPEG files of quality 90."""
    photographs = load_sample_images().images
    draw = generator("bench", "cuttings")
    for number in range(count):
        photograph = photographs[number % len(photographs)]
        top, left = (int(draw.integers(0, length - SIDE + 1)) for length in photograph.shape[:2])
        cutting = photograph[top : top + SIDE, left : left + SIDE]
        Image.fromarray(cutting).save(folder / f"{number:05d}.jpg", quality=90)


def random_clip() -> tuple[torch.nn.Module, ClipEncoder]:
    """ViT-B/32 as open_clip makes it, untrained, and the auditor's encoder around it."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = open_clip.create_model(MODEL).eval()
    preprocess = Preprocess(SIDE, SIDE, MEAN, STD, "bicubic", "shortest", 0)
    return model, ClipEncoder(model, preprocess, EncoderSpec("clip", "random weights", 512), "cpu", MODEL)


class Mean:
    """An encoder that costs next to nothing, so that decoding is all there is to see."""

    spec = EncoderSpec("mean", "colour", 3)

    def __call__(self, pixels: np.ndarray) -> np.ndarray:
        colours = pixels.mean(axis=(2, 3), dtype=np.float64) + 1
        return (colours / np.linalg.norm(colours, axis=1, keepdims=True)).astype(np.float32)
