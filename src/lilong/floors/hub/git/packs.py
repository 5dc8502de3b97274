"""Packs and their indexes, version 2 (gitformat-pack(5)): written, looked up, and measured before anybody unpacks them."""

from __future__ import annotations

import hashlib
import mmap
import struct
import zlib
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, BinaryIO

from .objects import Type

_KINDS: dict[str, int] = {"commit": 1, "tree": 2, "blob": 3, "tag": 4}
_OFS_DELTA, _REF_DELTA = 6, 7
_TABLE = 8 + 256 * 4  # bytes before the ids of an index
_FAR = 1 << 31  # offsets from here on stand in a table of their own
_PIECE = 1 << 16
_CHAIN = 50  # deltas upon deltas


class BadPack(ValueError):
    """What came is not a pack, or one too large to take in."""


def _header(kind: int, size: int) -> bytes:
    first, size = (kind << 4) | (size & 15), size >> 4
    taken = bytearray()
    while size:
        taken.append(first | 0x80)
        first, size = size & 0x7F, size >> 7
    taken.append(first)
    return bytes(taken)


def _distance(offset: int) -> bytes:
    taken = bytearray([offset & 0x7F])
    while offset := offset >> 7:
        offset -= 1
        taken.append(0x80 | (offset & 0x7F))
    return bytes(reversed(taken))


def tree_delta(base: Sequence[bytes], new: Sequence[bytes]) -> bytes:
    """What makes a tree from another, both given as the pieces that their entries are: runs of entries to copy, and entries to insert."""
    places, size = {}, 0
    for line in base:
        places[line] = size
        size += len(line)
    made = bytearray(_number(size) + _number(sum(map(len, new))))
    inserted = bytearray()
    first = last = 0  # the run that is to be copied
    for line in new:
        at = places.get(line, -1)
        if at >= 0 and at == last and last > first:
            last += len(line)
            continue
        _write_run(made, first, last)
        first = last = 0
        if at >= 0:
            _write_inserted(made, inserted)
            first, last = at, at + len(line)
        else:
            inserted += line
    _write_run(made, first, last)
    _write_inserted(made, inserted)
    return bytes(made)


def _number(value: int) -> bytes:
    taken = bytearray()
    while value > 0x7F:
        taken.append(0x80 | (value & 0x7F))
        value >>= 7
    return bytes([*taken, value])


def _write_run(made: bytearray, first: int, last: int) -> None:
    while first < last:
        count = min(last - first, 0xFFFFFF)
        made += b"\xff" + struct.pack("<I", first) + struct.pack("<I", count)[:3]
        first += count


def _write_inserted(made: bytearray, inserted: bytearray) -> None:
    for at in range(0, len(inserted), 127):
        piece = inserted[at : at + 127]
        made += bytes([len(piece)]) + piece
    inserted.clear()


class Writer:
    """Writes a pack object by object; what is held in memory is its index."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._at = 12
        self._found: dict[bytes, tuple[int, int]] = {}  # id -> (offset, CRC-32 of the packed bytes)
        self._depths: dict[bytes, int] = {}  # of those that are deltas
        file.write(bytes(12))  # the header knows how many objects there are: it is written last

    def __len__(self) -> int:
        return len(self._found)

    def add(self, kind: Type, identity: str, content: bytes) -> None:
        name = bytes.fromhex(identity)
        if name not in self._found:
            self._put(name, _header(_KINDS[kind], len(content)) + zlib.compress(content, 1))

    def add_delta(self, identity: str, base: str, delta: bytes) -> bool:
        """Write an object as what makes it from another; False, with nothing written, where the other is not here or is a long chain."""
        name, other = bytes.fromhex(identity), bytes.fromhex(base)
        depth = self._depths.get(other, 0) + 1
        if other not in self._found or depth > _CHAIN or name in self._found:
            return name in self._found
        self._depths[name] = depth
        self._put(name, _header(_OFS_DELTA, len(delta)) + _distance(self._at - self._found[other][0]) + zlib.compress(delta, 1))
        return True

    def _put(self, name: bytes, packed: bytes) -> None:
        self._file.write(packed)
        self._found[name] = (self._at, zlib.crc32(packed))
        self._at += len(packed)

    def finish(self) -> bytes:
        """The pack's checksum. The file must be open for reading as well."""
        self._file.seek(0)
        self._file.write(struct.pack(">4sII", b"PACK", 2, len(self._found)))
        self._file.seek(0)
        hasher = hashlib.sha1(usedforsecurity=False)
        while piece := self._file.read(_PIECE):
            hasher.update(piece)
        self._file.write(hasher.digest())
        return hasher.digest()

    def index(self, checksum: bytes) -> bytes:
        names = sorted(self._found)
        counts = [0] * 256
        for name in names:
            counts[name[0]] += 1
        total, table = 0, []
        for count in counts:
            total += count
            table.append(total)
        near: list[int] = []
        far: list[int] = []
        for name in names:
            offset = self._found[name][0]
            near.append(offset if offset < _FAR else _FAR | len(far))
            if offset >= _FAR:
                far.append(offset)
        content = b"".join(
            (b"\xfftOc\0\0\0\2", struct.pack(">256I", *table), *names, struct.pack(f">{len(names)}I", *(self._found[n][1] for n in names)),
             struct.pack(f">{len(near)}I", *near), struct.pack(f">{len(far)}Q", *far), checksum)
        )  # fmt: skip
        return content + hashlib.sha1(content, usedforsecurity=False).digest()


