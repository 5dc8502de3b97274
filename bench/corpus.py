"""Every figure that the corpus floor is held to, in one run, with the peers beside it: the tables of docs/measured.md, section Corpus.

    make bench-corpus [TEXTS=documents.jsonl or a folder] [QUICK=1]
    python bench/corpus.py --folder FOLDER [--texts …] [--only NAME,…] [--skip NAME,…] [--quick]

FOLDER keeps peers, texts, datatrove's answers and each bench's JSON and log; a bench that has answered about the same texts is not run again,
unless --only names it. The tables are printed, and written to FOLDER/results/tables.json. Takes an hour or two, and the better part of that
is datatrove's. Speeds are MB of UTF-8 per CPU-second of one thread, ours and the peer's in turns.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import corpus_peers
import corpus_tables
import corpus_texts

HERE = Path(__file__).parent
LITTLE = ["--megabytes", "0.2", "--rounds", "1"]
QUICK = {  # smaller samples, to see that all of it works
    "corpus_fineweb": [*LITTLE, "--cold", "5"],
    "corpus_words": [*LITTLE, "--cold", "5", "--real", "1", "--generated", "300"],
    "corpus_dedup": [*LITTLE, "--agree", "100"],
    "corpus_others": ["--megabytes", "1", "--rounds", "1"],
    "corpus_safety": ["--megabytes", "1", "--rounds", "1"],
    "corpus_runs": ["--rounds", "1", "--gigabytes", ""],
    "corpus_agreement": ["--documents", "200", "--generated", "300"],
    "corpus_whole": ["--documents", "300"],
}

NEEDS_DATATROVE = {"corpus_fineweb", "corpus_words", "corpus_agreement", "corpus_whole"}


def texts(given: str | None, folder: Path) -> Path:
    """JSON lines of documents: the Debian documentation, a file of one's own, or the texts of a folder."""
    if given is None:
        return corpus_texts.made(folder / "texts")
    path, own = Path(given).absolute(), folder / "texts.jsonl"
    return corpus_texts.of_file(path, own) if path.is_file() else corpus_texts.of_folder(path, own)


def benches(peers: dict[str, str], folder: Path, quick: bool) -> dict[str, list[str]]:
    """Each bench by name with its options. `peers`: the interpreters of those that there are."""

    def given(*names: str) -> list[str]:
        return [word for name in names if name in peers for word in (f"--{name}", peers[name])]

    oracle = ["--oracle", peers["datatrove"]] if "datatrove" in peers else []
    found = {
        "corpus_fineweb": oracle,
        "corpus_words": oracle,
        "corpus_dedup": [*given("datatrove", "daft", "rensa", "datasketch"), "--agree", "6000", "--million", "--curve"],
        "corpus_others": given("text-dedup", "dolma", "data-juicer"),
        "corpus_safety": oracle,
        "corpus_runs": ["--scratch", str(folder)],
        "corpus_agreement": [*oracle, "--keep", str(folder / "answers")],
        "corpus_whole": oracle,
    }
    possible = {name: words for name, words in found.items() if oracle or name not in NEEDS_DATATROVE}
    return {name: [*words, *(QUICK[name] if quick else [])] for name, words in possible.items()}


def run(name: str, documents: Path, words: list[str], folder: Path, path: str = "") -> tuple[Any, float]:
    """What a bench left in its JSON, None where it failed, and its CPU-seconds, 0 where it had answered before."""
    told, asked = folder / f"{name}.json", folder / f"{name}.asked"
    same = json.dumps([documents.name, documents.stat().st_size, *words])
    if told.exists() and asked.exists() and asked.read_text() == same:
        return json.loads(told.read_text()), 0.0
    print(f"{datetime.datetime.now():%H:%M} {name}", flush=True)
    log, part = folder / f"{name}.log", told.with_suffix(".part")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, (os.environ.get("PYTHONPATH", ""), path)))}
    command = [sys.executable, str(HERE / f"{name}.py"), str(documents), *words, "--json", str(part)]
    before, started = os.times(), time.monotonic()
    with log.open("w") as file:
        done = subprocess.run(command, stdout=file, stderr=subprocess.STDOUT, env=environment, check=False)
    after = os.times()
    spent = after.children_user + after.children_system - before.children_user - before.children_system
    if done.returncode or not part.exists():
        print(f"{name} failed ({done.returncode}); the end of {log}:\n" + "\n".join(log.read_text().splitlines()[-5:]), flush=True)
        return None, spent
    part.rename(told)
    asked.write_text(same)
    print(f"      {spent:.0f} CPU-s, {time.monotonic() - started:.0f} s by the wall", flush=True)
    return json.loads(told.read_text()), spent


