"""Acknowledged durable one-row writes a second from 16 clients: the house's one writer against a connection for each client.

    python bench/durable_writes.py [--folder DIR] [--seconds 3] [--rounds 3] [--clients 16] [--json]

Both keep the same promise (WAL, synchronous=FULL: a write returns once it is on the disk), on one file system, in turns. The house's
clients call `Database.write`, which gathers those that wait into one transaction; each of the others has a sqlite3 connection of its
own and does BEGIN IMMEDIATE, INSERT, COMMIT. Two cases: each client writes again at once, or pauses for a millisecond first, as clients do
that have requests to read. Waits are from asking to the acknowledgement. In the end every acknowledged row is looked for.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sqlite3
import statistics
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from lilong.ground.db import Database

TABLE = "CREATE TABLE IF NOT EXISTS rows (client INTEGER, number INTEGER, text TEXT, PRIMARY KEY (client, number))"
INSERT = "INSERT INTO rows (client, number, text) VALUES (:client, :number, :text)"
TEXT = "x" * 100
CASES = {"back to back": 0.0, "1 ms pauses": 0.001}  # seconds before each write
Write = Callable[[int, int], None]  # client, number


@dataclass(frozen=True, slots=True)
class Measured:
    rate: float  # acknowledged writes a second, of all clients together
    median_ms: float
    p99_ms: float
    longest_ms: float
    fewest: int  # writes of the client that got the fewest
    most: int


def measure(connect: Callable[[], Write], first: list[int], seconds: float, pause: float) -> Measured:
    """Clients write for `seconds`. Each pauses before every write. `first[i]` is the next number of client i, and is moved on."""
    clients = len(first)
    begin, stop = threading.Barrier(clients + 1), threading.Event()
    waits: list[list[float]] = [[] for _ in range(clients)]
    failures: list[BaseException] = []

    def client(me: int) -> None:
        try:
            write = connect()
            begin.wait()
            while not stop.is_set():
                if pause:
                    time.sleep(pause)
                asked = time.perf_counter()
                write(me, first[me])
                waits[me].append(time.perf_counter() - asked)
                first[me] += 1
        except BaseException as problem:
            failures.append(problem)
            begin.abort()

    threads = [threading.Thread(target=client, args=(me,)) for me in range(clients)]
    for thread in threads:
        thread.start()
    begin.wait()
    began = time.perf_counter()
    time.sleep(seconds)
    stop.set()
    for thread in threads:
        thread.join()
    took = time.perf_counter() - began
    if failures:
        raise failures[0]
    every = sorted(wait for of_one in waits for wait in of_one)
    counts = [len(of_one) for of_one in waits]
    median, p99, longest = (every[min(int(len(every) * share), len(every) - 1)] * 1000 for share in (0.5, 0.99, 1.0))
    return Measured(len(every) / took, median, p99, longest, min(counts), max(counts))


def raw_connection(file: Path) -> Write:
    connection = sqlite3.connect(file, timeout=60, isolation_level=None, check_same_thread=False)
    for pragma in ("journal_mode=WAL", "synchronous=FULL"):
        connection.execute(f"PRAGMA {pragma}")

    def write(client: int, number: int) -> None:
        connection.execute("BEGIN IMMEDIATE")
        connection.execute(INSERT, {"client": client, "number": number, "text": TEXT})
        connection.execute("COMMIT")

    return write


def of_the_house(db: Database) -> Write:
    return lambda client, number: db.write(lambda tx: tx.run(INSERT, client=client, number=number, text=TEXT)) and None


def fsyncs(folder: Path) -> float:
    """What one small append with fsync takes here, in ms: the floor under both."""
    with (folder / "probe").open("ab", buffering=0) as file:
        times = []
        for _ in range(200):
            file.write(b"x" * 4096)
            asked = time.perf_counter()
            os.fsync(file.fileno())
            times.append(time.perf_counter() - asked)
    return statistics.median(times) * 1000


def kept(file: Path) -> int:
    with sqlite3.connect(file) as connection:
        return int(connection.execute("SELECT COUNT(*) FROM rows").fetchone()[0])


def machine() -> str:
    try:
        said = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        said = []
    cpu = next((line.partition(":")[2].strip() for line in said if "model name" in line), platform.machine())
    return f"{os.cpu_count()} x {cpu}, load {os.getloadavg()[0]:.1f}, Python {platform.python_version()}, SQLite {sqlite3.sqlite_version}"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--folder", type=Path, help="Where the databases lie (default: a temporary folder in the working directory).")
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--clients", type=int, default=16)
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=asked.folder or Path.cwd()) as name:
        report(Path(name), asked)


def report(folder: Path, asked: argparse.Namespace) -> None:
    files = {"lilong": folder / "lilong.db", "connection each": folder / "each.db"}
    raw_connection(files["connection each"])
    db = Database(f"sqlite:///{files['lilong']}")
    for file in files.values():
        with sqlite3.connect(file) as connection:
            connection.execute(TABLE)
    connects = {"lilong": lambda: of_the_house(db), "connection each": lambda: raw_connection(files["connection each"])}
    numbers = {name: [0] * asked.clients for name in files}
    found: dict[tuple[str, str], list[Measured]] = {}
    for _ in range(asked.rounds):
        for case, pause in CASES.items():
            for name, connect in connects.items():
                found.setdefault((case, name), []).append(measure(connect, numbers[name], asked.seconds, pause))
    db.close()
    for name, file in files.items():
        if kept(file) != sum(numbers[name]):
            raise SystemExit(f"{name}: {sum(numbers[name])} writes were acknowledged, {kept(file)} rows are there")
    rate = {key: statistics.median(each.rate for each in rounds) for key, rounds in found.items()}
    if asked.json:
        print(json.dumps({f"{case}.{name}": round(value) for (case, name), value in rate.items()}))
        return
    print(f"{machine()}, {asked.clients} clients, one fsync {fsyncs(folder):.2f} ms")
    print(
        f"{'case':13}{'writer':17}{'writes/s':>10}{'ratio':>7}{'median ms':>11}{'p99 ms':>9}{'longest ms':>12}{'client least..most':>20}   rounds"
    )
    for (case, name), rounds in found.items():
        median, p99 = (statistics.median(getattr(each, part) for each in rounds) for part in ("median_ms", "p99_ms"))
        counts = f"{min(each.fewest for each in rounds)}..{max(each.most for each in rounds)}"
        print(
            f"{case:13}{name:17}{rate[case, name]:10,.0f}{rate[case, name] / rate[case, 'connection each']:7.1f}{median:11.2f}{p99:9.1f}"
            f"{max(each.longest_ms for each in rounds):12,.0f}{counts:>20}   " + " ".join(f"{each.rate:,.0f}" for each in rounds)
        )


if __name__ == "__main__":
    main()
