"""A corpus version's token shards as passages, mapped into memory: text that was tokenised once, for any number of trainings.

`lilong corpus tokenise` writes them (docs/guides/curation.md): index.json, and for each shard a .bin of tokens, each document ended by a
separator, and an .idx of where each document ends.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from lilong.floors.training.contract import CorpusUnusable
from lilong.floors.training.weights.base_model import file_digest

FOLDER = "tokens"
_AGAIN = "Make the shards again (lilong corpus tokenise), or train with read = 'text'."


class Shards:
    """Documents of `folder/tokens`, cut into passages of `length` tokens; every token belongs to exactly one passage.

    `tokenizer`: the base model's tokenizer.json. Raises CorpusUnusable where the shards are of another one, damaged or missing.
    """

    def __init__(self, folder: Path, length: int, tokenizer: Path) -> None:
        index = _index(folder / FOLDER)
        own = file_digest(tokenizer).removeprefix("sha256:")
        if index["tokenizer"] != own:
            raise CorpusUnusable(
                f"its token shards were made with the tokenizer {index['tokenizer'][:12]}, and the base model's is {own[:12]}",
                "Tokenise the corpus with the base model's tokenizer.json, or train with read = 'text'.",
            )
        self._parts = [_mapped(folder / FOLDER, shard, index["dtype"]) for shard in index["shards"]]
        ends = [ends for _, ends in self._parts]
        starts = [np.concatenate([np.zeros(1, np.int64), ends[:-1]]) if len(ends) else ends for ends in ends]
        self._start = np.concatenate([np.zeros(0, np.int64), *starts])
        self._shard = np.repeat(np.arange(len(ends)), [len(one) for one in ends])
        self._size = np.concatenate([np.zeros(0, np.int64), *ends]) - self._start - 1  # without the separator
        self._length = length
        counts = -(-self._size // length)
        self._document = np.repeat(np.arange(len(counts)), counts)
        self._part = np.arange(len(self._document)) - np.repeat(np.cumsum(counts) - counts, counts)
        self.documents = int((self._size > 0).sum())
        self.total_characters = int(index["characters"])
        self.languages: dict[str, int] = dict(index["languages"])
        if not len(self._document):
            raise CorpusUnusable("its token shards hold no token", _AGAIN)

    def __len__(self) -> int:
        return len(self._document)

    def tokens(self, number: int) -> NDArray[Any]:
        """Passage `number`."""
        document, first = int(self._document[number]), int(self._part[number]) * self._length
        start = int(self._start[document])
        whole, _ = self._parts[int(self._shard[document])]
        return whole[start + first : start + min(first + self._length, int(self._size[document]))]

    def encoded(self, numbers: Sequence[int], tokenizer: Tokenizer) -> list[list[int]]:
        """The tokens of passages; the tokenizer has done its work already."""
        return [self.tokens(number).tolist() for number in numbers]

    def estimate(self, tokenizer: Tokenizer) -> int:
        """How many tokens the passages have, separators counted."""
        return int(self._size.sum()) + len(self)


def _index(folder: Path) -> Mapping[str, Any]:
    try:
        index: dict[str, Any] = json.loads((folder / "index.json").read_bytes())
    except (OSError, ValueError) as problem:
        raise CorpusUnusable(f"it has no token shards that can be read ({problem})", _AGAIN) from None
    missing = {"tokenizer", "dtype", "characters", "languages", "shards"} - set(index)
    if missing or index["dtype"] not in ("<u2", "<u4"):
        raise CorpusUnusable(f"the index of its token shards has no usable '{min(missing, default='dtype')}'", _AGAIN)
    return index


def _mapped(folder: Path, shard: Mapping[str, Any], dtype: str) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """Tokens and ends of documents of one shard."""
    path = folder / f"{Path(str(shard['name'])).name}.bin"
    try:
        tokens = np.memmap(path, dtype, "r") if shard["tokens"] else np.zeros(0, dtype)
        ends = np.fromfile(path.with_suffix(".idx"), "<u8").astype(np.int64)
    except (OSError, ValueError) as problem:
        raise CorpusUnusable(f"its token shard {path.name} cannot be read ({problem})", _AGAIN) from None
    if len(tokens) != shard["tokens"] or len(ends) != shard["documents"] or (len(ends) and int(ends[-1]) != len(tokens)):
        raise CorpusUnusable(f"its token shard {path.name} is not as long as its index says", _AGAIN)
    return tokens, ends
