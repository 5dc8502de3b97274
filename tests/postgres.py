"""A real PostgreSQL server for the tests that run on both databases: one cluster a test run, one database a test."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def programs() -> Path | None:
    """The folder with initdb and pg_ctl, where PostgreSQL is installed."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb")) if Path("/usr/lib/postgresql").exists() else []
    if found:
        return found[-1].parent
    on_path = shutil.which("initdb")
    return Path(on_path).parent if on_path else None


def _as_postgres(argv: list[str]) -> None:
    """PostgreSQL refuses to run as root, so root hands over to its own user."""
    kwargs = {"user": "postgres", "group": "postgres"} if os.geteuid() == 0 else {}
    subprocess.run(argv, check=True, capture_output=True, cwd="/", env={"PATH": os.environ["PATH"], "LANG": "C.UTF-8"}, **kwargs)  # type: ignore[call-overload]


@contextmanager
def cluster() -> Iterator[Path]:
    """The socket folder of a running server."""
    bin_folder = programs()
    assert bin_folder is not None
    folder = Path(tempfile.mkdtemp(prefix="lilong-pg-"))
    folder.chmod(0o755)
    if os.geteuid() == 0:
        shutil.chown(folder, "postgres", "postgres")
    try:
        _as_postgres([str(bin_folder / "initdb"), "-D", str(folder / "data"), "-A", "trust", "-U", "lilong", "-E", "UTF8", "--no-sync"])
        options = f"-k {folder} -c listen_addresses='' -c fsync=off -c max_connections=60"
        _as_postgres([str(bin_folder / "pg_ctl"), "-D", str(folder / "data"), "-w", "-l", str(folder / "log"), "-o", options, "start"])
        yield folder
    finally:
        if (folder / "data" / "postmaster.pid").exists():
            _as_postgres([str(bin_folder / "pg_ctl"), "-D", str(folder / "data"), "-m", "immediate", "stop"])
        shutil.rmtree(folder, ignore_errors=True)


def new_database(sockets: Path) -> str:
    """The URL of a fresh, empty database."""
    import psycopg

    name = f"t{uuid.uuid4().hex[:12]}"
    with psycopg.connect(f"host={sockets} user=lilong dbname=postgres", autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{name}"')  # type: ignore[call-overload]
    return f"postgresql+psycopg://lilong@/{name}?host={sockets}"
