"""The secrets behind signed links and tokens: all from one file beside the house's other keys, one for each purpose."""

from __future__ import annotations

import hashlib
import hmac
from functools import lru_cache
from pathlib import Path

from lilong.ground.blobs import write_durably
from lilong.ground.house import House


def start(house: House) -> None:
    path = _file(house)
    if not path.exists():
        write_durably(path, house.ids.secret().encode(), 0o600)


def _file(house: House) -> Path:
    return house.settings.keys / "hub.key"


@lru_cache(maxsize=16)
def _read(path: Path) -> bytes:
    return path.read_bytes()


def key(house: House, purpose: str) -> bytes:
    """32 bytes."""
    return hmac.new(_read(_file(house)), purpose.encode(), hashlib.sha256).digest()


def signature(house: House, purpose: str, *fields: object) -> str:
    """Over a number of fields that is the same for all of this purpose, of which one at most may hold the end of a line."""
    return hmac.new(key(house, purpose), "\n".join(map(str, fields)).encode(), hashlib.sha256).hexdigest()


def equal(expected: str, given: str) -> bool:
    """Compared in a time that tells nothing of where they differ."""
    return given.isascii() and hmac.compare_digest(expected, given)
