"""Whether a server has a house open, and where it answers. Light: every command asks this first."""

from __future__ import annotations

import fcntl
import json
import os
from dataclasses import dataclass
from pathlib import Path

from .blobs import write_durably
from .config import Settings


@dataclass(frozen=True, slots=True)
class Running:
    """What a running server says of itself in `run/server.json`."""

    pid: int
    url: str


def announce(settings: Settings, url: str) -> None:
    write_durably(settings.run / "server.json", json.dumps({"pid": os.getpid(), "url": url}).encode())


def running(house: Path) -> Running | None:
    """The server that has this house open now, if any. Answers from the lock, so a stale file misleads nobody."""
    lock = house / "run" / "lock"
    try:
        with lock.open("r") as handle:
            try:
                fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
                return None
            except OSError:
                said = json.loads((house / "run" / "server.json").read_text())
                return Running(said["pid"], said["url"]) if str(said["pid"]) == handle.read().strip() else None
    except (OSError, ValueError, KeyError):
        return None
