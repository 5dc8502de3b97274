"""Peers that do part of what the engine does, and the engine, each as its users run it, in turns on the same documents.

    python bench/corpus_others.py documents.jsonl [--text-dedup PYTHON] [--dolma PYTHON] [--data-juicer PYTHON] [--megabytes 10] [--rounds 3]
        [--json FILE]

MB of UTF-8 per CPU-second of all its processes, the median of the rounds; what a run over one document takes, which is starting, is
subtracted. The engine's run is the whole of `fineweb` with language, personal data, near duplicates and tables; a peer's is a part of that.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from corpus_fineweb import documents
from corpus_peers import version

JUICER = """
import json, sys
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


def curate(python: str, file: str, folder: Path) -> list[str]:
    words = ["corpus", "curate", file, "--profile", "fineweb", "--workers", "1", "--out", str(folder / "curated")]
    return [python, "-c", "from lilong.cli import main; main()", *words]


def text_dedup(python: str, file: str, folder: Path) -> list[str]:
    words = "--path json --split train --column text --num_perm 112 --ngram 5 --b 14 --r 8 --num_proc 1 --output out --cache_dir cache"
    return [python, "-m", "text_dedup.minhash", "--data_files", file, *words.split()]


def dolma(python: str, file: str, folder: Path) -> list[str]:
    asked = folder / "d" / "documents"
    asked.mkdir(parents=True)
    with gzip.open(asked / "part.gz", "wt", encoding="utf-8") as out, Path(file).open(encoding="utf-8") as rows:
        out.writelines(json.dumps({"id": str(number), "source": "bench", **json.loads(row)}) + "\n" for number, row in enumerate(rows))
    words = "tag --documents d/documents/*.gz --taggers gopher_v2 c4_v2 --processes 1 --experiment bench"
    return [str(Path(python).with_name("dolma")), *words.split()]


def data_juicer(python: str, file: str, folder: Path) -> list[str]:
    return [python, "-c", JUICER, file]


# Each by name: what is run, the command, and the file that shows that it did its work.
Command = Callable[[str, str, Path], list[str]]
RUNS: dict[str, tuple[str, Command, str]] = {
    "lilong": ("`lilong corpus curate --profile fineweb`", curate, "curated/report.json"),
    "text-dedup": ("MinHash 14 × 8 on word 5-grams with clusters", text_dedup, "out/*.arrow"),
    "dolma": ("taggers gopher_v2 and c4_v2", dolma, "d/attributes/bench/part.gz"),
    "data-juicer": ("eight filters like Gopher's, one by one", data_juicer, "part.jsonl"),
}


def spent(name: str, python: str, texts: list[str]) -> float:
    """CPU-seconds of a run and all that it started. Raises CalledProcessError, and RuntimeError where there is no result."""
    _, command, result = RUNS[name]
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    if name != "lilong":
        environment.pop("PYTHONPATH", None)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        file = folder / "part.jsonl"
        file.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts), "utf-8")
        words = command(python, str(file), folder)
        before = os.times()
        subprocess.run(words, cwd=folder, env=environment, check=True, capture_output=True, text=True)
        after = os.times()
        if not list(folder.glob(result)):
            raise RuntimeError(f"left no {result}")
    return after.children_user + after.children_system - before.children_user - before.children_system


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("documents", type=Path)
    parser.add_argument("--lilong", default=sys.executable, help=argparse.SUPPRESS)
    for name in list(RUNS)[1:]:
        parser.add_argument(f"--{name}", metavar="PYTHON", default="")
    parser.add_argument("--megabytes", type=float, default=10)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    texts = documents(asked.documents, asked.megabytes, [])
    size = sum(len(text.encode()) for text in texts) / 1e6
    pythons = {name: python for name in RUNS if (python := getattr(asked, name.replace("-", "_")))}
    whole: dict[str, list[float]] = {name: [] for name in pythons}
    start: dict[str, list[float]] = {name: [] for name in pythons}
    failed: dict[str, str] = {}
    for round_ in range(asked.rounds + 1):  # the first compiles and fills caches
        for name, python in pythons.items():
            try:
                if name not in failed:
                    start[name].append(spent(name, python, texts[:1]))
                    whole[name].append(spent(name, python, texts))
            except (subprocess.CalledProcessError, RuntimeError) as problem:
                said = [line for line in (getattr(problem, "stderr", "") or "").splitlines() if line.strip()]
                failed[name] = said[-1][:160] if said else str(problem)
        print(f"round {round_} of {asked.rounds}", file=sys.stderr, flush=True)
    rows = []
    for name in pythons:
        row: dict[str, object] = {"what": RUNS[name][0] if name == "lilong" else f"{version(name)}, {RUNS[name][0]}"}
        if name in failed:
            row["problem"] = failed[name]
        else:
            seconds = [all_ - one for all_, one in zip(whole[name][1:], start[name][1:], strict=True)]
            row |= {"rate": size / statistics.median(seconds), "start": statistics.median(start[name][1:]), "seconds": seconds}
        print(row, file=sys.stderr)
        rows.append(row)
    if asked.json:
        asked.json.write_text(json.dumps({"megabytes": size, "documents": len(texts), "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
