"""`lilong backup`: the whole house in one tar file, made while the house runs; `restore` makes a house from it.

In the file, in this order: `backup.json` (the log's head, the migrations), `database/*.jsonl` (every row of one snapshot, the same from
SQLite and PostgreSQL and into either), blobs, the hub's xorbs where they lie in the house's folder, the gateway's ledger and then its segments, jobs' logs and progress, keys, evidence
profiles, settings, and `end.json`, without which a file is not whole.

The snapshot comes first: a row is only written once its blobs are durable, and blobs never change, so all that the snapshot knows
are there whatever is written meanwhile. The ledger comes before the segments: a request that ends in between is in the segments, one
that does not is closed as interrupted when the restored house opens. What running jobs work on stays behind: they are made again.
"""

from __future__ import annotations

import base64
import errno
import hashlib
import io
import json
import os
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath
from typing import IO, Any

from sqlalchemy import inspect, text

from lilong import __version__
from lilong.ground import log, sandbox
from lilong.ground.blobs import StorageFull, sync_folder
from lilong.ground.config import Settings, load
from lilong.ground.db import Database, Row, Tx
from lilong.ground.errors import BadInput, Conflict, Corrupt
from lilong.ground.events import SqlNodes

FORMAT = 1
_PART = 4 << 20  # bytes of rows in one member: what is held in memory
_ROWS = 500  # rows fetched at a time
FULL = (errno.ENOSPC, errno.EDQUOT)


class BlobLost(Conflict):
    """Blob {digest} was removed while the backup ran. Nothing was written; start the backup again."""


def backup(house: Path, out: Path) -> dict[str, Any]:
    """Write the house into the new file `out` (mode 0600). Returns file, events, log_root, rows, blobs, bytes, damaged blobs.

    Raises BadInput, StorageFull, BlobLost. An interrupted backup never leaves a file of the name `out`.
    """
    settings = load(house)
    if not settings.keys.is_dir():
        raise BadInput(field="house", problem=f"{house} is not the folder of a house", way_out="Give --house.")
    if out.exists():
        raise BadInput(field="out", problem=f"{out} exists", way_out="Name a new file.")
    if not out.parent.is_dir():
        raise BadInput(field="out", problem=f"there is no folder {out.parent}", way_out="Make it, or name another file.")
    incoming = out.with_name(f".{out.name}.new")
    db = Database(settings.database_url)
    try:
        incoming.unlink(missing_ok=True)
        handle = os.open(incoming, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "wb") as file:
            with tarfile.open(fileobj=file, mode="w", format=tarfile.PAX_FORMAT) as tar:
                told = _write(tar, settings, db)
            file.flush()
            os.fsync(file.fileno())
        incoming.replace(out)
        sync_folder(out.resolve().parent)
    except OSError as problem:
        if problem.errno in FULL:
            raise StorageFull(place=out.parent) from problem
        raise
    finally:
        incoming.unlink(missing_ok=True)
        db.close()
    return {"file": str(out), **told, "bytes": out.stat().st_size}


def _write(tar: tarfile.TarFile, settings: Settings, db: Database) -> dict[str, Any]:
    head, rows = db.read(lambda tx: _dump(tx, tar))
    blobs, damaged = 0, []
    for digest in _digests(settings.blobs):
        if not _add_blob(tar, settings.blobs, digest):
            damaged.append(digest)
        blobs += 1
    xorbs = 0
    for xorb in sorted((settings.house / "xorbs").glob("??/*")):
        if not _add_xorb(tar, xorb):
            damaged.append(xorb.name)
        xorbs += 1
    for file in (*_metered(settings.house / "segments"), *_below(settings.keys), *_below(settings.house / "profiles")):
        _add_file(tar, file.relative_to(settings.house), file)
    if (settings.house / "lilong.toml").exists():
        _add_file(tar, Path("lilong.toml"), settings.house / "lilong.toml")
    _add_job_logs(tar, settings.jobs)
    counted = {"rows": rows, "blobs": blobs, "xorbs": xorbs, "damaged": damaged}
    _add(tar, "end.json", json.dumps(counted, indent=1).encode())
    return {"events": head["events"], "log_root": head["log_root"], **counted}


# --- the database ----------------------------------------------------------------------------------------------------------


