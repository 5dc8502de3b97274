"""Git bundles, version 2 (gitformat-bundle(5)), around packs without deltas: the head, and objects looked up by their id."""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Iterable
from typing import BinaryIO

from .objects import Type, object_id
from .packs import BadPack

_SIGNATURE = b"# v2 git bundle\n"
_LINE = re.compile(rb"([0-9a-f]{40}) ([^\n\0]{1,1000})\n")
_MOST_REFS = 100_000
_KINDS: dict[int, Type] = {1: "commit", 2: "tree", 3: "blob", 4: "tag"}
_PIECE = 1 << 18


def head(refs: Iterable[tuple[str, str]]) -> bytes:
    """What stands before the pack, from (name, id) of the refs."""
    return _SIGNATURE + b"".join(f"{identity} {name}\n".encode() for name, identity in refs) + b"\n"


def read_head(file: BinaryIO) -> dict[str, str]:
    """The refs by name; the file stands at its pack then. Raises BadPack."""
    if file.readline(len(_SIGNATURE)) != _SIGNATURE:
        raise BadPack("it is not a git bundle of version 2")
    refs: dict[str, str] = {}
    while (line := file.readline(2000)) != b"\n":
        found = _LINE.fullmatch(line)
        if found is None or len(refs) >= _MOST_REFS:
            raise BadPack("its list of refs cannot be read")
        refs[found[2].decode("utf-8", "replace")] = found[1].decode()
    return refs


class Objects:
    """The objects of a pack that has no deltas. All of it is inflated once, and every id worked out from the content."""

    def __init__(self, file: BinaryIO, object_limit: int) -> None:
        """`file` stands at the pack. Raises BadPack."""
        self._file = file
        self._places: dict[bytes, tuple[int, Type, int]] = {}
        magic, version, count = struct.unpack(">4sII", _exactly(file, 12))
        if magic != b"PACK" or version != 2:
            raise BadPack("it has no pack of version 2")
        for _ in range(count):
            kind, size = self._header()
            if size > object_limit:
                raise BadPack(f"it has an object of {size} bytes; the limit is {object_limit}")
            at = file.tell()
            content = self._inflated(size)
            self._places[bytes.fromhex(object_id(kind, content))] = (at, kind, size)

    def __len__(self) -> int:
        return len(self._places)

    def __contains__(self, identity: str) -> bool:
        return bytes.fromhex(identity) in self._places

    def get(self, identity: str) -> tuple[str, bytes] | None:
        """(type, content), or None where there is no such object."""
        place = self._places.get(bytes.fromhex(identity))
        if place is None:
            return None
        at, kind, size = place
        self._file.seek(at)
        return kind, self._inflated(size)

    def _header(self) -> tuple[Type, int]:
        byte = _exactly(self._file, 1)[0]
        number, size, shift = (byte >> 4) & 7, byte & 15, 4
        while byte & 0x80:
            byte = _exactly(self._file, 1)[0]
            size |= (byte & 0x7F) << shift
            shift += 7
            if shift > 60:
                raise BadPack("it has an object without a size")
        if number not in _KINDS:
            raise BadPack("it has an object with a delta, or of an unknown kind")
        return _KINDS[number], size

    def _inflated(self, size: int) -> bytes:
        """The object that begins here; the file stands behind it then."""
        inflater, pieces, taken = zlib.decompressobj(), [], 0
        window = min(size + 64, _PIECE)
        while not inflater.eof:
            given = inflater.unconsumed_tail or self._file.read(window)
            if not given:
                raise BadPack("it ends before its last object")
            try:
                piece = inflater.decompress(given, size - taken + 1)
            except zlib.error as problem:
                raise BadPack("it has an object that does not inflate") from problem
            pieces.append(piece)
            taken += len(piece)
            if taken > size:
                raise BadPack("it has an object that is longer than it says")
        if taken != size:
            raise BadPack("it has an object that is shorter than it says")
        self._file.seek(-len(inflater.unused_data), 1)
        return b"".join(pieces)


def _exactly(file: BinaryIO, count: int) -> bytes:
    found = file.read(count)
    if len(found) != count:
        raise BadPack("it ends before its last object")
    return found
