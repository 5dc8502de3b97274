"""Function characters: the few that any Chinese prose has, as Gopher asks English prose for its stop words."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from numba import types

from lilong.floors.corpus.curation.characters import BYTES, OFFSETS, array, decode
from lilong.floors.corpus.curation.compiling import compiled

if TYPE_CHECKING:
    from lilong.floors.corpus.curation.texts import Texts

FUNCTION_CHARACTERS = "的了是不在有和与及或为以于之其而也者这中可将对能"


@compiled(types.void(BYTES, OFFSETS, array(types.uint8), array(types.int64)))
def _function_characters(data: Any, offsets: Any, wanted: Any, out: Any) -> None:
    for document in range(len(offsets) - 1):
        at, end, found = offsets[document], offsets[document + 1], 0
        while at < end:
            code, at = decode(data, at, end)
            if 0x4E00 <= code < 0xA000 and wanted[code - 0x4E00]:
                found |= 1 << wanted[code - 0x4E00]
        while found:
            out[document] += 1
            found &= found - 1


def function_characters(texts: Texts) -> npt.NDArray[np.int64]:
    """(n,): how many different ones of FUNCTION_CHARACTERS each text has."""
    wanted = np.zeros(0xA000 - 0x4E00, np.uint8)
    for number, character in enumerate(FUNCTION_CHARACTERS, 1):
        wanted[ord(character) - 0x4E00] = number
    out = np.zeros(len(texts), np.int64)
    _function_characters(texts.data, texts.offsets, wanted, out)
    return out
