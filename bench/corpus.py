"""Every figure that the corpus floor is held to, in one run, with the peers beside it: the tables of docs/measured.md, section Corpus.

    make bench-corpus [TEXTS=documents.jsonl or a folder]      or      python bench/corpus.py --folder FOLDER [--texts …] [--only NAME,…] [--quick]

FOLDER keeps peers, texts, datatrove's answers and each bench's JSON; a bench whose JSON is there is not run again. Takes an hour or two, and
the better part of that is datatrove's. Speeds are MB of UTF-8 per CPU-second of one thread, ours and the peer's in turns.
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
from collections.abc import Callable
from pathlib import Path
from typing import Any

import corpus_peers
import corpus_texts

HERE = Path(__file__).parent
Json = dict[str, Any]


def texts(given: str | None, folder: Path) -> Path:
    """JSON lines of documents: the Debian documentation, a file of one's own, or the texts of a folder."""
    if given is None:
        return corpus_texts.made(folder / "texts")
    path = Path(given)
    return path if path.is_file() else corpus_texts.of_folder(path, folder / "texts.jsonl")


def run(name: str, folder: Path, words: list[str], path: str = "", out: str = "--json") -> Any:
    """What a bench left in its JSON; None where it failed, and its last lines are shown."""
    told = folder / f"{name}.json"
    if not told.exists():
        print(f"{datetime.datetime.now():%H:%M} {name}", flush=True)
        log, part = folder / f"{name}.log", told.with_suffix(".part")
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, (os.environ.get("PYTHONPATH", ""), path)))}
        with log.open("w") as file:
            command = [sys.executable, str(HERE / f"{name}.py"), *words, out, str(part)]
            done = subprocess.run(command, stdout=file, stderr=subprocess.STDOUT, env=environment, check=False)
        if done.returncode or not part.exists():
            print(f"{name} failed ({done.returncode}):\n" + "\n".join(log.read_text().splitlines()[-5:]), flush=True)
            return None
        part.rename(told)
    return json.loads(told.read_text())


def benches(documents: Path, folder: Path, peers: dict[str, Json], quick: bool) -> dict[str, Callable[[], Any]]:
    """Each bench by name, to be run when it is called. `quick`: smaller samples, to see that all of it works."""
    python = {name: str(found.get("python", "")) for name, found in peers.items()}
    answers = folder / "answers"
    answers.mkdir(exist_ok=True)
    given = str(documents)
    others = [word for name in ("text-dedup", "dolma", "data-juicer") if python.get(name) for word in (f"--{name}", python[name])]
    dedup = [word for name in ("datatrove", "daft", "rensa", "datasketch") if python.get(name) for word in (f"--{name}", python[name])]
    beside = str(next((Path(python["patterns"]).parent.parent / "lib").glob("python*/site-packages"))) if python.get("patterns") else ""
    if quick:
        little = ["--megabytes", "0.2", "--rounds", "1"]
        less = {
            "corpus_fineweb": [*little, "--cold", "5"],
            "corpus_words": [*little, "--cold", "5", "--real", "1", "--generated", "300"],
            "corpus_dedup": [*little, "--agree", "100"],
            "corpus_safety": ["--megabytes", "1", "--rounds", "1"],
            "corpus_runs": ["--rounds", "1", "--gigabytes", ""],
            "corpus_others": ["--megabytes", "0.2"],
            "corpus_agreement": ["--documents", "200", "--generated", "300"],
        }
    else:
        less = {"corpus_dedup": ["--agree", "6000"]}
    words: dict[str, list[str]] = {
        "corpus_fineweb": ["--oracle", python["datatrove"]],
        "corpus_words": ["--oracle", python["datatrove"]],
        "corpus_dedup": [*dedup, "--million", "--curve"],
        "corpus_safety": [],
        "corpus_runs": ["--scratch", str(folder)],
        "corpus_others": others,
        "corpus_agreement": ["--oracle", python["datatrove"], "--keep", str(answers)],
    }

    def bench(name: str) -> Callable[[], Any]:
        safety = name == "corpus_safety"
        return lambda: run(
            name, folder, [given, *words[name], *less.get(name, [])], beside if safety else "", "--out" if safety else "--json"
        )

    needs = {"corpus_fineweb", "corpus_words", "corpus_agreement"}  # there is nothing to measure without the peer
    return {name: bench(name) for name in words if name not in needs or python["datatrove"]}


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _times(ours: float, peer: float) -> str:
    return f"{_number(ours)}, theirs {_number(peer)}: {_number(ours / peer)} ×"


