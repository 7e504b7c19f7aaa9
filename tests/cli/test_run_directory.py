"""Where results go by default: the same for the same command, apart for what may be audited side by side."""

from __future__ import annotations

from pathlib import Path

import pytest

from auditor.cli.options import default_run_directory


@pytest.mark.parametrize(
    ("target", "adapter", "name"),
    [
        ("models/sd", None, "sd"),
        ("fixtures/twemoji/checkpoint", None, "twemoji"),
        ("fixtures/twemoji/audit.toml", None, "twemoji"),
        ("models/sd", "loras/ghibli.safetensors", "ghibli"),
        ("models/sd", "loras/ghibli/pytorch_lora_weights.safetensors", "ghibli"),
        ("mine.toml", "loras/ghibli.safetensors", "mine"),
    ],
)
def test_results_of_a_checkpoint_and_of_adapters_on_it_lie_apart(target: str, adapter: str | None, name: str) -> None:
    assert default_run_directory(Path(target), adapter=adapter and Path(adapter)) == Path("runs") / name
