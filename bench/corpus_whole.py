"""The whole of FineWeb, datatrove's and ours: the filters, then MinHash over the texts that C4's line rules leave, in four stages.

    python bench/corpus_whole.py documents.jsonl --oracle VENV/bin/python [--documents 6000] [--json FILE]

Taken are English documents of 400 to 60,000 characters, each text once, in the order of their sha256. Compared are the documents that pass
the filters, the clusters among them and the texts of what is kept in the end. VENV: peers/datatrove.txt; datatrove runs as its users run it.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

Found = dict[str, Any]


def english(path: Path, count: int) -> dict[str, str]:
    """Texts by their sha256; English is what has hardly a letter that is not ASCII at its beginning."""
    found: dict[str, str] = {}
    with path.open(encoding="utf-8") as lines:
        for line in lines:
            text = json.loads(line)["text"]
            start = text[:2000]
            if 400 <= len(text) <= 60_000 and sum(letter < "\x80" for letter in start) >= 0.97 * len(start):
                found[hashlib.sha256(text.encode()).hexdigest()] = text
    return {id_: found[id_] for id_ in sorted(found)[:count]}


def answer(asked: Path, folder: Path) -> Found:
    """In datatrove's environment: the texts that pass the filters, the clusters among them, and the ids that are kept."""
    from datatrove.data import Document
    from datatrove.executor import LocalPipelineExecutor
    from datatrove.pipeline.dedup import MinhashDedupSignature
    from datatrove.pipeline.dedup.minhash import MinhashDedupBuckets, MinhashDedupCluster, MinhashDedupFilter
    from datatrove.pipeline.filters import C4QualityFilter, FineWebQualityFilter, GopherQualityFilter, GopherRepetitionFilter
    from datatrove.pipeline.readers import JsonlReader
    from datatrove.pipeline.writers import JsonlWriter

    filters = [GopherRepetitionFilter(), GopherQualityFilter(), C4QualityFilter(filter_no_terminal_punct=False), FineWebQualityFilter()]
    passed = {}
    with asked.open(encoding="ascii") as lines:
        for row in map(json.loads, lines):
            document = Document(text=row["text"], id=row["id"])
            if all(one.filter(document) is True for one in filters):
                passed[document.id] = document.text
    (folder / "passed").mkdir()
    rows = (json.dumps({"id": id_, "text": text}) + "\n" for id_, text in passed.items())
    (folder / "passed" / "00000.jsonl").write_text("".join(rows), "ascii")
    at = {name: str(folder / name) for name in ("passed", "signatures", "buckets", "removal", "removed", "kept", "logs")}
    removal = MinhashDedupFilter(at["removal"], exclusion_writer=JsonlWriter(at["removed"]), load_cluster_ids=True)
    stages: list[tuple[int, list[Any]]] = [
        (1, [JsonlReader(at["passed"]), MinhashDedupSignature(at["signatures"])]),
        (14, [MinhashDedupBuckets(at["signatures"], at["buckets"])]),
        (1, [MinhashDedupCluster(at["buckets"], at["removal"], save_cluster_id=True)]),
        (1, [JsonlReader(at["passed"]), removal, JsonlWriter(at["kept"])]),
    ]
    for number, (tasks, pipeline) in enumerate(stages):
        LocalPipelineExecutor(pipeline, tasks=tasks, workers=1, logging_dir=f"{at['logs']}/{number}").run()
    clusters: dict[int, list[str]] = {}
    kept = []
    for name in ("kept", "removed"):
        for file in Path(at[name]).glob("*.gz"):
            with gzip.open(file, "rt") as lines:
                for row in map(json.loads, lines):
                    if (cluster := int(row["metadata"].get("minhash_cluster_id", -1))) >= 0:
                        clusters.setdefault(cluster, []).append(row["id"])
                    if name == "kept":
                        kept.append(row["id"])
    return {"passed": passed, "clusters": list(clusters.values()), "kept": kept}


def decide(asked: Path, folder: Path) -> Found:
    """The same of `lilong corpus curate`, with the texts of what is kept."""
    import pyarrow.parquet as pq

    out = folder / "curated"
    command = ["corpus", "curate", str(asked), "--profile", "fineweb", "--workers", "1", "--out", str(out)]
    subprocess.run([sys.executable, "-c", "from lilong.cli import main; main()", *command], check=True, stdout=subprocess.DEVNULL)
    decisions = pq.read_table(out / "decisions.parquet", columns=["id", "keep", "reason"]).to_pylist()
    passed = {row["id"] for row in decisions if row["keep"] or row["reason"] == "near_duplicate"}
    clusters: dict[str, list[str]] = {}
    for row in pq.read_table(out / "clusters.parquet", columns=["id", "cluster"]).to_pylist():
        if row["id"] in passed:
            clusters.setdefault(row["cluster"], []).append(row["id"])
    documents = pq.read_table(out / "documents.parquet", columns=["id", "text"]).to_pylist()
    return {"passed": passed, "clusters": [*clusters.values()], "kept": {row["id"]: row["text"] for row in documents}}


def compare(texts: dict[str, str], theirs: Found, ours: Found) -> Found:
    """Which of a cluster is kept is a policy's choice here and the first one's there, so clusters and numbers are compared."""
    mine, yours = ({frozenset(ids) for ids in found["clusters"] if len(ids) > 1} for found in (ours, theirs))
    return {
        "documents": len(texts), "megabytes": round(sum(len(text.encode()) for text in texts.values()) / 1e6, 1),
        "passed": len(ours["passed"]), "passed_differently": len(ours["passed"] ^ set(theirs["passed"])),
        "clusters": len(mine), "clusters_of_datatrove": len(yours), "clusters_equal": mine == yours, "in_clusters": sum(map(len, mine)),
        "kept": len(ours["kept"]), "kept_by_datatrove": len(theirs["kept"]),
        "texts_that_differ": sum(theirs["passed"].get(id_) != text for id_, text in ours["kept"].items()),
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path)
    parser.add_argument("--oracle", help="the Python of an environment with datatrove")
    parser.add_argument("--documents", type=int, default=6_000)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--answer", type=Path, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if asked.answer:
            asked.answer.write_text(json.dumps(answer(asked.file, folder)))
            return
        texts = english(asked.file, asked.documents)
        given, told = folder / "documents.jsonl", folder / "datatrove.json"
        given.write_text("".join(json.dumps({"id": id_, "text": text}) + "\n" for id_, text in texts.items()), "ascii")
        started = time.monotonic()
        subprocess.run([asked.oracle, __file__, str(given), "--answer", str(told)], check=True)
        print(f"datatrove answered after {time.monotonic() - started:.0f} s", file=sys.stderr)
        found = compare(texts, json.loads(told.read_text()), decide(given, folder))
    print(json.dumps(found))
    if asked.json:
        asked.json.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
