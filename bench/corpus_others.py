"""Peers that do part of what the engine does, each as its users run it, on the same documents: text-dedup, dolma, data-juicer.

    python bench/corpus_others.py documents.jsonl [--text-dedup PYTHON] [--dolma PYTHON] [--data-juicer PYTHON] [--megabytes 2] [--json FILE]

Speeds are MB of UTF-8 per CPU-second, starting included; a run over one document is subtracted, which is what starting takes.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

JUICER = """
import json, sys, time
from data_juicer.ops.base_op import OPERATORS
import data_juicer.ops
names = ("alphanumeric_filter", "average_line_length_filter", "character_repetition_filter", "word_repetition_filter", "words_num_filter", "special_characters_filter", "maximum_line_length_filter", "text_length_filter")
filters = [OPERATORS.modules[name]() for name in names]
for text in (json.loads(line)["text"] for line in open(sys.argv[1])):
    for one in filters:
        if one.is_batched_op():
            list(one.process_batched(one.compute_stats_batched({"text": [text], "__dj__stats__": [{}]})))
        else:
            one.process_single(one.compute_stats_single({"text": text, "__dj__stats__": {}}))
"""


def spent(command: list[str], folder: str) -> float:
    """CPU-seconds of a command and all that it started. Raises CalledProcessError."""
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"} | {"HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    before = os.times()
    subprocess.run(command, cwd=folder, env=environment, check=True, capture_output=True, text=True)
    after = os.times()
    return after.children_user + after.children_system - before.children_user - before.children_system


def text_dedup(python: str, file: str, folder: str) -> list[str]:
    words = "--path json --split train --column text --num_perm 112 --ngram 5 --b 14 --r 8 --num_proc 1 --output out --cache_dir cache"
    return [python, "-m", "text_dedup.minhash", "--data_files", file, *words.split()]


def dolma(python: str, file: str, folder: str) -> list[str]:
    documents = Path(folder) / "d" / "documents"
    documents.mkdir(parents=True)
    rows = [json.loads(line) for line in Path(file).read_text("utf-8").splitlines()]
    with gzip.open(documents / "part.gz", "wt", encoding="utf-8") as out:
        out.writelines(json.dumps({"id": str(number), "text": row["text"], "source": "bench"}) + "\n" for number, row in enumerate(rows))
    words = "tag --documents d/documents/*.gz --taggers gopher_v2 c4_v2 --processes 1 --experiment bench"
    return [str(Path(python).with_name("dolma")), *words.split()]


def data_juicer(python: str, file: str, folder: str) -> list[str]:
    return [python, "-c", JUICER, file]


PEERS: dict[str, tuple[str, Callable[[str, str, str], list[str]]]] = {
    "text-dedup": ("text-dedup 0.4.0, MinHash 14 × 8 with clusters", text_dedup),
    "dolma": ("dolma 1.2.1, taggers gopher_v2 and c4_v2", dolma),
    "data-juicer": ("data-juicer 1.6.1, eight filters like Gopher's, one by one", data_juicer),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("documents", type=Path)
    for name in PEERS:
        parser.add_argument(f"--{name}", metavar="PYTHON", default="")
    parser.add_argument("--megabytes", type=float, default=2)
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    taken: list[str] = []
    size = 0
    with asked.documents.open(encoding="utf-8") as lines:
        for line in lines:
            if size >= asked.megabytes * 1e6:
                break
            taken.append(line)
            size += len(json.loads(line)["text"].encode())
    rows = []
    for name, (what, command) in PEERS.items():
        if not (python := getattr(asked, name.replace("-", "_"))):
            continue
        seconds = []
        try:
            for part in (taken[:1], taken):
                with tempfile.TemporaryDirectory() as folder:
                    file = Path(folder) / "part.jsonl"
                    file.write_text("".join(part), "utf-8")
                    seconds.append(spent(command(python, str(file), folder), folder))
            found = f"{size / 1e6 / (seconds[1] - seconds[0]):.2f}, and {seconds[0]:.1f} CPU-s to start"
        except subprocess.CalledProcessError as problem:
            said = [line for line in (problem.stderr or "").splitlines() if line.strip()]
            found = f"fails: {said[-1][:160] if said else problem}"
        print(f"{what}: {found}", file=sys.stderr)
        rows.append({"what": what, "found": found})
    if asked.json:
        asked.json.write_text(json.dumps({"megabytes": size / 1e6, "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
