"""Bits per byte of held-out text: how many bits a model needs for one UTF-8 byte, whatever its tokenizer.

A document is cut to its first `most_bytes` bytes at a character, before any tokenizer sees it, so that two models are scored on the
same bytes and the protocol can hold the digest of exactly these. Every token of the excerpt is scored; the first one is conditioned
on the model's begin token (its end token where it has none), which is not scored itself. An excerpt longer than the model's window
is scored in disjoint windows, each conditioned on the last token before it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Protocol

from lilong.floors.evaluation.scoring.batches import grouped

WIDEST_WINDOW = 1024


@dataclass(frozen=True, slots=True)
class TextScore:
    """`nats`: negative log-likelihood of the whole excerpt."""

    nats: float
    tokens: int
    bytes: int

    @property
    def bits_per_byte(self) -> float:
        return self.nats / math.log(2) / self.bytes


class Scorer(Protocol):
    """What this needs of a model (LanguageModel is one)."""

    window: int
    first_token: int

    def encode(self, text: str) -> list[int]: ...
    def token_log_probabilities(self, conditions: Sequence[Sequence[int]], targets: Sequence[Sequence[int]]) -> list[list[float]]: ...


def excerpt(text: str, most_bytes: int) -> str:
    """The longest beginning of `text` that has at most `most_bytes` UTF-8 bytes."""
    return text.encode()[:most_bytes].decode(errors="ignore")


def windows(tokens: Sequence[int], first: int, width: int) -> list[tuple[list[int], list[int]]]:
    """Disjoint (condition, target) pairs that cover all tokens; a condition is the one token before its target."""
    before = [first, *tokens]
    return [(before[start : start + 1], list(tokens[start : start + width])) for start in range(0, len(tokens), width)]


def text_batches(model: Scorer, texts: Sequence[str], most_tokens: int = 1024) -> Iterator[tuple[list[int], Callable[[], list[TextScore]]]]:
    """Texts (none empty) in batches of at most `most_tokens` padded tokens: their indices, and what scores them when called."""
    encoded = [model.encode(text) for text in texts]
    width = min(model.window, WIDEST_WINDOW)
    for batch in grouped([min(len(tokens), width) for tokens in encoded], most_tokens):
        yield batch, partial(_score, model, [texts[index] for index in batch], [encoded[index] for index in batch])


def _score(model: Scorer, texts: Sequence[str], encoded: Sequence[Sequence[int]]) -> list[TextScore]:
    pairs = [
        (index, pair)
        for index, tokens in enumerate(encoded)
        for pair in windows(tokens, model.first_token, min(model.window, WIDEST_WINDOW))
    ]
    nats = [0.0] * len(texts)
    for start in range(0, len(pairs), len(texts)):
        part = pairs[start : start + len(texts)]
        found = model.token_log_probabilities([pair[0] for _, pair in part], [pair[1] for _, pair in part])
        for (index, _), logs in zip(part, found, strict=True):
            nats[index] -= math.fsum(logs)
    return [TextScore(each, len(tokens), len(text.encode())) for each, tokens, text in zip(nats, encoded, texts, strict=True)]
