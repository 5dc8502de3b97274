"""spaCy's English tokenisation of one chunk as a native kernel: special cases, prefixes, suffixes, addresses, infixes.

After the algorithm documented for spaCy's Tokenizer (https://spacy.io/usage/linguistic-features#how-tokenizer-works) and the behaviour of
version 3.8. A chunk comes as code points; tokens leave as the positions where they end. Everything is linear in the chunk's length.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np

from lilong.floors.corpus.curation.compiling import compiled
from lilong.floors.corpus.curation.words.hashing import signed
from lilong.floors.corpus.curation.words.rules import BITS, LONGEST, MULTIPLIER, PAIR, PAIRS, SLOT, SLOTS, UNIT

_types = numba.types
RULES, CODES = _types.Array(_types.uint32, 1, "C"), _types.Array(_types.int32, 1, "C")
_int, _bool = _types.int64, _types.boolean

_PREFIX, _SUFFIX, _INFIX, _ALPHA, _UPPER = (BITS[name] for name in ("prefix", "suffix", "infix", "alpha", "upper"))
_BEFORE_DOT, _AFTER_DOT, _BEFORE_END_DOT = BITS["before_dot"], BITS["after_dot"], BITS["before_end_dot"]
_AFTER_DIGIT, _UNIT_END, _SIGN = BITS["after_digit"], BITS["unit_end"], BITS["sign"]
_HOST, _TOP, _SCHEME, _DECIMAL = BITS["host"], BITS["top"], BITS["scheme"], BITS["decimal"]
_MULTIPLIER, _SHIFT = np.uint64(MULTIPLIER), np.uint64(40)
_DOT, _SLASH, _COLON, _AT, _DASH, _PLUS, _COMMA, _DOLLAR, _DEGREE = (ord(sign) for sign in "./:@-+,$°")
_ELLIPSIS, _EN_DASH, _EM_DASH, _APOSTROPHE, _CURLY = 0x2026, 0x2013, 0x2014, 0x27, 0x2019


@compiled(_int(RULES, CODES, _int, _int))
def special(rules: Any, codes: Any, low: int, high: int) -> Any:
    """Where the special case codes[low:high] lies in the rules, or 0."""
    length = high - low
    if length > LONGEST:
        return 0
    key = np.uint64(0)
    for at in range(low, high):
        key = (key ^ np.uint64(codes[at])) * _MULTIPLIER
    slot = signed(key >> _SHIFT) & (SLOTS - 1)
    while rules[SLOT + slot]:
        place = signed(rules[SLOT + slot])
        if rules[place] == length:
            same = 0
            while same < length and rules[place + 3 + same] == codes[low + same]:
                same += 1
            if same == length:
                return place
        slot = (slot + 1) & (SLOTS - 1)
    return 0


@compiled(_bool(_int))
def _digit(code: int) -> bool:
    return 48 <= code <= 57


@compiled(_int(RULES, CODES, _int, _int))
def _prefix(rules: Any, codes: Any, low: int, high: int) -> int:
    first = codes[low]
    if rules[first] & _PREFIX:
        return 1
    following = codes[low + 1] if low + 1 < high else 0
    if first == _PLUS:
        return 0 if _digit(following) else 1
    if first == _DOT and following == _DOT:
        end = low + 2
        while end < high and codes[end] == _DOT:
            end += 1
        return end - low
    if following == _DOLLAR and first in (65, 67):  # A$ C$
        return 2
    if first == 85 and following == 83 and low + 2 < high and codes[low + 2] == _DOLLAR:  # US$
        return 3
    return 0


@compiled(_int(RULES, CODES, _int, _int))
def _unit(rules: Any, codes: Any, low: int, high: int) -> int:
    """The length of the longest unit of two characters or more that ends the word and follows a digit."""
    best, place = 0, UNIT + 1
    for _ in range(rules[UNIT]):
        length = signed(rules[place])
        start = high - length
        if length > best and start > low and _digit(codes[start - 1]):
            same = 0
            while same < length and rules[place + 1 + same] == codes[start + same]:
                same += 1
            if same == length:
                best = length
        place += 1 + length
    return best


@compiled(_int(RULES, CODES, _int, _int))
def _suffix(rules: Any, codes: Any, low: int, high: int) -> int:
    """The longest suffix of codes[low:high]: a search finds the one that starts first."""
    if high <= low:
        return 0
    last = codes[high - 1]
    bits = rules[last]
    before = codes[high - 2] if high - 2 >= low else 0
    best = 0
    if bits & _SUFFIX:
        best = 2 if last == _ELLIPSIS and before == _ELLIPSIS else 1
    elif last == _DOT:
        if before == _DOT:
            start = high - 2
            while start > low and codes[start - 1] == _DOT:
                start -= 1
            return high - start
        if high - 2 >= low:
            second = codes[high - 3] if high - 3 >= low else 0
            known = (rules[before] & _BEFORE_END_DOT) or (rules[before] & _UPPER and rules[second] & _UPPER)
            if known or (second == _DEGREE and before in (70, 102, 67, 99, 75, 107)):
                best = 1
    elif last in (115, 83) and before in (_APOSTROPHE, _CURLY):
        best = 2
    if best == 0 and bits & _AFTER_DIGIT and last != _DOT and _digit(before):
        best = 1
    if bits & _UNIT_END:
        best = max(best, _unit(rules, codes, low, high))
    return best


@compiled(_int(RULES, CODES, _int, _int, _int))
def _infix(rules: Any, codes: Any, low: int, at: int, high: int) -> int:
    """The length of the infix that starts at `at` in the word codes[low:high], or 0."""
    code = codes[at]
    if rules[code] & _INFIX:
        return 1
    following = codes[at + 1] if at + 1 < high else 0
    if code == _DOT and following == _DOT:
        end = at + 2
        while end < high and codes[end] == _DOT:
            end += 1
        return end - at
    if at == low or at + 1 >= high:
        return 0
    before = codes[at - 1]
    if code == _DOT:
        return 1 if rules[before] & _BEFORE_DOT and rules[following] & _AFTER_DOT else 0
    if code in (43, 45, 42, 94) and _digit(before) and (_digit(following) or following == _DASH):  # + - * ^
        return 1
    if code == _COMMA:
        return 1 if rules[before] & _ALPHA and rules[following] & _ALPHA else 0
    if not (rules[before] & _ALPHA or _digit(before)):
        return 0
    if code in (58, 60, 62, 61, 47, _EN_DASH, 126) and rules[following] & _ALPHA:  # : < > = / – ~
        return 1
    if code in (_DASH, _EM_DASH):
        longest = 3 if code == _DASH else 2
        for length in range(1, longest + 1):
            if at + length < high and rules[codes[at + length]] & _ALPHA:
                return length
            if at + length >= high or codes[at + length] != code:
                return 0
    return 0


@compiled(_bool(RULES, CODES, _int, _int))
def _ends_address(rules: Any, codes: Any, at: int, high: int) -> bool:
    """(:port)?([/?#]path)?$"""
    if at < high and codes[at] == _COLON:
        start = at + 1
        at = start
        while at < high and rules[codes[at]] & _DECIMAL:
            at += 1
        if not 2 <= at - start <= 5:
            return False
    return at == high or codes[at] in (_SLASH, 63, 35)


@compiled(_int(RULES, CODES, _int, _int, _int))
def _octet(rules: Any, codes: Any, place: int, at: int, high: int) -> int:
    """Where the octet ends that starts at `at`, or -1 where there is none. The first and the last of four have rules of their own."""
    end = at
    while end < high and end < at + 4 and rules[codes[end]] & _DECIMAL:
        end += 1
    length = end - at
    first = codes[at] if at < high else 0
    if length in (1, 2):
        return end if 0 < place < 3 or 49 <= first <= 57 else -1
    if length != 3:
        return -1
    second, third = codes[at + 1], codes[at + 2]
    if first == 49:
        return end
    if first != 50:
        return -1
    if place == 0:
        good = second in (48, 49) or (second == 50 and 48 <= third <= 51)
    else:
        good = 48 <= second <= 52 or (second == 53 and 48 <= third <= (52 if place == 3 else 53))
    return end if good else -1


@compiled(_bool(RULES, CODES, _int, _int))
def _internet_address(rules: Any, codes: Any, low: int, high: int) -> bool:
    """A dotted quad that is not of a private, local or reserved network, and what may follow it."""
    first_end = second = second_end = at = low
    for place in range(4):
        end = _octet(rules, codes, place, at, high)
        if end < 0 or (place < 3 and (end >= high or codes[end] != _DOT)):
            return False
        if place == 0:
            first_end, second = end, end + 1
        if place == 1:
            second_end = end
        at = end + 1
    a, b, c = codes[low], codes[low + 1], codes[low + 2]
    d, e, f = codes[second], codes[second + 1], codes[second + 2]
    three, two = first_end - low == 3, second_end - second == 2
    private = (first_end - low == 2 and a == 49 and b == 48) or (three and a == 49 and b == 50 and c == 55)  # 10. 127.
    if three and second_end - second == 3:
        private |= a == 49 and b == 54 and c == 57 and d == 50 and e == 53 and f == 52  # 169.254.
        private |= a == 49 and b == 57 and c == 50 and d == 49 and e == 54 and f == 56  # 192.168.
    if three and two and a == 49 and b == 55 and c == 50:  # 172.16. to 172.31.
        private |= (d == 49 and 54 <= e <= 57) or d == 50 or (d == 51 and e in (48, 49))
    return not private and _ends_address(rules, codes, at - 1, high)


@compiled(_bool(RULES, CODES, _int, _int))
def _host(rules: Any, codes: Any, low: int, high: int) -> bool:
    """An address from its host on: a dotted quad, or names parted by dots of which the last is 2 to 63 small letters."""
    if low >= high:
        return False
    if _digit(codes[low]) and _internet_address(rules, codes, low, high):
        return True
    start = low
    while True:
        if start > low:
            end = start
            while end < high and rules[codes[end]] & _TOP:
                end += 1
            if 2 <= end - start <= 63 and _ends_address(rules, codes, end, high):
                return True
        end = start
        while end < high and (rules[codes[end]] & _HOST or codes[end] == 95 or codes[end] == _DASH):
            end += 1
        if end >= high or codes[end] != _DOT or not 1 <= end - start <= 64:
            return False
        if not (rules[codes[start]] & _HOST and rules[codes[end - 1]] & _HOST):
            return False
        start = end + 1


@compiled(_bool(RULES, CODES, _int, _int))
def _address(rules: Any, codes: Any, low: int, high: int) -> bool:
    """scheme://user:password@host:port/path, where all but the host may be missing."""
    at = low
    while at < high and codes[at] != _DOT:
        at += 1
    if at == high:
        return False
    if _host(rules, codes, low, high):
        return True
    at = low
    while at < high and rules[codes[at]] & _SCHEME:
        at += 1
    if (
        at - low >= 2
        and at + 2 < high
        and codes[at] == _COLON
        and codes[at + 1] == _SLASH
        and codes[at + 2] == _SLASH
        and _host(rules, codes, at + 3, high)
    ):
        return True
    for at in range(low + 1, high):  # noqa: SIM110 - numba compiles no generator
        if codes[at] == _AT and _host(rules, codes, at + 1, high):
            return True
    return False


@compiled(_int(_types.uint32, _int, CODES, _int))
def _cut(mask: Any, low: int, ends: Any, count: int) -> int:
    bits = signed(mask)
    place = low
    while bits:
        place += 1
        if bits & 1:
            ends[count] = place
            count += 1
        bits >>= 1
    return count


@compiled(_int(RULES, CODES, _int, _int, CODES, _int))
def _middle(rules: Any, codes: Any, low: int, high: int, ends: Any, count: int) -> int:
    """What is left once affixes are off: a special case, an address, or what infixes part."""
    place = special(rules, codes, low, high)
    if place:
        return _cut(rules[place + 1], low, ends, count)
    at = low
    while at < high and not rules[codes[at]] & _SIGN:
        at += 1
    if at < high and not _address(rules, codes, low, high):
        start = low
        while at < high:
            length = _infix(rules, codes, low, at, high) if rules[codes[at]] & _SIGN else 0
            if length and at > low:  # one at the very start is passed over
                if at > start:
                    ends[count] = at
                    count += 1
                start = at + length
                ends[count] = start
                count += 1
            at += max(length, 1)
        if start == high:
            return count
    ends[count] = high
    return count + 1


@compiled(_int(RULES, CODES, _int, _int, CODES, _int, CODES))
def split(rules: Any, codes: Any, low: int, high: int, ends: Any, count: int, stack: Any) -> int:
    """Tokens of the chunk codes[low:high]: their ends are written to ends[count:]; answers the new count.

    `stack` is scratch; it and `ends` need room for one entry per code point.
    """
    suffixes, size = 0, -1
    while low < high and high - low != size:
        if special(rules, codes, low, high):
            break
        size = high - low
        prefix = _prefix(rules, codes, low, high)
        if prefix and prefix < size and special(rules, codes, low + prefix, high):
            low += prefix
            ends[count] = low
            count += 1
            break
        suffix = _suffix(rules, codes, low + prefix, high)
        if suffix:
            stack[suffixes] = high
            suffixes += 1
            if suffix < size and special(rules, codes, low, high - suffix):
                high -= suffix
                break
            high -= suffix
        if prefix:
            low += prefix
            ends[count] = low
            count += 1
    if low < high:
        count = _middle(rules, codes, low, high, ends, count)
    while suffixes:
        suffixes -= 1
        ends[count] = stack[suffixes]
        count += 1
    return count


@compiled(_int(CODES, _int, _int))
def _winner(marks: Any, first: int, count: int) -> int:
    """How many tokens the match takes that starts at `first` and that no other one keeps out; 0 where there is none."""
    for tokens in range(LONGEST, 0, -1):
        if not marks[first] >> (tokens - 1) & 1:
            continue
        final = first + tokens - 1
        free = True
        for other in range(max(0, first - LONGEST), min(count, final + 1)):
            for length in range(tokens, LONGEST + 1):
                if marks[other] >> (length - 1) & 1 and (length > tokens or other < first):
                    free &= not (other <= first < other + length) and not (other <= final < other + length)
        return tokens if free else 0
    return 0


@compiled(_types.Tuple((_int, _bool))(RULES, CODES, CODES, CODES, _int, CODES, CODES))
def regroup(rules: Any, codes: Any, borders: Any, ends: Any, count: int, marks: Any, out: Any) -> tuple[int, bool]:
    """Special cases found again among the tokens that end at ends[:count], written to `out`; answers their number and whether any changed.

    Of matches that overlap the longer wins, then the earlier; it wins even where it runs over the border of a chunk (borders[position]
    is 1) and so changes nothing. `marks` is scratch of the size of `ends`.
    """
    any_match = False
    start = 0
    for first in range(count):
        marks[first] = 0
        mask = 0
        marked = start + 1 < ends[count - 1] and rules[PAIR + (codes[start] * 31 + codes[start + 1]) % PAIRS]
        for last in range(first, count if marked else first):
            length = ends[last] - start
            if length > LONGEST:
                break
            mask |= 1 << (length - 1)
            place = special(rules, codes, start, ends[last])
            if place and rules[place + 2] == mask:
                marks[first] |= 1 << (last - first)
                any_match = True
        start = ends[first]
    if not any_match:
        return 0, False
    made, changed, first, start, end = 0, False, 0, 0, 0
    while first < count:
        tokens = _winner(marks, first, count)
        if tokens:
            end = ends[first + tokens - 1]
            for position in range(start + 1, end):
                if borders[position]:
                    tokens = 0
        if tokens:
            place = special(rules, codes, start, end)
            changed |= rules[place + 1] != rules[place + 2]
            made = _cut(rules[place + 1], start, out, made)
        else:
            tokens = 1
            out[made] = ends[first]
            made += 1
        first += tokens
        start = ends[first - 1]
    return made, changed
