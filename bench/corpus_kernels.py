"""MinHash signatures: this house's kernel against datasketch and rensa, on the same documents, in turns, on one thread.

    python bench/corpus_kernels.py [documents.parquet] [--megabytes 8] [--rounds 3]

Every contestant makes 112 permutations over 5-word shingles of the same words. The peers take Python strings, so each is measured
twice: with the shingling that its users have to do, and on shingles made beforehand; the kernel with and without tokenising.
Without a file the texts are the LICENSE and METADATA files of the installed Python packages. Needs: pip install rensa datasketch.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import platform
import re
import statistics
import time
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import pyarrow.parquet as pq

from lilong.floors.corpus.curation import kernels
from lilong.floors.corpus.curation.columns import Texts

PERMUTATIONS, WIDTH = 112, 5
WORDS = re.compile(r"\w+")


def documents(path: str | None, limit: int) -> list[str]:
    """Texts up to `limit` bytes."""
    if path:
        found = pq.read_table(path, columns=["text"]).column("text").to_pylist()
    else:
        files = [
            Path(str(distribution.locate_file(file)))
            for distribution in importlib.metadata.distributions()
            for file in distribution.files or ()
            if ".dist-info/" in str(file) and re.search(r"METADATA|LICEN|COPYING", str(file))
        ]
        found = [file.read_text("utf-8", "replace") for file in sorted(files) if file.is_file()]
    taken, size = [], 0
    for text in found:
        if size >= limit:
            break
        taken.append(text)
        size += len(text.encode())
    return taken


def shingles(text: str) -> list[str]:
    words = WORDS.findall(text.lower())
    return [" ".join(words[at : at + WIDTH]) for at in range(max(1, len(words) - WIDTH + 1))]


def kernel(texts: list[bytes]) -> object:
    columns = Texts.of(texts)
    hashes, _, bounds = kernels.tokenise(columns.data, columns.offsets)
    return kernels.minhash(hashes, bounds, np.full(len(texts), WIDTH, np.int64), PERMUTATIONS, 1)


def contestants(texts: list[str]) -> dict[str, Callable[[], object]]:
    """Name -> what is timed. A peer that is not installed is left out."""
    encoded = [text.encode() for text in texts]
    prepared = [shingles(text) for text in texts]
    columns = Texts.of(encoded)
    hashes, _, bounds = kernels.tokenise(columns.data, columns.offsets)
    widths = np.full(len(texts), WIDTH, np.int64)
    found: dict[str, Callable[[], object]] = {
        "lilong": lambda: kernel(encoded),
        "lilong, tokens ready": lambda: kernels.minhash(hashes, bounds, widths, PERMUTATIONS, 1),
    }
    try:
        from rensa import CMinHash, RMinHash

        def rensa(kind: type, made: bool) -> list[object]:
            out = []
            for index, text in enumerate(texts):
                signature = kind(num_perm=PERMUTATIONS, seed=1)
                signature.update(prepared[index] if made else shingles(text))
                out.append(signature.digest())
            return out

        for kind in (RMinHash, CMinHash):
            found[f"rensa {kind.__name__}"] = lambda kind=kind: rensa(kind, False)
            found[f"rensa {kind.__name__}, shingles ready"] = lambda kind=kind: rensa(kind, True)
    except ImportError:
        print("rensa is not installed and is left out")
    try:
        from datasketch import MinHash

        def datasketch(made: bool) -> list[object]:
            out = []
            for index, text in enumerate(texts):
                signature = MinHash(num_perm=PERMUTATIONS, seed=1)
                signature.update_batch([one.encode() for one in (prepared[index] if made else shingles(text))])
                out.append(signature.digest())
            return out

        found["datasketch"] = lambda: datasketch(False)
        found["datasketch, shingles ready"] = lambda: datasketch(True)
    except ImportError:
        print("datasketch is not installed and is left out")
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("documents", nargs="?")
    parser.add_argument("--megabytes", type=float, default=8)
    parser.add_argument("--rounds", type=int, default=3)
    asked = parser.parse_args()
    texts = documents(asked.documents, int(asked.megabytes * 1e6))
    size = sum(len(text.encode()) for text in texts) / 1e6
    kernel([b"compiled before the clock starts"])
    runs = contestants(texts)
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(asked.rounds):
        for name, run in runs.items():
            start = time.process_time()
            run()
            seconds[name].append(time.process_time() - start)
    best = {name: statistics.median(times) for name, times in seconds.items()}
    print(f"{len(texts)} documents, {size:.1f} MB; {asked.rounds} rounds in turns; CPU-seconds, median")
    for name, value in sorted(best.items(), key=lambda item: item[1]):
        print(f"{name:32} {value:8.3f} s {size / value:9.1f} MB/s   x{value / best['lilong']:.1f} of lilong's time")
    versions = {name: importlib.metadata.version(name) for name in ("numba", "numpy", "rensa", "datasketch") if _installed(name)}
    machine = {"cpu": _cpu(), "cores": os.cpu_count(), "python": platform.python_version(), "load": os.getloadavg()[0], **versions}
    print(json.dumps({"megabytes": round(size, 2), "seconds": {name: round(value, 4) for name, value in best.items()}, "machine": machine}))


def _installed(name: str) -> bool:
    try:
        importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


def _cpu() -> str:
    info = Path("/proc/cpuinfo")
    names = re.findall(r"^model name\s*: (.*)$", info.read_text(), re.MULTILINE) if info.is_file() else []
    return names[0] if names else platform.processor()


if __name__ == "__main__":
    main()
