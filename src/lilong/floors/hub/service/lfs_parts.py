"""Large files that come in parts: each part is durable once it was answered, and may be sent again; the whole is checked at the end."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from lilong.floors.hub import store
from lilong.ground.access import Actor
from lilong.ground.blobs import hexadecimal, sync_folder, writing
from lilong.ground.db import Tx
from lilong.ground.house import House

from .transfer import Link, NotTheBytes, possess

_KEPT = 24 * 3600  # seconds after which the parts of an upload that nobody went on with go; links live shorter
_EVERY = 3600.0
_PIECE = 1 << 20
_PART = re.compile(r"(\d{5})-([0-9a-f]{64})")


def start(house: House) -> None:
    house.chore("hub-upload-parts", _EVERY, tidy)


def count(link: Link) -> int:
    return -(-link.size // link.chunk)


def size_of(link: Link) -> int:
    """Bytes of the part that the link is for."""
    return min(link.chunk, link.size - (link.part - 1) * link.chunk)


def _root(house: House) -> Path:
    return house.settings.house / "uploads"


def _folder(house: House, link: Link) -> Path:
    """The same one for whoever begins again with the same file."""
    said = "\n".join((link.user, link.digest, str(link.size), str(link.chunk)))
    return _root(house) / hashlib.sha256(said.encode()).hexdigest()


def receive(house: House, link: Link, pieces: Iterable[bytes]) -> str:
    """Keep one part; its ETag. Durable when this returns; a part that breaks off leaves nothing. Raises NotTheBytes, StorageFull."""
    folder, wanted = _folder(house, link), size_of(link)
    if not folder.exists():
        folder.mkdir(parents=True, exist_ok=True)
        sync_folder(folder.parent)
    handle, name = tempfile.mkstemp(dir=folder, prefix=".new-")
    with writing(folder):
        try:
            hasher, taken = hashlib.sha256(), 0
            with os.fdopen(handle, "wb") as file:
                for piece in pieces:
                    taken += len(piece)
                    if taken > wanted:
                        raise NotTheBytes(problem=f"more than {wanted} bytes came for part {link.part}")
                    hasher.update(piece)
                    file.write(piece)
                if taken != wanted:
                    raise NotTheBytes(problem=f"{taken} of {wanted} bytes came for part {link.part}")
                file.flush()
                os.fsync(file.fileno())
            Path(name).replace(folder / f"{link.part:05}-{hasher.hexdigest()}")
            sync_folder(folder)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise
    return hasher.hexdigest()


def complete(house: House, link: Link, etags: Mapping[int, str]) -> None:
    """Put the parts together. Raises NotTheBytes, with nothing kept under the announced name. May be asked again."""
    if house.blobs.has(link.digest) and house.db.read(lambda tx: _has_come(tx, link)):
        return
    folder = _folder(house, link)
    parts = [folder / f"{number:05}-{etags.get(number, '')}" for number in range(1, count(link) + 1)]
    missing = [part.name[:5] for part in parts if not (_PART.fullmatch(part.name) and part.is_file())]
    if missing or len(etags) != len(parts):
        raise NotTheBytes(
            problem=f"of {len(parts)} parts these did not come as they are listed: {', '.join(missing[:20]) or 'more are listed'}"
        )
    try:
        blob = house.blobs.put(_joined(parts))
    except FileNotFoundError:  # another request has put them together meanwhile
        if not house.blobs.has(link.digest):
            raise NotTheBytes(problem="its parts are gone") from None
        return
    if blob.digest != link.digest or blob.size != link.size:
        shutil.rmtree(folder, ignore_errors=True)
        raise NotTheBytes(problem=f"its SHA-256 is {hexadecimal(blob.digest)}")
    possess(house, link, blob)
    shutil.rmtree(folder, ignore_errors=True)


def _has_come(tx: Tx, link: Link) -> bool:
    return bool(store.known_to(tx, Actor(link.user), [link.digest], ("1 = 0", {})))


def _joined(parts: Iterable[Path]) -> Iterator[bytes]:
    for part in parts:
        with part.open("rb") as file:
            while piece := file.read(_PIECE):
                yield piece


def tidy(house: House) -> None:
    """Take away what nobody has gone on with."""
    if not _root(house).is_dir():
        return
    oldest = house.clock.now().timestamp() - _KEPT
    for folder in _root(house).iterdir():
        if max((path.stat().st_mtime for path in [folder, *folder.iterdir()]), default=0.0) < oldest:
            shutil.rmtree(folder, ignore_errors=True)
