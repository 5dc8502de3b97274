"""Power cuts under the house's own writer: no acknowledged row is ever lost, no database ever damaged."""

from __future__ import annotations

import random
import sqlite3
from pathlib import Path

import apsw

from lilong.ground.db import Database
from tests.ground.powercut import CutVfs, Dbapi, Disk

CUTS = 300
WRITES_BETWEEN_CUTS = 6


def restart(files: dict[str, bytes], folder: Path) -> None:
    for old in folder.iterdir():
        old.unlink()
    for name, content in files.items():
        (folder / name).write_bytes(content)


def rows_after(files: dict[str, bytes], folder: Path) -> set[int]:
    """The rows that a start after the cut finds, read by the ordinary SQLite after its own integrity check."""
    restart(files, folder)
    with sqlite3.connect(folder / "house.db") as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        found = {row[0] for row in connection.execute("SELECT a FROM t")}
    connection.close()
    return found


def test_no_acknowledged_row_is_lost_in_300_power_cuts(tmp_path: Path) -> None:
    rng = random.Random(20261122)
    live, after = tmp_path / "live", tmp_path / "after"
    live.mkdir()
    after.mkdir()
    disk = Disk()
    vfs = CutVfs(disk)
    acknowledged: set[int] = set()
    attempted = 0
    in_the_middle: list[tuple[set[int], dict[str, bytes]]] = []

    def maybe_cut() -> None:
        if rng.random() < 0.1:
            in_the_middle.append((set(acknowledged), disk.after_cut(rng)))

    try:
        db = Database(f"sqlite:///{live / 'house.db'}", engine_options={"module": Dbapi})
        db.write(lambda tx: tx.run("CREATE TABLE t (a INTEGER PRIMARY KEY, b TEXT)"))
        disk.on_write = maybe_cut
        for cut in range(CUTS // 2):
            for _ in range(rng.randint(1, WRITES_BETWEEN_CUTS)):
                attempted += 1
                db.write(lambda tx, a=attempted: tx.run("INSERT INTO t (a, b) VALUES (:a, :b)", a=a, b="x" * rng.randint(1, 3000)))
                acknowledged.add(attempted)
            found = rows_after(disk.after_cut(rng), after)
            assert acknowledged <= found, f"cut {cut} lost {sorted(acknowledged - found)[:5]}"
            assert found <= set(range(1, attempted + 1))
        for before, files in in_the_middle:
            assert before <= rows_after(files, after)
        db.close()
    finally:
        vfs.unregister()
    assert len(in_the_middle) + CUTS // 2 >= CUTS


def test_the_same_cuts_do_lose_rows_where_commits_are_not_synced(tmp_path: Path) -> None:
    """The measuring rod measures: with synchronous=NORMAL, which many recommend, acknowledged rows are lost."""
    rng = random.Random(1)
    live, after = tmp_path / "live", tmp_path / "after"
    live.mkdir()
    after.mkdir()
    disk = Disk()
    vfs = CutVfs(disk)
    lost = 0
    try:
        plain = apsw.Connection(str(live / "house.db"), vfs="powercut")
        plain.execute("PRAGMA locking_mode = EXCLUSIVE")
        plain.execute("PRAGMA journal_mode = WAL")
        plain.execute("PRAGMA synchronous = NORMAL")
        plain.execute("CREATE TABLE t (a INTEGER PRIMARY KEY, b TEXT)")
        plain.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        for a in range(1, 60):
            plain.execute("INSERT INTO t (a, b) VALUES (?, ?)", (a, "x" * 500))
            lost += not set(range(1, a + 1)) <= rows_after(disk.after_cut(rng), after)
        plain.close()
    finally:
        vfs.unregister()
    assert lost > 0
