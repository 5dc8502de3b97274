"""C4's line rules: the text they leave, and what they met, per document."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

import numba
import numpy as np
import numpy.typing as npt

from lilong.floors.corpus.curation.compiling import compiled
from lilong.floors.corpus.curation.fineweb.characters import DECIMAL, classes
from lilong.floors.corpus.curation.fineweb.utf8 import (
    BOUNDS,
    BYTES,
    COUNTS,
    INTS,
    OUT,
    after_spaces,
    before_spaces,
    bool_,
    characters,
    copied,
    decode,
    int_,
    space,
    void,
)
from lilong.floors.corpus.curation.texts import Texts

if TYPE_CHECKING:
    from lilong.floors.corpus.curation.words import Tokens, Vocabulary

COLUMNS = (
    "lines", "kept_lines", "long_word_lines", "few_word_lines", "lorem_ipsum_lines", "lorem_ipsum_first", "javascript_lines",
    "bracket_lines", "policy_lines", "sentences", "words",
)  # fmt: skip
"""Lines as str.splitlines parts them; those kept; those dropped for a word of more than 1,000 characters and for fewer than 3 words;
those that name lorem ipsum, and how many of them come before the first bracket; those dropped for "javascript"; those that hold {;
those dropped for a phrase of policies; sentences and words of the kept lines."""
LONGEST_WORD, FEWEST_WORDS = 1000, 3
_SENTENCE_END, _PUNCTUATION, _CHUNK_START, _BLANK_BEFORE = 8, 16, 32, 64  # of words' flags
_LOREM, _JAVASCRIPT, _BRACKET, _POLICY, _CITATION = 1, 2, 4, 8, 16
_LINE_END, _LATIN, _GENERAL, _CURLY, _SQUARE, _J, _P, _V, _K, _F = range(1, 11)


def _phrase(text: bytes) -> Any:
    return np.frombuffer(text, np.uint8)


# Every phrase is looked for where its rarest letter is met: j, p, v, k or f.
_AVASCRIPT, _LOREM_I, _SUM = _phrase(b"avascript"), _phrase(b"lorem i"), _phrase(b"sum")
_PRI, _ACY_POLICY, _TERMS_O, _USE = _phrase(b"pri"), _phrase(b"acy policy"), _phrase(b"terms o"), _phrase(b" use")
_COO, _IE_POLICY, _IES = _phrase(b"coo"), _phrase(b"ie policy"), _phrase(b"ies")
_USES_COO, _USE_OF_COO, _USE_COO = _phrase(b"uses coo"), _phrase(b"use of coo"), _phrase(b"use coo")
_EDIT, _CITATION_NEEDED = _phrase(b"[edit]"), _phrase(b"[citation needed]")


@cache
def _kinds() -> npt.NDArray[np.uint8]:
    """Which bytes end a line or are where a phrase or a citation is recognised; 0 for all others."""
    kinds = np.zeros(256, np.uint8)
    for kind, found in enumerate((b"\n\r\v\f\x1c\x1d\x1e", b"\xc2", b"\xe2", b"{", b"[", b"jJ", b"pP", b"vV", b"kK", b"fF"), start=1):
        kinds[list(found)] = kind
    return kinds


@compiled(bool_(BYTES, int_, int_, int_, BYTES))
def _holds(data: Any, start: int, end: int, at: int, phrase: Any) -> bool:
    """Is `phrase`, of small ASCII letters, at `at` within [start, end), in whatever case?"""
    if at < start or at + len(phrase) > end:
        return False
    for step in range(len(phrase)):
        byte = np.int64(data[at + step])
        if byte != phrase[step] and (byte < 0x41 or byte > 0x5A or byte + 0x20 != phrase[step]):
            return False
    return True


@compiled(bool_(BYTES, int_, int_, int_, int_))
def _cookies(data: Any, start: int, end: int, at: int, after: int) -> bool:
    """Is the k in [at, after) the one of a phrase about cookies?"""
    if not _holds(data, start, end, at - 3, _COO):
        return False
    if _holds(data, start, end, after, _IE_POLICY):
        return True
    return _holds(data, start, end, after, _IES) and (
        _holds(data, start, end, at - 8, _USES_COO)
        or _holds(data, start, end, at - 10, _USE_OF_COO)
        or _holds(data, start, end, at - 7, _USE_COO)
    )


@compiled(int_(BYTES, int_, int_, BYTES))
def _citation(data: Any, at: int, end: int, codes: Any) -> int:
    """Bytes of the citation at the [ at `at`: [edit], [citation needed], or decimal digits or nothing in brackets; 0 if there is none."""
    for phrase in (_EDIT, _CITATION_NEEDED):
        size = len(phrase)
        if at + size <= end:
            same = True
            for step in range(size):
                same = same and data[at + step] == phrase[step]
            if same:
                return size
    position = at + 1
    while position < end:
        if data[position] == 0x5D:
            return position + 1 - at
        code, position = decode(data, position, end)
        if not codes[min(code, len(codes) - 1)] & DECIMAL:
            return 0
    return 0


@compiled(numba.types.UniTuple(int_, 3)(BYTES, int_, int_, BYTES, BYTES))
def _line(data: Any, at: int, end: int, kinds: Any, codes: Any) -> tuple[int, int, int]:
    """Of the line at `at`: where it ends, where the next one starts, what it holds. No phrase spans a line's end, so none is cut here."""
    start, found = at, 0
    while at < end:
        kind = kinds[data[at]]
        if kind == 0:
            at += 1
            continue
        if kind == _LINE_END:
            return at, at + 2 if data[at] == 13 and at + 1 < end and data[at + 1] == 10 else at + 1, found
        if kind == _P:
            if _holds(data, start, end, at - 7, _LOREM_I) and _holds(data, start, end, at + 1, _SUM):
                found |= _LOREM
        elif kind == _F:
            if _holds(data, start, end, at - 7, _TERMS_O) and _holds(data, start, end, at + 1, _USE):
                found |= _POLICY
        elif kind == _V:
            if _holds(data, start, end, at - 3, _PRI) and _holds(data, start, end, at + 1, _ACY_POLICY):
                found |= _POLICY
        elif kind == _K:
            if _cookies(data, start, end, at, at + 1):
                found |= _POLICY
        elif kind == _J:
            if _holds(data, start, end, at + 1, _AVASCRIPT):
                found |= _JAVASCRIPT
        elif kind == _CURLY:
            found |= _BRACKET
        elif kind == _SQUARE:
            if _citation(data, at, end, codes) > 0:
                found |= _CITATION
        elif kind == _LATIN:
            if at + 1 < end and data[at + 1] == 0x85:
                return at, at + 2, found
        elif at + 2 < end:
            if data[at + 1] == 0x80 and (data[at + 2] == 0xA8 or data[at + 2] == 0xA9):
                return at, at + 3, found
            # The Kelvin sign's small letter is k; no other sign beyond ASCII has one that matters to a phrase.
            if data[at + 1] == 0x84 and data[at + 2] == 0xAA and _cookies(data, start, end, at, at + 3):
                found |= _POLICY
        at += 1
    return end, end, found


@compiled(bool_(BYTES, int_, int_))
def _has_long_word(data: Any, at: int, end: int) -> bool:
    while end - at > LONGEST_WORD:
        start = at
        while at < end and space(data, at, end) == 0:
            at += 1
        if at - start > LONGEST_WORD and characters(data, start, at) > LONGEST_WORD:
            return True
        at = after_spaces(data, at, end)
    return False


@compiled(int_(BYTES, int_, int_, BYTES, bool_, OUT, int_))
def _copy(data: Any, at: int, end: int, codes: Any, cited: bool, out: Any, cursor: int) -> int:
    """Puts the line at `cursor`, without its citations if there are any; where it ends there."""
    if not cited:
        return copied(data, at, end, out, cursor)
    while at < end:
        size = _citation(data, at, end, codes) if data[at] == 0x5B else 0
        if size == 0:
            out[cursor] = data[at]
            cursor += 1
            at += 1
        at += size
    return cursor


@compiled(numba.types.UniTuple(int_, 4)(int_, int_, int_, BOUNDS, BYTES))
def _tokens(end: int, token: int, last: int, starts: Any, flags: Any) -> tuple[int, int, int, int]:
    """Walks the tokens of a line up to `end`: the first one behind it, what str.split would part in it, how many sentences start in it
    besides its first, and whether one may start behind its last token.

    spaCy's sentencizer: the first token behind an end mark that is neither punctuation nor another end mark starts a sentence. Blanks
    other than one space are a token there.
    """
    chunks, found, ended = 0, 0, False
    while token < last and starts[token] < end:
        flag = flags[token]
        token += 1
        chunks += (flag & _CHUNK_START) != 0
        if ended and flag & _BLANK_BEFORE:
            found += 1
            ended = False
        if flag & _SENTENCE_END:
            ended = True
        elif ended and not flag & _PUNCTUATION:
            found += 1
            ended = False
    return token, chunks, found, int(ended)


@compiled(int_(OUT, int_, int_))
def _strip(out: Any, start: int, end: int) -> int:
    first = after_spaces(out, start, end)
    end = before_spaces(out, first, end)
    if first > start:
        for step in range(end - first):
            out[start + step] = out[first + step]
    return start + end - first


@compiled(int_(BYTES, BOUNDS, BOUNDS, BOUNDS, BYTES, BYTES, BYTES, OUT, INTS, OUT, INTS, INTS, COUNTS))
def _rewrite(data: Any, offsets: Any, bounds: Any, starts: Any, flags: Any, kinds: Any, codes: Any, out: Any, out_offsets: Any,
             cited: Any, cited_offsets: Any, owners: Any, counts: Any) -> int:  # fmt: skip
    """Fills `out` with the texts, and `cited` with the kept lines that lost a citation, whose documents are `owners`; their number."""
    cursor, lines = 0, 0
    for document in range(len(offsets) - 1):
        at, end, token, last = offsets[document], offsets[document + 1], bounds[document], bounds[document + 1]
        row, start = counts[document], cursor
        while at < end:
            stop, following, found = _line(data, at, end, kinds, codes)
            first = after_spaces(data, at, stop)
            stop = before_spaces(data, first, stop)
            words = token
            token, chunks, breaks, _ = _tokens(stop, token, last, starts, flags)
            words = token - words
            at = following
            row[0] += 1
            if _has_long_word(data, first, stop):
                row[2] += 1
                continue
            if chunks < FEWEST_WORDS:
                row[3] += 1
                continue
            put = cursor
            if row[1] > 0:
                out[put] = 10
                put += 1
            put_end = _copy(data, first, stop, codes, (found & _CITATION) != 0, out, put)
            if found & _CITATION:
                _, _, again = _line(out, put, put_end, kinds, codes)
                found = again | _CITATION
            if found & _LOREM:
                row[4] += 1
                row[5] += row[7] == 0
            if found & _JAVASCRIPT:
                row[6] += 1
                continue
            row[7] += (found & _BRACKET) != 0
            if found & _POLICY:
                row[8] += 1
                continue
            row[1] += 1
            if found & _CITATION:
                owners[lines] = document
                cited_offsets[lines + 1] = copied(out, put, put_end, cited, cited_offsets[lines])
                lines += 1
            else:
                row[9] += 1 + breaks
                row[10] += words
            cursor = put_end
        cursor = _strip(out, start, cursor)
        out_offsets[document + 1] = cursor
    return lines


@compiled(void(BYTES, BOUNDS, BOUNDS, BOUNDS, BYTES, INTS, COUNTS))
def _add_sentences(data: Any, offsets: Any, bounds: Any, starts: Any, flags: Any, owners: Any, counts: Any) -> None:
    for line in range(len(offsets) - 1):
        start, end, row = offsets[line], offsets[line + 1], counts[owners[line]]
        _, _, breaks, ended = _tokens(end, bounds[line], bounds[line + 1], starts, flags)
        visible = before_spaces(data, start, end)
        if ended and visible < end and not (end - visible == 1 and data[visible] == 0x20):
            breaks += 1
        row[9] += 1 + breaks
        row[10] += bounds[line + 1] - bounds[line]


def rewrite(texts: Texts, tokens: Tokens, vocabulary: Vocabulary) -> tuple[Texts, npt.NDArray[np.int64]]:
    """What C4's rules leave of n documents with these words, and the counts (n, len(COLUMNS)).

    Lines without their citations have other words than before; `vocabulary` parts them again.
    """
    size = texts.bytes
    out, cited = np.empty(size, np.uint8), np.empty(size, np.uint8)
    offsets, counts = np.zeros(len(texts) + 1, np.int64), np.zeros((len(texts), len(COLUMNS)), np.int64)
    cited_offsets, owners = np.empty(size // 4 + 2, np.int64), np.empty(size // 4 + 2, np.int64)  # a line of 3 words and [] has 6 bytes
    cited_offsets[0] = 0
    given = texts.data, texts.offsets, tokens.bounds, tokens.start, tokens.flags
    count = _rewrite(*given, _kinds(), classes(), out, offsets, cited, cited_offsets, owners, counts)
    if count:
        lines = Texts(cited[: cited_offsets[count]], cited_offsets[: count + 1])
        words = vocabulary.tokens(lines)
        _add_sentences(lines.data, lines.offsets, words.bounds, words.start, words.flags, owners, counts)
    return Texts(out[: offsets[-1]], offsets), counts