def _dump(tx: Tx, tar: tarfile.TarFile) -> tuple[dict[str, Any], int]:
    if tx.dialect == "postgresql":
        tx.run("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
    if not inspect(tx.connection).has_table("ground_events"):
        raise BadInput(field="house", problem="its database is empty", way_out="Open it once with `lilong up`.")
    size = int(tx.value("SELECT COUNT(*) FROM ground_events"))
    head = {
        "format": FORMAT,
        "version": __version__,
        "events": size,
        "log_root": log.root(SqlNodes(tx), size).hex(),
        "migrations": migrations(tx),
    }
    _add(tar, "backup.json", json.dumps(head, indent=1).encode())
    rows, number, part = 0, 0, io.BytesIO()
    for table in tables(tx):
        for row in _rows(tx, table):
            part.write(json.dumps([table, {key: _plain(value) for key, value in row.items()}], ensure_ascii=False).encode() + b"\n")
            rows += 1
            if part.tell() >= _PART:
                number += 1
                _add(tar, f"database/{number:06}.jsonl", part.getvalue())
                part = io.BytesIO()
    _add(tar, f"database/{number + 1:06}.jsonl", part.getvalue())
    return head, rows


def migrations(tx: Tx) -> list[list[Any]]:
    """[owner, number, checksum] of every migration that made these tables."""
    return [
        [row["owner"], row["number"], row["checksum"]]
        for row in tx.rows("SELECT owner, number, checksum FROM ground_migrations ORDER BY owner, number")
    ]


def tables(tx: Tx) -> list[str]:
    """The house's tables but for the migrations' own, those that others refer to first. A database may hold other people's too."""
    owners = {row["owner"] for row in tx.rows("SELECT DISTINCT owner FROM ground_migrations")}
    in_order = [name for name, _ in inspect(tx.connection).get_sorted_table_and_fkc_names() if name is not None]
    return [name for name in in_order if name.partition("_")[0] in owners and name != "ground_migrations"]


def _rows(tx: Tx, table: str) -> Iterator[Row]:
    options = {"stream_results": True, "yield_per": _ROWS}
    yield from tx.connection.execute(text(f'SELECT * FROM "{table}"'), execution_options=options).mappings()


def _plain(value: Any) -> Any:
    return {"base64": base64.b64encode(value).decode()} if isinstance(value, bytes | memoryview) else value


# --- the files -------------------------------------------------------------------------------------------------------------


def _digests(blobs: Path) -> Iterator[str]:
    """Folder by folder: a million names are not held at once."""
    for folder in sorted(blobs.glob("??")):
        for file in sorted(folder.iterdir()):
            yield folder.name + file.name


def _add_blob(tar: tarfile.TarFile, blobs: Path, name: str) -> bool:
    """Whether its bytes are those that its name promises. A damaged one goes along: it is for `verify` to name."""
    try:
        file = (blobs / name[:2] / name[2:]).open("rb")
    except FileNotFoundError:
        raise BlobLost(digest=f"sha256:{name}") from None
    with file:
        counted = Hashing(file)
        _add_open(tar, f"blobs/{name[:2]}/{name[2:]}", counted, os.fstat(file.fileno()).st_size)
    return counted.hasher.hexdigest() == name


def _add_xorb(tar: tarfile.TarFile, path: Path) -> bool:
    """Whether its bytes are those that its name promises. One that was collected meanwhile is not missed: no row names it any more."""
    from lilong.floors.hub.service.xet_checking import Fits

    fits = Fits(path.name)
    try:
        with path.open("rb") as file:
            _add_open(tar, f"xorbs/{path.parent.name}/{path.name}", Watching(file, fits.take), os.fstat(file.fileno()).st_size)
    except FileNotFoundError:
        return True
    return fits.end()


class Watching:
    """A reader that shows somebody what goes through it."""

    def __init__(self, file: IO[bytes], watch: Callable[[bytes], None]) -> None:
        self._file = file
        self._watch = watch

    def read(self, size: int = -1) -> bytes:
        data = self._file.read(size)
        self._watch(data)
        return data


class Hashing:
    """A reader that takes the digest of what goes through it."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.hasher = hashlib.sha256()

    def read(self, size: int = -1) -> bytes:
        data = self._file.read(size)
        self.hasher.update(data)
        return data


def _metered(segments: Path) -> Iterator[Path]:
    """The gateways' files, each ledger before its segments."""
    for gateway in sorted(segments.iterdir()) if segments.is_dir() else ():
        if gateway.is_dir():
            if (gateway / "ledger").exists():
                yield gateway / "ledger"
            yield from (file for file in _below(gateway) if file.name not in ("ledger", "lock"))


def _below(folder: Path) -> Iterator[Path]:
    for file in sorted(folder.rglob("*")):
        if file.is_file() and not file.is_symlink() and not file.name.startswith("."):
            yield file


def _add_job_logs(tar: tarfile.TarFile, jobs: Path) -> None:
    """What is left of a job once it has ended: each attempt's log, and its progress. A job writes the latter: links are not followed."""
    for job in jobs.glob("*/"):
        for file in sorted(job.glob("[0-9]*/log")):
            _add_file(tar, file.relative_to(jobs.parent), file)
        try:
            with sandbox.opened(job / "state", PurePosixPath("progress.jsonl")) as progress:
                _add_open(tar, f"jobs/{job.name}/state/progress.jsonl", progress, os.fstat(progress.fileno()).st_size)
        except (FileNotFoundError, sandbox.OutputRefused):
            pass


def _add_file(tar: tarfile.TarFile, name: Path, file: Path) -> None:
    with file.open("rb") as opened:
        # What is still appended to comes with the length that it has now.
        _add_open(tar, name.as_posix(), opened, os.fstat(opened.fileno()).st_size)


def _add(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    _add_open(tar, name, io.BytesIO(data), len(data))


def _add_open(tar: tarfile.TarFile, name: str, file: Any, size: int) -> None:
    info = tarfile.TarInfo(name)
    info.size, info.mode = size, 0o600
    try:
        tar.addfile(info, file)
    except OSError as problem:
        if problem.errno is None:  # tarfile's own word for a file that ended early
            raise Corrupt(place=name, problem="it was cut while it was read") from problem
        raise
    tar.members.clear()  # type: ignore[attr-defined]  # tarfile would remember every member
