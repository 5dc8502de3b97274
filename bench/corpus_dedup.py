"""MinHash signatures and clustering against the field's tools, on the same documents, in turns, on one thread; and are the answers the same?

    python bench/corpus_dedup.py documents.jsonl --datatrove VENV/bin/python [--daft PYTHON] [--rensa PYTHON] [--datasketch PYTHON] [--megabytes 4]
        [--rounds 3] [--agree 6000] [--million] [--curve docs/pictures/s-curve.svg] [--json out.json]

Each peer runs in the interpreter of its own venv (datatrove==0.10.1 with spacy and "xxhash<4" and tokenizers; daft; rensa; datasketch), signs the same documents with 112
permutations over 5 words, and is timed without its imports and without reading. `--agree`: signatures of so many documents and the
clusters of stages 1 to 4 are compared with datatrove's, bit by bit. `--million`: clustering of a million made-up rows of band keys.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "RAYON_NUM_THREADS", "DAFT_RUNNER_THREADS"):
    os.environ.setdefault(name, "1")


def read(path: str) -> list[str]:
    with Path(path).open(encoding="utf-8") as lines:
        return [json.loads(line)["text"] for line in lines]


def timed(work: Callable[[], Any]) -> tuple[float, Any]:
    start = time.process_time()
    answer = work()
    return time.process_time() - start, answer


def with_datatrove(texts: list[str], out: str) -> float:
    import numpy as np
    from datatrove.pipeline.dedup.minhash import MinhashDedupSignature

    step = MinhashDedupSignature(tempfile.mkdtemp())
    step.get_signature(step.get_shingles("words that load what is loaded late"))

    def sign() -> list[Any]:
        shingles = (step.get_shingles(text) for text in texts)
        return [[value for band in step.get_signature(found) for value in band] if found.size else [0] * 112 for found in shingles]

    seconds, signatures = timed(sign)
    np.save(out, np.array(signatures, np.uint64).reshape(len(texts), 112))
    return seconds


def with_datatrove_clusters(texts: list[str], out: str) -> float:
    """Stages 1 to 4; per document the number of its cluster, -1 for one that is alone."""
    from datatrove.data import Document
    from datatrove.pipeline.dedup.minhash import MinhashDedupBuckets, MinhashDedupCluster, MinhashDedupFilter, MinhashDedupSignature

    folder = Path(tempfile.mkdtemp())

    def run() -> list[tuple[int, bool]]:
        documents = [Document(text=text, id=str(number)) for number, text in enumerate(texts)]
        MinhashDedupSignature(str(folder / "1")).run(iter(documents), 0, 1)
        buckets = MinhashDedupBuckets(str(folder / "1"), str(folder / "2"))
        for rank in range(14):
            buckets.run(None, rank, 14)
        MinhashDedupCluster(str(folder / "2"), str(folder / "3"), save_cluster_id=True).run(None, 0, 1)
        kept = {one.id for one in MinhashDedupFilter(str(folder / "3"), load_cluster_ids=True).run(iter(documents), 0, 1)}
        return [(int(one.metadata.get("minhash_cluster_id", -1)), one.id in kept) for one in documents]

    seconds, answer = timed(run)
    Path(out).write_text(json.dumps(answer))
    return seconds


def with_daft(texts: list[str], out: str) -> float:
    import daft

    frame = daft.from_pydict({"text": texts}).collect()

    def sign() -> object:
        return frame.select(frame["text"].minhash(num_hashes=112, ngram_size=5)).collect()

    sign()
    return timed(sign)[0]


def with_rensa(texts: list[str], out: str) -> float:
    from rensa import RMinHash

    def sign() -> list[object]:
        found = []
        for text in texts:
            words = text.split()
            one = RMinHash(num_perm=112, seed=1)
            one.update([" ".join(words[at : at + 5]) for at in range(max(1, len(words) - 4))])
            found.append(one.digest())
        return found

    return timed(sign)[0]


def with_datasketch(texts: list[str], out: str) -> float:
    from datasketch import MinHash

    def sign() -> list[object]:
        found = []
        for text in texts:
            words = text.split()
            one = MinHash(num_perm=112, seed=1)
            one.update_batch([" ".join(words[at : at + 5]).encode() for at in range(max(1, len(words) - 4))])
            found.append(one.digest())
        return found

    return timed(sign)[0]


PEERS = {
    "datatrove": with_datatrove,
    "datatrove-clusters": with_datatrove_clusters,
    "daft": with_daft,
    "rensa": with_rensa,
    "datasketch": with_datasketch,
}


def ask(python: str, peer: str, documents: str, out: str) -> float:
    """CPU seconds of a peer, in its own interpreter."""
    command = [python, __file__, documents, "--peer", peer, "--out", out]
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"} | {
        "PYTHONPATH": os.environ.get("PEER_PYTHONPATH", "")
    }
    answer = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    if answer.returncode:
        raise SystemExit(f"{peer} failed:\n{answer.stderr[-2000:]}")
    return float(answer.stdout.strip().splitlines()[-1])


def speeds(documents: list[str], asked: argparse.Namespace) -> dict[str, Any]:
    """MB per CPU-second: the first documents, up to `--megabytes`, in turns."""
    from lilong.floors.corpus.curation.dedup.minhash import Signer
    from lilong.floors.corpus.curation.texts import Texts

    taken, size = [], 0
    for text in documents:
        if size >= asked.megabytes * 1e6:
            break
        taken.append(text)
        size += len(text.encode())
    texts = Texts.of(taken)
    Signer().signatures(Texts.of(taken[:50]))  # compiled before the clock starts
    Signer().keys(Texts.of(taken[:50]))
    warm = Signer()
    seconds: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        part = f"{folder}/part.jsonl"
        Path(part).write_text("".join(json.dumps({"text": text}) + "\n" for text in taken))
        for _ in range(asked.rounds):
            seconds.setdefault("lilong, to band keys, first time", []).append(timed(lambda: Signer().keys(texts))[0])
            seconds.setdefault("lilong, to band keys", []).append(timed(lambda: warm.keys(texts))[0])
            seconds.setdefault("lilong, to signatures", []).append(timed(lambda: warm.signatures(texts))[0])
            for peer in ("datatrove", "daft", "rensa", "datasketch"):
                if getattr(asked, peer):
                    seconds.setdefault(peer, []).append(ask(getattr(asked, peer), peer, part, f"{folder}/out.npy"))
    rates = {name: round(size / 1e6 / statistics.median(times), 3) for name, times in seconds.items()}
    print(
        f"{len(taken)} documents, {size / 1e6:.1f} MB, {asked.rounds} rounds in turns, load {os.getloadavg()[0]:.1f}: MB per CPU-second, median"
    )
    for name, rate in sorted(rates.items(), key=lambda item: -item[1]):
        print(f"  {name:34} {rate:10.2f}   lilong's band keys: x{rates['lilong, to band keys'] / rate:.1f}")
    return {"documents": len(taken), "megabytes": round(size / 1e6, 2), "megabytes_per_cpu_second": rates}


def agreement(documents: list[str], asked: argparse.Namespace) -> dict[str, Any]:
    import numpy as np
    import pyarrow as pa

    from lilong.floors.corpus.curation.dedup import clusters
    from lilong.floors.corpus.curation.dedup.minhash import Signer
    from lilong.floors.corpus.curation.texts import Texts

    taken = documents[: asked.agree]
    texts, signer = Texts.of(taken), Signer()
    signatures, shingles = signer.signatures(texts)
    signatures[shingles == 0] = 0
    with tempfile.TemporaryDirectory() as folder:
        part, out = f"{folder}/part.jsonl", f"{folder}/out.npy"
        Path(part).write_text("".join(json.dumps({"text": text}) + "\n" for text in taken))
        ask(asked.datatrove, "datatrove", part, out)
        differ = np.flatnonzero((np.load(out) != signatures).any(axis=1))
        ask(asked.datatrove, "datatrove-clusters", part, out)
        theirs = json.loads(Path(out).read_text())
    # datatrove knows no copies by text, so neither does this comparison: each document has an id of its own.
    rows = pa.table({"id": [f"{n:08d}" for n in range(len(taken))], "source": [""] * len(taken), "uri": [""] * len(taken)})
    table, _ = clusters.cluster(rows, signer.keys(texts))
    ours: dict[str, set[int]] = {}
    for number, name in enumerate(table.column("cluster").to_pylist()):
        ours.setdefault(name, set()).add(number)
    other: dict[int, set[int]] = {}
    for number, (name, _) in enumerate(theirs):
        if name >= 0:
            other.setdefault(name, set()).add(number)
    mine, yours = ({frozenset(one) for one in found if len(one) > 1} for found in (ours.values(), other.values()))
    found = {
        "documents": len(taken), "megabytes": round(texts.bytes / 1e6, 1), "signatures_that_differ": len(differ), "where": differ[:20].tolist(),
        "clusters": len(mine), "clusters_of_datatrove": len(yours), "clusters_equal": mine == yours,
        "kept": int(np.asarray(table.column("kept")).sum()), "kept_by_datatrove": sum(kept for _, kept in theirs),
    }  # fmt: skip
    print(json.dumps(found))
    return found


def clustering(rows: int) -> dict[str, Any]:
    """Documents per CPU-second, and bytes per document that clustering needs besides keys that lie on disk."""
    import numpy as np

    from lilong.floors.corpus.curation.dedup.clusters import components

    rng = np.random.default_rng(1)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "keys.npy"
        keys = np.lib.format.open_memmap(path, "w+", np.uint64, (14, rows))
        for band in range(14):
            keys[band] = rng.integers(1, 1 << 63, rows, np.uint64)
        copies = rng.integers(0, rows, rows // 3)  # a third of the documents are near to another in some bands
        for band in range(0, 14, 2):
            keys[band, : len(copies)] = keys[band, copies]
        keys.flush()
        components(1000, 14, lambda band: keys[band, :1000])
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        seconds, (found, _) = timed(lambda: components(rows, 14, lambda band: np.load(path, mmap_mode="r")[band]))
        grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024
    answer = {
        "rows": rows,
        "documents_per_cpu_second": round(rows / seconds),
        "bytes_per_document": round(grown / rows, 1),
        "clusters": len(np.unique(found)),
    }
    print(json.dumps(answer))
    return answer


def curve(path: str, pairs: int) -> list[dict[str, Any]]:
    from lilong.floors.corpus.curation.dedup.minhash import Banding
    from lilong.floors.corpus.curation.dedup.recall import drawing, s_curve

    grades = s_curve(Banding(), pairs=pairs)
    if path:
        Path(path).write_text(drawing(grades, Banding()))
    found = [
        {"jaccard": round(one.jaccard, 4), "pairs": one.pairs, "recall": one.recall, "expected": round(one.expected, 4)} for one in grades
    ]
    for one in found:
        print(f"  Jaccard {one['jaccard']:.3f}: recall {one['recall']:.3f}, expected {one['expected']:.3f}")
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("documents", help="JSON lines with a 'text'")
    for peer in ("datatrove", "daft", "rensa", "datasketch"):
        parser.add_argument(f"--{peer}", metavar="PYTHON", default="")
    parser.add_argument("--megabytes", type=float, default=4)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--agree", type=int, default=0, metavar="DOCUMENTS")
    parser.add_argument("--million", action="store_true")
    parser.add_argument("--curve", nargs="?", const="", metavar="SVG")
    parser.add_argument("--json", metavar="FILE")
    parser.add_argument("--peer", choices=PEERS, help=argparse.SUPPRESS)
    parser.add_argument("--out", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    documents = read(asked.documents)
    if asked.peer:
        print(PEERS[asked.peer](documents, asked.out))
        return
    info = Path("/proc/cpuinfo")
    names = re.findall(r"^model name\s*: (.*)$", info.read_text(), re.MULTILINE) if info.is_file() else []
    found: dict[str, Any] = {
        "machine": {"cpu": names[:1], "cores": os.cpu_count(), "python": platform.python_version(), "load": os.getloadavg()[0]}
    }
    if asked.million:  # before anything else has used memory
        found["clustering"] = clustering(1_000_000)
    found["speed"] = speeds(documents, asked)
    if asked.agree and asked.datatrove:
        found["agreement"] = agreement(documents, asked)
    if asked.curve is not None:
        found["s_curve"] = curve(asked.curve, 1000)
    if asked.json:
        Path(asked.json).write_text(json.dumps(found, indent=1) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
