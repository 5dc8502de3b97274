"""Passages that occur again, word for word, anywhere in other documents or later in the same one (Lee et al. 2022, section 4.1).

All suffixes of all texts are sorted (libdivsufsort through pydivsufsort, an optional package); suffixes that share their first `least` bytes
lie side by side, and all but the first of them in the order of the texts mark a repeated passage. Texts to compare are given in an
order of their own choosing (sorted by id, the answer does not depend on how they came), at most 2 GiB at once; that takes about
17 bytes of memory for each byte.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from lilong.floors.corpus.curation.texts import Texts
from lilong.ground.errors import BadInput, TooLarge, Unavailable

if TYPE_CHECKING:
    import pyarrow as pa

LEAST = 100
_MOST = (1 << 31) - 1


class NoSuffixArrays(Unavailable):
    """Repeated passages cannot be looked for: the package pydivsufsort is not installed. Run `pip install 'lilong[passages]'`, or leave this step out."""


def check(least: int = LEAST) -> None:
    """Raises what `spans` would raise before it looks at any text."""
    if least < 2:
        raise BadInput(field="least", problem=f"{least} is not a length of a passage", way_out="Give a number of bytes from 2.")
    _library()


def spans(texts: Texts, least: int = LEAST) -> pa.Table:
    """Repeated passages of `least` bytes or more: (document, start, end, of, at), whole characters, ascending.

    Bytes [start, end) of `document` occurred before; at its start, in document `of` from byte `at` on. Passages that overlap or touch
    are one. The first occurrence of anything is never marked, so removing all spans leaves one of each. Raises NoSuffixArrays, TooLarge.
    """
    import pyarrow as pa

    from lilong.floors.corpus.curation.dedup import kernels

    if least < 2:
        raise BadInput(field="least", problem=f"{least} is not a length of a passage", way_out="Give a number of bytes from 2.")
    joined, starts = _joined(texts)
    first = np.full(len(joined), -1, np.int32)
    if len(joined) > least:
        suffixes, shared = _suffixes(joined)
        kernels.repeated(suffixes, shared, starts, least, first)
    found = np.empty((len(joined) // least + 1, 5), np.int64)
    count = kernels.passages(joined, first, starts, least, found)
    names = ("document", "start", "end", "of", "at")
    return pa.table({name: pa.array(np.ascontiguousarray(found[:count, column])) for column, name in enumerate(names)})


def without(texts: Texts, found: pa.Table) -> Texts:
    """The texts without the passages of `spans`."""
    from lilong.floors.corpus.curation.dedup import kernels

    document, start, end = (np.asarray(found.column(name)) for name in ("document", "start", "end"))
    base = texts.offsets[document]
    cuts = np.ascontiguousarray(np.stack([base + start, base + end, base + end], axis=1).reshape(-1, 3))
    bounds = np.searchsorted(document, np.arange(len(texts) + 1))
    out, offsets = np.empty(texts.bytes, np.uint8), np.zeros(len(texts) + 1, np.int64)
    kernels.cut(texts.data, texts.offsets, cuts, bounds, out, offsets)
    return Texts(out[: offsets[-1]], offsets)


def _joined(texts: Texts) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]:
    """The texts with a byte 0xFF behind each, which UTF-8 never has; and where each begins."""
    size = texts.bytes + len(texts)
    if size > _MOST:
        raise TooLarge(what="What is compared at once", size=size, limit=_MOST)
    sizes = np.diff(texts.offsets)
    starts = np.concatenate([[0], np.cumsum(sizes + 1)])
    joined = np.full(size, 0xFF, np.uint8)
    for row in range(len(texts)):
        joined[starts[row] : starts[row] + sizes[row]] = texts.data[texts.offsets[row] : texts.offsets[row + 1]]
    return joined, starts


def _suffixes(joined: npt.NDArray[np.uint8]) -> tuple[Any, Any]:
    """The suffix array, and of each suffix how many bytes it shares with the next one in it."""
    pydivsufsort = _library()
    suffixes = pydivsufsort.divsufsort(joined)
    return np.ascontiguousarray(suffixes, np.int32), np.ascontiguousarray(pydivsufsort.kasai(joined, suffixes), np.int32)


def _library() -> Any:
    try:
        return import_module("pydivsufsort")
    except ImportError as missing:
        raise NoSuffixArrays() from missing
