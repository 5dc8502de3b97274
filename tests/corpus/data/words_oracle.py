"""What datatrove and spaCy make of nasty texts. Runs where datatrove and spaCy are installed, not in this project's tests.

python words_oracle.py golden words.jsonl.gz           record the answers that tests/corpus/test_words.py compares with
python words_oracle.py generate SEED COUNT             COUNT documents of about 20 chunks, one JSON string a line
python words_oracle.py answer < texts > answers        for each JSON string [words, number of sentence spans]; CPU-seconds to stderr
"""

from __future__ import annotations

import gzip
import json
import random
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

import spacy
from datatrove.utils.word_tokenizers import load_word_tokenizer
from spacy.lang.char_classes import UNITS

SIGNS = [
    *"!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~", *"…—–‘’“”«»€£¥°²³§·¿¡", "..", "...", "--", "---", "——", "……", "'s", "’S", "US$", "C$", "://", "www.",
    "http://", "°C.", "10.", "127.0.0.1", "192.168.1.1", "8.8.8.8", "172.16.0.1", "172.32.1.9", "223.255.255.254", "224.1.1.1", "255", ":8080",
    ".com", ".org", ".co.uk", "/path?q=1", "#frag", "mailto:", "a.b", "A.B", "e.g", "U.S.", "N.Y", "٠", "१", "1", "25", "''", "``", "\0",
    "\u200b", "\u0301", "é", "Ü", "ß", "ж", "Ж", "中", "の", "한", "ア", "अ", "א", "😀", "👩\u200d💻", "\U0001f1e6", "\ufeff", "\ufffd", "\x01",
    "½", "ª", "ﬁ", "ǅ", "\U0001d400", "\U00020000", "\U0010ffff", "\ue000", "\u0600", "\u2060",
]  # fmt: skip
WORDS = [
    "the", "Hello", "foo", "bar", "x", "I", "A", "AB", "co-op", "well-known", "word", "don", "can", "not", "nt", "s", "t", "ve", "ll", "1a", "a1", "10",
    "2021", "3.14", "1,000", "v1.2.3", "lower.Upper", "UPPER.Case", "snake_case", "a.", "Mr", "pm", "o'clock", "rock'n'roll", "The", "end",
]  # fmt: skip
BLANKS = ["\n", "\t", "  ", " \n", "\n\n", "\u00a0", "\u2028", "\r\n", "\x0b", "\x1c", "\x85", "\u3000", "\u2003 ", " \u00a0", "\u1680"]


def specials() -> list[str]:
    return sorted(text for text in spacy.blank("en").tokenizer.rules if not any(sign.isspace() for sign in text))


def documents(seed: int, count: int) -> Iterator[str]:
    """Soups of what the rules look at: special cases and their halves, signs, units, addresses, any code point, and blanks of all kinds."""
    chance = random.Random(seed)
    cases = specials()
    signed = [case for case in cases if not case.isalpha()]
    units = UNITS.split("|")

    def piece() -> str:
        kind = chance.random()
        if kind < 0.25:
            return chance.choice(SIGNS)
        if kind < 0.45:
            return chance.choice(WORDS)
        if kind < 0.55:
            return chance.choice(cases)
        if kind < 0.70:
            return chance.choice(signed)
        if kind < 0.80:
            case = chance.choice(signed)
            cut = chance.randrange(len(case) + 1)
            return chance.choice((case[:cut], case[cut:]))
        if kind < 0.85:
            return str(chance.randrange(300)) + chance.choice(units)
        if kind < 0.90:
            return chr(
                chance.choice(
                    (chance.randint(33, 126), chance.randint(0x80, 0x2FF), chance.randint(0x300, 0xD7FF), chance.randint(0xE000, 0x10FFFF))
                )
            )
        if kind < 0.95:
            return str(chance.randrange(300))
        return chance.choice(SIGNS) * chance.randint(1, 4)

    for _ in range(count):
        parts = []
        for _ in range(chance.randint(1, 40)):
            chunk = "".join(piece() for _ in range(chance.choice((1, 1, 1, 2, 2, 3, 3, 4, 5, 8))))
            parts += [chunk.replace("IS_ALPHA", ""), " " if chance.random() < 0.8 else chance.choice(BLANKS)]
        if chance.random() < 0.1:
            parts.insert(0, chance.choice([*BLANKS, " "]))
        yield "".join(parts[: len(parts) - (chance.random() < 0.7)])


def answers(texts: Iterable[str]) -> Iterator[tuple[list[str], int]]:
    """Words, and the number of sentence spans."""
    tokenizer = load_word_tokenizer("en")
    for text in texts:
        yield tokenizer.word_tokenize(text), len(tokenizer.span_tokenize(text))


def golden() -> Iterator[str]:
    """Every special case by itself and between signs, then soups."""
    cases = specials()
    for first in range(0, len(cases), 30):
        part = cases[first : first + 30]
        for frame in ("{}", "({})", "{}.", '"{}",', "x{}", "{}x", "{} )", ": {}", "-{}-", "{}'s", "5{}", "#{}!?"):
            yield "\n".join(frame.format(case) for case in part)
    yield from [
        "",
        " ",
        "\n\n\n",
        "a",
        " a",
        "a ",
        "foo:) ) bar",
        ("(" * 2000 + "a" * 2000 + ")" * 2000),
        "x" * 5000,
        "a,b" * 3000,
        "…" * 999,
        "." * 999,
    ]
    yield from documents(1, 400)


def main() -> None:
    command, *rest = sys.argv[1:]
    if command == "golden":
        texts = list(golden())
        lines = (json.dumps([text, *answer], separators=(",", ":")) + "\n" for text, answer in zip(texts, answers(texts), strict=True))
        Path(rest[0]).write_bytes(gzip.compress("".join(lines).encode(), mtime=0))
    elif command == "generate":
        for text in documents(int(rest[0]), int(rest[1])):
            print(json.dumps(text))
    elif command == "answer":
        texts = [json.loads(line) for line in sys.stdin]
        tokenizer, seconds = load_word_tokenizer("en"), 0.0
        tokenizer.word_tokenize("It starts.")
        for text in texts:
            started = time.process_time()
            words = tokenizer.word_tokenize(text)
            seconds += time.process_time() - started
            print(json.dumps(words))
        print(seconds, file=sys.stderr)


if __name__ == "__main__":
    main()
