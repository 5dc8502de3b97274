from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tests.training.tiny import SENTENCES

from lilong.floors.evaluation.scoring.batches import grouped
from lilong.floors.evaluation.scoring.bits_per_byte import TextScore, excerpt, text_batches, windows
from lilong.floors.evaluation.scoring.language_model import LanguageModel


def scores(model: object, texts: Sequence[str], most_tokens: int = 256) -> list[TextScore]:
    found: dict[int, TextScore] = {}
    for batch, score in text_batches(model, texts, most_tokens):  # type: ignore[arg-type]
        found.update(zip(batch, score(), strict=True))
    return [found[index] for index in range(len(texts))]


@given(text=st.text(), most=st.integers(0, 40))
def test_an_excerpt_is_the_longest_beginning_that_fits(text: str, most: int) -> None:
    cut = excerpt(text, most)
    assert text.startswith(cut)
    assert len(cut.encode()) <= most
    assert cut == text or len(text[: len(cut) + 1].encode()) > most


@given(count=st.integers(0, 50), width=st.integers(1, 12))
def test_windows_cover_every_token_once_and_look_at_the_one_before(count: int, width: int) -> None:
    tokens = list(range(1, count + 1))
    pairs = windows(tokens, 0, width)
    assert [token for _, target in pairs for token in target] == tokens
    assert all(condition == [target[0] - 1] for condition, target in pairs)


@given(lengths=st.lists(st.integers(1, 80), max_size=30), most=st.integers(1, 200))
def test_batches_hold_everything_once_and_not_too_much(lengths: list[int], most: int) -> None:
    batches = list(grouped(lengths, most))
    assert sorted(index for batch in batches for index in batch) == list(range(len(lengths)))
    assert all(len(batch) == 1 or len(batch) * max(lengths[index] for index in batch) <= most for batch in batches)


def test_nats_are_the_loss_of_the_model_over_every_token(model: LanguageModel) -> None:
    text = SENTENCES[1]
    ids = torch.tensor([[model.first_token, *model.encode(text)]])
    with torch.inference_mode():
        loss = model.model(input_ids=ids, labels=ids).loss
    score = scores(model, [text])[0]
    assert score.nats == pytest.approx(float(loss) * (ids.shape[1] - 1), rel=1e-5)
    assert (score.tokens, score.bytes) == (ids.shape[1] - 1, len(text.encode()))


def test_batching_changes_nothing_that_matters(model: LanguageModel) -> None:
    together = scores(model, SENTENCES, most_tokens=2000)
    alone = [scores(model, [text])[0] for text in SENTENCES]
    assert [score.nats for score in together] == pytest.approx([score.nats for score in alone], rel=1e-5)


def test_a_text_longer_than_the_window_is_scored_to_its_end(model: LanguageModel) -> None:
    text = " ".join(SENTENCES * 6)
    score = scores(model, [text, SENTENCES[0]])[0]
    assert score.tokens == len(model.encode(text)) > 2 * model.window
    assert score.bytes == len(text.encode())


@dataclass
class EvenModel:
    """Gives each of 256 byte tokens the same probability: exactly 8 bits a byte."""

    window: int = 7
    first_token: int = 0
    calls: list[int] = field(default_factory=list)

    def encode(self, text: str) -> list[int]:
        return list(text.encode())

    def token_log_probabilities(self, conditions: Sequence[Sequence[int]], targets: Sequence[Sequence[int]]) -> list[list[float]]:
        self.calls.append(len(targets))
        return [[-math.log(256)] * len(target) for target in targets]


@given(texts=st.lists(st.text(min_size=1, max_size=40), min_size=1, max_size=6))
def test_a_model_that_knows_nothing_of_bytes_needs_eight_bits_for_each(texts: list[str]) -> None:
    assert [score.bits_per_byte for score in scores(EvenModel(), texts, 20)] == pytest.approx([8.0] * len(texts))
