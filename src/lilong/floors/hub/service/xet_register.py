"""Files as runs of chunks: nothing that a shard says is believed. Every term, the file's hash and its SHA-256 are worked out here."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from lilong.floors.hub.store import xet
from lilong.floors.hub.store.xet import XetFile, Xorb
from lilong.floors.hub.xet import hashes, shards, xorbs
from lilong.floors.hub.xet.hashes import Leaf
from lilong.floors.hub.xet.reader import Term
from lilong.floors.hub.xet.shards import BadShard, File
from lilong.ground.db import Tx
from lilong.ground.errors import BadInput, Conflict, Corrupt, TooLarge
from lilong.ground.house import House
from lilong.ground.seams import stamp

from . import quotas, xorb_store
from .direct import DirectReader
from .xet_tokens import Grant

_RUN = 4 << 20  # bytes of chunks that are read at a time
Progress = Callable[[int, int], None]  # bytes of files verified so far, and all of them


class NoShard(BadInput):
    """What was sent is no shard: {problem}. Nothing was registered."""

    status = 400


class ShardNotTrue(BadInput):
    """The shard says of file {file} what is not so: {problem}. Nothing was registered."""

    status = 400


class XorbNotKnown(BadInput):
    """The file {file} has chunks of xorb {xorb}, which you have neither sent nor may read here. Send it first; if your client thinks that it has, remove its cache (~/.cache/huggingface/xet)."""

    status = 400


class ShardOvertaken(Conflict):
    """A xorb that the shard names was collected meanwhile. Send the shard again."""


class XorbDamaged(Conflict):
    """The stored bytes of xorb {xorb} are damaged, so the file {file} cannot be registered with it. The house's keeper has to restore it."""


@dataclass(frozen=True, slots=True)
class _Known:
    """What the tables say of what a shard names."""

    xorbs: Mapping[str, Xorb]  # live, and the caller may use them
    files: Mapping[str, XetFile]


def register(house: House, grant: Grant, data: bytes, progress: Progress = lambda done, total: None) -> bool:
    """Register the files of a shard for its sender; whether any was new. All of them or none.

    Raises NoShard, ShardNotTrue, XorbNotKnown, TooLarge, QuotaExceeded, ShardOvertaken.
    """
    try:
        shard = shards.parse(data)
    except BadShard as problem:
        raise NoShard(problem=str(problem)) from problem
    limit = house.settings.max_file_mib << 20
    for file in shard.files:
        if file.size > limit:
            raise TooLarge(what=f"The file {hashes.text(file.hash)}", size=file.size, limit=limit)
    known = _known(house, grant, shard.files)
    checked = [_checked(known, file) for file in shard.files]
    _check_quota(house, grant, checked)
    digests = _digests(house, known, {file.hash: file for file in checked}, progress)
    made: dict[str, XetFile] = {}
    for file, found in zip(shard.files, checked, strict=True):
        digest = digests[found.hash]
        if file.digest is not None and file.digest != digest:
            told, so = file.digest.removeprefix("sha256:"), digest.removeprefix("sha256:")
            raise ShardNotTrue(file=found.hash, problem=f"its SHA-256 is {so}, not {told}")
        made[found.hash] = replace(found, digest=digest)
    return _record(house, grant, made, known)


def _known(house: House, grant: Grant, files: tuple[File, ...]) -> _Known:
    names = {hashes.text(xorb) for xorb in {term.xorb for file in files for term in file.terms}}
    seen = house.access.visible(grant.actor, "hub.read", "r.organisation", "r.name")

    def read(tx: Tx) -> _Known:
        usable = xet.usable(tx, grant.actor, names, seen)
        found = {hash: xorb for hash, xorb in xet.xorbs(tx, usable).items() if xorb.live}
        return _Known(found, xet.files(tx, (hashes.text(file.hash) for file in files)))

    return house.db.read(read)


def _checked(known: _Known, file: File) -> XetFile:
    """The file with its terms as they are; its digest where one was worked out before. Raises ShardNotTrue, XorbNotKnown."""
    name = hashes.text(file.hash)
    terms: list[Term] = []
    leaves: list[Leaf] = []
    for term in file.terms:
        hash = hashes.text(term.xorb)
        xorb = known.xorbs.get(hash)
        if xorb is None:
            raise XorbNotKnown(file=name, xorb=hash)
        if not 0 <= term.begin < term.end <= len(xorb.chunks):
            raise ShardNotTrue(file=name, problem=f"xorb {hash} has {len(xorb.chunks)} chunks, and no run from {term.begin} to {term.end}")
        run = xorb.chunks.leaves(term.begin, term.end)
        length = sum(length for _, length in run)
        if length != term.length:
            raise ShardNotTrue(
                file=name, problem=f"chunks {term.begin} to {term.end} of xorb {hash} have {length} bytes, not {term.length}"
            )
        if term.verification is None:
            raise ShardNotTrue(file=name, problem="its terms come without verification hashes")
        if hashes.verification(b"".join(hash for hash, _ in run)) != term.verification:
            raise ShardNotTrue(file=name, problem=f"the verification hash of chunks {term.begin} to {term.end} of xorb {hash} is another")
        terms.append(Term(hash, term.begin, term.end, length))
        leaves += run
    before = known.files.get(name)
    if (before is None or before.terms != tuple(terms)) and hashes.file(leaves) != file.hash:
        raise ShardNotTrue(file=name, problem=f"its chunks make the file {hashes.text(hashes.file(leaves))}")
    return XetFile(name, before.digest if before is not None else "", sum(term.length for term in terms), tuple(terms))


