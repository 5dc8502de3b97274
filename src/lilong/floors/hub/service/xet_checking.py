"""Does the Xet content store still hold what it once took? For `lilong verify` and after a restore."""

from __future__ import annotations

from collections.abc import Iterator

from lilong.floors.hub.service import xorb_store
from lilong.floors.hub.store import xet, xet_read
from lilong.floors.hub.store.xet import Xorb
from lilong.floors.hub.xet import hashes
from lilong.floors.hub.xet.reader import BadXorbBytes
from lilong.floors.hub.xet.xorbs import BadXorb, Scan
from lilong.ground.db import Tx
from lilong.ground.errors import NotFound
from lilong.ground.house import House

from .xet_read import note_damage

_PAGE = 200
_AGAIN = 16  # damaged xorbs read once more in one step of the chore
_STEP = 1 << 30  # bytes read in one step of the chore
_PIECE = 4 << 20


def start(house: House) -> None:
    house.checks.append(problems)
    house.chore("hub-xorbs-read", 3600.0, Rounds().step)


class Rounds:
    """Reads all xorbs in turn, a GiB an hour, so that damage is known before somebody needs what is damaged. A restart begins anew."""

    def __init__(self) -> None:
        self._last = ""

    def step(self, house: House) -> None:
        _look_again(house)
        if xorb_store.of(house).path("0" * 64) is None:
            return  # an S3 server looks after its disks by itself
        read = 0
        while read < _STEP:
            page = house.db.read(lambda tx: xet_read.page_of_xorbs(tx, self._last, 1))
            if not page:
                self._last = ""
                return
            self._last = page[0].hash
            read += page[0].size
            if page[0].live and not _reads_well(house, page[0]):
                note_damage(house, BadXorbBytes(xorb=page[0].hash, problem="the bytes of a chunk are not those that its hash names"))


def _look_again(house: House) -> None:
    """What was read wrongly once may have been read wrongly, not kept so: a disk that is mended, a store that answered for another."""
    for hash in house.db.read(lambda tx: xet_read.damaged(tx, _AGAIN)):
        with xorb_store.turn(house, hash):
            known = house.db.read(lambda tx, hash=hash: xet.xorb(tx, hash))  # type: ignore[misc]
        if known is not None and known.state == "damaged" and xorb_store.of(house).has(hash) and _reads_well(house, known):
            house.db.write(lambda tx, hash=hash: xet_read.mark_whole(tx, hash))  # type: ignore[misc]


def _reads_well(house: House, xorb: Xorb) -> bool:
    """Whether its bytes, read to the end, are its own; true for one that is collected meanwhile."""
    fits, store = Fits(xorb.hash), xorb_store.of(house)
    try:
        for begin in range(0, xorb.size, _PIECE):
            fits.take(store.read(xorb.hash, begin, min(begin + _PIECE, xorb.size)))
    except NotFound:
        with xorb_store.turn(house, xorb.hash):
            now = house.db.read(lambda tx: xet.xorb(tx, xorb.hash))
        return now is None or not now.live
    return fits.end()


def problems(house: House) -> Iterator[str]:
    """Each xorb that is missing or damaged, read from end to end, and each file that is not made of what is there."""
    store = xorb_store.of(house)
    last = ""
    while page := house.db.read(lambda tx, last=last: xet_read.page_of_xorbs(tx, last, _PAGE)):  # type: ignore[misc]
        for xorb in page:
            size = store.size(xorb.hash)
            if size is None:
                yield f"xorb {xorb.hash}: its bytes are missing"
            elif size != xorb.size or xorb.chunks.start(len(xorb.chunks)) != xorb.size:
                yield f"xorb {xorb.hash}: it has {size} bytes, not {xorb.size}"
            elif not _reads_well(house, xorb):
                yield f"xorb {xorb.hash}: bytes that are not its own are in it"
        last = page[-1].hash
    last = ""
    while found := house.db.read(lambda tx, last=last: _files(tx, last)):  # type: ignore[misc]
        last, said = found
        yield from said


def _files(tx: Tx, last: str) -> tuple[str, list[str]] | None:
    """One page of files: the last one's hash, and what is wrong."""
    files = xet_read.page_of_files(tx, last, _PAGE)
    if not files:
        return None
    known: dict[str, Xorb] = xet.xorbs(tx, {term.xorb for file in files for term in file.terms})
    said = []
    for file in files:
        leaves = []
        for term in file.terms:
            xorb = known.get(term.xorb)
            if xorb is None or xorb.state == "gone":
                said.append(f"file {file.digest}: its xorb {term.xorb} is gone")
                break
            part = xorb.chunks.leaves(term.begin, term.end)
            if not term.begin < term.end <= len(xorb.chunks) or sum(length for _, length in part) != term.length:
                said.append(f"file {file.digest}: its chunks {term.begin} to {term.end - 1} of xorb {term.xorb} are not there")
                break
            leaves += part
        else:
            if hashes.text(hashes.file(leaves)) != file.hash or sum(length for _, length in leaves) != file.size:
                said.append(f"file {file.digest}: its chunks make another file than {file.hash}")
    return files[-1].hash, said


class Fits:
    """Takes the bytes of a xorb in order, and tells whether they are those that its hash names."""

    def __init__(self, hash: str) -> None:
        self._hash = hash
        self._scan = Scan()
        self._rest = b""
        self._bad = False

    def take(self, piece: bytes) -> None:
        if not self._bad:
            data = self._rest + piece
            try:
                self._rest = data[self._scan.take(memoryview(data)) :]
            except BadXorb:
                self._bad = True

    def end(self) -> bool:
        try:
            return not self._bad and hashes.text(self._scan.finish(len(self._rest))[0]) == self._hash
        except BadXorb:
            return False
