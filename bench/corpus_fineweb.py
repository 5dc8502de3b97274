"""The profile `fineweb@datatrove-0.10` beside datatrove itself, on the same documents, in turns, each on one thread.

    python bench/corpus_fineweb.py documents.jsonl --oracle VENV/bin/python [--megabytes 1.5] [--cold 100] [--rounds 3] [--sources NAME,...]
        [--json FILE]

`documents.jsonl` has `text` (and `source`) per line; documents are taken in the order of their sha256. Both make every filter's numbers of
every document; datatrove is also timed as a chain that drops a document at the first filter. Texts of which hardly a word comes again, which
a vocabulary is no help for, are measured by themselves. VENV: see corpus_agreement.py.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import importlib.metadata
import itertools
import json
import os
import platform
import random
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(name, "1")


def documents(path: Path, limit: float, sources: list[str]) -> list[str]:
    """About `limit` MB of different documents."""
    found: dict[bytes, str] = {}
    with path.open(encoding="utf-8") as file:
        for line in file:
            row = json.loads(line)
            if not sources or row["source"] in sources:
                found[hashlib.sha256(row["text"].encode()).digest()] = row["text"]
    taken, size = [], 0.0
    for key in sorted(found):
        if size >= limit:
            break
        taken.append(found[key])
        size += len(found[key].encode()) / 1e6
    return taken


def serve(path: Path) -> None:
    """In datatrove's environment: for each line read, one round of that kind over the documents; answers CPU-seconds."""
    from datatrove.data import Document
    from datatrove.pipeline.filters import C4QualityFilter, FineWebQualityFilter, GopherQualityFilter, GopherRepetitionFilter
    from datatrove.pipeline.filters.base_filter import get_filter_result

    texts = [json.loads(line) for line in path.open(encoding="ascii")]
    filters = [GopherRepetitionFilter(), GopherQualityFilter(), C4QualityFilter(filter_no_terminal_punct=False), FineWebQualityFilter()]
    for line in sys.stdin:
        every, started = line.strip() == "every", time.process_time()
        for text in texts if every or line.strip() == "chain" else texts[:1]:
            document = Document(text=text, id="0")
            for one in filters:
                try:
                    kept, _ = get_filter_result(one.filter(document))
                except ZeroDivisionError:  # of a text without words, which an earlier filter drops
                    kept = False
                if not (kept or every):
                    break
        print(time.process_time() - started, flush=True)


def timed(run: Callable[[], Any]) -> float:
    started = time.process_time()
    run()
    return time.process_time() - started


def contest(texts: list[str], python: str, rounds: int, limit: int | None = None) -> dict[str, list[float]]:
    """CPU-seconds of each contestant in each round over the same documents. `limit`: chunks that the vocabulary may keep."""
    from lilong.floors.corpus.curation.fineweb.measure import measure
    from lilong.floors.corpus.curation.texts import Texts
    from lilong.floors.corpus.curation.words import Vocabulary

    columns, warm = Texts.of(texts), Vocabulary() if limit is None else Vocabulary(limit)
    measure(columns, warm.tokens(columns), warm)
    again = max(1, round(5e6 / columns.bytes))  # the clock is too coarse for less

    def ours() -> None:
        for _ in range(again):
            measure(columns, warm.tokens(columns), warm)

    seconds: dict[str, list[float]] = {"lilong": [], "datatrove, every filter": [], "datatrove, chain": []}
    with tempfile.NamedTemporaryFile("w", suffix=".jsonl", encoding="ascii") as file:
        file.writelines(json.dumps(text) + "\n" for text in texts)
        file.flush()
        arguments = [python, __file__, file.name, "--serve"]
        with subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as peer:
            assert peer.stdin and peer.stdout

            def theirs(kind: str) -> float:
                assert peer.stdin and peer.stdout
                print(kind, file=peer.stdin, flush=True)
                return float(peer.stdout.readline())

            theirs("start")
            for _ in range(rounds):
                seconds["lilong"].append(timed(ours) / again)
                seconds["datatrove, every filter"].append(theirs("every"))
                seconds["lilong"].append(timed(ours) / again)
                seconds["datatrove, chain"].append(theirs("chain"))
            peer.stdin.close()
    return seconds


