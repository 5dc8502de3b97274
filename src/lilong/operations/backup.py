"""`lilong backup` and `restore`: the whole house in one tar file, made while the house runs.

The database is read in one snapshot, table by table, as JSON lines, the same from SQLite and PostgreSQL and into either. Blobs are
immutable, so those that the snapshot knows are all there whatever is written meanwhile. Keys, the gateway's usage segments and
running totals come last; the snapshot's log head goes in first, and `restore` must arrive at the same one.
"""

from __future__ import annotations

import base64
import io
import json
import os
import shutil
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sqlalchemy import MetaData, inspect

from lilong import __version__
from lilong.ground import log
from lilong.ground.blobs import sync_folder
from lilong.ground.config import load
from lilong.ground.db import Database, Tx
from lilong.ground.errors import BadInput, Conflict, Corrupt
from lilong.ground.events import SqlNodes

_ROWS = 500  # rows a statement, when they go back in
_FILES = ("keys", "segments", "lilong.toml")  # beside database and blobs


class NotEmpty(Conflict):
    """{folder} is not empty. A backup is restored into a new folder."""


def backup(house: Path, out: Path) -> dict[str, Any]:
    """Write the house into `out`. Returns events, log root, rows, blobs, bytes. Raises BadInput."""
    settings = load(house)
    if not settings.keys.is_dir():
        raise BadInput(field="house", problem=f"{house} is not the folder of a house", way_out="Give --house.")
    if out.exists():
        raise BadInput(field="out", problem=f"{out} exists", way_out="Name a new file.")
    db = Database(settings.database_url)
    incoming = out.with_name(f".{out.name}.new")
    try:
        with tempfile.TemporaryFile() as rows, tarfile.open(incoming, "w", format=tarfile.PAX_FORMAT) as tar:
            incoming.chmod(0o600)
            head = db.read(lambda tx: _dump(tx, rows))
            _add(tar, "backup.json", io.BytesIO(json.dumps({"version": __version__, **head}, indent=1).encode()))
            rows.seek(0)
            _add(tar, "database.jsonl", rows)
            blobs = 0
            for file in sorted(settings.blobs.glob("??/*")):
                tar.add(file, f"blobs/{file.parent.name}/{file.name}")
                blobs += 1
            for name in _FILES:
                if (settings.house / name).exists():
                    tar.add(settings.house / name, name)
        with incoming.open("rb") as written:
            os.fsync(written.fileno())
        incoming.replace(out)
        sync_folder(out.resolve().parent)
    finally:
        incoming.unlink(missing_ok=True)
        db.close()
    return {"file": str(out), **head, "blobs": blobs, "bytes": out.stat().st_size}


def _dump(tx: Tx, file: Any) -> dict[str, Any]:
    if tx.dialect == "postgresql":
        tx.run("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
    size = int(tx.value("SELECT COUNT(*) FROM ground_events"))
    head = {"events": size, "log_root": log.root(SqlNodes(tx), size).hex()}
    count = 0
    for table in _tables(tx):
        for row in tx.rows(f"SELECT * FROM {table}"):
            values = {key: {"base64": base64.b64encode(value).decode()} if isinstance(value, bytes | memoryview) else value for key, value in row.items()}
            file.write(json.dumps([table, values], ensure_ascii=False).encode() + b"\n")
            count += 1
    return {**head, "rows": count}


def _tables(tx: Tx) -> list[str]:
    """Every table, those that others refer to first."""
    metadata = MetaData()
    metadata.reflect(tx.connection)
    known = set(inspect(tx.connection).get_table_names())
    return [table.name for table in metadata.sorted_tables if table.name in known]


def _add(tar: tarfile.TarFile, name: str, content: Any) -> None:
    info = tarfile.TarInfo(name)
    content.seek(0, 2)
    info.size = content.tell()
    info.mode = 0o600
    content.seek(0)
    tar.addfile(info, content)


def restore(file: Path, house: Path) -> dict[str, Any]:
    """Make a house in the new folder `house`. Raises NotEmpty, Corrupt; a house that could not be restored whole is removed again."""
    if house.exists() and any(house.iterdir()):
        raise NotEmpty(folder=house)
    house.mkdir(parents=True, exist_ok=True)
    try:
        return _restore(file, house)
    except BaseException:
        shutil.rmtree(house, ignore_errors=True)
        raise


def _restore(file: Path, house: Path) -> dict[str, Any]:
    try:
        with tarfile.open(file) as tar:
            tar.extractall(house, filter="data")
    except (tarfile.TarError, EOFError) as problem:
        raise Corrupt(place=str(file), problem=str(problem)) from problem
    for part in ("backup.json", "database.jsonl", "keys"):
        if not (house / part).exists():
            raise Corrupt(place=str(file), problem=f"it has no {part}")
    head = json.loads((house / "backup.json").read_text())
    settings = load(house)
    settings.keys.chmod(0o700)
    for key in settings.keys.iterdir():
        key.chmod(0o600)
    from lilong.app import migrate_house

    db = Database(settings.database_url)
    try:
        migrate_house(db)
        rows = db.write(lambda tx: _load(tx, house / "database.jsonl"))
        root = db.read(lambda tx: log.root(SqlNodes(tx), int(tx.value("SELECT COUNT(*) FROM ground_events"))).hex())
    finally:
        db.close()
    if root != head["log_root"]:
        raise Corrupt(place=str(file), problem=f"its log ends in {root}, not in {head['log_root']}")
    (house / "database.jsonl").unlink()
    (house / "backup.json").unlink()
    return {"house": str(house), "events": head["events"], "log_root": root, "rows": rows}


def _load(tx: Tx, file: Path) -> int:
    known = {table: {column["name"] for column in inspect(tx.connection).get_columns(table)} for table in _tables(tx)}
    for table in reversed(list(known)):  # the migrations' own ledger, and rows that they put in
        tx.run(f"DELETE FROM {table}")
    count = 0
    for table, rows in _batches(file):
        if table not in known or not known[table].issuperset(rows[0]):
            raise Corrupt(place="the backup", problem=f"its table {table} is not one of this version's")
        columns = list(rows[0])
        tx.many(f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({', '.join(':' + column for column in columns)})", rows)
        count += len(rows)
    return count


def _batches(file: Path) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    table, rows = "", list[dict[str, Any]]()
    with file.open(encoding="utf-8") as lines:
        for line in lines:
            name, values = json.loads(line)
            row = {key: base64.b64decode(value["base64"]) if isinstance(value, dict) else value for key, value in values.items()}
            if name != table or len(rows) == _ROWS:
                if rows:
                    yield table, rows
                table, rows = name, []
            rows.append(row)
    if rows:
        yield table, rows
