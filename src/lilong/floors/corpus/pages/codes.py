"""Words for the codes that stand in tables: steps, reasons, signals and measures. A page shows them beside the code, which is what a policy,
a filter or a program calls it; codes of somebody's own policy or classifier stand alone."""

from __future__ import annotations

import re
from collections.abc import Callable

WORDS = {
    # steps
    "length": "length", "encoding": "encoding", "text": "what it is made of", "index": "indexes and menus", "repetition": "repetition",
    "script": "script", "quality": "quality", "lines": "lines", "data": "data", "duplicates": "duplicates", "recipe": "left out by the recipe",
    "takedown": "takedown", "reading": "reading", "personal": "personal data", "gopher-repetition": "Gopher: repetition",
    "gopher-quality": "Gopher: quality", "c4-quality": "C4: quality", "fineweb-quality": "FineWeb: quality",
    # reasons why a file gave no document
    "excluded-path": "its path is left out", "limit": "more than the source's limit", "too-large": "too large", "licence": "licence",
    "taken-down": "taken down", "unreadable": "cannot be read", "unknown-format": "in no known format", "not-utf-8": "not UTF-8",
    "binary": "no text but binary data", "redirect": "only leads elsewhere", "empty": "no text",
    # reasons of every profile
    "exact_duplicate": "exact copy", "near_duplicate": "near duplicate", "too_short": "too short", "too_few_tokens": "too few tokens",
    "too_many_lines": "too many lines", "private_share": "characters that a wrong decoding leaves", "control_characters": "control characters",
    "stub": "only says that there is no text", "few_letters": "few letters", "long_tokens": "very long words",
    "numeric_lines": "mostly lines of numbers", "encoded": "encoded data", "no_sentences": "no sentences",
    "nav_lines": "mostly titles and menus", "list_lines": "mostly list items", "ellipsis_lines": "many lines end with an ellipsis",
    "long_lines": "long lines", "long_encoded_run": "a long run of encoded data", "generated": "written by a program",
    "too_few_han_characters": "too few Han characters", "too_many_han_characters": "too many Han characters", "little_han": "little Han",
    "spaced_han": "a blank after each Han character", "little_punctuation": "little punctuation", "much_punctuation": "much punctuation",
    "many_symbols": "many symbols", "many_digits": "many digits", "few_function_characters": "few function characters",
    "long_sentences": "long sentences", "few_ended_lines": "few lines end with punctuation",
    # reasons of datatrove
    "dup_para_frac": "repeated paragraphs", "dup_para_char_frac": "characters in repeated paragraphs", "dup_line_frac": "repeated lines",
    "dup_line_char_frac": "characters in repeated lines", "gopher_short_doc": "too few words", "gopher_long_doc": "too many words",
    "gopher_below_avg_threshold": "short words on average", "gopher_above_avg_threshold": "long words on average",
    "gopher_too_many_hashes": "many # signs", "gopher_too_many_ellipsis": "many ellipses", "gopher_too_many_bullets": "mostly list items",
    "gopher_too_many_end_ellipsis": "many lines end with an ellipsis", "gopher_below_alpha_threshold": "few words with letters",
    "gopher_enough_stop_words": "too few of the most common words", "lorem_ipsum": "filler text", "curly_bracket": "curly brackets",
    "too_few_sentences": "too few sentences", "line_punct_ratio": "few lines end with punctuation", "short_line_ratio": "mostly short lines",
    "char_dup_ratio": "characters in repeated lines", "list_ratio": "many line breaks for its words",
    # signals
    "language": "language", "language_score": "how sure the language is", "chinese_script": "simplified or traditional Chinese",
    "han_share": "share of Han characters", "pii_email": "e-mail addresses", "pii_ip": "IP addresses", "pii_phone": "telephone numbers",
    "pii_resident_id": "Chinese resident identity numbers", "pii_bank_card": "payment card numbers", "pii_iban": "bank account numbers",
    "pii_secret": "keys and secrets", "bytes": "bytes", "characters": "characters", "tokens": "tokens", "han_characters": "Han characters",
    "letter_share": "share of letters", "latin_share": "share of Latin letters", "alphanumeric_share": "share of letters and digits",
    "digit_share": "share of digits", "mark_share": "share of punctuation and symbols", "punctuation_share": "share of punctuation",
    "symbol_share": "share of symbols", "wide_form_share": "full-width among letters and digits",
    "half_width_share": "half-width among the marks after Han characters", "spaced_han_share": "Han characters after a single blank",
    "traditional_share": "traditional among Han characters that tell", "mean_token_length": "characters per token",
    "unique_token_share": "different ones among tokens", "mean_line_length": "characters per line", "longest_line": "longest line",
    "short_line_share": "share of short lines", "list_line_share": "share of list lines", "ended_line_share": "lines that end with punctuation",
    "nav_line_share": "share of titles and menu lines", "code_line_share": "share of lines of code",
    "indented_line_share": "share of indented lines", "numeric_line_share": "share of lines of numbers",
    "ellipsis_line_share": "lines that end with an ellipsis", "sentences": "sentences", "mean_sentence_length": "characters per sentence",
    "function_characters": "different function characters", "dup_line_share": "repeated lines",
    "dup_line_character_share": "characters in repeated lines", "dup_paragraph_share": "repeated paragraphs",
    "dup_paragraph_character_share": "characters in repeated paragraphs", "encoded_share": "share of encoded data",
    "longest_encoded": "longest run of encoded data", "stub_marks": "phrases that say there is no text",
    "generated_marks": "phrases that say a program wrote it", "licence_marks": "phrases of a licence header",
    "gopher_characters": "characters", "gopher_dup_paragraph_fraction": "repeated paragraphs",
    "gopher_dup_paragraph_char_fraction": "characters in repeated paragraphs", "gopher_dup_line_fraction": "repeated lines",
    "gopher_dup_line_char_fraction": "characters in repeated lines", "gopher_words": "words", "gopher_plain_words": "words but punctuation",
    "gopher_mean_word_length": "characters per word", "gopher_hash_ratio": "# signs per word", "gopher_ellipsis_ratio": "ellipses per word",
    "gopher_bullet_line_fraction": "share of list lines", "gopher_ellipsis_line_fraction": "lines that end with an ellipsis",
    "gopher_letter_word_fraction": "share of words with a letter", "gopher_stop_words": "different ones of the most common words",
    "c4_lines": "lines", "c4_kept_lines": "lines that C4 keeps", "c4_long_word_lines": "lines dropped for a very long word",
    "c4_few_word_lines": "lines dropped for too few words", "c4_javascript_lines": "lines dropped for javascript",
    "c4_policy_lines": "lines dropped for phrases of policies", "c4_lorem_ipsum_lines": "lines of filler text",
    "c4_lorem_ipsum_first": "lines of filler text before a curly bracket", "c4_bracket_lines": "lines with a curly bracket",
    "c4_sentences": "sentences that C4 keeps", "fineweb_characters": "characters that C4 keeps", "fineweb_words": "words that C4 keeps",
    "fineweb_lines": "lines that are not blank", "fineweb_ended_line_fraction": "lines that end with punctuation",
    "fineweb_short_line_fraction": "share of short lines", "fineweb_dup_line_char_fraction": "characters in repeated lines",
    "fineweb_line_feed_ratio": "line breaks per word",
}  # fmt: skip
_RUNS = (
    (re.compile(r"top_(\d+)gram_share|gopher_top_(\d+)gram_fraction|top_(\d+)_gram"), "characters in the most frequent run of {n} words"),
    (re.compile(r"dup_(\d+)gram_share|gopher_dup_(\d+)gram_fraction|duplicated_(\d+)_n_grams"), "characters in repeated runs of {n} words"),
)
RUNS = tuple(words for _, words in _RUNS)
MEASURES = {
    "licence": "Licence", "contributor": "Contributor", "terms": "Terms", "package": "Package", "version": "Version", "origin": "Origin",
    "retrieved_at": "Retrieved", "archive": "Archive", "digest": "Digest", "documents": "Documents kept", "bytes": "Text kept",
    "dropped": "Dropped", "files": "Files seen", "read": "Documents read", "pass_rate": "Pass rate", "exact_duplicate_share": "Exact copies",
    "near_duplicate_share": "Near duplicates", "texts": "Different texts", "personal": "Finds of personal data",
    "personal_per_mb": "Finds per MB", "bytes_p10": "Length, 10 % below", "bytes_p50": "Length, half below", "bytes_p90": "Length, 90 % below",
    "source": "Source", "uri": "Place", "language": "Language", "format": "Format", "transforms": "What was done to it",
}  # fmt: skip
"""Columns of the score card and of a document's row."""
_DETAILS = (
    (re.compile(r"the same text as (?P<what>.+)", re.DOTALL), "the same text as {what}"),
    (re.compile(r"(?P<some>\d+) of (?P<every>\d+) bands as in (?P<what>[0-9a-f]{12})[0-9a-f]*"), "{some} of {every} bands as in {what}"),
    (re.compile(r"it was taken down, or is a near duplicate of what was"), "it was taken down, or is a near duplicate of what was"),
)
DETAILS = tuple(words for _, words in _DETAILS)


def teller(translate: Callable[..., str]) -> Callable[[str], str]:
    """From a code to its words in the reader's language; '' where there are none, or they are the code itself."""

    def tell(code: str) -> str:
        if code in WORDS:
            said = translate(WORDS[code])
            return "" if said == code else said
        for pattern, words in _RUNS:
            if found := pattern.fullmatch(code):
                return translate(words, n=int(next(filter(None, found.groups()))))
        return ""

    return tell


def labeller(translate: Callable[..., str]) -> Callable[[str], str]:
    """From the name of a measure to its heading."""
    return lambda name: translate(MEASURES.get(name, name.replace("_", " ")))


def detailer(translate: Callable[..., str]) -> Callable[[str], str]:
    """From what a decision says besides its reason to the same in the reader's language. A comparison, `bytes 13 < 250`, is the same in all."""

    def tell(said: str) -> str:
        for pattern, words in _DETAILS:
            if found := pattern.fullmatch(said):
                return translate(words, **found.groupdict())
        return said

    return tell
