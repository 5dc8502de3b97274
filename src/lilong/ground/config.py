"""The settings of a house: defaults, then `lilong.toml` in the house's folder, then `LILONG_*` in the environment.

Secrets are never settings: they lie in files under `keys/`, readable by their owner only.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from .errors import BadInput

LOG_LEVELS = ("debug", "info", "warning", "error")


def _cpus() -> int:
    return os.cpu_count() or 1


def _memory_mib() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // (1 << 20)


def setting(default: Any, doc: str) -> Any:
    return field(default_factory=default, metadata={"doc": doc}) if callable(default) else field(default=default, metadata={"doc": doc})


@dataclass(frozen=True, slots=True)
class Settings:
    """Every key of `lilong.toml`; `LILONG_<KEY>` in the environment goes before the file."""

    house: Path
    host: str = setting("127.0.0.1", "Address the server listens on.")
    port: int = setting(8900, "Port the server listens on; 0 takes a free one.")
    database: str = setting("", "SQLAlchemy URL of the database; empty for SQLite in the house's folder.")
    name: str = setting("Lilong", "Name of this house, shown on its pages and in its log's checkpoints (no spaces or plus signs in the origin).")
    cpus: int = setting(_cpus, "CPU cores that the local site gives to jobs.")
    memory_mib: int = setting(_memory_mib, "MiB of memory that the local site gives to jobs.")
    sandbox: str = setting("auto", "Least isolation for jobs: auto (the best there is), none, landlock or bubblewrap. A level that is missing refuses to run jobs.")
    log_level: str = setting("info", "debug, info, warning or error.")
    max_body_mib: int = setting(64, "Largest request body in MiB, uploads of files excepted.")
    max_file_mib: int = setting(8192, "Largest file in MiB that the hub takes.")
    quota_mib: int = setting(0, "MiB of large files that an organisation may keep where it has no quota of its own; 0 for no limit.")
    import_hosts: str = setting("", "Hosts inside the house's own network that the hub may fetch from and call: names, name:port or networks such as 10.0.0.0/8, with commas.")
    xorbs: str = setting("", "Where the hub keeps the bytes of large files: empty for a folder of the house, or s3://BUCKET/PREFIX (credentials in keys/s3.json).")
    xorbs_endpoint: str = setting("", "URL of the S3 server of `xorbs`; empty for Amazon's.")
    xorbs_region: str = setting("us-east-1", "Region of the bucket of `xorbs`.")
    accel: str = setting("", "Who sends the bytes of files: empty for the server itself, nginx for X-Accel-Redirect (see `lilong hub nginx-config`), s3 for links into the bucket of `xorbs`.")
    rebuilt_mib: int = setting(8192, "MiB of plain copies of Xet files kept for clients that speak no Xet; 0 keeps none.")
    gc_grace_days: int = setting(21, "Days for which the hub keeps what nobody refers to any more; 21 at least, since clients remember chunks for so long.")

    @property
    def database_url(self) -> str:
        return self.database or f"sqlite:///{self.house / 'lilong.db'}"

    @property
    def blobs(self) -> Path:
        return self.house / "blobs"

    @property
    def keys(self) -> Path:
        return self.house / "keys"

    @property
    def jobs(self) -> Path:
        return self.house / "jobs"

    @property
    def run(self) -> Path:
        return self.house / "run"


def load(house: Path, overrides: Mapping[str, Any] | None = None, environment: Mapping[str, str] | None = None) -> Settings:
    """Raises BadInput for a key nobody knows or a value of the wrong kind."""
    house = house.expanduser().resolve()
    known = {f.name: f for f in fields(Settings) if f.name != "house"}
    values: dict[str, Any] = {}
    file = house / "lilong.toml"
    if file.exists():
        try:
            values.update(tomllib.loads(file.read_text()))
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as problem:
            raise BadInput(field="lilong.toml", problem=str(problem), way_out=f"Mend {file}.") from problem
    for key, text in (environment if environment is not None else os.environ).items():
        name = key.removeprefix("LILONG_").lower()
        if key.startswith("LILONG_") and name in known:
            values[name] = text
    values.update({key: value for key, value in (overrides or {}).items() if value is not None})
    for key, value in values.items():
        if key not in known:
            raise BadInput(field=key, problem="no setting has that name", way_out=f"Known: {', '.join(sorted(known))}.")
        if known[key].type in ("int", int):
            try:
                values[key] = int(value)
            except (TypeError, ValueError):
                raise BadInput(field=key, problem=f"{value!r} is not a whole number", way_out="Give a whole number.") from None
        else:
            values[key] = str(value)
    if values.get("log_level", "info") not in LOG_LEVELS:
        raise BadInput(field="log_level", problem=f"{values['log_level']!r} is no level", way_out=f"Give one of: {', '.join(LOG_LEVELS)}.")
    return Settings(house=house, **values)
