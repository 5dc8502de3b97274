"""SQLite on a disk that loses power: a VFS that knows which writes were synced, and a DBAPI over it for SQLAlchemy.

A power cut keeps what was synced and, of the writes after the last sync, a random prefix, the last of them possibly torn.
`kill -9` cannot show this: the page cache survives it.
"""

from __future__ import annotations

import random
import sqlite3
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import apsw

VFS = "powercut"
SECTOR = 512


class Disk:
    """What each file held at its last sync, and the writes since then, in order over all files."""

    def __init__(self) -> None:
        self.synced: dict[str, bytearray] = {}
        self.pending: list[tuple[str, int, bytes | None]] = []  # (file, offset, data), data None: truncated to offset
        self.on_write: Callable[[], None] = lambda: None

    def after_cut(self, rng: random.Random) -> dict[str, bytes]:
        """The files as the next start finds them: each file loses its own tail of unsynced writes."""
        files = {name: bytearray(content) for name, content in self.synced.items()}
        waiting: dict[str, list[tuple[int, bytes | None]]] = defaultdict(list)
        for name, offset, data in self.pending:
            waiting[name].append((offset, data))
        for name, writes in waiting.items():
            kept = rng.randint(0, len(writes))
            for index, (offset, data) in enumerate(writes[:kept]):
                torn = data is not None and index == kept - 1 and len(data) > SECTOR
                _apply(files.setdefault(name, bytearray()), offset, data[: rng.randrange(0, len(data), SECTOR)] if torn and data is not None else data)
        return {name: bytes(content) for name, content in files.items()}

    def sync(self, name: str) -> None:
        rest = []
        for write in self.pending:
            if write[0] == name:
                _apply(self.synced.setdefault(name, bytearray()), write[1], write[2])
            else:
                rest.append(write)
        self.pending = rest


def _apply(content: bytearray, offset: int, data: bytes | None) -> None:
    if data is None:
        del content[offset:]
        return
    if len(content) < offset:
        content.extend(bytes(offset - len(content)))
    content[offset : offset + len(data)] = data


class CutVfs(apsw.VFS):
    def __init__(self, disk: Disk) -> None:
        self.disk = disk
        super().__init__(VFS, "")

    def xOpen(self, name: Any, flags: list[int]) -> CutFile:
        return CutFile(self.disk, name, flags)

    def xDelete(self, filename: str, syncdir: bool) -> None:
        super().xDelete(filename, syncdir)
        name = Path(filename).name
        self.disk.synced.pop(name, None)
        self.disk.pending = [write for write in self.disk.pending if write[0] != name]


class CutFile(apsw.VFSFile):
    def __init__(self, disk: Disk, name: Any, flags: list[int]) -> None:
        super().__init__("", name, flags)
        self._disk = disk
        self._name = Path(name.filename() if isinstance(name, apsw.URIFilename) else (name or "temporary")).name

    def xWrite(self, data: bytes, offset: int) -> None:
        super().xWrite(data, offset)
        self._disk.pending.append((self._name, offset, bytes(data)))
        self._disk.on_write()

    def xTruncate(self, size: int) -> None:
        super().xTruncate(size)
        self._disk.pending.append((self._name, size, None))

    def xSync(self, flags: int) -> None:
        super().xSync(flags)
        self._disk.sync(self._name)


class Cursor:
    arraysize = 1

    def __init__(self, connection: apsw.Connection) -> None:
        self._connection = connection
        self._cursor = connection.cursor()
        self.description: Any = None
        self.rowcount = -1
        self.lastrowid = None

    def execute(self, sql: str, parameters: Any = ()) -> Cursor:
        before = self._connection.total_changes()
        try:
            self._cursor.execute(sql, parameters or None)
        except apsw.Error as problem:
            raise sqlite3.OperationalError(str(problem)) from problem
        try:
            self.description = [(*column, None, None, None, None, None) for column in self._cursor.get_description()]
        except apsw.ExecutionCompleteError:
            self.description = None
            self.rowcount = self._connection.total_changes() - before
        return self

    def executemany(self, sql: str, rows: Any) -> Cursor:
        for row in rows:
            self.execute(sql, row)
        return self

    def fetchone(self) -> Any:
        return self._cursor.fetchone()

    def fetchall(self) -> Any:
        return self._cursor.fetchall()

    def fetchmany(self, size: int = 1) -> Any:
        return [row for _ in range(size) if (row := self._cursor.fetchone()) is not None]

    def close(self) -> None:
        self._cursor.close(True)


class Connection:
    isolation_level: str | None = None

    def __init__(self, filename: str, **_options: Any) -> None:
        self._connection = apsw.Connection(filename, vfs=VFS)
        # Our VFS has no shared memory, which one connection alone does not need.
        self._connection.execute("PRAGMA locking_mode = EXCLUSIVE")

    @property
    def in_transaction(self) -> bool:
        return self._connection.in_transaction

    def cursor(self) -> Cursor:
        return Cursor(self._connection)

    def commit(self) -> None:
        if self._connection.in_transaction:
            self._connection.execute("COMMIT")

    def rollback(self) -> None:
        if self._connection.in_transaction:
            self._connection.execute("ROLLBACK")

    def create_function(self, name: str, arguments: int, function: Any, **_options: Any) -> None:
        self._connection.create_scalar_function(name, function, arguments)

    def close(self) -> None:
        self._connection.close(True)


class Dbapi:
    """What SQLAlchemy asks of a DBAPI module."""

    paramstyle = "qmark"
    threadsafety = 1
    sqlite_version_info = tuple(int(part) for part in apsw.sqlite_lib_version().split("."))
    version_info = sqlite_version_info
    Error, DatabaseError, OperationalError, IntegrityError = sqlite3.Error, sqlite3.DatabaseError, sqlite3.OperationalError, sqlite3.IntegrityError
    InterfaceError, InternalError, ProgrammingError, NotSupportedError, DataError = (
        sqlite3.InterfaceError, sqlite3.InternalError, sqlite3.ProgrammingError, sqlite3.NotSupportedError, sqlite3.DataError,
    )  # fmt: skip
    PARSE_DECLTYPES, PARSE_COLNAMES = sqlite3.PARSE_DECLTYPES, sqlite3.PARSE_COLNAMES
    Binary = bytes

    @staticmethod
    def connect(filename: str, **options: Any) -> Connection:
        return Connection(filename, **options)
