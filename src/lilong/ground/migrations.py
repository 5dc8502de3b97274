"""Forward-only migrations with checksums: `sql/NNNN_name.sql` of the ground and of each floor, in order, once.

The files are written in SQLite's types; PostgreSQL gets its own names for the same types.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from importlib import resources
from importlib.resources.abc import Traversable

from .db import Database, Tx
from .errors import Refused
from .seams import Clock, stamp

_POSTGRES_TYPES = {"BLOB": "BYTEA", "REAL": "DOUBLE PRECISION", "INTEGER": "BIGINT"}
_LEDGER = """CREATE TABLE IF NOT EXISTS ground_migrations (
    owner TEXT NOT NULL, number INTEGER NOT NULL, name TEXT NOT NULL, checksum TEXT NOT NULL, at TEXT NOT NULL,
    PRIMARY KEY (owner, number))"""


class MigrationChanged(Refused):
    """The migration {name} of {owner} is not the one that this house was made with. Install the version of Lilong that made it, or a later one."""


def migrate(db: Database, owners: list[tuple[str, str]], clock: Clock) -> int:
    """Bring the database up to date. `owners`: (name, package that has an `sql` folder). How many migrations ran."""

    def all_of_them(tx: Tx) -> int:
        tx.run(_translated(_LEDGER, tx.dialect))
        known = {(row["owner"], row["number"]): row["checksum"] for row in tx.rows("SELECT owner, number, checksum FROM ground_migrations")}
        ran = 0
        for owner, package in owners:
            for number, file in _files(package):
                sql = file.read_text()
                checksum = hashlib.sha256(sql.encode()).hexdigest()
                if (owner, number) in known:
                    if known[owner, number] != checksum:
                        raise MigrationChanged(name=file.name, owner=owner)
                    continue
                for statement in _statements(sql):
                    tx.run(_translated(statement, tx.dialect))
                tx.run(
                    "INSERT INTO ground_migrations (owner, number, name, checksum, at) VALUES (:owner, :number, :name, :checksum, :at)",
                    owner=owner, number=number, name=file.name, checksum=checksum, at=stamp(clock.now()),
                )  # fmt: skip
                ran += 1
        return ran

    return db.write(all_of_them)


def _files(package: str) -> Iterator[tuple[int, Traversable]]:
    folder = resources.files(package) / "sql"
    if folder.is_dir():
        for file in sorted(folder.iterdir(), key=lambda f: f.name):
            if file.name.endswith(".sql"):
                yield int(file.name.split("_", 1)[0]), file


def _statements(sql: str) -> list[str]:
    without_comments = re.sub(r"--[^\n]*", "", sql)
    return [part.strip() for part in without_comments.split(";") if part.strip()]


def _translated(sql: str, dialect: str) -> str:
    if dialect != "postgresql":
        return sql
    return re.sub(r"\b(BLOB|REAL|INTEGER)\b", lambda match: _POSTGRES_TYPES[match.group(1)], sql)
