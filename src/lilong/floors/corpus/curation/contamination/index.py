"""Is this text in what you trained on? An index of a published version that answers in milliseconds.

The index holds fingerprints: hashes of 50 letters and digits in a row, a Han, kana or Hangul character counting as four (so 13 of them), of
which winnowing (Schleimer, Wilkerson and Aiken 2003) keeps the least in each 16 neighbours. So every fingerprint found is a passage of that
length in the version, and every passage of 65 letters (28 Han characters) that a text shares with the version is found; shorter ones often
are. A fingerprint of the whole text answers for texts that are too short.

Files: `index.json` (what it is of, and the names of the rest), and `<sha256>.npy` with the sorted fingerprints, the number of each one's
document, and the documents' names. They are mapped into memory, never read whole, and never change. The same documents give the same bytes in
whatever order they come.
"""

from __future__ import annotations

import hashlib
import json
import os
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from numba import types

from lilong.floors.corpus.curation.characters import BYTES, OFFSETS, array, decode, folding, mix
from lilong.floors.corpus.curation.compiling import compiled
from lilong.floors.corpus.curation.contamination.reduction import U32, own_word, reduce
from lilong.ground.errors import BadInput, Corrupt

if TYPE_CHECKING:
    from lilong.floors.corpus.curation.texts import Texts

FORMAT = "lilong-membership-1"
LETTERS, NEIGHBOURS, OWN_WEIGHT = 50, 16, 4
MOST_DOCUMENTS = 16
"""Documents kept for one fingerprint, the first by name: boilerplate stands in thousands."""
_PARTS = 64


class NoIndex(BadInput):
    """There is no membership index in {folder}: {problem}. Make one of the version's documents, or name the folder that holds index.json."""


class BadIndex(Corrupt):
    """{place} does not hold the membership index that was written there: {problem}."""


@dataclass(frozen=True, slots=True)
class Passage:
    """Bytes of the question that stand in a document of the version."""

    start: int
    end: int
    document: str


@dataclass(frozen=True, slots=True)
class Answer:
    """`found` of the question's `asked` fingerprints are in the version. `copies`: documents with the same letters and digits as the whole
    question. `documents`: those that share most, each with the share of the question's fingerprints that it has. A question without
    fingerprints (`asked` 0) is too short to be found as a part of a document."""

    asked: int
    found: int
    copies: tuple[str, ...]
    documents: tuple[tuple[str, float], ...]
    passages: tuple[Passage, ...]

    @property
    def share(self) -> float:
        if not self.asked:
            return 1.0 if self.copies else 0.0
        return self.found / self.asked


@compiled(types.int64(BYTES, OFFSETS, U32, types.int64, array(types.uint64), array(types.int64, 2)))
def _fingerprints(data: Any, offsets: Any, fold: Any, room: int, hashes: Any, rows: Any) -> int:
    """Hashes, and rows (document, start, end) of bytes; how many there are. The first of each document is that of the whole text."""
    letters, places, starts = np.empty(room, np.uint32), np.empty(room, np.int64), np.empty(room, np.int64)
    letter_sums, word_sums = np.empty(room, np.uint64), np.empty(room, np.uint64)
    powers = np.empty(LETTERS + 1, np.uint64)
    powers[0] = np.uint64(1)
    for exponent in range(LETTERS):
        powers[exponent + 1] = powers[exponent] * np.uint64(0x9E3779B97F4A7C15)
    values, ends = np.empty(NEIGHBOURS, np.uint64), np.empty(NEIGHBOURS, np.int64)
    found = 0
    for document in range(len(offsets) - 1):
        base = offsets[document]
        count, _ = reduce(data, base, offsets[document + 1], fold, letters, places, starts, letter_sums, word_sums)
        if count == 0:
            continue
        if found < len(hashes):
            hashes[found] = mix(letter_sums[count] + np.uint64(count) * np.uint64(0xD1B54A32D192ED03))
            rows[found, 0], rows[found, 1], rows[found, 2] = document, -1, -1
        found += 1
        weight, end, last, windows, best = 0, 0, -1, 0, -1
        for first in range(count):
            while end < count and weight < LETTERS:
                weight += OWN_WEIGHT if own_word(letters[end]) else 1
                end += 1
            if weight >= LETTERS:
                slot = first & (NEIGHBOURS - 1)
                values[slot] = mix(letter_sums[end] - letter_sums[first] * powers[end - first] + np.uint64(1))
                ends[slot] = end
                windows = first + 1
                # The least of the last neighbours, the latest of equal ones.
                if windows == 1 or (best > first - NEIGHBOURS and values[slot] <= values[best & (NEIGHBOURS - 1)]):
                    best = first
                elif best <= first - NEIGHBOURS:
                    best = first
                    for back in range(1, NEIGHBOURS):
                        if values[(first - back) & (NEIGHBOURS - 1)] < values[best & (NEIGHBOURS - 1)]:
                            best = first - back
            # At the end of a short text the neighbours are fewer.
            closing = weight < LETTERS or first == count - 1
            if best != last and (windows >= NEIGHBOURS or (closing and windows > 0)):
                last = best
                if found < len(hashes):
                    slot = best & (NEIGHBOURS - 1)
                    hashes[found] = values[slot]
                    _, after = decode(data, places[ends[slot] - 1], offsets[document + 1])
                    rows[found, 0], rows[found, 1], rows[found, 2] = document, places[best] - base, after - base
                found += 1
            if closing and weight < LETTERS:
                break
            weight -= OWN_WEIGHT if own_word(letters[first]) else 1
    return found


