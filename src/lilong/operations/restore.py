"""`lilong restore`: a house from a backup, whole or not at all.

Everything is laid beside the new folder and checked: every blob's digest, the file's own end, the log's head. Then the rows go into
the database in one transaction, and one rename makes the folder the house.
"""

from __future__ import annotations

import base64
import json
import os
import re
import shutil
import tarfile
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sqlalchemy import inspect

from lilong.ground import log
from lilong.ground.blobs import StorageFull, sync_folder
from lilong.ground.config import Settings, load
from lilong.ground.db import Database, Tx
from lilong.ground.errors import BadInput, Conflict, Corrupt, Refused
from lilong.ground.events import SqlNodes

from .backup import FORMAT, FULL, Hashing, Watching, migrations, tables

_ROWS = 500  # rows a statement
_CHUNK = 1 << 20
_PLACES = re.compile(
    r"backup\.json|end\.json|lilong\.toml|database/[0-9]{6}\.jsonl|blobs/[0-9a-f]{2}/[0-9a-f]{62}|xorbs/[0-9a-f]{2}/[0-9a-f]{64}"
    r"|(keys|profiles|segments|jobs)(/(?!\.{1,2}(/|$))[^/\0]+)+"
)


class NotEmpty(Conflict):
    """{folder} is not empty. A backup is restored into a new folder."""


class DatabaseNotEmpty(Conflict):
    """The database {database} already holds a house. A backup is restored into an empty one."""


class OtherVersion(Refused):
    """This backup was made by Lilong {made_by}, whose tables are not those of this version ({difference}). Restore it with Lilong {made_by}, then open the house with this version."""


def restore(file: Path, house: Path, database: str = "") -> dict[str, Any]:
    """Make a house in the new folder `house`, on `database` (an SQLAlchemy URL; empty for SQLite in the folder).

    Raises NotEmpty, DatabaseNotEmpty, OtherVersion, Corrupt, StorageFull. What could not be restored whole is removed again.
    """
    house = house.expanduser().resolve()
    if house.exists() and (not house.is_dir() or any(house.iterdir())):
        raise NotEmpty(folder=house)
    incoming = house.with_name(f".{house.name}.restoring")
    try:
        shutil.rmtree(incoming, ignore_errors=True)  # an earlier restore was killed
        incoming.mkdir(parents=True, mode=0o700)
        told = _restore(file, incoming, database)
        os.sync()
        os.replace(incoming, house)
        sync_folder(house.parent)
    except OSError as problem:
        if problem.errno in FULL:
            raise StorageFull(place=house.parent) from problem
        raise
    finally:
        shutil.rmtree(incoming, ignore_errors=True)
    return {"house": str(house), **told}


def _restore(file: Path, house: Path, database: str) -> dict[str, Any]:
    damaged = _lay(file, house)
    head, end = _read(file, house, "backup.json"), _read(file, house, "end.json")
    if head.get("format") != FORMAT:
        raise OtherVersion(made_by=head.get("version"), difference=f"backup format {head.get('format')}")
    if unknown := sorted(damaged - set(end["damaged"])):
        name = f"xorb {unknown[0]}" if (house / "xorbs" / unknown[0][:2] / unknown[0]).exists() else f"blob sha256:{unknown[0]}"
        raise Corrupt(place=str(file), problem=f"the bytes of {name} are not its own")
    if not (house / "keys").is_dir():
        raise Corrupt(place=str(file), problem="it has no keys")
    _set_database(house / "lilong.toml", database)
    house.chmod(0o755)
    (house / "keys").chmod(0o700)
    settings = load(house, environment={})
    from lilong.app import migrate_house

    db = Database(settings.database_url)
    try:
        if db.read(_holds_a_house):
            raise DatabaseNotEmpty(database=db.url.render_as_string(hide_password=True))
        migrate_house(db)
        db.write(lambda tx: _load(tx, settings, head, end))
    finally:
        db.close()
    shutil.rmtree(house / "database")
    for name in ("backup.json", "end.json"):
        (house / name).unlink()
    return {"database": db.dialect, "events": head["events"], "log_root": head["log_root"], **end}


# --- the files -------------------------------------------------------------------------------------------------------------


