"""SQL for the whole house: `read(fn)` and `write(fn)`, SQLite by default and PostgreSQL by URL.

All writes go through one thread that gathers the waiting ones into one transaction (group commit): each runs in a savepoint
of its own, one fsync makes the batch durable, and only then does any of them return. Acknowledged means kept.
"""

from __future__ import annotations

import functools
import queue
import threading
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, TypeVar

from sqlalchemy import Connection, CursorResult, Engine, create_engine, event, text
from sqlalchemy.engine import RowMapping, make_url
from sqlalchemy.exc import ArgumentError, DataError, DBAPIError, OperationalError
from sqlalchemy.pool import NullPool, QueuePool
from sqlalchemy.sql.elements import TextClause

from .errors import BadInput, Corrupt, Unavailable

T = TypeVar("T")
Row = RowMapping

_BATCH = 256  # more would only make the first of a batch wait longer: one fsync is already shared by all
_LOCK_KEY = 0x6C696C6F6E67  # "lilong": keeps a second server on the same PostgreSQL database out of the writer's place


class DatabaseUnavailable(Unavailable):
    """The database cannot be used: {problem}. {way_out}"""


class DatabaseFull(DatabaseUnavailable):
    """The disk that holds the database is full. Nothing was written. Free some space and try again."""

    status = 507


class NotStorable(BadInput):
    """A value that came with this request is none that the house can keep or look for. Give whole numbers below 2^63, and text without NUL and half characters."""


@functools.lru_cache(maxsize=4096)
def _clause(sql: str) -> TextClause:
    return text(sql)