def speeds(found: dict[str, Any]) -> list[tuple[str, str, str]]:
    """Rows of the table: what, asked for, found. Of a bench that was not run there are none."""
    rows: list[tuple[str, str, str]] = []
    if chain := found.get("corpus_fineweb"):
        rates = chain["rates"]
        ours, every, early = rates["lilong"], rates["datatrove, every filter"], rates["datatrove, chain"]
        rows += [
            ("fineweb chain, every filter on every document, warm; datatrove's too", "≥ 20 ×, stretch 50", _times(ours, every)),
            ("the same; datatrove ends at the first filter that drops", "", _times(ours, early)),
        ]
        for name, cold in chain["cold"].items():
            rows.append((f"cold, {cold['megabytes']:.0f} MB from {name}; every filter", "≥ 8 ×, stretch 20", _times(cold["chain"], every)))
            rows.append(("the same; datatrove ends early", "", _times(cold["chain"], early)))
        for name, those in chain["defeating"].items():
            worst = max(rate for one, rate in those.items() if one != "lilong")
            rows.append((f"{name}, nothing remembered; datatrove's better figure", "≥ 0.5 ×", _times(those["lilong"], worst)))
    if words := found.get("corpus_words"):
        rates = words["rates"]
        rows += [(f"words, {name}", "", _times(rate, rates["datatrove"])) for name, rate in rates.items() if name != "datatrove"]
        million = words["million"]
        rows.append(
            (
                "a vocabulary of 1,048,576 chunks: in memory, on disk, to open",
                "",
                f"{million['memory']:.0f} MB, {million['disk']:.0f} MB, {million['opened']:.2f} CPU-s",
            )
        )
    if dedup := found.get("corpus_dedup"):
        rates = dedup["speed"]["megabytes_per_cpu_second"]
        ours = rates["lilong, to band keys"]
        asked = {"datatrove": "≥ 60 ×", "daft": "≥ 0.67 ×"}
        rows += [
            (f"MinHash 14 × 8 on word 5-grams, {name}", asked.get(name, ""), _times(ours, rate))
            for name, rate in rates.items()
            if not name.startswith("lilong")
        ]
        if clustering := dedup.get("clustering"):
            rows += [
                (
                    "clustering, documents a CPU-second",
                    "≥ 200,000",
                    f"{clustering['documents_per_cpu_second']:,} of {clustering['rows']:,}",
                ),
                ("clustering, bytes a document", "≤ 64", str(clustering["bytes_per_document"])),
            ]
    rows += _others(found) + _safety(found) + _runs(found)
    return rows


def _safety(found: dict[str, Any]) -> list[tuple[str, str, str]]:
    if not (safety := found.get("corpus_safety")):
        return []
    personal, tongues, asked = safety["personal"]["rates"], safety["languages"], safety["membership"]
    rows = [
        ("language, whole texts, MB a CPU-second", "≥ 10", _number(tongues["rates"]["ours, whole text"])),
        ("personal data, clean text, MB a CPU-second", "≥ 100", _number(personal["ours, the same without @ and long numbers"])),
        ("personal data, text as it is", "", _number(personal["ours, 7 kinds confirmed"])),
        *((f"beside it, {name}", "", _number(rate)) for name, rate in personal.items() if not name.startswith("ours")),
        ("profile gopher-zh, MB a CPU-second", "≥ 10", _number(safety["profiles"]["gopher-zh"])),
        ("profiles docs and code", "", f"{_number(safety['profiles']['docs'])} and {_number(safety['profiles']['code'])}"),
        (
            "membership, 1,000 characters: median and p99 CPU ms",
            "< 5",
            f"{asked['1000 characters']['median CPU ms']} and {asked['1000 characters']['p99 CPU ms']}",
        ),
    ]
    if same := tongues.get("same as fastText on the whole text"):
        rows.insert(
            1,
            (
                "language, same label as fastText's on the whole text",
                "≥ 98.5 %",
                f"{100 * same['ours']:.2f} % (its own on 1,000 characters {100 * same['fastText, first 1,000 characters']:.2f} %)",
            ),
        )
    return rows


def _others(found: dict[str, Any]) -> list[tuple[str, str, str]]:
    return [(one["what"], "", one["found"]) for one in (found.get("corpus_others") or {}).get("rows", ())]


