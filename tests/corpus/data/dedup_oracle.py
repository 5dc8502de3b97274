"""Records how datatrove 0.10.1 (Apache-2.0) simplifies and signs texts, with spaCy 3.8 (MIT) for its words. Facts only, none of its code.

    python -m venv oracle && oracle/bin/pip install "datatrove==0.10.1" spacy regex orjson "xxhash<4" tokenizers
    oracle/bin/python tests/corpus/data/dedup_oracle.py facts     # src/lilong/floors/corpus/curation/dedup/english.json
    oracle/bin/python tests/corpus/data/dedup_oracle.py golden    # tests/corpus/data/dedup_golden.json

Run it with Python 3.11: the facts hold the Unicode tables of that version, so that signatures do not change with the interpreter.
"""

from __future__ import annotations

import hashlib
import json
import platform
import random
import sys
import unicodedata
from importlib.metadata import version
from pathlib import Path
from typing import Any

import regex
import spacy
from datatrove.pipeline.dedup.minhash import MinhashDedupSignature
from datatrove.utils.text import PUNCTUATION, simplify_text
from datatrove.utils.word_tokenizers import load_word_tokenizer
from spacy.lang.char_classes import UNITS
from spacy.lang.en import English

HERE = Path(__file__).parent
FACTS = HERE.parents[2] / "src/lilong/floors/corpus/curation/dedup/english.json"
CONTEXTS = (
    "{c}", "{c}{c}", "{c}{c}{c}", "a{c}", "{c}a", "a{c}a", "0{c}", "{c}0", "0{c}0", "a{c}0", "0{c}a", "中{c}中", "中{c}", "{c}中",
    "a{c}\U0001d400", "{c}{c}a", "a{c}{c}a", "0{c}{c}",
)  # fmt: skip


def ranges(codes: Any) -> list[list[int]]:
    found: list[list[int]] = []
    for code in sorted(codes):
        if found and found[-1][1] == code - 1:
            found[-1][1] = code
        else:
            found.append([code, code])
    return found


def split(nlp: English, texts: list[str]) -> list[list[str]]:
    """The words of chunks without blanks."""
    words = iter(nlp.tokenizer(" ".join(texts)))
    answers = []
    for text in texts:
        parts: list[str] = []
        while len("".join(parts)) < len(text):
            parts.append(next(words).text)
        answers.append(parts)
    return answers


def parting(nlp: English, characters: list[str], units: set[str]) -> set[str]:
    """The characters at which the tokeniser may part a word that simplification leaves, apart from units behind a digit."""
    found = set()
    for start in range(0, len(characters), 1000):
        part = characters[start : start + 1000]
        texts = [context.format(c=c) for c in part for context in CONTEXTS]
        for text, words, c in zip(texts, split(nlp, texts), [c for c in part for _ in CONTEXTS], strict=True):
            if len(words) > 1 and not (len(words) == 2 and words[0].endswith("0") and words[1] in units and text.endswith(words[1])):
                found.add(c)
    return found


def facts() -> dict[str, Any]:
    nlp = English()
    every = [chr(code) for code in range(0x110000) if not 0xD800 <= code < 0xE000]
    digits = {c for c in every if regex.fullmatch(r"\p{Nd}", c)}
    blank = {c for c in every if c.isspace() or c in PUNCTUATION} - digits
    simple = {c: simplify_text(c) for c in every}
    dropped = {c for c in every if c not in blank and not simple[c]}
    other = blank | digits | dropped | {chr(code) for code in range(0xAC00, 0xD7A4)}  # Hangul is taken apart by rule
    mapped = {c for c in every if simple[c] != c and c not in other}
    units = {unit for unit in UNITS.split("|") if simplify_text(unit) == unit and split(nlp, ["0" + unit]) == [["0", unit]]}
    left = sorted({c for c in "".join(simple.values()) if c != "0" and not "a" <= c <= "z" and unicodedata.category(c) not in ("Cn", "Co")})
    symbols = parting(nlp, left, units)
    exceptions = {text: split(nlp, [text])[0] for text in nlp.tokenizer.rules if regex.fullmatch("[a-z]+", text)}
    assert all(simplify_text("0" + c) in ("0" + simple[c], "0 " + simple[c], "0") for c in every if c not in digits and c not in ".,")
    outside = dropped - {chr(code) for code in range(0xE0100, 0xE01F0)}
    assert all(ord(c) < 0x30000 for c in outside | digits | mapped | symbols)
    return {
        "made_with": {"datatrove": version("datatrove"), "spacy": spacy.__version__, "unicode": unicodedata.unidata_version, "python": platform.python_version()},
        "digits": ranges(map(ord, digits)),
        "blanks": ranges(map(ord, blank)),
        "dropped": ranges(map(ord, outside)),
        "symbols": ranges(ord(c) for c in every if set(simple[c]) & symbols),
        "marks": ranges(ord(c) for c in every if any(unicodedata.combining(x) for x in simple[c])),
        "maps": sorted(c + simple[c] for c in mapped),
        "units": sorted(units),
        "exceptions": {text: " ".join(words) for text, words in sorted(exceptions.items()) if len(words) > 1},
    }  # fmt: skip