def fingerprints(texts: Texts) -> tuple[npt.NDArray[np.uint64], npt.NDArray[np.int64]]:
    """Fingerprints of n texts and rows (text, start, end): which of its bytes each one's letters are; -1 for a fingerprint of the whole."""
    hashes, rows = np.empty(1024, np.uint64), np.empty((1024, 3), np.int64)
    room = int(np.diff(texts.offsets).max(initial=0)) + 2
    while (found := _fingerprints(texts.data, texts.offsets, folding(), room, hashes, rows)) > len(hashes):
        hashes, rows = np.empty(found, np.uint64), np.empty((found, 3), np.int64)
    return hashes[:found], rows[:found]


class Builder:
    """Makes an index in a folder: `add` the documents batch by batch, then `finish`. What waits lies in the folder, not in memory."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self._names: list[str] = []
        self._parts: list[IO[bytes]] = [(folder / f".part-{part:02d}").open("w+b") for part in range(_PARTS)]

    def __enter__(self) -> Builder:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        for part in self._parts:
            part.close()
            Path(part.name).unlink(missing_ok=True)

    def add(self, names: Sequence[str], texts: Texts) -> None:
        """`names`: one for each text, different from all others."""
        hashes, rows = fingerprints(texts)
        entries = np.empty(len(hashes), _ENTRY)
        entries["hash"], entries["document"] = hashes, rows[:, 0] + len(self._names)
        self._names += names
        order = np.argsort(hashes >> np.uint64(58), kind="stable")
        entries = entries[order]
        bounds = np.searchsorted(entries["hash"] >> np.uint64(58), np.arange(_PARTS + 1))
        for part, file in enumerate(self._parts):
            file.write(entries[bounds[part] : bounds[part + 1]].tobytes())

    def finish(self) -> str:
        """Write the index; its digest, by which a version names it."""
        names = np.array([name.encode() for name in self._names] or [b""], np.bytes_)[: len(self._names)]
        order = np.argsort(names, kind="stable")
        rank = np.empty(len(order), np.uint32)
        rank[order] = np.arange(len(order), dtype=np.uint32)
        with _Written(self._folder, np.uint64) as hashes, _Written(self._folder, np.uint32) as documents:
            for part in self._parts:
                part.seek(0)
                entries = np.frombuffer(part.read(), _ENTRY)
                pairs = np.stack([entries["hash"], rank[entries["document"]].astype(np.uint64)])
                pairs = pairs[:, np.lexsort((pairs[1], pairs[0]))]
                new = np.any(np.diff(pairs, axis=1, prepend=~pairs[:, :1]) != 0, axis=0)
                pairs = pairs[:, new]
                first = np.flatnonzero(np.diff(pairs[0], prepend=~pairs[0, :1]) != 0)
                nth = np.arange(pairs.shape[1]) - np.repeat(first, np.diff(np.append(first, pairs.shape[1])))
                pairs = pairs[:, nth < MOST_DOCUMENTS]
                hashes.write(pairs[0])
                documents.write(pairs[1].astype(np.uint32))
        with _Written(self._folder, names.dtype) as sorted_names:
            sorted_names.write(names[order])
        manifest = {
            "format": FORMAT, "letters": LETTERS, "neighbours": NEIGHBOURS, "own_weight": OWN_WEIGHT, "unicode": unicodedata.unidata_version,
            "documents": len(names), "fingerprints": hashes.count, "hashes": hashes.name, "document_numbers": documents.name,
            "names": sorted_names.name,
        }  # fmt: skip
        content = json.dumps(manifest, sort_keys=True, indent=1).encode() + b"\n"
        temporary = self._folder / ".index.json"
        temporary.write_bytes(content)
        os.replace(temporary, self._folder / "index.json")
        return "sha256:" + hashlib.sha256(content).hexdigest()


_ENTRY = np.dtype([("hash", "<u8"), ("document", "<u4")])


class _Written:
    """A one-dimensional .npy file that is written piece by piece, and named by its sha256 when it is done."""

    def __init__(self, folder: Path, kind: Any) -> None:
        self._folder, self._kind = folder, np.dtype(kind).newbyteorder("<")
        self._temporary = folder / f".{id(self)}.npy"
        self.count, self.name = 0, ""

    def __enter__(self) -> _Written:
        self._file = self._temporary.open("w+b")
        self._header()
        return self

    def _header(self) -> None:
        self._file.seek(0)
        np.lib.format.write_array_header_1_0(
            self._file, {"descr": np.lib.format.dtype_to_descr(self._kind), "fortran_order": False, "shape": (self.count,)}
        )
        # The header is padded to 64 bytes and has room for any count.
        assert self._file.tell() == 128

    def write(self, values: npt.NDArray[Any]) -> None:
        self._file.write(np.ascontiguousarray(values, self._kind).tobytes())
        self.count += len(values)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if kind is None:
            self._header()
            self._file.flush()
            os.fsync(self._file.fileno())
            self._file.seek(0)
            self.name = f"{hashlib.file_digest(self._file, 'sha256').hexdigest()}.npy"
        self._file.close()
        if kind is None:
            os.replace(self._temporary, self._folder / self.name)
        else:
            self._temporary.unlink(missing_ok=True)


class Index:
    """An index that `Builder` made, opened for questions. Any number of threads may ask."""

    def __init__(self, hashes: npt.NDArray[np.uint64], numbers: npt.NDArray[np.uint32], names: npt.NDArray[np.bytes_], digest: str) -> None:
        self._hashes, self._numbers, self._names = hashes, numbers, names
        self.digest = digest

    @classmethod
    def open(cls, folder: Path, *, verify: bool = False) -> Index:
        """Map the index in a folder; `verify` reads its files once and compares their digests. Raises NoIndex, BadIndex."""
        try:
            content = (folder / "index.json").read_bytes()
            manifest = json.loads(content)
        except (OSError, ValueError) as error:
            raise NoIndex(folder=folder, problem=str(error)) from error
        expected = {"format": FORMAT, "letters": LETTERS, "neighbours": NEIGHBOURS, "own_weight": OWN_WEIGHT}
        if any(manifest.get(key) != value for key, value in expected.items()):
            raise NoIndex(folder=folder, problem=f"it is not of the form {FORMAT}")
        arrays = []
        for key, count in (("hashes", "fingerprints"), ("document_numbers", "fingerprints"), ("names", "documents")):
            path = folder / manifest[key]
            try:
                if verify:
                    with path.open("rb") as file:
                        if path.name != f"{hashlib.file_digest(file, 'sha256').hexdigest()}.npy":
                            raise ValueError("its digest is another")
                mapped = np.asarray(np.load(path, mmap_mode="r"))
                if len(mapped) != manifest[count]:
                    raise ValueError("its length is another")
            except (OSError, ValueError) as error:
                raise BadIndex(place=path, problem=str(error)) from error
            arrays.append(mapped)
        return cls(arrays[0], arrays[1], arrays[2], "sha256:" + hashlib.sha256(content).hexdigest())

    def __len__(self) -> int:
        return len(self._names)

    def ask(self, text: str, most: int = 10) -> Answer:
        """What of this text stands in the version, and in which documents (`most` of them)."""
        from lilong.floors.corpus.curation.texts import Texts

        hashes, rows = fingerprints(Texts.of([text]))
        if not len(hashes):
            return Answer(0, 0, (), (), ())
        first, last = np.searchsorted(self._hashes, hashes, "left"), np.searchsorted(self._hashes, hashes, "right")
        copies = tuple(self._name(number) for number in self._numbers[first[0] : last[0]].tolist())
        first, sizes = first[1:], (last - first)[1:]
        parts = np.flatnonzero(sizes)
        bounds = np.cumsum(sizes) - sizes
        at = np.repeat(np.arange(len(sizes)), sizes)
        numbers = np.asarray(self._numbers[first[at] + np.arange(len(at)) - bounds[at]], np.int64)
        documents, place, tally = np.unique(numbers, return_inverse=True, return_counts=True)
        best = np.lexsort((documents, -tally))
        rank = np.argsort(best)
        shares = tuple((self._name(int(documents[b])), round(float(tally[b]) / len(sizes), 6)) for b in best[:most])
        foremost = documents[best[np.minimum.reduceat(rank[place], bounds[parts])]] if len(parts) else documents
        return Answer(len(sizes), len(parts), copies, shares, self._passages(rows[1:][parts], foremost))

    def _passages(self, rows: npt.NDArray[np.int64], numbers: npt.NDArray[np.int64]) -> tuple[Passage, ...]:
        """Spans that touch and are of one document become one."""
        spans: list[list[int]] = []
        for (_, start, end), number in zip(rows.tolist(), numbers.tolist(), strict=True):
            if spans and spans[-1][2] == number and start <= spans[-1][1]:
                spans[-1][1] = max(spans[-1][1], end)
            else:
                spans.append([start, end, number])
        return tuple(Passage(start, end, self._name(number)) for start, end, number in spans)

    def _name(self, number: int) -> str:
        return bytes(self._names[number]).decode()
