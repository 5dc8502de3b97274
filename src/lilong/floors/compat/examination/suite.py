"""The suite of one examination: which texts, which prompts, by a seed, content-addressed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from typing import Any

from lilong.floors.compat.contract import Recipe, TooLittleText

VERSION = 1

SPLITS: tuple[str, ...] = (
    "in 12345 years, 3.14 and 1,000,000",
    "Hello  world\n\n  indented\r\nline\ttab",
    "你好,世界。上海的里弄",
    "é ñ ü ﬁ ß İ Å Å",
    "👩‍💻 🏳️‍🌈 😀",
    "def f(x):\n    return x**2  # it's",
    "½ ² Ⅷ ١٢٣ ४५",
    "non\u00a0breaking\u3000and\u200bzero",
    "I'll don't we've CAN'T",
    "   leading and trailing   ",
)
"""Strings that tokenizers are known to split differently."""


@dataclass(frozen=True, slots=True)
class Excerpt:
    """`tokens` are the reference tokenizer's ids of the first part of `text`."""

    source: str  # sha256 of the whole document
    text: str
    tokens: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Suite:
    texts: tuple[Excerpt, ...]
    prompts: tuple[Excerpt, ...]
    greedy_tokens: int
    seed: int

    @property
    def positions(self) -> int:
        return sum(len(text.tokens) for text in self.texts)

    def describe(self) -> dict[str, Any]:
        return {"version": VERSION, "splits": list(SPLITS), **asdict(self)}

    def digest(self) -> str:
        """The suite's identity: every token of every text, the prompts, the tokenization strings."""
        return f"sha256:{hashlib.sha256(canonical(self.describe())).hexdigest()}"


def canonical(value: Any) -> bytes:
    """JSON with sorted keys, no spaces, UTF-8: the bytes that digests are taken of."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()


PROMPT_TOKENS = 24
_TURNS = 6  # excerpts of one document, at the most


def choose(documents: Iterable[str], encode: Callable[[str], list[int]], ask: Recipe) -> Suite:
    """Choose excerpts by the seed's hash of each document, so that the order of the files does not matter.

    An excerpt starts at a place in its document that the same hash gives (page headers are all alike). A document gives a further
    excerpt, from another place, only where there are too few documents. Raises TooLittleText.
    """
    held = set(documents)
    order = [
        pair
        for turn in range(_TURNS)
        for pair in sorted((hashlib.sha256(f"{ask.seed}{f'.{turn}' if turn else ''}\n{text}".encode()).hexdigest(), text) for text in held)
    ]
    length = min(ask.length, ask.positions // 2)  # an interval over texts needs two of them
    wanted = -(-ask.positions // length)
    texts: list[Excerpt] = []
    prompts: list[Excerpt] = []
    for key, text in order:
        if len(texts) == wanted and len(prompts) == ask.prompts:
            break
        need = length if len(texts) < wanted else PROMPT_TOKENS
        excerpt = _excerpt(text, int(key, 16), need, encode)
        if excerpt is not None:
            (texts if len(texts) < wanted else prompts).append(excerpt)
    if len(texts) < wanted or len(prompts) < ask.prompts:
        raise TooLittleText(
            field="positions", found=len(texts) + len(prompts), length=length, wanted=wanted + ask.prompts
        )
    return Suite(tuple(texts), tuple(prompts), ask.greedy_tokens, ask.seed)


def _excerpt(text: str, number: int, need: int, encode: Callable[[str], list[int]]) -> Excerpt | None:
    """`need` tokens from a word boundary in the first half of `text`; None if there are not so many."""
    start = number % max(1, len(text) // 2)
    space = text.find(" ", start)
    part = text[space if space >= 0 else start :][: need * 12]
    tokens = encode(part)
    if len(tokens) < need:
        return None
    return Excerpt(hashlib.sha256(text.encode()).hexdigest(), part, tuple(tokens[:need]))
