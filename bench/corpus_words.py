"""Words beside datatrove's: the same words? and how fast, on the same documents, in turns, each on one thread.

    python bench/corpus_words.py documents.jsonl --oracle VENV/bin/python [--megabytes 1.5] [--cold 100] [--rounds 3] [--generated 50000]

`documents.jsonl` has `text` per line; documents are taken in the order of their sha256. VENV holds datatrove and spaCy; see
tests/corpus/data/words_oracle.py. `--generated 0` and `--megabytes 0` leave parts out.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import json
import os
import random
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from lilong.floors.corpus.curation.texts import Texts
from lilong.floors.corpus.curation.words import Vocabulary

ORACLE = Path(__file__).parent.parent / "tests" / "corpus" / "data" / "words_oracle.py"


def documents(path: Path) -> list[str]:
    """Each text once, in the order of their digests."""
    found = {}
    with path.open(encoding="utf-8") as file:
        for line in file:
            text = json.loads(line)["text"]
            found[hashlib.sha256(text.encode()).digest()] = text
    return [found[key] for key in sorted(found)]


def about(texts: Iterable[str], megabytes: float) -> list[str]:
    taken, size = [], 0.0
    for text in texts:
        if size >= megabytes:
            break
        taken.append(text)
        size += len(text.encode()) / 1e6
    return taken


def rate(run: Callable[[], Any], column: Texts) -> float:
    """MB of UTF-8 per CPU-second."""
    started = time.process_time()
    run()
    return column.bytes / 1e6 / (time.process_time() - started)


def answers(python: str, texts: list[str], folder: Path) -> tuple[list[list[str]], float]:
    """What datatrove makes of the texts, and the CPU-seconds that it took."""
    asked, told = folder / "texts", folder / "answers"
    asked.write_text("".join(json.dumps(text) + "\n" for text in texts))
    with asked.open() as source, told.open("w") as sink:
        done = subprocess.run([python, str(ORACLE), "answer"], stdin=source, stdout=sink, stderr=subprocess.PIPE, check=True, text=True)
    return [json.loads(line) for line in told.open()], float(done.stderr.split()[-1])


def differences(texts: list[str], expected: list[list[str]], vocabulary: Vocabulary) -> list[str]:
    """Every text whose words differ, shown around the first difference."""
    column = Texts.of(texts)
    tokens = vocabulary.tokens(column)
    data, shown = column.data.tobytes(), []
    for number, words in enumerate(expected):
        rows = slice(int(tokens.bounds[number]), int(tokens.bounds[number + 1]))
        ours = [
            data[start : start + size].decode() for start, size in zip(tokens.start[rows].tolist(), tokens.size[rows].tolist(), strict=True)
        ]
        if ours != words:
            at = next(
                (place for place, pair in enumerate(zip(ours, words, strict=False)) if pair[0] != pair[1]), min(len(ours), len(words))
            )
            shown.append(f"{ours[max(0, at - 3) : at + 5]} != {words[max(0, at - 3) : at + 5]}")
    return shown


def agreement(python: str, texts: list[str], generated: int, folder: Path) -> list[dict[str, Any]]:
    """Real chunks, each once and by itself, and generated documents."""
    chunks = sorted({chunk for text in texts for chunk in text.split()})
    lines = ["\n".join(chunks[first : first + 500]) for first in range(0, len(chunks), 500)]
    expected, seconds = answers(python, lines, folder)
    found = report("different chunks of the real ones", lines, expected, len(chunks), seconds)
    made = subprocess.run(
        [python, str(ORACLE), "generate", "7", str(generated)], stdout=subprocess.PIPE, check=True, text=True
    ).stdout.splitlines()
    soups = [json.loads(line) for line in made]
    expected, seconds = answers(python, soups, folder)
    return found + report("generated documents", soups, expected, sum(len(text.split()) for text in soups), seconds)


def report(what: str, texts: list[str], expected: list[list[str]], chunks: int, seconds: float) -> list[dict[str, Any]]:
    found = []
    for how, vocabulary in (("nothing remembered", Vocabulary(limit=0)), ("a vocabulary", Vocabulary())):
        shown = differences(texts, expected, vocabulary)
        print(
            f"{what}: {len(texts)} texts, {chunks} chunks, {sum(map(len, expected))} words, {len(shown)} differ (datatrove: {seconds:.0f} CPU-s)"
        )
        print("".join(f"  {line}\n" for line in shown[:50]), end="")
        found.append({"what": f"{what}, {how}", "texts": len(texts), "words": sum(map(len, expected)), "differ": len(shown)})
    return found


def contest(python: str, texts: list[str], rounds: int, folder: Path) -> dict[str, float]:
    column = Texts.of(texts)
    warm, shipped = Vocabulary(), Vocabulary.shipped()
    warm.tokens(column)
    rows: dict[str, list[float]] = {"datatrove": [], "chunks and words, warm": [], "shipped vocabulary": [], "nothing remembered": []}
    for _ in range(rounds):
        _, seconds = answers(python, texts, folder)
        rows["datatrove"].append(column.bytes / 1e6 / seconds)
        rows["chunks and words, warm"].append(rate(lambda: warm.tokens(column), column))
        fixed = Vocabulary.shipped(limit=0)
        rows["shipped vocabulary"].append(rate(lambda fixed=fixed: fixed.tokens(column), column))
        rows["nothing remembered"].append(rate(lambda: Vocabulary(limit=0).tokens(column), column))
    shipped.limit = 0
    shipped.tokens(column)
    print(
        f"{column.bytes / 1e6:.1f} MB; the shipped vocabulary knows {1 - shipped.misses / shipped.chunks:.4f} of {shipped.chunks} chunks; load {os.getloadavg()[0]:.1f}"
    )
    for name, rates in rows.items():
        print(f"  {name:24} {statistics.median(rates):8.2f} MB/s  ({min(rates):.2f} to {max(rates):.2f})")
    return {name: statistics.median(rates) for name, rates in rows.items()}


def cold(texts: list[str]) -> None:
    column = Texts.of(texts)
    batches = [Texts(column.data, column.offsets[first : first + 513]) for first in range(0, len(column), 512)]
    for name, vocabulary in (("cold, empty", Vocabulary()), ("cold, shipped", Vocabulary.shipped())):
        speed = rate(lambda vocabulary=vocabulary: [vocabulary.tokens(batch) for batch in batches], column)
        again = rate(lambda vocabulary=vocabulary: [vocabulary.tokens(batch) for batch in batches], column)
        print(
            f"  {name:24} {speed:8.2f} MB/s; then warm {again:.2f}; {vocabulary.entries} chunks in {vocabulary.nbytes / 1e6:.0f} MB, {column.bytes / 1e6:.0f} MB of text"
        )


def defeating() -> None:
    """Texts in which hardly a chunk comes again."""
    chance = random.Random(3)
    encoded = "\n".join(base64.b64encode(chance.randbytes(57)).decode() for _ in range(60_000))
    logs = "\n".join(
        f"2026-11-22T{chance.randrange(10**6)} host{chance.randrange(999)} [{chance.randbytes(6).hex()}]: GET /a/{chance.randbytes(9).hex()}?q={chance.random()} 200"
        for _ in range(40_000)
    )
    code = "\n".join(
        f"    self.f{chance.randrange(10**6)}[i{chance.randrange(10**5)}]->v({chance.randbytes(4).hex()}, '{chance.random()}');"
        for _ in range(60_000)
    )
    short = " ".join(base64.b64encode(chance.randbytes(chance.randint(6, 30))).decode() for _ in range(150_000))
    signs = " ".join("".join(chance.choice("()[]{}<>.,:;'\"!?-+*/=") for _ in range(chance.randint(1, 30))) for _ in range(150_000))
    faces = ":) " * 200_000 + "foo:) ) :( " * 100_000
    for name, text in {
        "base64 lines": encoded,
        "logs": logs,
        "code": code,
        "short base64": short,
        "signs": signs,
        "faces": faces,
        "one word": "x" * 4_000_000,
        "one bracket": "(" * 4_000_000,
    }.items():
        column = Texts.of([text])
        print(f"  {name:24} {rate(lambda column=column: Vocabulary().tokens(column), column):8.2f} MB/s")


def opened() -> dict[str, float]:
    """A vocabulary of a million chunks: time to open, memory."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "million.arrow"
        vocabulary = Vocabulary()
        for first in range(0, 1_048_576, 1 << 16):
            vocabulary.tokens(Texts.of([" ".join(f"word-{number}" for number in range(first, first + (1 << 16)))]))
        vocabulary.save(path)
        times = []
        for _ in range(3):
            started = time.process_time()
            again = Vocabulary.open(path)
            times.append(time.process_time() - started)
        print(
            f"  {again.entries} chunks: {path.stat().st_size / 1e6:.0f} MB on disk, {again.nbytes / 1e6:.0f} MB in memory, opened in {min(times):.3f} CPU-s"
        )
        started = time.process_time()
        shipped = Vocabulary.shipped()
        print(f"  shipped: {shipped.entries} chunks, opened in {time.process_time() - started:.3f} CPU-s")
        return {"chunks": again.entries, "disk": path.stat().st_size / 1e6, "memory": again.nbytes / 1e6, "opened": min(times)}


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("documents", type=Path)
    asked.add_argument("--oracle", required=True)
    asked.add_argument("--megabytes", type=float, default=1.5)
    asked.add_argument("--cold", type=float, default=100)
    asked.add_argument("--rounds", type=int, default=3)
    asked.add_argument("--generated", type=int, default=50_000)
    asked.add_argument("--json", type=Path)
    asked.add_argument("--real", type=float, default=300, help="MB of documents whose chunks are compared; 0: none")
    options = asked.parse_args()
    texts = documents(options.documents)
    Vocabulary().tokens(Texts.of(texts[:200]))  # compiled before the clock starts
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        if options.megabytes:
            found["rates"] = contest(options.oracle, about(texts, options.megabytes), options.rounds, Path(folder))
        cold(about(texts, options.cold))
        defeating()
        found["million"] = opened()
        if options.generated:
            found["agreement"] = agreement(options.oracle, about(texts, options.real), options.generated, Path(folder))
    print(f"peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3:.0f} MB (all documents are in it)", file=sys.stderr)
    if options.json:
        options.json.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
