"""The database: one writer, group commit, the same on SQLite and PostgreSQL."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from lilong.ground.db import Database, DatabaseUnavailable, NotStorable
from lilong.ground.house import House
from lilong.ground.migrations import MigrationChanged, migrate
from lilong.ground.seams import SystemClock


@pytest.fixture
def db(database_url: str) -> Iterator[Database]:
    opened = Database(database_url)
    opened.write(lambda tx: tx.run("CREATE TABLE t (a BIGINT PRIMARY KEY, b TEXT)"))
    yield opened
    opened.close()


def put(db: Database, a: int, b: str = "") -> None:
    db.write(lambda tx: tx.run("INSERT INTO t (a, b) VALUES (:a, :b)", a=a, b=b))


def test_what_was_written_is_read(db: Database) -> None:
    put(db, 1, "one")
    assert db.read(lambda tx: tx.row("SELECT * FROM t WHERE a = :a", a=1)) == {"a": 1, "b": "one"}


def test_a_write_that_raises_writes_nothing_and_says_why(db: Database) -> None:
    def half(tx):  # type: ignore[no-untyped-def]
        tx.run("INSERT INTO t (a) VALUES (1)")
        raise ValueError("no further")

    with pytest.raises(ValueError, match="no further"):
        db.write(half)
    assert db.read(lambda tx: tx.value("SELECT COUNT(*) FROM t")) == 0


def test_one_bad_write_does_not_take_its_batch_with_it(db: Database) -> None:
    put(db, 0)
    gate = threading.Event()
    results: list[str] = []

    def write(a: int) -> None:
        try:
            put(db, a)
            results.append("kept")
        except Exception as problem:
            results.append(type(problem).__name__)

    blocker = threading.Thread(target=lambda: db.write(lambda tx: gate.wait(5)))
    blocker.start()
    threads = [threading.Thread(target=write, args=(a,)) for a in (1, 0, 2, 0, 3)]
    for thread in threads:
        thread.start()
    gate.set()
    for thread in [blocker, *threads]:
        thread.join()
    assert sorted(results) == ["IntegrityError", "IntegrityError", "kept", "kept", "kept"]
    assert db.read(lambda tx: tx.value("SELECT COUNT(*) FROM t")) == 4


def test_many_writers_are_all_served_and_each_row_is_there_once(db: Database) -> None:
    def write(first: int) -> None:
        for a in range(first, first + 50):
            put(db, a)

    threads = [threading.Thread(target=write, args=(n * 50,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert db.read(lambda tx: tx.value("SELECT COUNT(*) FROM t")) == 400


def test_a_reader_sees_one_snapshot_while_others_write(db: Database) -> None:
    put(db, 1)

    def look(tx):  # type: ignore[no-untyped-def]
        before = tx.value("SELECT COUNT(*) FROM t")
        put(db, 2)
        return before, tx.value("SELECT COUNT(*) FROM t")

    assert db.read(look) == (1, 1)


def test_a_write_inside_a_write_is_refused_at_once(db: Database) -> None:
    with pytest.raises(RuntimeError, match="pass the transaction on"):
        db.write(lambda tx: put(db, 1))


def test_a_closed_database_says_so(db: Database) -> None:
    db.close()
    with pytest.raises(DatabaseUnavailable, match="closing"):
        put(db, 1)


def test_every_table_of_the_house_comes_up_on_both_databases_and_only_once(database_url: str) -> None:
    from lilong.app import migrate_house

    opened = Database(database_url)
    try:
        assert migrate_house(opened) > 0
        assert migrate_house(opened) == 0
    finally:
        opened.close()


def test_a_changed_migration_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "changing"
    (package / "sql").mkdir(parents=True)
    (package / "__init__.py").write_text("")
    (package / "sql" / "0001_start.sql").write_text("CREATE TABLE x (a INTEGER);")
    monkeypatch.syspath_prepend(str(tmp_path))
    opened = Database(f"sqlite:///{tmp_path / 'm.db'}")
    try:
        assert migrate(opened, [("changing", "changing")], SystemClock()) == 1
        (package / "sql" / "0001_start.sql").write_text("CREATE TABLE x (a INTEGER, b TEXT);")
        with pytest.raises(MigrationChanged, match=r"0001_start\.sql"):
            migrate(opened, [("changing", "changing")], SystemClock())
    finally:
        opened.close()


def test_a_full_disk_is_told_and_the_database_goes_on_afterwards(tmp_path: Path) -> None:
    opened = Database(f"sqlite:///{tmp_path / 'small.db'}")
    try:
        opened.write(lambda tx: tx.run("CREATE TABLE t (a BIGINT PRIMARY KEY, b TEXT)"))
        opened.write(lambda tx: tx.run("PRAGMA max_page_count = 20"))
        with pytest.raises(DatabaseUnavailable, match="Free some space"):
            put(opened, 1, "x" * 200_000)
        put(opened, 2, "small")
        assert opened.read(lambda tx: tx.value("SELECT COUNT(*) FROM t")) == 1
    finally:
        opened.close()


def test_no_write_is_left_waiting_when_the_database_closes(db: Database) -> None:
    """A write that came past the check and then behind the end of the queue would never be answered."""
    answered: list[object] = []
    begun = threading.Barrier(9)

    def write_on() -> None:
        begun.wait()
        try:
            while True:
                db.write(lambda tx: tx.value("SELECT 1"))
        except DatabaseUnavailable as closing:
            answered.append(closing)

    threads = [threading.Thread(target=write_on, daemon=True) for _ in range(8)]
    for thread in threads:
        thread.start()
    begun.wait()
    db.close()
    for thread in threads:
        thread.join(timeout=10)
    assert len(answered) == 8


@pytest.mark.parametrize("value", [2**63, -(2**70), "half \ud800 a character"])
def test_a_value_that_no_database_can_keep_is_refused_and_the_writer_goes_on(db: Database, value: object) -> None:
    column = "b" if isinstance(value, str) else "a"
    with pytest.raises(NotStorable):
        db.write(lambda tx: tx.run(f"INSERT INTO t (a, {column}) VALUES (1, :value)" if column == "b" else "INSERT INTO t (a) VALUES (:value)", value=value))
    put(db, 1)
    assert db.read(lambda tx: tx.value("SELECT COUNT(*) FROM t")) == 1


def test_nothing_is_found_under_a_number_that_is_too_large(house: House) -> None:
    from starlette.testclient import TestClient

    from lilong.app import build

    with TestClient(build(house), base_url="http://house") as client:
        answer = client.get(f"/api/evidence/log/inclusion/{10**30}")
    assert (answer.status_code, answer.json()["code"]) == (422, "not-storable")
