"""The profile `lilong-text-1`: the numbers per document that a policy may look at.

The fractions follow the ideas of Rae et al. 2021 (Gopher, appendix A1) and of C4, over this project's own tokens, so their values
are close to, but never the same as, those of other tools; hence a name of its own.
"""

from __future__ import annotations

PROFILE = "lilong-text-1"
NGRAMS_TOP = (2, 3, 4)
NGRAMS_DUP = (5, 6, 7, 8, 9, 10)

SIGNALS: dict[str, str] = {
    "bytes": "UTF-8 bytes",
    "characters": "Unicode code points",
    "words": "tokens: runs of letters and digits; each Han or kana character is one",
    "lines": "lines that are not blank",
    "paragraphs": "runs of lines that are not blank",
    "letter_fraction": "letters among visible characters",
    "digit_fraction": "digits among visible characters",
    "punctuation_fraction": "punctuation among visible characters",
    "symbol_fraction": "symbols among visible characters",
    "blank_fraction": "blanks among all characters",
    "upper_fraction": "capital letters among letters",
    "han_fraction": "Han characters among letters",
    "control_characters": "control characters other than tab and line ends",
    "replacement_characters": "U+FFFD, which a wrong decoding leaves",
    "mean_line_length": "characters per line",
    "longest_line": "characters",
    "short_line_fraction": "lines of fewer than 30 characters",
    "bullet_line_fraction": "lines that start with a bullet",
    "ellipsis_line_fraction": "lines that end with an ellipsis",
    "ended_line_fraction": "lines that end with a closing mark such as a full stop",
    "dup_line_fraction": "lines that occurred before in the document",
    "dup_line_char_fraction": "visible characters in such lines",
    "dup_paragraph_fraction": "paragraphs that occurred before in the document",
    "dup_paragraph_char_fraction": "visible characters in such paragraphs",
    "mean_word_length": "characters per token",
    "longest_word": "characters",
    "unique_word_fraction": "distinct tokens among tokens",
    **{f"top_{n}gram_fraction": f"token characters in the weightiest repeated {n}-gram" for n in NGRAMS_TOP},
    **{f"dup_{n}gram_fraction": f"token characters in {n}-grams that occurred before" for n in NGRAMS_DUP},
    "language_score": "how sure the language identification is",
}
"""Every numeric signal of the profile and what it means."""