class Tx:
    """One transaction. SQL is text with `:name` parameters, written so that both dialects take it."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.dialect = connection.dialect.name

    def run(self, sql: str, **params: Any) -> int:
        """Execute a statement; how many rows it touched."""
        return self._execute(sql, params).rowcount

    def many(self, sql: str, rows: Iterable[Mapping[str, Any]]) -> None:
        batch = list(rows)
        if batch:
            self._execute(sql, batch)

    def row(self, sql: str, **params: Any) -> Row | None:
        """The first row, or None."""
        return self._execute(sql, params).mappings().first()

    def rows(self, sql: str, **params: Any) -> list[Row]:
        return list(self._execute(sql, params).mappings())

    def value(self, sql: str, **params: Any) -> Any:
        """The first column of the first row, or None."""
        return self._execute(sql, params).scalar()

    def _execute(self, sql: str, params: Mapping[str, Any] | list[Mapping[str, Any]]) -> CursorResult[Any]:
        try:
            return self.connection.execute(_clause(sql), params)
        except (OverflowError, UnicodeEncodeError, DataError) as problem:  # what each dialect says of it differs
            raise NotStorable() from problem


@dataclass(slots=True)
class _Write:
    run: Callable[[Tx], Any]
    future: Future[Any] = field(default_factory=Future)


class Database:
    """Readers have connections of their own; there is one writer."""

    def __init__(self, url: str, *, engine_options: Mapping[str, Any] | None = None) -> None:
        """`url`: `sqlite:///path` or `postgresql+psycopg://…`. `engine_options` go to SQLAlchemy's create_engine (tests use it)."""
        options = dict(engine_options or {})
        try:
            self.url = make_url(url)
            if self.url.get_backend_name() not in ("sqlite", "postgresql"):
                raise ArgumentError("another kind of database")
            # PostgreSQL's default shows each statement of a transaction a state of its own; SQLite knows snapshots only.
            snapshot = {} if self.url.get_backend_name() == "sqlite" else {"isolation_level": "REPEATABLE READ"}
            self._reading = self._engine({"poolclass": QueuePool, "pool_size": 16, **snapshot, **options}, "BEGIN")
            self._writing = self._engine({**options, "poolclass": NullPool}, "BEGIN IMMEDIATE")
        except ArgumentError as problem:  # also a dialect that nobody knows
            way_out = "Give it as sqlite:///path or postgresql+psycopg://user@host/name."
            raise BadInput(field="database", problem="it is not the URL of a database of these kinds", way_out=way_out) from problem
        except ModuleNotFoundError as problem:
            way_out = "Install it: pip install 'lilong[postgres]'."
            raise DatabaseUnavailable(problem=f"the package {problem.name} is missing", way_out=way_out) from problem
        self._queue: queue.SimpleQueue[_Write | None] = queue.SimpleQueue()
        self._listeners: list[Callable[[], None]] = []
        self._closed = False
        self._door = threading.Lock()  # nothing enters the queue behind its end
        self._writer = threading.Thread(target=self._write_loop, name="db-writer", daemon=True)
        self._writer.start()

    @property
    def dialect(self) -> str:
        return self._reading.dialect.name

    def _engine(self, options: Mapping[str, Any], begin: str) -> Engine:
        if self.url.get_backend_name() != "sqlite":
            return create_engine(self.url, pool_pre_ping=True, **options)
        engine = create_engine(self.url, connect_args={"check_same_thread": False, "timeout": 30.0}, **options)

        @event.listens_for(engine, "connect")
        def prepare(connection: Any, _record: Any) -> None:
            # The driver's own implicit BEGIN is deferred: a read that turns into a write then fails at once with SQLITE_BUSY.
            connection.isolation_level = None
            cursor = connection.cursor()
            for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", "busy_timeout=30000"):
                cursor.execute(f"PRAGMA {pragma}")
            cursor.close()

        @event.listens_for(engine, "begin")
        def start(connection: Connection) -> None:
            connection.exec_driver_sql(begin)

        return engine

    def on_commit(self, listener: Callable[[], None]) -> None:
        """Call `listener` (quick, in the writer's thread) after each durable batch."""
        self._listeners.append(listener)

    def read(self, fn: Callable[[Tx], T]) -> T:
        """Run `fn` on one consistent snapshot. Raises DatabaseUnavailable, Corrupt."""
        try:
            with self._reading.connect() as connection, connection.begin():
                return fn(Tx(connection))
        except DBAPIError as problem:
            explained = _explained(problem)
            if explained is problem:
                raise
            raise explained from problem

    def write(self, fn: Callable[[Tx], T]) -> T:
        """Run `fn` in a transaction; returns once its effects are durable. What `fn` raises is raised here, with nothing written.

        `fn` must be quick and do nothing outside the database: every other writer waits for it.
        """
        if threading.current_thread() is self._writer:
            raise RuntimeError("a write inside a write: pass the transaction on instead")
        job = _Write(fn)
        with self._door:
            if self._closed:
                raise DatabaseUnavailable(problem="the house is closing", way_out="Try again when the server is up.")
            self._queue.put(job)
        result: T = job.future.result()
        return result

    def close(self) -> None:
        with self._door:
            if self._closed:
                return
            self._closed = True
            self._queue.put(None)
        self._writer.join()
        self._reading.dispose()
        self._writing.dispose()

    def _write_loop(self) -> None:
        connection: Connection | None = None
        stopping = False
        while not stopping:
            batch: list[_Write] = []
            first = self._queue.get()
            if first is None:
                break
            batch.append(first)
            while len(batch) < _BATCH and not self._queue.empty():
                job = self._queue.get()
                if job is None:
                    stopping = True
                    break
                batch.append(job)
            try:
                if connection is None or connection.closed:
                    connection = self._writing.connect()
                self._commit(connection, batch)
            except BaseException as problem:  # the batch is answered, whatever it was
                failure = _explained(problem)
                for job in batch:
                    if not job.future.done():
                        job.future.set_exception(failure)
                if connection is not None:
                    connection.invalidate()
                    connection.close()
                    connection = None
                continue
            for listener in self._listeners:
                listener()
        if connection is not None:
            connection.close()

    def _commit(self, connection: Connection, batch: list[_Write]) -> None:
        results: list[tuple[_Write, Any, BaseException | None]] = []
        with connection.begin():
            tx = Tx(connection)
            if tx.dialect == "postgresql":
                connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_LOCK_KEY})")
            for job in batch:
                savepoint = connection.begin_nested()
                try:
                    value = job.run(tx)
                except (KeyboardInterrupt, SystemExit):
                    raise
                except BaseException as problem:
                    if _lost(connection, problem):
                        raise  # the database itself gave up (disk full, I/O): the whole batch has gone with it
                    savepoint.rollback()
                    results.append((job, None, problem))
                else:
                    savepoint.commit()
                    results.append((job, value, None))
        for job, value, failure in results:
            if failure is None:
                job.future.set_result(value)
            else:
                job.future.set_exception(failure)


def _lost(connection: Connection, problem: BaseException) -> bool:
    if connection.dialect.name == "sqlite":
        return isinstance(problem, OperationalError) and not connection.connection.dbapi_connection.in_transaction  # type: ignore[union-attr]
    return isinstance(problem, DBAPIError) and problem.connection_invalidated


def _explained(problem: BaseException) -> BaseException:
    if not isinstance(problem, DBAPIError):
        return problem
    said = " ".join(str(problem.orig).split()).rstrip(".")
    if "malformed" in said or "not a database" in said:
        corrupt = Corrupt(place="The database", problem=f"{said}. Restore the house from a backup")
        corrupt.__cause__ = problem
        return corrupt
    if not isinstance(problem, OperationalError):
        return problem
    if "disk is full" in said or "No space left" in said:
        full = DatabaseFull()
        full.__cause__ = problem
        return full
    if "locked" in said:
        way_out = "Another process holds the database: stop it, or wait and try again."
    elif "connection" in said:
        way_out = "Start the database server, or correct the setting `database`."
    else:
        way_out = "Look at the server's log and at the disk that holds the house."
    failure = DatabaseUnavailable(problem=said, way_out=way_out)
    failure.__cause__ = problem
    return failure