def _runs(found: dict[str, Any]) -> list[tuple[str, str, str]]:
    if not (runs := found.get("corpus_runs")):
        return []
    rows = [
        (f"start-up, {name}: one small file, caches warm", "< 1 s", f"{one['least_wall']} s by the wall, {one['cpu']} CPU-s")
        for name, one in runs["start_up"].items()
    ]
    for name, one in runs["workers"].items():
        rows.append(
            (
                f"two workers against one, {name}, {one['megabytes']:.0f} MB: wall, by CPU",
                "≥ 1.8 ×",
                f"{one['by wall']}, {one['by CPU']}; tables {'the same' if one['same'] else 'DIFFER'}",
            )
        )
        rows.append((f"whole run, {name}, MB a CPU-second, one worker", "", str(one["MB a CPU-second"])))
    rows.append(("another policy over 400,000 documents", "< 2 s", f"{runs['policy']['cpu']} CPU-s ({runs['policy']['rules']} rules)"))
    rows.append(
        (
            "linux-doc's pages that ship both ways",
            "all found",
            f"{runs['copies']['pages whose copies are all found']:,} of {runs['copies']['pages that ship both ways']:,}",
        )
    )
    rows += [
        (
            f"peak memory, {one['gigabytes']} GB, fineweb: a worker, the leading process",
            "< 1.5 GB, flat",
            f"{one['worker_memory']:.0f} and {one['memory']:.0f} MiB ({one['documents']:,} documents)",
        )
        for one in runs["memory"]
    ]
    return rows


def agreements(found: dict[str, Any]) -> list[tuple[str, str, str]]:
    rows = []
    for one in found.get("corpus_agreement") or ():
        same = one["same"]
        rows.append(
            (
                f"{one['name']}: {one['documents']:,} documents, {one['bytes'] / 1e6:.1f} MB",
                "≥ 99.9 %",
                f"{100 * same['chain'] / max(1, one['documents']):.4f} % of the chain, {one['different']} differ in anything",
            )
        )
    for one in (found.get("corpus_words") or {}).get("agreement", ()):
        rows.append(
            (f"words of {one['what']}: {one['texts']:,} texts, {one['words']:,} words", "the same", f"{one['differ']} texts differ")
        )
    if same := (found.get("corpus_dedup") or {}).get("agreement"):
        rows.append(
            (
                f"signatures of {same['documents']:,} documents, {same['megabytes']} MB",
                "bit-identical",
                f"{same['signatures_that_differ']} differ",
            )
        )
        rows.append(
            (
                "their clusters, stages 1 to 4",
                "the same",
                f"{same['clusters']} and {same['clusters_of_datatrove']}, {'equal' if same['clusters_equal'] else 'NOT equal'}; kept {same['kept']:,} and {same['kept_by_datatrove']:,}",
            )
        )
    return rows


def table(head: tuple[str, str, str], rows: list[tuple[str, str, str]]) -> str:
    return "\n".join("| " + " | ".join(row) + " |" for row in (head, ("---",) * 3, *rows))


def machine() -> str:
    info = Path("/proc/cpuinfo")
    names = re.findall(r"^model name\s*: (.*)$", info.read_text(), re.MULTILINE) if info.is_file() else []
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0
    return f"{os.cpu_count()} cores of {names[0] if names else platform.processor()}, Python {platform.python_version()}, load {load:.1f} at the end"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--texts", help="JSON lines with `text`, or a folder of texts; otherwise Debian's documentation is downloaded")
    parser.add_argument("--only", default="", help="these benches, separated by commas; of the others what they left before is shown")
    parser.add_argument("--quick", action="store_true")
    asked = parser.parse_args()
    asked.folder.mkdir(parents=True, exist_ok=True)
    results = asked.folder / ("quick" if asked.quick else "results")
    results.mkdir(exist_ok=True)
    peers = {name: corpus_peers.installed(asked.folder / "peers", name) for name in corpus_peers.PEERS}
    documents = texts(asked.texts, asked.folder)
    only = {name if name.startswith("corpus_") else f"corpus_{name}" for name in asked.only.split(",") if name}
    for name in only:
        (results / f"{name}.json").unlink(missing_ok=True)
    found: dict[str, Any] = {}
    for name, bench in benches(documents, results, peers, asked.quick).items():
        found[name] = bench() if not only or name in only or (results / f"{name}.json").exists() else None
    print(f"\n{datetime.date.today()}, {machine()}; `make bench-corpus`, {documents.stat().st_size / 1e6:.0f} MB of documents\n")
    print(table(("what, MB of UTF-8 a CPU-second where nothing else is said", "asked for", "found"), speeds(found)))
    print("\n" + table(("agreement with datatrove 0.10.1", "asked for", "found"), agreements(found)))
    print(
        "\n"
        + table(
            ("peer", "", ""),
            [
                (name, "; ".join(corpus_peers.PEERS[name]), f"does not install: {one['problem']}" if "problem" in one else "installed")
                for name, one in peers.items()
            ],
        )
    )


if __name__ == "__main__":
    main()
