"""Does the profile `fineweb@datatrove-0.10` decide as datatrove does? Every filter on every document, and the chain of the four.

    python bench/corpus_agreement.py --oracle VENV/bin/python [documents.jsonl] [--documents 20500] [--most 12000] [--generated 20000]
    python bench/corpus_agreement.py --oracle VENV/bin/python --record tests/corpus/data/fineweb.jsonl.gz

`documents.jsonl` has a `text` per line; those of up to --most bytes are taken, in the order of their sha256. VENV is a virtual
environment with `pip install datatrove==0.10.1 spacy regex orjson "xxhash<4"`; datatrove answers in a process of its own.
`--record` writes what it decided about a few hundred generated texts, for tests that run without it.
"""

from __future__ import annotations

import argparse
import collections
import dataclasses
import gzip
import hashlib
import json
import random
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

STEPS = ("gopher-repetition", "gopher-quality", "c4-quality", "fineweb-quality")
Answer = dict[str, Any]


def answer(texts: Iterable[str]) -> Iterator[Answer]:
    """datatrove's answers: per step the reason it drops the text for, None if it keeps it, and what C4's line rules leave of the text,
    which is what FineWeb's step is asked about."""
    from datatrove.data import Document
    from datatrove.pipeline.filters import C4QualityFilter, FineWebQualityFilter, GopherQualityFilter, GopherRepetitionFilter
    from datatrove.pipeline.filters.base_filter import get_filter_result

    c4 = C4QualityFilter(filter_no_terminal_punct=False)
    lines = C4QualityFilter(filter_no_terminal_punct=False, filter_lorem_ipsum=False, filter_curly_bracket=False, min_num_sentences=-1)
    filters = dict(zip(STEPS, (GopherRepetitionFilter(), GopherQualityFilter(), c4, FineWebQualityFilter()), strict=True))

    def ask(of: Any, document: Any) -> str | None:
        try:
            kept, reason = get_filter_result(of.filter(document))
        except ZeroDivisionError:
            return "ZeroDivisionError"
        return None if kept else reason

    for text in texts:
        document = Document(text=text, id="0")
        reasons = {step: ask(filters[step], document) for step in STEPS[:3]}
        relaxed = Document(text=text, id="0")
        ask(lines, relaxed)
        assert document.text == (text if reasons[STEPS[2]] else relaxed.text)  # so `left` is also the output of what is kept
        reasons[STEPS[3]] = ask(filters[STEPS[3]], relaxed)
        yield {"reasons": reasons, "left": relaxed.text}


WORDS = ["the", "of", "and", "to", "that", "with", "have", "be", "a", "in", "is", "it", "for", "on", "as", "by", "this", "from", "at", "which", "or", "not", "are", "was", "but", "can", "cannot", "not", "may", "be", "maybe", "into", "data", "text", "house", "river", "paper", "method", "result", "people", "small", "large", "water", "system", "measure", "winter", "engine", "garden", "number", "model", "simple", "under", "other", "when", "where", "can't", "it's", "U.S.", "e.g.", "3.14", "state-of-the-art", "i.e.", "don't"]  # fmt: skip
BLANKS = ("\u00a0", "\u2028", "\u2029", "\x85", "\x1c", "\x1d", "\x1f", "\u3000", "\u200b", "\t", "\r\n", "\r", "\x0b", "\x0c", "\u2009", "  ", "\n \n", "\u1680", "\u205f", "\u202f")  # fmt: skip
ODD = ("\x00", "e\u0301", "\U0001f600", "\U0001f468\u200d\U0001f469", "İ", "\u212a", "ß", "中文。", "…", "...", "....", "—", "#", "##", "{", "}", "•", "- ", "१", "؟", "“", "\ufeff", "<br>", "$5", "%%", "日本", "\U0001d165", "𑗂", "\U000e0041")  # fmt: skip
PHRASES = ("lorem ipsum", "Lorem Ipsum", "javascript", "JavaScript", "terms of use", "Privacy Policy", "cookie policy", "uses cookies", "use of cookies", "use cookies", "cooKies", "use coo\u212aies", "uses coo\u212aIES", "coo\u212aie policy", "lorem [1]ipsum", "java[edit]script", "javascrİpt", "privacy\u00a0policy", "cookies", "terms  of use")  # fmt: skip
CITATIONS = ("[1]", "[]", "[edit]", "[citation needed]", "[12345]", "[१२]", "[1", "[[1]]", "[Edit]", "[1 ]", "[1][2]", "[citation needed][citation needed][citation needed]", "word[3]s", ".[4]", " [5] [6] [7]")  # fmt: skip