def _lay(file: Path, house: Path) -> set[str]:
    """Lay every member down; the blobs and xorbs whose bytes are not their own. Raises Corrupt for what no backup holds."""
    damaged = set()
    try:
        with tarfile.open(file, "r|") as tar:
            while (member := tar.next()) is not None:
                tar.members.clear()  # type: ignore[attr-defined]  # tarfile would remember every member
                if not member.isreg() or not _PLACES.fullmatch(member.name):
                    raise Corrupt(place=str(file), problem=f"{member.name[:200]!r} has no place in a backup")
                content = tar.extractfile(member)
                assert content is not None
                if member.name.startswith("xorbs/"):
                    if not _copy_xorb(content, house / member.name):
                        damaged.add(member.name.rsplit("/", 1)[-1])
                    continue
                digest = _copy(content, house / member.name, 0o444 if member.name.startswith("blobs/") else 0o600)
                if member.name.startswith("blobs/") and digest != member.name.removeprefix("blobs/").replace("/", ""):
                    damaged.add(member.name.removeprefix("blobs/").replace("/", ""))
    except (tarfile.TarError, EOFError) as problem:
        raise Corrupt(place=str(file), problem=f"it is not a whole tar file ({problem})") from problem
    return damaged


def _copy(content: Any, target: Path, mode: int) -> str:
    target.parent.mkdir(parents=True, exist_ok=True)
    counted = Hashing(content)
    with os.fdopen(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
        while chunk := counted.read(_CHUNK):
            file.write(chunk)
    return counted.hasher.hexdigest()


def _copy_xorb(content: Any, target: Path) -> bool:
    """Whether its bytes are those that its name promises."""
    from lilong.floors.hub.service.xet_checking import Fits

    fits = Fits(target.name)
    _copy(Watching(content, fits.take), target, 0o444)
    return fits.end()


def _read(file: Path, house: Path, name: str) -> dict[str, Any]:
    try:
        found = json.loads((house / name).read_bytes())
    except FileNotFoundError:
        raise Corrupt(place=str(file), problem=f"it has no {name}: it is not a backup, or it was cut short") from None
    except ValueError:
        raise Corrupt(place=str(file), problem=f"its {name} cannot be read") from None
    return dict(found)


def _set_database(file: Path, database: str) -> None:
    """Never the old house's database: two houses on one would end both."""
    lines = file.read_text().splitlines(keepends=True) if file.exists() else []
    kept = [line for line in lines if not re.match(r"\s*database\s*=", line)]
    if database:
        kept.insert(0, f"database = {json.dumps(database)}\n")
    if kept != lines:
        text = "".join(kept)
        if tomllib.loads(text).get("database", "") != database:
            raise BadInput(
                field="lilong.toml", problem="its database cannot be told apart", way_out='Write `database = "…"` on one line of its own.'
            )
        file.write_text(text)


# --- the database ----------------------------------------------------------------------------------------------------------


def _holds_a_house(tx: Tx) -> bool:
    seen = inspect(tx.connection)
    return any(
        seen.has_table(table) and tx.row(f"SELECT 1 FROM {table} LIMIT 1") is not None for table in ("ground_events", "ground_users")
    )


def _load(tx: Tx, settings: Settings, head: dict[str, Any], end: dict[str, Any]) -> None:
    theirs = {owner for owner, _, _ in head["migrations"]}
    mine = [each for each in migrations(tx) if each[0] in theirs]  # floors that came later begin empty
    if mine != head["migrations"]:
        other = next(each for each in [*mine, *head["migrations"]] if each not in mine or each not in head["migrations"])
        raise OtherVersion(made_by=head["version"], difference=f"{other[0]} {other[1]:04}")
    if tx.dialect == "sqlite":
        tx.run("PRAGMA defer_foreign_keys = ON")
    for table in reversed(tables(tx)):  # rows that migrations put in
        tx.run(f'DELETE FROM "{table}"')
    count = 0
    for table, rows in _batches(sorted((settings.house / "database").iterdir())):
        columns = list(rows[0])
        tx.many(f'INSERT INTO "{table}" ({", ".join(columns)}) VALUES ({", ".join(":" + column for column in columns)})', rows)
        count += len(rows)
    if count != end["rows"]:
        raise Corrupt(place="the backup", problem=f"it has {count} rows of {end['rows']}")
    size = int(tx.value("SELECT COUNT(*) FROM ground_events"))
    root = log.root(SqlNodes(tx), size).hex()
    if (size, root) != (head["events"], head["log_root"]):
        raise Corrupt(place="the backup", problem=f"its log ends in {root}, not in {head['log_root']}")


def _batches(files: list[Path]) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    table, rows = "", list[dict[str, Any]]()
    for file in files:
        with file.open(encoding="utf-8") as lines:
            for line in lines:
                name, values = json.loads(line)
                if not re.fullmatch(r"[a-z_0-9]+", name) or not all(re.fullmatch(r"[a-z_0-9]+", column) for column in values):
                    raise Corrupt(place="the backup", problem=f"{name[:100]!r} is not one of its tables")
                row = {key: base64.b64decode(value["base64"]) if isinstance(value, dict) else value for key, value in values.items()}
                if name != table or len(rows) == _ROWS:
                    if rows:
                        yield table, rows
                    table, rows = name, []
                rows.append(row)
    if rows:
        yield table, rows