class Index:
    """The ids in a pack, looked up in its index without reading it all."""

    def __init__(self, path: Path) -> None:
        with path.open("rb") as file:
            self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        if self._map[:8] != b"\xfftOc\0\0\0\2" or len(self._map) < _TABLE + 40:
            raise BadPack(f"{path.name} is not an index of version 2")
        self._counts = struct.unpack(">256I", self._map[8:_TABLE])

    def __len__(self) -> int:
        return int(self._counts[255])

    def __getitem__(self, position: int) -> bytes:
        if position >= self._counts[255]:
            raise IndexError(position)
        begin = _TABLE + 20 * position
        return self._map[begin : begin + 20]

    def __iter__(self) -> Iterator[bytes]:
        return (self[position] for position in range(len(self)))

    def __contains__(self, identity: str) -> bool:
        name = bytes.fromhex(identity)
        first = self._counts[name[0] - 1] if name[0] else 0
        last = self._counts[name[0]]
        at = bisect_left(self, name, first, last)
        return at < last and self[at] == name

    def close(self) -> None:
        self._map.close()


def is_whole(path: Path) -> bool:
    """Whether a pack, or its index, ends with the SHA-1 of all before, as it was written."""
    hasher, last = hashlib.sha1(usedforsecurity=False), b""
    with path.open("rb") as file:
        while piece := file.read(1 << 20):
            whole = last + piece
            hasher.update(whole[:-20])
            last = whole[-20:]
    return hasher.digest() == last


def measure(file: IO[bytes], object_limit: int, total_limit: int, count_limit: int) -> int:
    """How many objects a received pack has. Every object's size is read before any is put together from deltas, so that a small
    pack cannot grow into a large one. What the sizes say of deltas is proven by whoever applies them. Raises BadPack.
    """
    reader = _Inflating(file)
    magic, version, count = struct.unpack(">4sII", reader.take(12))
    if magic != b"PACK" or version not in (2, 3):
        raise BadPack("it is not a pack")
    if count > count_limit:
        raise BadPack(f"it has {count} objects; the limit is {count_limit}")
    total = 0
    for _ in range(count):
        kind, size = reader.header()
        if kind == _OFS_DELTA:
            while reader.take(1)[0] & 0x80:
                pass
        elif kind == _REF_DELTA:
            reader.take(20)
        elif kind not in _KINDS.values():
            raise BadPack(f"it has an object of the unknown kind {kind}")
        if size > object_limit:
            raise BadPack(f"it has an object of {size} bytes; the limit is {object_limit}")
        start = reader.skip(size)
        if kind in (_OFS_DELTA, _REF_DELTA):
            size = _result_size(start)
            if size > object_limit:
                raise BadPack(f"it has an object of {size} bytes; the limit is {object_limit}")
        total += size
        if total > total_limit:
            raise BadPack(f"its objects have more than {total_limit} bytes together")
    return int(count)


def _result_size(delta: bytes) -> int:
    """A delta begins with the sizes of what it is made from and of what it makes."""
    numbers, at = [], 0
    for _ in range(2):
        number = shift = 0
        while True:
            if at >= len(delta) or shift > 63:
                raise BadPack("it has a delta without sizes")
            byte, at = delta[at], at + 1
            number |= (byte & 0x7F) << shift
            shift += 7
            if not byte & 0x80:
                break
        numbers.append(number)
    return numbers[1]


class _Inflating:
    """Reads a pack from its beginning, holding a piece of it at a time."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._held = b""
        self._at = 0

    def _fill(self) -> None:
        piece = self._file.read(_PIECE)
        if not piece:
            raise BadPack("it ends before its last object")
        self._held, self._at = self._held[self._at :] + piece, 0

    def take(self, count: int) -> bytes:
        while len(self._held) - self._at < count:
            self._fill()
        self._at += count
        return self._held[self._at - count : self._at]

    def header(self) -> tuple[int, int]:
        byte = self.take(1)[0]
        kind, size, shift = (byte >> 4) & 7, byte & 15, 4
        while byte & 0x80:
            if shift > 60:
                raise BadPack("it has an object without a size")
            byte = self.take(1)[0]
            size |= (byte & 0x7F) << shift
            shift += 7
        return kind, size

    def skip(self, size: int) -> bytes:
        """Inflate one object of `size` bytes without keeping it; its first bytes."""
        inflater = zlib.decompressobj()
        start, seen = b"", 0
        window = min(size + 64, _PIECE)  # what follows the object is handed back as a copy: the less the better
        while not inflater.eof:
            if self._at == len(self._held):
                self._fill()
            given = self._held[self._at : self._at + window]
            try:
                piece = inflater.decompress(given, _PIECE)
            except zlib.error as problem:
                raise BadPack("it has an object that does not inflate") from problem
            self._at += len(given) - len(inflater.unused_data if inflater.eof else inflater.unconsumed_tail)
            seen += len(piece)
            if len(start) < 32:
                start += piece[:32]
            if seen > size:
                raise BadPack("it has an object that is longer than it says")
        if seen != size:
            raise BadPack("it has an object that is shorter than it says")
        return start