def sentence(chance: random.Random) -> str:
    words = [chance.choice(WORDS) for _ in range(chance.randint(1, 16))]
    return " ".join(words).capitalize() + chance.choice((".", ".", ".", "!", "?", "...", "…", '."', ".)", "", ":", " .", ".\u00a0", "?!"))


def paragraph(chance: random.Random) -> str:
    lines = [" ".join(sentence(chance) for _ in range(chance.randint(1, 3))) for _ in range(chance.randint(1, 4))]
    return chance.choice(("\n", "\n", " ", "\r\n", "\u2028")).join(lines)


def prose(chance: random.Random) -> str:
    return chance.choice(("\n\n", "\n", "\n\n\n", "\n \n")).join(paragraph(chance) for _ in range(chance.randint(1, 7)))


def with_copies(chance: random.Random, text: str) -> str:
    """Repeats words, lines or paragraphs, so that shares come near their limits."""
    if len(text) > 20_000:
        return text
    sign = chance.choice((" ", "\n", "\n\n"))
    parts = text.split(sign)
    for _ in range(chance.randint(1, 6)):
        start, length = chance.randrange(len(parts)), chance.randint(1, 12)
        at = chance.randrange(len(parts) + 1)
        parts[at:at] = parts[start : start + length] * chance.randint(1, 4)
    return sign.join(parts)


def with_runs(chance: random.Random, text: str) -> str:
    """Says a tenth of the words a second time, in runs of ten and more that no other copies join."""
    words = text.split(" ")
    for _ in range(max(1, round(len(words) * chance.uniform(0.07, 0.16) / 12))):
        start, at = chance.randrange(len(words)), chance.randrange(len(words) + 1)
        words[at:at] = words[start : start + chance.randint(9, 14)]
    return " ".join(words)


def distinct(chance: random.Random, text: str) -> str:
    """Numbers among the words, so that little but what is copied is repeated; or long words, or signs, or lines of a few words."""
    kind, share = chance.choice(("{} {}", "{}{}", "{}-characteristically-{}", "{} #{}", "{} {}...", "{}\n{}", "{} {}.\n")), chance.random()
    return " ".join(kind.format(word, chance.randrange(9_999)) if chance.random() < share else word for word in text.split(" "))


def listed(chance: random.Random, text: str) -> str:
    """Lines of few long words."""
    words, per = text.split(), chance.randint(3, 5)
    return "\n".join(" ".join(f"{word}ification" for word in words[at : at + per]) + "." for at in range(0, len(words), per))


def with_pieces(chance: random.Random, text: str, pieces: tuple[str, ...]) -> str:
    for _ in range(chance.choice((1, 1, 2, 5, 20))):
        at = chance.randrange(len(text) + 1)
        if chance.random() < 0.5 and " " in text[at:]:
            at = text.index(" ", at)
        text = text[:at] + chance.choice(pieces) + text[at:]
    return text


def with_marks(chance: random.Random, text: str) -> str:
    """Bullets before lines, ellipses and blanks behind them."""
    share, before, after = (
        chance.random(),
        chance.choice(("- ", "• ", "", "\u00a0-", "* ")),
        chance.choice(("", "...", "…", " …  ", ".", "#", " \u3000")),
    )
    return "\n".join(before + line + after if chance.random() < share else line for line in text.split("\n"))


def joined(chance: random.Random, text: str) -> str:
    """Takes blanks out, so that words meet their own parts at other boundaries."""
    return "".join("" if sign == " " and chance.random() < 0.1 else sign for sign in text)


def soup(chance: random.Random) -> str:
    return "".join(
        chance.choice(chance.choice((WORDS, BLANKS, ODD, CITATIONS, PHRASES, (" ", "\n", ".")))) for _ in range(chance.randint(0, 120))
    )


def cells(chance: random.Random) -> str:
    """Few short words in many orders: all that is counted is repeated."""
    few = chance.sample(("a", "b", "ab", "abc", "-", "--", ".", "..", "can", "not", "cannot", "1", "11"), 4)
    return " ".join(chance.choice(few) for _ in range(chance.randint(0, 200)))