def cold(texts: list[str], vocabulary: Any, batch: int = 16_000_000) -> dict[str, float]:
    """MB per CPU-second with a vocabulary that learns while it goes, and how fast the words alone came."""
    from lilong.floors.corpus.curation.fineweb.measure import measure
    from lilong.floors.corpus.curation.texts import Texts

    words, rest, size = 0.0, 0.0, 0
    columns = Texts.of(texts)
    start = 0
    while start < len(columns):
        end = start + 1
        while end < len(columns) and columns.offsets[end] - columns.offsets[start] < batch:
            end += 1
        part = Texts(columns.data, columns.offsets[start : end + 1])
        began = time.process_time()
        tokens = vocabulary.tokens(part)
        parted = time.process_time()
        measure(part, tokens, vocabulary)
        words, rest, size, start = words + parted - began, rest + time.process_time() - parted, size + part.bytes, end
    return {"megabytes": size / 1e6, "chain": size / 1e6 / (words + rest), "words": size / 1e6 / words, "chunks": float(vocabulary.entries)}


def defeating(size: int = 200_000) -> dict[str, list[str]]:
    """Texts of which hardly a chunk comes again, in documents of some 10 kB."""
    chance = random.Random(3)
    encoded = (base64.b64encode(chance.randbytes(57)).decode() for _ in itertools.count())
    logs = (
        f"2026-11-22T{chance.randrange(10**6)} host{chance.randrange(999)} [{chance.randbytes(6).hex()}]: GET /a/{chance.randbytes(9).hex()}?q={chance.random()} 200"
        for _ in itertools.count()
    )
    code = (
        f"    self.f{chance.randrange(10**6)}[i{chance.randrange(10**5)}]->v({chance.randbytes(4).hex()}, '{chance.random()}');"
        for _ in itertools.count()
    )
    found = {}
    for name, lines in (("base64", encoded), ("logs", logs), ("code", code)):
        some = list(itertools.islice(lines, size // 60))
        found[name] = ["\n".join(some[at : at + 160]) for at in range(0, len(some), 160)]
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("file", type=Path)
    parser.add_argument("--oracle", help="the Python of an environment with datatrove")
    parser.add_argument("--megabytes", type=float, default=1.5)
    parser.add_argument("--cold", type=float, default=100)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--sources", default="", help="only these, separated by commas")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.serve:
        serve(asked.file)
        return
    sources = [source for source in asked.sources.split(",") if source]
    many = documents(asked.file, max(asked.cold, asked.megabytes), sources)
    few, size = [], 0.0
    for text in many:
        if size >= asked.megabytes:
            break
        few.append(text)
        size += len(text.encode()) / 1e6
    seconds = contest(few, asked.oracle, asked.rounds)
    rates = {name: size / statistics.median(times) for name, times in seconds.items()}
    print(f"{len(few)} documents, {size:.2f} MB, {asked.rounds} rounds in turns; MB of UTF-8 per CPU-second, median; warm vocabulary")
    for name, rate in rates.items():
        print(f"  {name:26} {rate:9.3f}   lilong is {rates['lilong'] / rate:6.1f} times as fast")
    started = {}
    if asked.cold:
        from lilong.floors.corpus.curation.words import Vocabulary

        for name, make in (("an empty vocabulary", Vocabulary), ("the shipped vocabulary", lambda: Vocabulary.shipped("en"))):
            found = started[name] = cold(many, make())
            ratios = " and ".join(f"{found['chain'] / rates[peer]:.1f} times {peer}" for peer in rates if peer != "lilong")
            print(f"  from {name}, {found['megabytes']:.0f} MB: {found['chain']:.2f} (words alone {found['words']:.2f}): {ratios}")
    defeated = {}
    for name, texts in defeating().items():
        times = contest(texts, asked.oracle, 1, limit=0)
        bytes_ = sum(len(text.encode()) for text in texts)
        defeated[name] = {one: bytes_ / 1e6 / statistics.median(those) for one, those in times.items()}
        print(f"  {name}, nothing remembered: " + ", ".join(f"{one} {rate:.2f}" for one, rate in defeated[name].items()))
    versions = {one: importlib.metadata.version(one) for one in ("numba", "numpy")}
    machine = {"cpu": _cpu(), "cores": os.cpu_count(), "python": platform.python_version(), "load": os.getloadavg()[0], **versions}
    measured = {"megabytes": round(size, 2), "rates": rates, "cold": started, "defeating": defeated, "seconds": seconds, "machine": machine}
    print(json.dumps(measured))
    if asked.json:
        asked.json.write_text(json.dumps(measured, indent=1) + "\n")


def _cpu() -> str:
    info = Path("/proc/cpuinfo")
    names = re.findall(r"^model name\s*: (.*)$", info.read_text(), re.MULTILINE) if info.is_file() else []
    return names[0] if names else platform.processor()


if __name__ == "__main__":
    main()
