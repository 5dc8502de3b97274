"""The memo of chunks: what spaCy's English tokenizer makes of each run of characters between blanks, learnt once.

On disk a vocabulary is an Arrow IPC file: one column of uint64, the memo's arena (see `lookup.py`) with its entries in the order of their
bytes. The same set of chunks gives the same file, however and wherever it was gathered.
"""

from __future__ import annotations

import hashlib
import os
from importlib.resources import as_file, files
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from lilong.floors.corpus.curation.texts import Texts
from lilong.floors.corpus.curation.words.tokens import Tokens
from lilong.ground.errors import BadInput, Corrupt

if TYPE_CHECKING:
    import pyarrow as pa

LIMIT = 1 << 20
"""Chunks that a vocabulary learns at most by default (about 70 MB in memory). What comes later is split each time that it comes."""

Words = npt.NDArray[np.uint64]


class OtherRules(BadInput):
    """The vocabulary {path} was made under other rules of tokenisation ({found}; here {here}). Make it again from its texts."""


class Vocabulary:
    """Chunks and their tokens. `tokens` adds what it has not seen; what it answers does not depend on what is in here.

    Use one per worker: it grows in place, and is not to be shared between threads.
    """

    def __init__(self, limit: int = LIMIT) -> None:
        self.limit = limit
        self.misses = 0
        """Chunks that had to be split, since this object was made."""
        self.chunks = 0
        """Chunks seen, since this object was made."""
        self._slots: Words = np.zeros(1 << 12, np.uint64)
        self._arena: Words = np.zeros(1 << 13, np.uint64)
        self._used = 1  # place 0 would read as an empty slot
        self._entries = 0

    @classmethod
    def shipped(cls, language: str = "en", limit: int = LIMIT) -> Vocabulary:
        """The vocabulary that comes with this package. Raises BadInput for a language that has none."""
        if language != "en":
            raise BadInput(
                field="language", problem=f"there is no vocabulary of '{language}' in this package", way_out="Use 'en', or Vocabulary()."
            )
        with as_file(files(__package__).joinpath("english.arrow")) as path:
            return cls.open(path, limit)

    @classmethod
    def open(cls, path: str | Path, limit: int = LIMIT) -> Vocabulary:
        """A vocabulary from its file. Raises OtherRules, or Corrupt where the file's digest is not that of its content."""
        import pyarrow as pa

        from lilong.floors.corpus.curation.words import rules

        try:
            with pa.memory_map(str(path)) as source, pa.ipc.open_file(source) as file:
                table = file.read_all()
                found = {key.decode(): value.decode() for key, value in (table.schema.metadata or {}).items()}
                arena = table.column("arena").combine_chunks().to_numpy(zero_copy_only=True) if table.num_rows else np.zeros(1, np.uint64)
        except (pa.ArrowInvalid, KeyError, OSError) as error:
            if isinstance(error, FileNotFoundError):
                raise
            raise Corrupt(place=str(path), problem="it is no vocabulary") from error
        if found.get("rules") != rules.digest():
            raise OtherRules(path=str(path), found=found.get("rules", "none")[:12], here=rules.digest()[:12])
        if arena.dtype != np.uint64 or found.get("digest") != _digest(arena):
            raise Corrupt(place=str(path), problem="its content is not that of its digest")
        made = cls(limit)
        made._arena, made._used = np.array(arena), len(arena)
        made._entries = len(_entries(arena, len(arena))[0])
        made._make_slots(made._entries)
        return made

    def save(self, path: str | Path) -> str:
        """Write the vocabulary; answers the SHA-256 of its content, which says the same for the same chunks under the same rules."""
        import pyarrow as pa
        import pyarrow.compute as pc

        from lilong.floors.corpus.curation.words import entries, rules

        found, offsets = _entries(self._arena, self._used)
        order = np.asarray(pc.sort_indices(self._column(found, offsets)).to_numpy(), np.int64)
        arena = np.zeros(self._used, np.uint64)
        entries.copied(self._arena, found[order], arena, 1)
        digest = _digest(arena)
        schema = pa.schema([("arena", pa.uint64())], {"rules": rules.digest(), "digest": digest, "made for": rules.source()})
        part = Path(f"{path}.{os.getpid()}.part")
        with pa.OSFile(str(part), "wb") as sink, pa.ipc.new_file(sink, schema) as file:
            file.write_batch(pa.record_batch([pa.array(arena)], schema))
        os.replace(part, path)
        return digest

    def merged(self, other: Vocabulary) -> Vocabulary:
        """The chunks of both, in a vocabulary of its own. Saved, it is the same file for either order."""
        made = Vocabulary(max(self.limit, other.limit, self._entries + other._entries))
        for one in (self, other):
            made._add(one._arena[: one._used])
        return made

    def words(self) -> pa.Array:
        """The chunks in here, in no particular order: Arrow large_binary."""
        return self._column(*_entries(self._arena, self._used))

    @property
    def entries(self) -> int:
        """Chunks in here."""
        return self._entries

    @property
    def nbytes(self) -> int:
        """Memory that the memo takes."""
        return int(self._slots.nbytes + self._arena.nbytes)

    def tokens(self, texts: Texts) -> Tokens:
        """The words of the texts, as datatrove 0.10.1 splits English.

        One known difference: spaCy cannot hold the word IS_ALPHA, its own name for something; what datatrove makes of a text with that
        word depends on the texts before it. Here it is a word like any other.
        """
        from lilong.floors.corpus.curation.words import lookup, rules

        longest = int(np.diff(texts.offsets).max(initial=0)) + 16
        scratch, fresh = np.zeros((6, longest), np.int32), np.empty(2 * longest, np.uint64)
        bounds = np.zeros(len(texts) + 1, np.int64)
        columns: list[Any] = [np.empty(texts.bytes // 5 + 256, kind) for kind in (np.int64, np.int32, np.int32, np.uint64, np.uint8)]
        state = np.zeros(lookup.STATE, np.int64)
        state[lookup.AT] = texts.offsets[0]
        while True:
            state[lookup.ENTRIES], state[lookup.USED], state[lookup.ROOM] = self._entries, self._used, self.limit - self._entries
            arguments = (self._slots, self._arena, scratch, fresh, *columns, bounds, state)
            lookup.run(texts.data, texts.offsets, rules.load(), *arguments)
            self._entries, self._used = int(state[lookup.ENTRIES]), int(state[lookup.USED])
            if state[lookup.REASON] == lookup.DONE:
                break
            if state[lookup.REASON] == lookup.OUT_FULL:
                more = max(int(state[lookup.NEEDED]), 2 * len(columns[0])) - len(columns[0])
                columns = [np.concatenate([column, np.empty(more, column.dtype)]) for column in columns]
            else:
                self._make_room(self._entries + 1, self._used + 4 * lookup.LONGEST_CHUNK)
        self.misses += int(state[lookup.MISSES])
        self.chunks += int(state[lookup.CHUNKS])
        return Tokens(bounds, *(column[: int(state[lookup.FOUND])] for column in columns))

    def _make_room(self, entries: int, words: int) -> None:
        if words > len(self._arena):
            arena = np.zeros(max(words, 2 * len(self._arena)), np.uint64)
            arena[: self._used] = self._arena[: self._used]
            self._arena = arena
        if 2 * entries > len(self._slots):
            self._make_slots(entries)

    def _make_slots(self, entries: int) -> None:
        from lilong.floors.corpus.curation.words import entries as kernels

        self._slots = np.zeros(1 << (2 * entries).bit_length(), np.uint64)
        kernels.index(self._slots, self._arena, _entries(self._arena, self._used)[0])

    def _add(self, arena: Words) -> None:
        """Take over the entries of another arena that are not in here."""
        from lilong.floors.corpus.curation.words import entries

        found, _ = _entries(arena, len(arena))
        self._make_room(self._entries + len(found), self._used + len(arena))
        new = found[: entries.unknown(self._slots, self._arena, arena, found)]
        self._used = entries.copied(arena, new, self._arena, self._used)  # `new` now tells where they lie here
        entries.index(self._slots, self._arena, new)
        self._entries += len(new)

    def _column(self, found: npt.NDArray[np.int64], offsets: npt.NDArray[np.int64]) -> pa.Array:
        import pyarrow as pa

        from lilong.floors.corpus.curation.words import entries

        data = np.empty(int(offsets[-1]), np.uint8)
        entries.chunks(self._arena, found, offsets, data)
        return pa.Array.from_buffers(pa.large_binary(), len(found), [None, pa.py_buffer(offsets), pa.py_buffer(data)])


def _entries(arena: Words, used: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    from lilong.floors.corpus.curation.words import entries

    found, offsets = np.empty(used // 4 + 1, np.int64), np.zeros(used // 4 + 2, np.int64)
    count = entries.places(arena, used, found, offsets)
    if count < 0:
        raise Corrupt(place="a vocabulary", problem="its content does not part into entries")
    return found[:count], offsets[: count + 1]


def _digest(arena: Any) -> str:
    from lilong.floors.corpus.curation.words import rules

    digest = hashlib.sha256(rules.digest().encode())
    digest.update(arena)
    return digest.hexdigest()