def extreme(chance: random.Random) -> str:
    size = chance.choice((998, 999, 1000, 1001, 1002))
    return chance.choice((
        "", " ", "\n", "\n" * size, " \n\u00a0\n\r\n" * 50, "\r" * 9, "\u2028" * 9, "x", ".", "#", "…",
        prose(chance) + "\nThe long word " + "é" * size + " is here.", prose(chance) + "\nThe long word " + "x" * size + " is here.",
        prose(chance).replace(" ", "\u3000"), prose(chance).replace("\n", "\r"), "[1] [2] [3]\n" * 9, "[1] [2] [3].\n" * chance.randint(1, 9),
        "\x00".join(prose(chance).split(" ")), "𝔘𝔫𝔦 " * 300, "e\u0301 " * 300,
    ))  # fmt: skip


def generated(count: int, seed: int = 1) -> Iterator[str]:
    """Texts at and around everything that the filters ask about; the same ones for the same seed."""
    changes: tuple[Callable[[random.Random, str], str], ...] = (
        with_copies, with_runs, distinct, distinct, listed, with_marks, joined,
        lambda chance, text: with_pieces(chance, text, BLANKS), lambda chance, text: with_pieces(chance, text, ODD),
        lambda chance, text: with_pieces(chance, text, PHRASES), lambda chance, text: with_pieces(chance, text, CITATIONS),
    )  # fmt: skip
    for index in range(count):
        chance = random.Random(f"{seed}:{index}")
        kind = chance.random()
        if kind < 0.06:
            yield (soup, cells, extreme)[int(kind * 50)](chance)
            continue
        text = prose(chance)
        for _ in range(chance.choice((0, 1, 1, 2, 3))):
            text = chance.choice(changes)(chance, text)
        yield text


def lists(count: int) -> Iterator[str]:
    """Lines of few long words, some of which end."""
    for index in range(count):
        chance = random.Random(f"lists:{index}")
        ends, full = (("", "fully", "ification", "ification"), ("ification",))[index % 2], chance.uniform(0.05, 0.4)
        lines = (" ".join(chance.choice(WORDS[:50]) + chance.choice(ends) for _ in range(3)) for _ in range(60))
        text = "\n".join(line + "." * (chance.random() < full) for line in lines)
        yield text + "\n" + "\n".join(sentence(chance) for _ in range(chance.randint(0, 2)))


def long_lines() -> Iterator[str]:
    chance = random.Random(1)
    yield "The long line " + "x" * 1_000_000
    yield " ".join(sentence(chance) for _ in range(18_000))
    yield " ".join(f"{sentence(chance)} {number}" for number in range(12_000))
    yield "\u3000".join(sentence(chance) for _ in range(4_000)) + "\n" * 1_000


def real(path: Path, count: int, most: int) -> list[str]:
    found = {}
    with path.open(encoding="utf-8") as file:
        for line in file:
            text = json.loads(line)["text"]
            data = text.encode()
            if len(data) <= most:
                found[hashlib.sha256(data).digest()] = text
    return [found[key] for key in sorted(found)[:count]]


def ask_oracle(python: str, texts: list[str], keep: Path | None = None) -> list[Answer]:
    """Of a process of datatrove's own environment. Answers kept in `keep` are taken from there when asked about the same texts."""
    digest = hashlib.sha256("\0".join(texts).encode()).hexdigest()[:16]
    with tempfile.TemporaryDirectory() as folder:
        kept = keep / f"datatrove-{digest}.jsonl" if keep else Path(folder) / "answers.jsonl"
        if not kept.exists():
            asked, part = Path(folder) / "texts.jsonl", kept.with_suffix(".part")
            asked.write_text("".join(json.dumps(text) + "\n" for text in texts), "ascii")
            subprocess.run([python, __file__, "--answer", str(asked), str(part)], check=True)
            part.rename(kept)
        return [json.loads(line) for line in kept.open(encoding="ascii")]


def decide(texts: list[str]) -> list[Answer]:
    """This house's answers, in the same shape."""
    import pyarrow as pa

    from lilong.floors.corpus.curation.fineweb.measure import measure
    from lilong.floors.corpus.curation.fineweb.profile import policy
    from lilong.floors.corpus.curation.policies.evaluation import decide as evaluate
    from lilong.floors.corpus.curation.texts import Texts
    from lilong.floors.corpus.curation.words import Vocabulary

    vocabulary, columns, whole = Vocabulary(), Texts.of(texts), policy()
    measured = measure(columns, vocabulary.tokens(columns), vocabulary)
    signals = pa.table(measured.columns)
    by_step = {}
    for step in STEPS:
        rules = dataclasses.replace(whole, rules=tuple(rule for rule in whole.rules if rule.step == step))
        by_step[step] = [reason or None for reason in evaluate(rules, signals).table(signals).column("reason").to_pylist()]
    answers = []
    for index, left in enumerate(measured.rewritten):
        reasons = {step: by_step[step][index] for step in STEPS}
        answers.append({"reasons": reasons, "left": left})
    return answers


