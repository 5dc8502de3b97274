"""The recipe of `english.json`: what spaCy's English tokenizer and datatrove ask of single characters, and spaCy's special cases.

    python -m lilong.floors.corpus.curation.words.record          (where spacy and datatrove are installed; both are MIT or Apache-2.0)

Every character class is found by asking the compiled patterns about every code point, not by reading their sources. Pieces of the
patterns that are longer than one character are written out in `affixes.py`; a spaCy that has others is refused here.
"""

from __future__ import annotations

import json
import re
import sys
import unicodedata
from collections.abc import Callable, Iterable
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import Any

OUT = Path(__file__).with_name("english.json")
_CODES = [code for code in range(0x110000) if not 0xD800 <= code < 0xE000]
_PREFIXES = {r"\+(?![0-9])", r"\.\.+", r"US\$", r"C\$", r"A\$", "……"}
_SUFFIXES = {"……", r"\.\.+", "'s", "'S", "’s", "’S", r"(?<=[0-9])\+", r"(?<=°[FfCcKk])\."}
_HYPHENS = "-|–|—|--|---|——|~"


def ranges(codes: Iterable[int]) -> str:
    """'9-d 20': runs of code points in hexadecimal."""
    runs: list[list[int]] = []
    for code in codes:
        if runs and code == runs[-1][1] + 1:
            runs[-1][1] = code
        else:
            runs.append([code, code])
    return " ".join(f"{first:x}" if first == last else f"{first:x}-{last:x}" for first, last in runs)


def _single(piece: str) -> bool:
    return len(piece) <= 1 or (len(piece) == 2 and piece[0] == "\\") or (piece[0] == "[" and piece[-1] == "]" and "[" not in piece[1:])


def check_pieces() -> list[str]:
    """Refuse a spaCy whose patterns are of another shape than `affixes.py` knows. Answers the units that stand after a digit."""
    punctuation, english = import_module("spacy.lang.punctuation"), import_module("spacy.lang.en.punctuation")
    hyphens = import_module("spacy.lang.char_classes").HYPHENS
    odd = {piece for piece in punctuation.TOKENIZER_PREFIXES if not _single(piece)} ^ _PREFIXES
    suffixes = {piece for piece in punctuation.TOKENIZER_SUFFIXES if not _single(piece)} - _SUFFIXES
    alternatives = [piece[len("(?<=[0-9])(?:") : -1] for piece in suffixes if piece.startswith("(?<=[0-9])(?:")]
    stops = sorted(piece for piece in suffixes if piece.endswith(r"])\."))
    infixes = [piece for piece in english.TOKENIZER_INFIXES if not _single(piece)]
    ends = [r"\.\.+", "[+\\-\\*^](?=[0-9-])", r")\.(?=[", "),(?=[", f")(?:{_HYPHENS})(?=[", ")[:<>=/](?=["]
    if odd or len(suffixes) != 4 or len(alternatives) != 2 or len(stops) != 2 or hyphens != _HYPHENS:
        raise SystemExit(f"spaCy's affix patterns are not those that affixes.py knows: {odd or suffixes}")
    if len(infixes) != len(ends) or not all(end in piece for end, piece in zip(ends, infixes, strict=True)):
        raise SystemExit("spaCy's infix patterns are not those that affixes.py knows")
    units = {re.sub(r"\\(.)", r"\1", unit) for joined in alternatives for unit in joined.split("|")}
    return sorted(units - {""})


def classes(tokenizer: Any, units: list[str]) -> dict[str, str]:
    """Class name → the code points in it (the names are those of `rules.BITS`)."""
    punctuation = import_module("datatrove.utils.text").PUNCTUATION_SET
    sentence_ends = set(import_module("spacy.pipeline").Sentencizer.default_punct_chars)
    prefix, suffix, infix, url = tokenizer.prefix_search, tokenizer.suffix_search, tokenizer.infix_finditer, tokenizer.url_match

    def infixed(text: str) -> bool:
        return any(found.span() == (1, 2) for found in infix(text))

    ends = {unit[-1] for unit in units if len(unit) > 1}
    tests: dict[str, Callable[[str], bool]] = {
        "prefix": lambda c: c != "+" and prefix(c) is not None,
        "suffix": lambda c: suffix(c) is not None,
        "infix": lambda c: next(infix(c), None) is not None,
        "alpha": lambda c: infixed(f"{c},a"),
        "before_dot": lambda c: infixed(f"{c}.A"),
        "after_dot": lambda c: infixed(f"a.{c}"),
        "upper": lambda c: suffix(f"{c}A.") is not None,
        "before_end_dot": lambda c: (found := suffix(f"{c}.")) is not None and found.start() == 1,
        "after_digit": lambda c: (found := suffix(f"0{c}")) is not None and found.start() == 1 and suffix(c) is None,
        "host": lambda c: url(f"{c}.aa") is not None,
        "top": lambda c: url(f"a.{c}{c}") is not None,
        "scheme": lambda c: url(f"{c}{c}://a.aa") is not None,
        "decimal": lambda c: url(f"a.aa:{c}{c}") is not None,
        "letter": str.isalpha,
        "wordy": lambda c: c not in punctuation,
        "punctuation": lambda c: unicodedata.category(c).startswith("P"),
        "sentence_end": sentence_ends.__contains__,
        "unit_end": ends.__contains__,
    }  # fmt: skip
    visible = [code for code in _CODES if not chr(code).isspace()]
    found = {name: ranges(code for code in visible if test(chr(code))) for name, test in tests.items()}
    return {"space": ranges(code for code in _CODES if chr(code).isspace()), **found}


def specials(tokenizer: Any) -> list[list[Any]]:
    """[text, lengths of its tokens, lengths of the tokens in which it is found again after affixes are split, or null]."""
    orth = import_module("spacy.symbols").ORTH
    plain = type(tokenizer)(
        tokenizer.vocab, {}, tokenizer.prefix_search, tokenizer.suffix_search, tokenizer.infix_finditer, None, tokenizer.url_match
    )
    rows: list[list[Any]] = []
    for text, tokens in sorted(tokenizer.rules.items()):
        if any(character.isspace() for character in text):
            continue
        found_again = tokenizer.find_prefix(text) or tokenizer.find_infix(text) or tokenizer.find_suffix(text)
        split = [len(token[orth]) for token in tokens]
        rows.append([text, split, [len(token.text) for token in plain(text)] if found_again else None])
    return rows


def main() -> None:
    spacy = import_module("spacy")
    tokenizer = spacy.blank("en").tokenizer
    if tokenizer.token_match is not None:
        raise SystemExit("this spaCy has a token_match, which affixes.py does not know")
    units = check_pieces()
    rules = {
        "source": f"spaCy {spacy.__version__} (MIT), datatrove {version('datatrove')} (Apache-2.0), Unicode {unicodedata.unidata_version}, Python {sys.version.split()[0]}",
        "classes": classes(tokenizer, units),
        "units": [unit for unit in units if len(unit) > 1],
        "specials": specials(tokenizer),
    }
    lines = [f"{json.dumps(key)}: {json.dumps(value, ensure_ascii=True, separators=(',', ':'))}" for key, value in rules.items()]
    OUT.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="ascii")


if __name__ == "__main__":
    main()
