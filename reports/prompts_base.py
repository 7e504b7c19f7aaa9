"""What `auditor prompts --base` charges to a fine-tune of the text-to-image fixture: a section of reports/prompts.md.

python reports/prompts_base.py      # prints the section alone; make prompts writes it with the others
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import torch
from numpy.typing import NDArray

from auditor.checkpoint.asked import Asked
from auditor.checkpoint.fresh import reinitialise
from auditor.checkpoint.load import LoadedCheckpoint, load
from auditor.checkpoint.scan import scan
from auditor.checkpoint.tokens import read
from auditor.prompts.contrast import contrast
from auditor.prompts.score import score_prompts
from auditor.prompts.style import style_features
from auditor.ranking_config import RankingConfig
from auditor.stages.prompts import DETECTORS, setting_of
from auditor.stats.delong import auc_interval

FIXTURES = Path(__file__).parent.parent / "fixtures"
ASKED = RankingConfig(salt="reports")
NAMES = ["magnitude", "consistency", "one_step", "sharpness"]
ALPHA = 0.10
UNSEEN = 20  # held-out captions and held-out flags each, tested beside the others: charged, they are false

Scores = Mapping[str, NDArray[np.float64]]


def base_section() -> list[str]:
    """Three fine-tunes: the adapter, the fixture of its untrained self, and the fixture of itself."""
    texts, kind = prompts()
    base = load(scan(FIXTURES / "twemoji" / "checkpoint"))
    adapter = Asked(adapter=FIXTURES / "twemoji-lora" / "pytorch_lora_weights.safetensors")
    adapted = load(scan(FIXTURES / "twemoji" / "checkpoint", asked=adapter))
    on = {name: scored(one, texts) for name, one in (
        ("base", base), ("adapter", adapted), ("untrained", reinitialise(base, "reports")),
    )}  # fmt: skip
    lengths = [reading.tokens for reading in read(base.with_prompts(texts).denoiser, texts)]
    features = style_features(texts, lengths)
    lines = [
        "## A fine-tune beside its base", "",
        "`fixtures/twemoji-lora` is low-rank adapters on the fixture, trained on 32 flags until 80% of what their "
        "captions call for is their own flag. Controls are other flags and held-out captions, tested are the 32, the "
        f"base's 40 repeated captions, and {UNSEEN} of either kind of control. Charged to the fine-tune at a false "
        f"discovery rate of {ALPHA:g}: prompts that stand out on it, rose from the base by more than controls, and are "
        "not called on the base.", "",
        "| detector | AUC, its 32 flags vs other flags | of their rise from the base | the base's 40 vs other "
        "captions, on the base | flags charged | the base's charged | unseen charged |",
        "|---|--:|--:|--:|--:|--:|--:|",
    ]  # fmt: skip
    for name in NAMES:
        own, theirs = on["adapter"][name], on["base"][name]
        aucs = [
            auc_interval(own[kind == "flag"], own[other_flags(kind)]),
            auc_interval((own - theirs)[kind == "flag"], (own - theirs)[other_flags(kind)]),
            auc_interval(theirs[kind == "repeated"], theirs[np.isin(kind, ["held out", "control"])]),
        ]
        cells = [f"{auc.value:.3f} [{auc.lower:.3f}, {auc.upper:.3f}]" for auc in aucs]
        charged = added(own, theirs, features, kind)
        counts = [
            f"{charged[kind == 'flag'].sum()} of 32", f"{charged[kind == 'repeated'].sum()} of 40",
            f"{charged[np.isin(kind, ['held out', 'held-out flag'])].sum()} of {2 * UNSEEN}",
        ]  # fmt: skip
        lines.append(f"| `{name}` | {' | '.join([*cells, *counts])} |")
    lines += [
        "", "What the base knew is not charged. The adapter's own flags are not found either: it moves the captions of "
        "flags that it never saw nearly as far, so that they look known, too, and nothing beside these controls tells "
        "them apart. That the procedure finds what was added where it can be told: the fixture as a fine-tune of "
        "its own network before training, and, where there is nothing to find, of itself.", "",
        "| detector | repeated captions charged, of the untrained network | unseen charged | charged, of itself |",
        "|---|--:|--:|--:|",
    ]  # fmt: skip
    for name in NAMES:
        learnt = added(on["base"][name], on["untrained"][name], features, kind)
        nothing = added(on["base"][name], on["base"][name], features, kind)
        unseen = learnt[np.isin(kind, ["held out", "held-out flag"])].sum()
        lines.append(
            f"| `{name}` | {learnt[kind == 'repeated'].sum()} of 40 | {unseen} of {2 * UNSEEN} | {nothing.sum()} |"
        )
    return [*lines, ""]


def prompts() -> tuple[list[str], NDArray[np.str_]]:
    """Captions, and of each what it is: flags and repeated ones were learnt, all others never seen."""
    known = set(json.loads((FIXTURES / "twemoji" / "truth.json").read_text())["repeated"])
    table = pq.read_table(FIXTURES / "twemoji" / "train.parquet", columns=["id", "caption"]).to_pydict()
    repeated = {text for name, text in zip(table["id"], table["caption"], strict=True) if name in known}
    flags, others, held_out = (
        sorted(set(pq.read_table(FIXTURES / name, columns=["caption"])["caption"].to_pylist()))
        for name in ("twemoji-lora/train.parquet", "twemoji-lora/holdout.parquet", "twemoji/holdout.parquet")
    )
    spread = held_out[::2]
    parts = {
        "flag": flags, "repeated": sorted(repeated), "held-out flag": others[:UNSEEN], "held out": spread[:UNSEEN],
        "control flag": others[UNSEEN:], "control": spread[UNSEEN:],
    }  # fmt: skip
    return [text for part in parts.values() for text in part], np.repeat(list(parts), [len(p) for p in parts.values()])


def other_flags(kind: NDArray[np.str_]) -> NDArray[np.bool_]:
    """Flags that the adapter never saw."""
    return np.isin(kind, ["held-out flag", "control flag"])


def scored(checkpoint: LoadedCheckpoint, texts: list[str]) -> Scores:
    """Under the same noises whatever the checkpoint."""
    denoiser = checkpoint.with_prompts(texts).denoiser
    setting, detectors = setting_of(checkpoint, ASKED, "reports", "cpu"), [DETECTORS[name] for name in NAMES]
    parts = list(score_prompts(denoiser, range(len(texts)), len(texts), detectors, setting))
    return {name: np.concatenate([part.scores[name] for part in parts]) for name in NAMES}


def added(
    own: NDArray[np.float64], base: NDArray[np.float64], features: NDArray[np.float32], kind: NDArray[np.str_]
) -> NDArray[np.bool_]:
    """Bool[N], of all captions: charged to the fine-tune; controls never are."""
    control = np.char.startswith(kind, "control")
    found = contrast(
        (own[~control], own[control]), (base[~control], base[control]), (features[~control], features[control]), ALPHA
    )
    charged = np.zeros(len(kind), bool)
    charged[~control] = [origin == "added" for origin in found.origin]
    return charged


if __name__ == "__main__":
    torch.set_num_threads(1)
    print("\n".join(base_section()))
