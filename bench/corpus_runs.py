"""Whole runs of `lilong corpus curate`: start-up, two workers against one, memory, copies found, and another policy over 400,000 documents.

    python bench/corpus_runs.py documents.jsonl [--rounds 2] [--gigabytes 0.2,5] [--json FILE] [--scratch FOLDER]

Times are of the command as a person gives it. `wall` counts only on a calm machine; `by CPU` is one worker's CPU-seconds over those of the
process that leads two workers and half of theirs: what the wall would say if every process had a core.
"""

from __future__ import annotations

import argparse
import collections
import hashlib
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

LED = """
import atexit, json, os, resource, sys
out = sys.argv.pop(1)
def tell():
    used, most = os.times(), resource.getrusage
    json.dump({"own": used[0] + used[1], "workers": used[2] + used[3], "memory": most(resource.RUSAGE_SELF).ru_maxrss / 1024,
               "worker_memory": most(resource.RUSAGE_CHILDREN).ru_maxrss / 1024}, open(out, "w"))
atexit.register(tell)
from lilong.cli import main
sys.argv[0] = "lilong"
main()
"""
PROFILES = ("docs", "fineweb")


def curated(path: Path, profile: str, workers: int, out: Path) -> dict[str, float]:
    """One run: seconds by the wall and by CPU (all processes, ended ones with all that the system did for them), and MiB of memory."""
    shutil.rmtree(out, ignore_errors=True)
    with tempfile.NamedTemporaryFile() as told:
        words = ["corpus", "curate", str(path), "--profile", profile, "--workers", str(workers), "--out", str(out)]
        started = time.monotonic()
        run = subprocess.Popen([sys.executable, "-c", LED, told.name, *words], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        _, status, used = os.wait4(run.pid, 0)
        wall = time.monotonic() - started
        run.returncode = os.waitstatus_to_exitcode(status)
        if run.returncode:
            raise SystemExit(f"curate ended with {run.returncode}")
        found: dict[str, float] = json.loads(Path(told.name).read_text())
    return {**found, "wall": wall, "cpu": used.ru_utime + used.ru_stime, "load": os.getloadavg()[0]}


def start_up(scratch: Path, rounds: int = 7) -> dict[str, Any]:
    small = scratch / "small.txt"
    small.write_text("A page about the harbour. The tide comes in twice a day, and the boats lie dry.\n" * 5)
    found = {}
    for profile in PROFILES:
        curated(small, profile, 2, scratch / "out")  # compiles
        runs = [curated(small, profile, 2, scratch / "out") for _ in range(rounds)]
        found[profile] = {name: round(statistics.median(run[name] for run in runs), 3) for name in ("wall", "cpu")}
        found[profile]["least_wall"] = round(min(run["wall"] for run in runs), 3)
    return found


def workers(path: Path, scratch: Path, rounds: int) -> dict[str, Any]:
    """One worker and two, in turns; the tables have to be the same."""
    found: dict[str, Any] = {}
    for profile in PROFILES:
        runs: dict[int, list[dict[str, float]]] = {1: [], 2: []}
        digests = set()
        for _ in range(rounds):
            for count, those in runs.items():
                those.append(curated(path, profile, count, scratch / profile))
                report = json.loads((scratch / profile / "report.json").read_text())
                digests.add(json.dumps(report["tables"] if "tables" in report else report["documents"], sort_keys=True))
        one, two = ({key: min(run[key] for run in those) for key in those[0]} for those in runs.values())
        found[profile] = {
            "megabytes": round(path.stat().st_size / 1e6, 1), "same": len(digests) == 1, "runs": {str(count): those for count, those in runs.items()},
            "by wall": round(one["wall"] / two["wall"], 2), "by CPU": round(one["own"] / (two["own"] + two["workers"] / 2), 2),
            "MB a second, two workers": round(path.stat().st_size / 1e6 / two["wall"], 1), "MB a CPU-second": round(path.stat().st_size / 1e6 / one["cpu"], 1),
        }  # fmt: skip
        print(f"{profile}: two workers {found[profile]['by wall']} times one by the wall, {found[profile]['by CPU']} by CPU", flush=True)
    return found


def grown(path: Path, megabytes: float, out: Path) -> None:
    """About so many MB of different documents: those of the file again and again, each time with another number before the text."""
    size, turn = 0, 0
    with out.open("wb") as file:
        while size < megabytes * 1e6:
            with path.open("rb") as lines:
                for line in lines:
                    row = json.loads(line)
                    row["text"] = f"{turn}-{row['uri']}\n{row['text']}"
                    row["id"] = ""
                    told = json.dumps(row, ensure_ascii=False).encode() + b"\n"
                    file.write(told)
                    size += len(told)
                    if size >= megabytes * 1e6:
                        break
            turn += 1


def memory(path: Path, scratch: Path, gigabytes: list[float]) -> list[dict[str, Any]]:
    """Peak memory of a worker's process and of the one that leads it, by size of the input."""
    found = []
    for size in gigabytes:
        larger = scratch / "larger.jsonl"
        grown(path, size * 1e3, larger)
        run = curated(larger, "fineweb", 2, scratch / "larger")
        report = json.loads((scratch / "larger" / "report.json").read_text())
        found.append(
            {
                "gigabytes": round(larger.stat().st_size / 1e9, 2),
                "documents": report["documents"]["read"],
                **{key: round(run[key], 1) for key in run},
            }
        )
        print(json.dumps(found[-1]), flush=True)
        larger.unlink()
        shutil.rmtree(scratch / "larger")
    return found


def policy(run: Path, documents: int = 400_000) -> dict[str, Any]:
    """CPU-seconds to read the signals that a policy asks about and to decide again, over so many documents."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    from lilong.floors.corpus.curation.policies.evaluation import decide
    from lilong.floors.corpus.curation.runs.results import Results

    of = Results.open(run).policy
    signals = pq.read_table(run / "signals.parquet")
    many = pa.concat_tables([signals] * -(-documents // signals.num_rows)).slice(0, documents)
    with tempfile.TemporaryDirectory() as folder:
        pq.write_table(many, f"{folder}/signals.parquet")
        seconds = []
        for _ in range(3):
            started = time.process_time()
            table = pq.read_table(f"{folder}/signals.parquet", columns=sorted(of.signals()))
            decide(of, table)
            seconds.append(time.process_time() - started)
    return {"documents": many.num_rows, "rules": len(of.rules), "cpu": round(min(seconds), 3)}


def copies(path: Path, run: Path) -> dict[str, Any]:
    """linux-doc ships its pages as .rst.gz and as Sphinx .txt: are all that are equal found to be?"""
    import pyarrow.parquet as pq

    groups: dict[bytes, set[str]] = collections.defaultdict(set)
    with path.open(encoding="utf-8") as lines:
        for line in lines:
            row = json.loads(line)
            if row["source"].startswith("linux-doc") and row["uri"].endswith((".rst.gz", ".txt")):
                groups[hashlib.sha256(row["text"].encode()).digest()].add(row["uri"])
    pairs = {key.hex(): uris for key, uris in groups.items() if len({uri.endswith(".txt") for uri in uris}) == 2}
    decided = pq.read_table(run / "decisions.parquet", columns=["id", "uri", "reason"]).to_pylist()
    by_id: dict[str, list[str]] = collections.defaultdict(list)
    for one in decided:  # the uri of a record is that of its file, a #, and its own
        if one["uri"].rpartition("#")[2] in pairs.get(one["id"], ()):
            by_id[one["id"]].append(one["reason"])
    found = sum(sum(reason == "exact_duplicate" for reason in by_id[key]) >= len(uris) - 1 for key, uris in pairs.items())
    return {
        "pages that ship both ways": len(pairs),
        "copies": sum(len(uris) - 1 for uris in pairs.values()),
        "pages whose copies are all found": found,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("documents", type=Path)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--gigabytes", default="0.2,5", help="sizes of input at which memory is measured; '' for none")
    parser.add_argument("--grown", type=float, help="time workers on so many GB, to which the documents are grown, and nothing else")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--scratch", type=Path)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=asked.scratch) as folder:
        scratch = Path(folder)
        found: dict[str, Any] = {"load": os.getloadavg()[0], "start_up": start_up(scratch)}
        print(json.dumps(found["start_up"]), flush=True)
        if asked.grown:
            grown(asked.documents, asked.grown * 1e3, scratch / "grown.jsonl")
            found["workers"] = workers(scratch / "grown.jsonl", scratch, asked.rounds)
        else:
            found["workers"] = workers(asked.documents, scratch, asked.rounds)
            found["policy"] = policy(scratch / "fineweb")
            found["copies"] = copies(asked.documents, scratch / "docs")
            print(json.dumps({key: found[key] for key in ("policy", "copies")}), flush=True)
            found["memory"] = memory(asked.documents, scratch, [float(size) for size in asked.gigabytes.split(",") if size])
    if asked.json:
        asked.json.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