def chain(given: Answer) -> str:
    """What the four decide one after the other: FineWeb is asked only where C4 keeps, about the text that C4 leaves."""
    return next((f"{step}:{reason}" for step, reason in given["reasons"].items() if reason), "kept")


def compare(name: str, texts: list[str], theirs: list[Answer], ours: list[Answer]) -> dict[str, Any]:
    same: collections.Counter[str] = collections.Counter()
    outcomes: collections.Counter[str] = collections.Counter()
    different = []
    for index, (a, b) in enumerate(zip(theirs, ours, strict=True)):
        outcomes[chain(a)] += 1
        checks = {
            **{step: a["reasons"][step] == b["reasons"][step] for step in STEPS},
            "left": a["left"] == b["left"], "chain": chain(a) == chain(b) and (chain(a) != "kept" or a["left"] == b["left"]),
        }  # fmt: skip
        same.update(check for check, holds in checks.items() if holds)
        if not all(checks.values()):
            different.append((index, [check for check, holds in checks.items() if not holds]))
    total = len(texts)
    size = sum(len(text.encode()) for text in texts)
    print(f"{name}: {total} documents, {size / 1e6:.1f} MB; outcomes {dict(outcomes.most_common())}")
    for check in (*STEPS, "left", "chain"):
        print(f"  {check:20} {same[check]:6} of {total}  {100 * same[check] / max(total, 1):.4f} %")
    for index, checks_ in different[:20]:
        print(f"  differs in {checks_}: {theirs[index]['reasons']} != {ours[index]['reasons']}: {texts[index][:300]!r}")
    return {"name": name, "documents": total, "bytes": size, "same": dict(same), "different": len(different)}


def record(path: Path, python: str, count: int = 500, each: int = 6) -> None:
    """datatrove's answers about `count` texts: short ones, and longer ones for reasons that these do not meet `each` times."""
    texts = [text for text in (*generated(2_500, seed=2), *lists(100)) if len(text) < 6_000]
    answers = ask_oracle(python, texts)
    met: collections.Counter[tuple[str, str]] = collections.Counter()
    chosen = []
    for index in sorted(range(len(texts)), key=lambda index: len(texts[index])):
        reasons = answers[index]["reasons"].items()
        if (len(texts[index]) < 1_000 and len(chosen) < count - 100) or any(met[reason] < each for reason in reasons):
            chosen.append(index)
            met.update(reasons)
    with gzip.GzipFile(path, "wb", mtime=0) as out:
        for index in sorted(chosen[:count]):
            found = {"text": texts[index], **answers[index]}
            found["left"] = None if found["left"] == found["text"] else found["left"]
            out.write(json.dumps(found, separators=(",", ":")).encode() + b"\n")
    print(f"{len(chosen[:count])} texts: {dict(met)}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("file", nargs="?", type=Path)
    parser.add_argument("--oracle", help="the Python of an environment with datatrove")
    parser.add_argument("--documents", type=int, default=20_500)
    parser.add_argument("--most", type=int, default=12_000)
    parser.add_argument("--generated", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--keep", type=Path, help="a folder for datatrove's answers, which take long")
    parser.add_argument("--record", type=Path)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--answer", nargs=2, type=Path, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.answer:
        with asked.answer[0].open(encoding="ascii") as given, asked.answer[1].open("w", encoding="ascii") as out:
            for found in answer(json.loads(line) for line in given):
                out.write(json.dumps(found) + "\n")
        return
    if asked.record:
        record(asked.record, asked.oracle)
        return
    sets = {}
    if asked.generated:
        sets = {"lists": [*lists(300)], "generated": [*generated(asked.generated, asked.seed), *long_lines()]}
    if asked.file:
        sets["real"] = real(asked.file, asked.documents, asked.most)
    results = []
    for name, texts in sets.items():
        theirs = ask_oracle(asked.oracle, texts, asked.keep)
        start = time.process_time()
        ours = decide(texts)
        print(f"decided in {time.process_time() - start:.1f} CPU-s")
        results.append(compare(name, texts, theirs, ours))
    print(json.dumps(results))
    if asked.json:
        asked.json.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