def _check_quota(house: House, grant: Grant, files: Collection[XetFile]) -> None:
    """Raises QuotaExceeded. What the repository or bucket holds already is not counted again."""
    sizes = {file.hash: file.size for file in files}

    def check(tx: Tx) -> None:
        organisation = xet.organisation_of(tx, grant.kind, grant.repository)
        if organisation is not None:
            held = xet.held_in(tx, grant.kind, grant.repository, sizes)
            quotas.check(house, tx, organisation, sum(size for hash, size in sizes.items() if hash not in held))

    house.db.read(check)


def _digests(house: House, known: _Known, files: Mapping[str, XetFile], progress: Progress) -> dict[str, str]:
    """SHA-256 of the files' bytes, read back from the store where it is not known. Raises XorbDamaged."""
    total, done = sum(file.size for file in files.values()), 0
    found: dict[str, str] = {}
    with Contents(house) as contents:
        # In the order in which they lie in xorbs: a shard of many small files is then read in a few pieces.
        for file in sorted(files.values(), key=lambda file: [(term.xorb, term.begin) for term in file.terms[:1]]):
            found[file.hash] = file.digest or _digest(contents, known, file, _shifted(progress, done, total))
            done += file.size
            progress(done, total)
    return found


def _shifted(progress: Progress, before: int, total: int) -> Callable[[int], None]:
    return lambda done: progress(before + done, total)


def _digest(contents: Contents, known: _Known, file: XetFile, progress: Callable[[int], None]) -> str:
    hasher = hashlib.sha256()
    done = 0
    for term in file.terms:
        try:
            for content in contents.of(known.xorbs[term.xorb], term.begin, term.end):
                hasher.update(content)
                done += len(content)
        except (xorbs.BadXorb, xorb_store.XorbMissing, Corrupt) as problem:
            raise XorbDamaged(xorb=term.xorb, file=file.hash) from problem
        progress(done)
    if done != file.size:
        raise XorbDamaged(xorb=file.terms[-1].xorb, file=file.hash)
    return "sha256:" + hasher.hexdigest()


class Contents:
    """Reads runs of chunks from the store, past the page cache where the xorbs are files on this machine."""

    def __init__(self, house: House) -> None:
        self._store = xorb_store.of(house)
        self._open: tuple[str, DirectReader] | None = None  # the xorb read last

    def __enter__(self) -> Contents:
        return self

    def __exit__(self, *_: object) -> None:
        if self._open is not None:
            self._open[1].close()
            self._open = None

    def of(self, xorb: Xorb, begin: int, end: int) -> Iterator[bytes | memoryview]:
        """The contents of a run of chunks, each valid until the next is asked for. Raises BadXorb, XorbMissing."""
        table, path = xorb.chunks, self._store.path(xorb.hash)
        for first, last in _runs(xorb, begin, end):
            start, stop = table.start(first), table.end(last - 1)
            stored = self._store.read(xorb.hash, start, stop) if path is None else self._reader(xorb.hash, path).read(start, stop)
            yield from xorbs.contents(stored)

    def _reader(self, hash: str, path: Path) -> DirectReader:
        if self._open is None or self._open[0] != hash:
            self.__exit__()
            try:
                self._open = hash, DirectReader(path, _RUN)
            except FileNotFoundError:
                raise xorb_store.XorbMissing(name=hash) from None
        return self._open[1]


def _runs(xorb: Xorb, begin: int, end: int) -> Iterator[tuple[int, int]]:
    """Runs of whole chunks that are read together."""
    first = begin
    for at in range(begin, end):
        if xorb.chunks.end(at) - xorb.chunks.start(first) > _RUN:
            yield first, at
            first = at
    yield first, end


def _record(house: House, grant: Grant, made: Mapping[str, XetFile], known: _Known) -> bool:
    now = stamp(house.clock.now())
    used = {term.xorb for file in made.values() for term in file.terms}

    def write(tx: Tx) -> bool:
        if xet.touch(tx, used, now) != len(used):
            raise ShardOvertaken()
        before = xet.files(tx, made)
        fresh = [file for file in made.values() if file.hash not in before or before[file.hash].terms != file.terms]
        xet.put_files(tx, fresh, before.keys() & {file.hash for file in fresh}, now)
        firsts = (file.terms[0] for file in fresh if file.terms)
        xet.add_chunks(tx, ((hashes.text(known.xorbs[t.xorb].chunks.hash(t.begin)), t.xorb, t.begin) for t in firsts))
        xet.add_senders(tx, made.values(), grant.actor, now)
        return len(before) < len(made)

    return house.db.write(write)
