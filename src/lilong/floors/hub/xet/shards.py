"""Shards: which runs of chunks make up which file, and which chunks lie in which xorb.

As in the Xet protocol specification, "MDB shard file format": a header, records of 48 bytes, and a footer that clients may leave out.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from lilong.floors.hub.xet import hashes
from lilong.floors.hub.xet.hashes import Leaf

LIMIT = 64 << 20  # bytes of a shard
_TAG = b"HFRepoMetaData\0" + bytes.fromhex("5569 67456a7b815783a5bdd95ccdd14aa9")
_HEADER = struct.Struct("<32sQQ")  # tag, version, bytes of the footer
_RECORD = 48
_FILE = struct.Struct("<32sII8x")  # hash, flags, number of terms
_TERM = struct.Struct("<32sIIII")  # xorb, flags, bytes, first chunk, chunk after the last
_HASH = struct.Struct("<32s16x")  # verification of a term; SHA-256 of a file
_XORB = struct.Struct("<32sIIII")  # hash, flags, number of chunks, bytes of their contents, bytes as stored
_CHUNK = struct.Struct("<32sII8x")  # hash, where its content begins, bytes
_END = b"\xff" * 32 + bytes(16)
_VERIFIED, _HAS_DIGEST = 1 << 31, 1 << 30
_FOOTER = struct.Struct("<9Q32sQQ72xQ")  # version; where files, xorbs, and three tables lie; key, made, key expires; footer at
_FIND_XORB, _FIND_CHUNK = struct.Struct("<QI"), struct.Struct("<QII")  # first word of a hash, and the numbers of records


class BadShard(ValueError):
    """Bytes that are no shard; the message says why."""


@dataclass(frozen=True, slots=True)
class Term:
    """A run of chunks of one xorb."""

    xorb: bytes
    length: int  # bytes of the chunks' contents
    begin: int
    end: int  # the chunk after the last
    verification: bytes | None


@dataclass(frozen=True, slots=True)
class File:
    hash: bytes
    terms: tuple[Term, ...]
    digest: str | None  # sha256:… as the client says; None where it did not work it out

    @property
    def size(self) -> int:
        return sum(term.length for term in self.terms)


@dataclass(frozen=True, slots=True)
class Shard:
    files: tuple[File, ...]
    xorbs: tuple[bytes, ...]  # those that the client says it has sent


def parse(data: bytes | memoryview) -> Shard:
    """What a client registers. The lists of chunks are passed over: what was uploaded has been hashed here. Raises BadShard."""
    if len(data) < _HEADER.size:
        raise BadShard("it is shorter than its header")
    tag, version, _ = _HEADER.unpack_from(data)
    if tag != _TAG or version != 2:
        raise BadShard("it does not begin as a shard of version 2 does")
    reader = _Reader(memoryview(data), _HEADER.size)
    files = []
    while (record := reader.next()) is not None:
        files.append(_file(reader, record))
    xorbs = []
    while (record := reader.next()) is not None:
        hash, _, count, _, _ = _XORB.unpack(record)
        reader.skip(count)
        xorbs.append(hash)
    return Shard(tuple(files), tuple(xorbs))


def _file(reader: _Reader, record: memoryview) -> File:
    hash, flags, count = _FILE.unpack(record)
    terms = reader.run(count)
    checks = reader.run(count) if flags & _VERIFIED else None
    digest = None
    if flags & _HAS_DIGEST:
        digest = "sha256:" + hashes.text(_HASH.unpack(reader.run(1))[0])
    found = []
    for at in range(count):
        xorb, _, length, begin, end = _TERM.unpack_from(terms, at * _RECORD)
        found.append(Term(xorb, length, begin, end, None if checks is None else bytes(checks[at * _RECORD : at * _RECORD + 32])))
    return File(hash, tuple(found), digest)


class _Reader:
    def __init__(self, data: memoryview, at: int) -> None:
        self._data = data
        self._at = at

    def run(self, count: int) -> memoryview:
        """So many records."""
        begin, self._at = self._at, self._at + count * _RECORD
        if self._at > len(self._data):
            raise BadShard(f"it breaks off: {count} records were to come at byte {begin}")
        return self._data[begin : self._at]

    def skip(self, count: int) -> None:
        self.run(count)

    def next(self) -> memoryview | None:
        """The next record, or None at the end of a section."""
        record = self.run(1)
        return None if record[:32] == _END[:32] else record


def build(xorbs: Iterable[tuple[bytes, int, Sequence[Leaf]]], key: bytes, created: int, expires: int) -> bytes:
    """The answer to a client that asks for a chunk: (hash, bytes as stored, chunks) of xorbs, the chunks' hashes keyed with `key`.

    Who has a chunk finds it by keying its hash too; who has not learns nothing of it. Times are in seconds since 1970.
    """
    parts = [_HEADER.pack(_TAG, 2, _FOOTER.size), _END]
    # The tables stand in no specification, but clients look chunks up by them, and take the first one's place as the end of the xorbs.
    xorb_rows, chunk_rows, at = [], [], 0
    for hash, stored, chunks in xorbs:
        xorb_rows.append((_word(hash), at))
        parts.append(_XORB.pack(hash, 0, len(chunks), sum(length for _, length in chunks), stored))
        begin = 0
        for position, (chunk, length) in enumerate(chunks):
            told = hashes.keyed(key, chunk)
            parts.append(_CHUNK.pack(told, begin, length))
            chunk_rows.append((_word(told), at, position))
            begin += length
        at += 1 + len(chunks)
    parts.append(_END)
    tables = sum(map(len, parts))
    parts += [_FIND_XORB.pack(*row) for row in sorted(xorb_rows)]
    of_chunks = tables + len(xorb_rows) * _FIND_XORB.size
    parts += [_FIND_CHUNK.pack(*row) for row in sorted(chunk_rows)]
    end = of_chunks + len(chunk_rows) * _FIND_CHUNK.size
    places = (_HEADER.size, _HEADER.size + _RECORD, tables, 0, tables, len(xorb_rows), of_chunks, len(chunk_rows))
    parts.append(_FOOTER.pack(1, *places, key, created, expires, end))
    return b"".join(parts)


def _word(hash: bytes) -> int:
    return int.from_bytes(hash[:8], "little")


def registering(files: Iterable[File]) -> bytes:
    """A shard as a client sends it to register files, without the lists of chunks."""
    parts = [_HEADER.pack(_TAG, 2, 0)]
    for file in files:
        verified = all(term.verification is not None for term in file.terms)
        flags = (_VERIFIED if verified else 0) | (_HAS_DIGEST if file.digest else 0)
        parts.append(_FILE.pack(file.hash, flags, len(file.terms)))
        parts += [_TERM.pack(term.xorb, 0, term.length, term.begin, term.end) for term in file.terms]
        if verified:
            parts += [_HASH.pack(term.verification) for term in file.terms]
        if file.digest:
            parts.append(_HASH.pack(hashes.raw(file.digest.removeprefix("sha256:"))))
    return b"".join([*parts, _END, _END])