def machine() -> str:
    info = Path("/proc/cpuinfo")
    names = re.findall(r"^model name\s*: (.*)$", info.read_text(), re.MULTILINE) if info.is_file() else []
    return f"{os.cpu_count()} cores of {names[0] if names else platform.processor()}, Python {platform.python_version()}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--texts", help="JSON lines with `text`, or a folder of texts; otherwise Debian's documentation is downloaded")
    parser.add_argument("--only", default="", help="run these benches, separated by commas; of the others what they left before is shown")
    parser.add_argument("--skip", default="", help="benches that are left out")
    parser.add_argument("--quick", action="store_true", help="small samples, to see that all of it works; the figures mean little")
    asked = parser.parse_args()
    folder = asked.folder.absolute()
    results = folder / ("quick" if asked.quick else "results")
    (results / "answers").mkdir(parents=True, exist_ok=True)
    peers = {name: corpus_peers.installed(folder / "peers", name) for name in corpus_peers.PEERS}
    pythons = {name: one["python"] for name, one in peers.items() if "python" in one}
    missing = {corpus_peers.version(name): one["problem"] for name, one in peers.items() if "problem" in one}
    documents = texts(asked.texts, folder)
    only, skip = ({f"corpus_{name.removeprefix('corpus_')}" for name in given.split(",") if name} for given in (asked.only, asked.skip))
    for name in only:
        (results / f"{name}.asked").unlink(missing_ok=True)
    beside = str(next((Path(pythons["patterns"]).parent.parent / "lib").glob("python*/site-packages"))) if "patterns" in pythons else ""
    load, found, spent = os.getloadavg()[0], {}, 0.0
    for name, words in benches(pythons, results, asked.quick).items():
        told = results / f"{name}.json"
        if name in only or not (only or name in skip):
            found[name], seconds = run(name, documents, words, results, beside if name == "corpus_safety" else "")
            spent += seconds
        elif name not in skip and told.exists():
            found[name] = json.loads(told.read_text())
    show(found, missing, results, [
        f"{datetime.date.today()}, {machine()}, load {load:.1f} at the start and {os.getloadavg()[0]:.1f} at the end, {spent:.0f} CPU-s",
        f"Documents: {documents.name}, {documents.stat().st_size / 1e6:.0f} MB{'; QUICK, so the figures mean little' if asked.quick else ''}",
        "Peers: " + "; ".join(map(corpus_peers.version, pythons)),
    ])  # fmt: skip
    if failed := [name for name, one in found.items() if one is None]:
        raise SystemExit(f"failed: {', '.join(failed)}")


def show(found: dict[str, Any], missing: dict[str, str], results: Path, head: list[str]) -> None:
    speeds, agreements, curve = corpus_tables.speeds(found, missing), corpus_tables.agreements(found), corpus_tables.curve(found)
    told = {"head": head, "speeds": speeds, "agreements": agreements, "planted pairs": curve}
    (results / "tables.json").write_text(json.dumps(told, indent=1, ensure_ascii=False) + "\n", "utf-8")
    print("\n" + "\n".join(head) + "\n")
    print(corpus_tables.table(("what, MB a CPU-second where nothing else is said", "asked for", "found"), speeds))
    print("\n" + corpus_tables.table(("agreement with datatrove 0.10.1", "asked for", "found"), agreements))
    if curve:
        print(f"\nPlanted pairs, 14 bands of 8: recall by Jaccard similarity {curve}.")


if __name__ == "__main__":
    main()
