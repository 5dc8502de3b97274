"""The profile `docs`: technical documentation in any language.

Filters tuned on web pages drop three of four good manuals: manuals are short, list options, repeat names and end few lines with a full stop.
`docs.toml` beside this file is the policy; its limits were set by looking at what they drop, source by source.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from lilong.floors.corpus.curation import characters as kinds
from lilong.floors.corpus.curation.layout import layout, share
from lilong.floors.corpus.curation.marks import encoded, phrases
from lilong.floors.corpus.curation.repetition import repetition

if TYPE_CHECKING:
    from lilong.floors.corpus.curation.texts import Texts

PROFILE = "docs"
POLICY = Path(__file__).with_name("docs.toml")
TOP, DUPLICATE = (2, 3, 4), (5, 10)

COLUMNS = {
    "bytes": "UTF-8 bytes",
    "characters": "code points",
    "tokens": "runs of letters and digits; a Han or kana character is one",
    "letter_share": "letters of any script among visible characters",
    "digit_share": "digits among visible characters",
    "mark_share": "punctuation and symbols among visible characters",
    "control_characters": "control characters other than tab and line ends",
    "private_share": "private-use characters and U+FFFD among visible characters: what a wrong decoding or an icon font leaves",
    "mean_token_length": "characters per token",
    "unique_token_share": "different tokens among tokens",
    "lines": "lines with something visible",
    "mean_line_length": "visible characters per line",
    "longest_line": "code points",
    "short_line_share": "lines narrower than 30 columns",
    "list_line_share": "lines that begin with a bullet or a number",
    "ended_line_share": "lines that end with a closing mark",
    "nav_line_share": "short lines that are neither indented nor a list nor ended: titles, menus, indexes",
    "code_line_share": "lines that begin or end as code does",
    "numeric_line_share": "lines with four digits or more, and more of them than letters",
    "ellipsis_line_share": "lines that end with an ellipsis",
    "sentences": "sentences, by 。！？ and by .!? before a blank",
    "dup_line_share": "lines that occurred before in the text",
    "dup_line_character_share": "visible characters in such lines",
    "dup_paragraph_character_share": "visible characters in paragraphs that occurred before",
    "encoded_share": "bytes in runs of base64, hexadecimal or \\u escapes",
    "stub_marks": "different phrases that say there is no text here: redirects, missing pages, pages to be written",
    **{f"top_{n}gram_share": f"token characters in the weightiest repeated {n}-gram" for n in TOP},
    **{f"dup_{n}gram_share": f"token characters in {n}-grams that occurred before" for n in DUPLICATE},
}

STUBS = (
    "lorem ipsum", "page not found", "404 not found", "this page has moved", "this page was moved", "you will be redirected", "enable javascript",
    "javascript is disabled", "page intentionally left blank", "this section is empty", "this page is under construction",
)  # fmt: skip


def measure(texts: Texts) -> dict[str, npt.NDArray[Any]]:
    """The columns COLUMNS."""
    counted, lines, repeated = kinds.counts(texts), layout(texts), repetition(texts, TOP, DUPLICATE)
    c = {name: counted[:, number] for number, name in enumerate(kinds.CLASSES)}
    visible, size = lines["visible"], np.diff(texts.offsets)
    values: dict[str, npt.NDArray[Any]] = {
        "bytes": size,
        "characters": lines["characters"],
        "tokens": repeated[:, 0].astype(np.int64),
        "letter_share": share(c["latin"] + c["letter"] + c["han"] + c["kana"] + c["hangul"], visible),
        "digit_share": share(c["digit"], visible),
        "mark_share": share(c["ascii_mark"] + c["wide_mark"] + c["mark"] + c["symbol"], visible),
        "control_characters": c["control"],
        "private_share": share(c["private"], visible),
        "mean_token_length": share(repeated[:, 1], repeated[:, 0]),
        "unique_token_share": share(repeated[:, 2], repeated[:, 0]),
        "lines": lines["lines"],
        "mean_line_length": share(visible, lines["lines"]),
        "longest_line": lines["longest_line"],
        "sentences": lines["sentences"],
        "dup_line_character_share": share(lines["dup_line_characters"], visible),
        "dup_paragraph_character_share": share(lines["dup_paragraph_characters"], visible),
        "encoded_share": share(encoded(texts)[:, 0], size),
        "stub_marks": phrases(texts, STUBS, 2_000),
    }
    for name in ("short", "list", "ended", "nav", "code", "numeric", "ellipsis", "dup"):
        values[f"{name}_line_share"] = share(lines[f"{name}_lines"], lines["lines"])
    for column, n in enumerate((*TOP, *DUPLICATE)):
        kind = "top" if column < len(TOP) else "dup"
        values[f"{kind}_{n}gram_share"] = np.round(repeated[:, 3 + column], 6)
    return {name: values[name] for name in COLUMNS}
