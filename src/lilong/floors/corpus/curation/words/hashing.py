"""The hash of a word: a polynomial over its code points modulo the Mersenne prime 2^61 - 1 (Karp and Rabin 1987).

Equal words have equal hashes; two different ones of length n share theirs with probability below n / 2^61 over the choice of BASE.
It composes: hash(a + b) = hash(a) * BASE^len(b) + hash(b), so that words can be joined without looking at their bytes again.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np

from lilong.floors.corpus.curation.compiling import compiled

signed: Any = np.int64
"""For kernels: an unsigned word as a signed one, since numba makes floats of the two together."""

MODULUS = (1 << 61) - 1
BASE = 0x0B5F_1C66_9A3D_E7F5
"""Drawn once. Every hash ever written depends on it."""

_P, _B = np.uint64(MODULUS), np.uint64(BASE)
_31, _30, _61, _1 = np.uint64(31), np.uint64(30), np.uint64(61), np.uint64(1)
_LOW31, _LOW30 = np.uint64((1 << 31) - 1), np.uint64((1 << 30) - 1)
_u64, _i64 = numba.types.uint64, numba.types.int64


@compiled(_u64(_u64, _u64))
def multiplied(a: Any, b: Any) -> Any:
    """a * b modulo 2^61 - 1, for a and b below it, in 64-bit arithmetic."""
    a_high, a_low, b_high, b_low = a >> _31, a & _LOW31, b >> _31, b & _LOW31
    middle = a_low * b_high + a_high * b_low
    total = ((a_high * b_high) << _1) + (middle >> _30) + ((middle & _LOW30) << _31) + a_low * b_low
    total = (total & _P) + (total >> _61)
    return total - _P if total >= _P else total


@compiled(_u64(_u64, _u64))
def appended(hashed: Any, code: Any) -> Any:
    """The hash of a word and one more code point. The empty word's is 0."""
    total = multiplied(hashed, _B) + code + _1
    return total - _P if total >= _P else total


@compiled(_u64(_i64))
def power(length: int) -> Any:
    """BASE^length modulo 2^61 - 1."""
    result, square = _1, _B
    while length > 0:
        if length & 1:
            result = multiplied(result, square)
        square = multiplied(square, square)
        length >>= 1
    return result


@compiled(_u64(_u64, _u64, _u64))
def joined(first: Any, second: Any, power_of_second: Any) -> Any:
    """The hash of two words written together; the third argument is `power(length of the second)` or `POWERS[...]`."""
    total = multiplied(first, power_of_second) + second
    return total - _P if total >= _P else total


def _powers(count: int) -> Any:
    powers = [1]
    for _ in range(count):
        powers.append(powers[-1] * BASE % MODULUS)
    return np.array(powers, np.uint64)


POWERS = _powers(1024)
"""BASE^0 … BASE^1024, so that words up to that length join without `power`."""


def of(word: str) -> int:
    """The hash of one word, in plain Python."""
    hashed = 0
    for character in word:
        hashed = (hashed * BASE + ord(character) + 1) % MODULUS
    return hashed
