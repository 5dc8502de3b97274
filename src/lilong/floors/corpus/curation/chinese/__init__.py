"""The profile `gopher-zh`: Chinese text measured by characters and lines, after the ideas of Gopher (Rae et al. 2021, appendix A1).

No words are parted: a segmenter is slow, and two of them disagree. `gopher-zh.toml` beside this file is the policy, with the reason for
each limit.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from lilong.floors.corpus.curation import characters as kinds
from lilong.floors.corpus.curation.chinese.function_characters import function_characters
from lilong.floors.corpus.curation.layout import layout, share
from lilong.floors.corpus.curation.repetition import repetition

if TYPE_CHECKING:
    from lilong.floors.corpus.curation.texts import Texts

PROFILE = "gopher-zh"
POLICY = Path(__file__).with_name("gopher-zh.toml")
TOP, DUPLICATE = (3, 5, 6), (8, 10, 12, 16)
"""Lengths of n-grams in tokens. Gopher looks at 2 to 4 and 5 to 10 words; a Chinese word has 1.6 characters on average."""

COLUMNS = {
    "bytes": "UTF-8 bytes",
    "characters": "code points",
    "han_characters": "Han characters",
    "han_share": "Han among visible characters",
    "latin_share": "Latin letters among visible characters",
    "digit_share": "digits among visible characters",
    "punctuation_share": "punctuation among visible characters",
    "symbol_share": "symbols other than ASCII ones among visible characters",
    "wide_form_share": "full-width letters and digits among all letters and digits",
    "half_width_share": "half-width marks among the marks right after a Han character",
    "spaced_han_share": "Han characters that a single blank parts from the one before",
    "traditional_share": "traditional among the Han characters that tell traditional from simplified",
    "control_characters": "control characters other than tab and line ends",
    "private_share": "private-use characters and U+FFFD among visible characters: what a wrong decoding or an icon font leaves",
    "lines": "lines with something visible",
    "mean_line_length": "visible characters per line",
    "longest_line": "code points",
    "short_line_share": "lines narrower than 30 columns",
    "list_line_share": "lines that begin with a bullet or a number",
    "ended_line_share": "lines that end with a closing mark",
    "nav_line_share": "short lines that are neither indented nor a list nor ended: titles, menus, link lists",
    "ellipsis_line_share": "lines that end with an ellipsis",
    "dup_line_share": "lines that occurred before in the text",
    "dup_line_character_share": "visible characters in such lines",
    "dup_paragraph_share": "paragraphs that occurred before",
    "dup_paragraph_character_share": "visible characters in such paragraphs",
    "sentences": "sentences, by 。！？ and by .!? before a blank",
    "mean_sentence_length": "visible characters per sentence; all of them where no sentence ends",
    "function_characters": "different ones of 24 function characters (的 了 是 … 之 其 而), which any prose has",
    "unique_token_share": "different tokens among tokens (a Han character is one, so is a run of other letters)",
    **{f"top_{n}gram_share": f"token characters in the weightiest repeated {n}-gram" for n in TOP},
    **{f"dup_{n}gram_share": f"token characters in {n}-grams that occurred before" for n in DUPLICATE},
}


def measure(texts: Texts) -> dict[str, npt.NDArray[Any]]:
    """The columns COLUMNS."""
    counted, lines, repeated = kinds.counts(texts), layout(texts), repetition(texts, TOP, DUPLICATE)
    c = {name: counted[:, number] for number, name in enumerate((*kinds.CLASSES, "simplified", "traditional"))}
    visible = lines["visible"]
    marks = c["ascii_mark"] + c["wide_mark"] + c["mark"]
    plain = c["latin"] + c["letter"] + c["digit"] + c["wide_form"]
    values: dict[str, npt.NDArray[Any]] = {
        "bytes": np.diff(texts.offsets),
        "characters": lines["characters"],
        "han_characters": c["han"],
        "han_share": share(c["han"], visible),
        "latin_share": share(c["latin"], visible),
        "digit_share": share(c["digit"], visible),
        "punctuation_share": share(marks, visible),
        "symbol_share": share(c["symbol"], visible),
        "wide_form_share": share(c["wide_form"], plain),
        "half_width_share": share(lines["half_width_after_han"], lines["half_width_after_han"] + lines["wide_after_han"]),
        "spaced_han_share": share(lines["spaced_han"], c["han"]),
        "traditional_share": share(c["traditional"], c["simplified"] + c["traditional"]),
        "control_characters": c["control"],
        "private_share": share(c["private"], visible),
        "lines": lines["lines"],
        "mean_line_length": share(visible, lines["lines"]),
        "longest_line": lines["longest_line"],
        "dup_paragraph_share": share(lines["dup_paragraphs"], lines["paragraphs"]),
        "dup_line_character_share": share(lines["dup_line_characters"], visible),
        "dup_paragraph_character_share": share(lines["dup_paragraph_characters"], visible),
        "sentences": lines["sentences"],
        "mean_sentence_length": share(visible, np.maximum(lines["sentences"], 1)),
        "function_characters": function_characters(texts),
        "unique_token_share": share(repeated[:, 2], repeated[:, 0]),
    }
    for name in ("short", "list", "ended", "nav", "ellipsis", "dup"):
        values[f"{name}_line_share"] = share(lines[f"{name}_lines"], lines["lines"])
    for column, n in enumerate(TOP):
        values[f"top_{n}gram_share"] = np.round(repeated[:, 3 + column], 6)
    for column, n in enumerate(DUPLICATE):
        values[f"dup_{n}gram_share"] = np.round(repeated[:, 3 + len(TOP) + column], 6)
    return {name: values[name] for name in COLUMNS}
