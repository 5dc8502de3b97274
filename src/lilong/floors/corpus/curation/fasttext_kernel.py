"""The loops of a fastText classifier: words and their character n-grams to rows of a matrix, and the mean of these."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import types

from lilong.floors.corpus.curation.characters import BYTES, OFFSETS, array, signed
from lilong.floors.corpus.curation.compiling import compiled

_I32, _I64, _F32M, _U8 = array(types.int32), array(types.int64), array(types.float32, 2), array(types.uint8)
_U32, _I32_FREE = types.uint32, array(types.int32)


@compiled(_U32(BYTES, types.int64, types.int64))
def _hash(data: Any, start: int, end: int) -> Any:
    """FNV-1a over signed bytes, as fastText computes it."""
    value = np.uint32(2166136261)
    for at in range(start, end):
        byte = np.uint32(data[at])
        value = (value ^ (byte | np.uint32(0xFFFFFF00) if byte & np.uint32(0x80) else byte)) * np.uint32(16777619)
    return value


@compiled(types.int64(_U32, BYTES, types.int64, types.int64, BYTES, OFFSETS, _I32))
def _find(value: Any, data: Any, start: int, end: int, word_bytes: Any, word_offsets: Any, slots: Any) -> int:
    """The slot of the word data[start:end], or the free one where it would go. A quarter of the slots is used at most."""
    mask = len(slots) - 1
    slot = signed(value) & mask
    while slots[slot] >= 0:
        first = word_offsets[slots[slot]]
        same = word_offsets[slots[slot] + 1] - first == end - start
        at = 0
        while same and at < end - start:
            same = word_bytes[first + at] == data[start + at]
            at += 1
        if same:
            break
        slot = (slot + 1) & mask
    found: int = slot
    return found


@compiled(types.void(BYTES, OFFSETS, _I32))
def fill_slots(word_bytes: Any, word_offsets: Any, slots: Any) -> None:
    for word in range(len(word_offsets) - 1):
        start, end = word_offsets[word], word_offsets[word + 1]
        slots[_find(_hash(word_bytes, start, end), word_bytes, start, end, word_bytes, word_offsets, slots)] = word


@compiled(types.int64(_U32, types.int64, types.int64, types.int64, _I32))
def _row(value: Any, words: int, bucket: int, kept: int, pruned: Any) -> int:
    """The row of an n-gram's bucket, -1 where pruning took it away."""
    row: int = signed(value % np.uint32(bucket))
    if kept < 0:
        return words + row
    # Looked up twice: with the entry in a variable the compiled loop takes twice as long.
    return words + signed(pruned[row]) if pruned[row] >= 0 else -1


@compiled(types.void(BYTES, OFFSETS, _I64, _I32, BYTES, OFFSETS, _I32, array(types.float32, 2, readonly=True), _F32M))
def mean_vectors(
    data: Any, offsets: Any, settings: Any, slots: Any, word_bytes: Any, word_offsets: Any, pruned: Any, rows: Any, out: Any
) -> None:
    """Into out (n, dimension), which holds zeros. settings: words, bucket, shortest, longest, word n-grams, pruned (or -1)."""
    words, bucket, shortest, longest, word_ngrams, kept = settings[0], settings[1], settings[2], settings[3], settings[4], settings[5]
    longest_text = 0
    for document in range(len(offsets) - 1):
        longest_text = max(longest_text, offsets[document + 1] - offsets[document])
    word = np.empty(max(longest_text, 4) + 2, np.uint8)
    hashes = np.empty(longest_text // 2 + 3 if word_ngrams > 1 else 1, np.int32)
    ending = np.array([60, 47, 115, 62], np.uint8)  # </s>
    dimension = rows.shape[1]
    for document in range(len(offsets) - 1):
        at, end = offsets[document], offsets[document + 1]
        total = out[document]
        count, seen = 0, 0
        last = False
        while not last:
            while at < end and (data[at] == 32 or data[at] == 0 or 9 <= data[at] <= 13):
                at += 1
            size = 0
            while at < end and not (data[at] == 32 or data[at] == 0 or 9 <= data[at] <= 13):
                word[size + 1] = data[at]
                at += 1
                size += 1
            last = size == 0
            if last:
                word[1:5] = ending
                size = 4
            value = _hash(word, 1, size + 1)
            known = slots[_find(value, word, 1, size + 1, word_bytes, word_offsets, slots)]
            if known < 0 and size > 8 and word[1] == 95 and word[2] == 95 and word[3] == 108 and word[8] == 95 and word[9] == 95:
                continue  # a word that begins with __label__ is not text to fastText
            if word_ngrams > 1:
                hashes[seen] = np.int32(value)
                seen += 1
            if known >= 0:
                count += 1
                for k in range(dimension):
                    total[k] += rows[known, k]
            if longest <= 0 or (size == 4 and word[1] == 60 and word[2] == 47 and word[3] == 115 and word[4] == 62):
                continue
            word[0], word[size + 1] = 60, 62
            for first in range(size + 2):
                if word[first] & 0xC0 == 0x80:
                    continue
                value, place, length = np.uint32(2166136261), first, 1
                while place < size + 2 and length <= longest:
                    byte = np.uint32(word[place])
                    value = (value ^ (byte | np.uint32(0xFFFFFF00) if byte & np.uint32(0x80) else byte)) * np.uint32(16777619)
                    place += 1
                    while place < size + 2 and word[place] & 0xC0 == 0x80:
                        value = (value ^ (np.uint32(word[place]) | np.uint32(0xFFFFFF00))) * np.uint32(16777619)
                        place += 1
                    if length >= shortest and not (length == 1 and (first == 0 or place == size + 2)):
                        row = _row(value, words, bucket, kept, pruned)
                        if row >= 0:
                            count += 1
                            for k in range(dimension):
                                total[k] += rows[row, k]
                    length += 1
        for first in range(seen):
            wide = np.uint64(signed(hashes[first]))
            for step in range(first + 1, min(seen, first + word_ngrams)):
                wide = wide * np.uint64(116049371) + np.uint64(signed(hashes[step]))
                row = _row(np.uint32(wide % np.uint64(bucket)), words, bucket, kept, pruned)
                if row >= 0:
                    count += 1
                    for k in range(dimension):
                        total[k] += rows[row, k]
        if count > 0:
            for k in range(dimension):
                total[k] /= np.float32(count)


@compiled(types.void(_F32M, array(types.float32, 2, readonly=True), _F32M))
def multiply(left: Any, right: Any, out: Any) -> None:
    """left @ right into out, which holds zeros, summed in the order of k: a row's product must not depend on how many rows there are, nor on
    the processor, as that of a linear algebra library does."""
    for row in range(len(left)):
        total = out[row]
        for k in range(len(right)):
            value = left[row, k]
            for column in range(right.shape[1]):
                total[column] += value * right[k, column]
