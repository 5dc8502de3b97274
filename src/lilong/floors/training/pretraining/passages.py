"""A corpus version's training text, cut into passages and shuffled by a seed; and the endless, resumable stream of tokens they make."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray
from tokenizers import Tokenizer

from lilong.floors.training.contract import CorpusUnusable
from lilong.floors.training.pretraining.recipe import Recipe

_BOUNDARY = 200  # characters that a cut may move to meet white space
_AT_ONCE = 16  # passages encoded in one call
_COLUMNS = ("text", "language")


class Source(Protocol):
    """A corpus as passages: its text (Passages), or its token shards (shards.Shards)."""

    documents: int
    total_characters: int
    languages: dict[str, int]

    def __len__(self) -> int: ...
    def encoded(self, numbers: Sequence[int], tokenizer: Tokenizer) -> list[list[int]]: ...
    def estimate(self, tokenizer: Tokenizer) -> int: ...


class Passages:
    """All text of `folder/data/train-*.parquet` (columns text, id, language, source), held in Arrow memory.

    Every character of every document belongs to exactly one passage.
    """

    def __init__(self, folder: Path, characters: int) -> None:
        files = sorted((folder / "data").glob("train-*.parquet"))
        if not files:
            raise CorpusUnusable("it has no data/train-*.parquet", "Give a published corpus version.")
        try:
            tables = [pq.read_table(file, columns=list(_COLUMNS)) for file in files]
            table = pa.concat_tables(tables, promote_options="default")
            text = table["text"].combine_chunks().cast(pa.large_string())
        except (pa.ArrowInvalid, pa.ArrowTypeError, KeyError, OSError) as problem:
            raise CorpusUnusable(f"its Parquet files cannot be read ({problem})", "Publish the corpus version again.") from problem
        if isinstance(text, pa.ChunkedArray):  # only when there is no row at all
            text = pa.array([], pa.large_string())
        lengths = pc.utf8_length(text).fill_null(0).to_numpy(zero_copy_only=False).astype(np.int64)
        self._text = text
        self._characters = characters
        self.documents = int((lengths > 0).sum())
        self.total_characters = int(lengths.sum())
        counts = -(-lengths // characters)
        self._document = np.repeat(np.arange(len(lengths)), counts)
        self._part = np.arange(len(self._document)) - np.repeat(np.cumsum(counts) - counts, counts)
        languages = pc.value_counts(table["language"].combine_chunks())
        self.languages: dict[str, int] = {str(item["values"].as_py()): item["counts"].as_py() for item in languages}
        if not len(self._document):
            raise CorpusUnusable("it holds no text", "Loosen the filters of its recipe, or give more sources.")

    def __len__(self) -> int:
        return len(self._document)

    def text(self, number: int) -> str:
        """Passage `number`; cuts fall after white space where there is some within 200 characters."""
        whole: str = self._text[int(self._document[number])].as_py()
        part = int(self._part[number])
        return whole[self._cut(whole, part) : self._cut(whole, part + 1)]

    def encoded(self, numbers: Sequence[int], tokenizer: Tokenizer) -> list[list[int]]:
        """The tokens of passages, without a separator."""
        return encode(tokenizer, [self.text(number) for number in numbers])

    def estimate(self, tokenizer: Tokenizer) -> int:
        """About how many tokens the passages have, separators counted: from evenly spaced ones (all of them when there are few)."""
        numbers = np.unique(np.linspace(0, len(self) - 1, min(len(self), 64)).astype(int))
        texts = [self.text(int(number)) for number in numbers]
        tokens = sum(len(ids) + 1 for ids in encode(tokenizer, texts))
        return tokens * self.total_characters // max(1, sum(map(len, texts)))

    def _cut(self, whole: str, part: int) -> int:
        at = part * self._characters
        if part == 0 or at >= len(whole):
            return min(at, len(whole))
        for place in range(at, min(at + min(_BOUNDARY, self._characters // 2), len(whole))):
            if whole[place - 1].isspace():
                return place
        return at


@dataclass(frozen=True, slots=True)
class Place:
    """A place in the stream: the first token not yet used is number `token` of passage `passage` in the order of `epoch`."""

    epoch: int = 0
    passage: int = 0
    token: int = 0

    def as_json(self) -> dict[str, int]:
        return asdict(self)


class TokenStream:
    """Passages in an order drawn anew for every epoch from (seed, epoch), joined by a separator token, without end."""

    def __init__(self, passages: Source, tokenizer: Tokenizer, separator: int, seed: int, start: Place = Place()) -> None:
        self._passages = passages
        self._tokenizer = tokenizer
        self._tokenizer.encode_special_tokens = True  # '<|im_end|>' in a document is text, not a command
        self._separator = separator
        self._seed = seed
        self._queue: deque[tuple[Place, list[int]]] = deque()
        self._next = Place(start.epoch, start.passage)
        self._skip = start.token
        self._order = self._draw(start.epoch)

    @property
    def place(self) -> Place:
        return self._queue[0][0] if self._queue else Place(self._next.epoch, self._next.passage, self._skip)

    def take(self, count: int) -> NDArray[np.int64]:
        """The next `count` tokens and, after them, one more that stays in the stream: int64 (count + 1,)."""
        taken: list[int] = []
        while len(taken) < count:
            if not self._queue:
                self._fill()
            place, tokens = self._queue.popleft()
            wanted = count - len(taken)
            taken += tokens[:wanted]
            if len(tokens) > wanted:
                self._queue.appendleft((Place(place.epoch, place.passage, place.token + wanted), tokens[wanted:]))
        if not self._queue:
            self._fill()
        return np.array([*taken, self._queue[0][1][0]], np.int64)

    def _fill(self) -> None:
        if self._next.passage >= len(self._order):
            self._next = Place(self._next.epoch + 1)
            self._order = self._draw(self._next.epoch)
        numbers = self._order[self._next.passage : self._next.passage + _AT_ONCE]
        for offset, tokens in enumerate(self._passages.encoded(numbers.tolist(), self._tokenizer)):
            tokens.append(self._separator)
            skip, self._skip = self._skip, 0
            self._queue.append((Place(self._next.epoch, self._next.passage + offset, skip), tokens[skip:]))
        self._next = Place(self._next.epoch, self._next.passage + len(numbers))

    def _draw(self, epoch: int) -> NDArray[np.int64]:
        return np.random.default_rng([self._seed, epoch]).permutation(len(self._passages))


def encode(tokenizer: Tokenizer, texts: Sequence[str]) -> list[list[int]]:
    return [encoding.ids for encoding in tokenizer.encode_batch_fast(list(texts), add_special_tokens=False)]


def separator_token(tokenizer: Tokenizer, settings: dict[str, Any]) -> int:
    """The token that stands between documents: `<|endoftext|>` where there is one, else the end-of-sequence token."""
    for token in ("<|endoftext|>", settings.get("eos_token")):
        number = tokenizer.token_to_id(token) if isinstance(token, str) else None
        if number is not None:
            return number
    raise CorpusUnusable("the base model's tokenizer has no end-of-text token", "Use a base model whose tokenizer names an `eos_token`.")


def check_enough(passages: Source, tokenizer: Tokenizer, recipe: Recipe) -> int:
    """The corpus's tokens, or an estimate. Raises CorpusUnusable when the recipe would read the corpus more than `largest_epochs` times."""
    estimate = passages.estimate(tokenizer)
    wanted = recipe.steps * recipe.tokens_per_step
    if wanted > recipe.largest_epochs * estimate:
        most = recipe.largest_epochs * estimate // recipe.tokens_per_step
        raise CorpusUnusable(
            f"it holds about {estimate:,} tokens and the recipe wants {wanted:,}, more than {recipe.largest_epochs} times all of it",
            f"Give a larger corpus, or at most {most} steps." if most else "Give a larger corpus, or fewer tokens a step.",
        )
    return estimate
