"""A handful of prompts beside controls that are written otherwise: nothing is called, since nothing compares."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import auditor
from auditor.checkpoint.load import LoadedCheckpoint
from auditor.prompts.style import style_distances, style_features
from auditor.ranking_config import RankingConfig
from auditor.report.prompts import prompts_sentence
from auditor.stages.prompt_comparison import few_apart
from auditor.stages.prompts import list_prompts
from auditor.store.prompts import PromptRanking
from tests.prompts.conftest import Captions, bind


def rank(fixtures: Path, out: Path, prompts: list[str], controls: list[str]) -> PromptRanking:
    asked = RankingConfig(detectors=["magnitude"], noises=2, salt="tests")
    return auditor.rank_prompts(fixtures / "twemoji" / "checkpoint", prompts, out, controls=controls, asked=asked)


def in_german(captions: list[str]) -> list[str]:
    return [f"ein bild: {text}" for text in captions]


@pytest.mark.parametrize("few", [5, 15])
def test_prompts_never_seen_are_not_called_beside_controls_of_another_style(
    fixtures: Path, captions: Captions, tmp_path: Path, few: int
) -> None:
    """Both lists are held-out captions, one as they are and one as nobody trained on: no prompt is memorised."""
    ranking = rank(fixtures, tmp_path / "run", captions.held_out[:few], in_german(captions.held_out[20:80]))
    assert ranking.called == 0 and ranking.comparison.status == "too different"
    assert ranking.comparison.style_p is not None and ranking.comparison.style_p <= 0.01
    assert "nothing is called" in ranking.notes[0] and "called memorised" not in prompts_sentence(ranking)


def test_a_few_repeated_captions_are_still_called_beside_their_like(
    fixtures: Path, captions: Captions, tmp_path: Path
) -> None:
    ranking = rank(fixtures, tmp_path / "run", captions.repeated[:5], captions.held_out[20:120])
    assert ranking.called >= 4 and ranking.comparison.status == "not tested"
    assert any("So few prompts cannot show" in note for note in ranking.notes)


def test_captions_of_one_origin_are_seldom_held_to_be_different(twemoji: LoadedCheckpoint, captions: Captions) -> None:
    listed = list_prompts(bind(twemoji, captions.held_out).denoiser, captions.held_out)
    features = style_features([one.prompt for one in listed], [one.tokens for one in listed])
    draw = np.random.default_rng(4)
    withheld = 0
    for deal in range(60):
        rows = draw.permutation(len(features))
        withheld += few_apart(features[rows[:6]], features[rows[6:106]], f"deal {deal}") <= 0.01
    assert withheld <= 4  # 0.6 expected; five or more in one of two thousand


def test_distances_give_counts_trigrams_and_words_the_same_say() -> None:
    features = style_features(["red apple", "dog face", "A dog, 1!"], [2, 2, 5])
    found = style_distances(features)
    assert np.allclose(found, found.T) and np.allclose(np.diag(found), 0, atol=1e-6)
    assert found.mean() == pytest.approx(3)  # of each block 1
    assert style_distances(np.repeat(features[:1], 3, axis=0)).max() < 1e-6