def nasty() -> list[str]:
    """Small texts that tempt an implementation to differ."""
    rng = random.Random(5)
    words = (  # noqa: SIM905
        "the of lantern-works harbour Cannot WON'T wont can't I'm im Id ill its they'd shouldn’t 3.14 1,000,000 1.2.3 12km 0km² 5m 10% 3°C. x0 u2 "
        "e.g. U.S. A.M. 10am 8:30pm v1.2b3 --flag=x C++ a/b and/or mail@harbour.example https://lantern.example/a?b=c#d ... …… “quoted” ‘single’ "
        "naïve Ångström İstanbul ΑΣ ΟΔΟΣ ΣΑΣ.Α ß ﬁ Straße 中文，标点。 我们的 2023年5月 12月3日 日本語テキスト 한국어 ไทย हिन्दी مرحبا 5كم ١٢٣ ٣٫٥ 5км 7г "
        "→ a→b € €5 5€ $5 US$5 🙂 👍🏽 👨‍👩‍👧 ★★★ ½ x² m³ µm № § © ® ™ ° ─── │ • · a·b ≠ a≠b ≤ ∞ √2 `code` snake_case kebab-case CamelCase "
        "e\u0301 a\u0308\u0323 \u0301 1\u03012 \u200b a\u200bb soft\u00adhyphen \ufeff \u037e \u1fef K Å 𝐀𝐁 𝟙𝟚 Ⅳ ① １２ ％ ー "
        "IS_ALPHA isnt ain't y'all o'clock :) :-( xD ;) <3 O_o 0.0 (c) 1st 2nd 20th 0x1F 1e-5 +1 -1 50mph 3kg 2lb 7KB 9Mb 1m2 km0 00 0 a0m m0a"
    ).split(" ")
    blanks = [" ", " ", " ", "  ", "\n", "\r\n", "\t", "\u00a0", "\u2028", "\u3000", "\x85", "\x1c", "\x00", "\n\n"]
    texts = [
        "", " ", "one", "one two three four", "one two three four five", "one two three four five six", "...", "\n" * 50, "\x00" * 9, "a" * 2000,
        "word " * 300, "\u0301" * 7, "0" * 40, "1 " * 40, "🙂" * 30, "e\u0301 " * 9, "中" * 500, "a\u302e\u1b44b c d e f", "x \u1b44\u302e\u0301 y z w v u",
        "ΑΣ ΒΣ. ΓΣ.Δ Σ ΣΣ ασΣ", "wont dont cant im id hes shes youre theyll", "5km 6kg 7g 8mph 9in 10ft 11t 12lb 13oz", "A\u0300\u0323B c d e f g",
    ]  # fmt: skip
    while len(texts) < 240:
        texts.append("".join(rng.choice(words) + rng.choice(blanks) for _ in range(rng.choice((4, 5, 6, 9, 20, 60)))))
    alphabet = "aZ09.,;'’\"-_/+*=<>()[] \n\t\u00a0\u0301\u302e\u1b44ΣσéÀİΩ中か가ก€→🙂②½²µ٣४𝟗ⅷ№\u200d\ufe0f\u2028"
    while len(texts) < 300:
        texts.append("".join(rng.choice(alphabet) for _ in range(rng.choice((5, 30, 90)))))
    return texts


def digest(bands: list[list[int]]) -> str:
    """sha256 of the 112 values as little-endian 64-bit integers."""
    return hashlib.sha256(b"".join(value.to_bytes(8, "little") for band in bands for value in band)).hexdigest()


def golden() -> dict[str, Any]:
    step, words = MinhashDedupSignature("/tmp/none"), load_word_tokenizer("en")
    answers = []
    for text in nasty():
        shingles = step.get_shingles(text)
        answers.append({
            "text": text,
            "words": words.word_tokenize(simplify_text(text)),
            "signature": digest(step.get_signature(shingles)) if shingles.size else None,
        })  # fmt: skip
    return {"made_with": {name: version(name) for name in ("datatrove", "spacy", "xxhash")}, "texts": answers}


if __name__ == "__main__":
    if sys.argv[1:] == ["facts"]:
        FACTS.write_text(json.dumps(facts(), ensure_ascii=True, indent=None, separators=(",", ":")) + "\n")
    else:
        (HERE / "dedup_golden.json").write_text(json.dumps(golden(), ensure_ascii=True, separators=(",", ":")) + "\n")
