"""All signals of the profile `fineweb@datatrove-0.10`, of every document, whatever a policy will decide."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lilong.floors.corpus.curation.texts import Texts

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from lilong.floors.corpus.curation.words import Tokens, Vocabulary

PROFILE = "fineweb@datatrove-0.10"
_TOP, _REPEATED = (2, 3, 4), (5, 6, 7, 8, 9, 10)

COLUMNS: Mapping[str, str] = {
    "gopher_characters": "code points of the text",
    "gopher_dup_paragraph_fraction": "paragraphs that occurred before in the text",
    "gopher_dup_paragraph_char_fraction": "characters of such paragraphs, of those of the text",
    "gopher_dup_line_fraction": "lines (parted by line feeds, however many) that occurred before",
    "gopher_dup_line_char_fraction": "characters of such lines, of those of the text",
    **{f"gopher_top_{n}gram_fraction": f"characters of the most frequent {n}-gram of words times its count" for n in _TOP},
    **{f"gopher_dup_{n}gram_fraction": f"characters of words in {n}-grams that occurred before" for n in _REPEATED},
    "gopher_words": "words as spaCy's English tokeniser parts them",
    "gopher_plain_words": "words that are not punctuation alone",
    "gopher_mean_word_length": "characters per word that is not punctuation alone",
    "gopher_hash_ratio": "signs # per word",
    "gopher_ellipsis_ratio": "ellipses per word",
    "gopher_bullet_line_fraction": "lines that start with • or -",
    "gopher_ellipsis_line_fraction": "lines that end with an ellipsis",
    "gopher_letter_word_fraction": "words with a letter",
    "gopher_stop_words": "how many of the, be, to, of, and, that, have, with occur",
    "c4_lines": "lines of the text",
    "c4_kept_lines": "lines that C4's line rules keep",
    "c4_long_word_lines": "lines dropped for a word of more than 1,000 characters",
    "c4_few_word_lines": "lines dropped for fewer than 3 words",
    "c4_javascript_lines": "lines dropped because they name javascript",
    "c4_policy_lines": "lines dropped for a phrase of policies (terms of use, uses cookies, ...)",
    "c4_lorem_ipsum_lines": "lines not yet dropped that name lorem ipsum",
    "c4_lorem_ipsum_first": "how many of these come before the first line with {",
    "c4_bracket_lines": "lines not yet dropped that hold {",
    "c4_sentences": "sentences of the kept lines",
    "fineweb_characters": "code points of the text that C4's line rules leave; all below are about it",
    "fineweb_words": "words",
    "fineweb_lines": "lines that are not blank",
    "fineweb_ended_line_fraction": "lines that end with a terminal sign",
    "fineweb_short_line_fraction": "lines of at most 30 characters",
    "fineweb_dup_line_char_fraction": "characters of lines that occurred before, of those of all lines",
    "fineweb_line_feed_ratio": "line feeds per word",
}
"""Signal → what it counts. A ratio of nothing to nothing is NaN, which no rule holds for."""


@dataclass(frozen=True, slots=True)
class Measured:
    """The signals, each with one entry per document, and the texts that C4's line rules leave: the output where a document is kept."""

    columns: dict[str, npt.NDArray[Any]]
    rewritten: Texts


def measure(texts: Texts, tokens: Tokens, vocabulary: Vocabulary) -> Measured:
    """Of n documents and their words. `vocabulary` parts the lines that change when citations are taken out of them."""
    from lilong.floors.corpus.curation.fineweb import lines, repetition, rewriting

    words = dict(zip(repetition.COLUMNS, repetition.measure(texts, tokens).T, strict=True))
    signs = dict(zip(lines.SIGNS, lines.signs(texts).T, strict=True))
    copies = dict(zip(lines.COPIES, lines.copies(texts).T, strict=True))
    rewritten, c4_counts = rewriting.rewrite(texts, tokens, vocabulary)
    c4 = dict(zip(rewriting.COLUMNS, c4_counts.T, strict=True))
    left = dict(zip(lines.LEFT, lines.left(rewritten).T, strict=True))
    return Measured({**_gopher(words, signs, copies), **_c4(c4), **_fineweb(c4, left)}, rewritten)


Counts = dict[str, Any]


def _ratio(part: npt.NDArray[np.int64], whole: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """As Python divides whole numbers: the nearest double."""
    import numpy as np

    with np.errstate(invalid="ignore", divide="ignore"):
        return np.true_divide(part, whole)


def _gopher(words: Counts, signs: Counts, copies: Counts) -> dict[str, npt.NDArray[Any]]:
    size, count = copies["characters"], words["words"]
    return {
        "gopher_characters": size,
        "gopher_dup_paragraph_fraction": _ratio(copies["repeated_paragraphs"], copies["paragraphs"]),
        "gopher_dup_paragraph_char_fraction": _ratio(copies["repeated_paragraph_characters"], size),
        "gopher_dup_line_fraction": _ratio(copies["repeated_segments"], copies["segments"]),
        "gopher_dup_line_char_fraction": _ratio(copies["repeated_segment_characters"], size),
        **{f"gopher_top_{n}gram_fraction": _ratio(words[f"top_{n}"], size) for n in _TOP},
        **{f"gopher_dup_{n}gram_fraction": _ratio(words[f"repeated_{n}"], size) for n in _REPEATED},
        "gopher_words": count,
        "gopher_plain_words": words["plain_words"],
        "gopher_mean_word_length": _ratio(words["plain_characters"], words["plain_words"]),
        "gopher_hash_ratio": _ratio(signs["hashes"], count),
        "gopher_ellipsis_ratio": _ratio(signs["ellipses"], count),
        "gopher_bullet_line_fraction": _ratio(signs["bullet_lines"], signs["lines"]),
        "gopher_ellipsis_line_fraction": _ratio(signs["ellipsis_lines"], signs["lines"]),
        "gopher_letter_word_fraction": _ratio(words["letter_words"], count),
        "gopher_stop_words": words["stop_words"],
    }


def _c4(c4: Counts) -> dict[str, npt.NDArray[Any]]:
    return {name: c4[name.removeprefix("c4_")] for name in COLUMNS if name.startswith("c4_")}


def _fineweb(c4: Counts, left: Counts) -> dict[str, npt.NDArray[Any]]:
    return {
        "fineweb_characters": left["characters"],
        "fineweb_words": c4["words"],
        "fineweb_lines": left["lines"],
        "fineweb_ended_line_fraction": _ratio(left["ended_lines"], left["lines"]),
        "fineweb_short_line_fraction": _ratio(left["short_lines"], left["lines"]),
        "fineweb_dup_line_char_fraction": _ratio(left["repeated_line_characters"], left["characters"] - left["line_feeds"]),
        "fineweb_line_feed_ratio": _ratio(left["line_feeds"], c4["words"]),
    }
