"""Xorbs: up to 8,192 chunks of a file's bytes one behind another, each with a header of eight bytes.

As in the Xet protocol specification, "Xorb formation and serialization". A xorb's name is the root over the hashes of its chunks, so
what was read and hashed to that name is that xorb.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator

from lilong.floors.hub.xet import hashes
from lilong.floors.hub.xet.hashes import Leaf

LIMIT = 64 << 20  # bytes of all chunks as stored, without their headers: a xorb full to the brim is a little longer
MOST_CHUNKS = 8192
LONGEST = 128 << 10  # bytes of a chunk's content
HEADER = 8  # bytes: version (1), stored (3), scheme (1), length (3), little-endian
MOST_STORED = LONGEST + (1 << 10)  # an LZ4 frame around bytes that do not shrink is a little longer than they are
FOOTER = b"XETBLOB"  # some clients send an index behind the chunks: it can be worked out, so it is not kept

PLAIN, LZ4, GROUPED_LZ4 = 0, 1, 2
_ROW = struct.Struct("<32sII")


class BadXorb(ValueError):
    """Bytes that are no xorb; the message says why."""


class Table:
    """Where the chunks of a xorb lie: 40 bytes each, hash, length of the content, end in the stored bytes."""

    __slots__ = ("_rows",)

    def __init__(self, rows: bytes) -> None:
        if len(rows) % _ROW.size:
            raise BadXorb("its table of chunks is cut off")
        self._rows = rows

    @classmethod
    def of(cls, chunks: Iterable[tuple[bytes, int, int]]) -> Table:
        """From (hash, length, end in the stored bytes) of each chunk."""
        return cls(b"".join(_ROW.pack(*chunk) for chunk in chunks))

    def __bytes__(self) -> bytes:
        return self._rows

    def __len__(self) -> int:
        return len(self._rows) // _ROW.size

    def hash(self, at: int) -> bytes:
        return self._rows[at * 40 : at * 40 + 32]

    def length(self, at: int) -> int:
        return int.from_bytes(self._rows[at * 40 + 32 : at * 40 + 36], "little")

    def start(self, at: int) -> int:
        """Where the header of a chunk begins in the stored bytes; of the chunk behind the last one: where they end."""
        return self.end(at - 1) if at else 0

    def end(self, at: int) -> int:
        return int.from_bytes(self._rows[at * 40 + 36 : at * 40 + 40], "little")

    def leaves(self, begin: int = 0, end: int | None = None) -> list[Leaf]:
        """(hash, length) of the chunks from `begin` to before `end`."""
        stop = len(self) if end is None else end
        return [(hash, length) for hash, length, _ in _ROW.iter_unpack(memoryview(self._rows)[begin * 40 : stop * 40])]

    def hashes(self, begin: int, end: int) -> bytes:
        """The hashes of a run of chunks, one behind another."""
        return b"".join(hash for hash, _ in self.leaves(begin, end))

    def content_length(self, begin: int = 0, end: int | None = None) -> int:
        return sum(length for _, length in self.leaves(begin, end))


def decoded(scheme: int, stored: bytes | memoryview, length: int) -> bytes | memoryview:
    """The content of a chunk. Raises BadXorb unless it has exactly `length` bytes."""
    if scheme == PLAIN:
        content = stored
    elif scheme == LZ4:
        content = _unpacked(stored, length)
    elif scheme == GROUPED_LZ4:
        content = _ungrouped(_unpacked(stored, length))
    else:
        raise BadXorb(f"a chunk is stored by scheme {scheme}, which nobody knows")
    if len(content) != length:
        raise BadXorb(f"a chunk has {len(content)} bytes and says that it has {length}")
    return content


def _unpacked(stored: bytes | memoryview, length: int) -> bytes:
    from lz4.frame import LZ4FrameDecompressor  # at the first compressed chunk: most weights do not compress

    frame = LZ4FrameDecompressor()
    try:
        content: bytes = frame.decompress(stored, max_length=length + 1)  # a small frame may say that it unfolds to gigabytes
    except (RuntimeError, ValueError, EOFError, MemoryError) as problem:
        raise BadXorb(f"a chunk is no LZ4 frame: {problem}") from problem
    if not frame.eof or frame.unused_data:
        raise BadXorb("a chunk is not one whole LZ4 frame of the length that it says")
    return content


def _ungrouped(content: bytes) -> bytes:
    """Every fourth byte lies together: first all bytes 0, 4, 8, …, then 1, 5, 9, …"""
    plain, begin = bytearray(len(content)), 0
    for at in range(4):
        count = (len(content) - at + 3) // 4
        plain[at::4] = content[begin : begin + count]
        begin += count
    return bytes(plain)


def header(scheme: int, stored: int, length: int) -> bytes:
    return b"\0" + stored.to_bytes(3, "little") + bytes((scheme,)) + length.to_bytes(3, "little")


class Scan:
    """Reads the bytes of a xorb once, in order, as they come, and hashes every chunk."""

    def __init__(self) -> None:
        self.size = 0  # bytes of whole chunks with their headers so far: what is kept
        self.length = 0  # bytes of their contents
        self.footer = False  # whether the chunks have ended and an index follows
        self._chunks: list[tuple[bytes, int, int]] = []

    def take(self, data: memoryview) -> int:
        """Take all whole chunks that `data` begins with; how many bytes they are. What is left comes again with more behind it.

        Raises BadXorb.
        """
        at, count = 0, len(data)
        while count - at >= HEADER and not self.footer:
            if data[at] != 0:
                if data[at : at + len(FOOTER)] == FOOTER:
                    self.footer = True
                    break
                raise BadXorb(f"at byte {self.size} there is no header of a chunk")
            stored, length, scheme = _sizes(data[at : at + HEADER])
            begin, end = at + HEADER, at + HEADER + stored
            if end > count:
                break
            if len(self._chunks) == MOST_CHUNKS:
                raise BadXorb(f"it has more than {MOST_CHUNKS} chunks")
            content = decoded(scheme, data[begin:end], length)
            self.size += end - at
            self.length += length
            if self.size - HEADER * (len(self._chunks) + 1) > LIMIT:
                raise BadXorb(f"its chunks have more than {LIMIT} bytes")
            self._chunks.append((hashes.chunk(content), length, self.size))
            at = end
        return at

    def hashes(self, begin: int) -> list[bytes]:
        """Of the chunks taken so far, from `begin` on."""
        return [hash for hash, _, _ in self._chunks[begin:]]

    def finish(self, left: int) -> tuple[bytes, Table]:
        """The hash of the xorb, and where its chunks lie. `left`: bytes behind the last whole chunk. Raises BadXorb."""
        if left and not self.footer:
            raise BadXorb(f"it breaks off inside the chunk that begins at byte {self.size}")
        if not self._chunks:
            raise BadXorb("it has no chunks")
        return hashes.root([(hash, length) for hash, length, _ in self._chunks]), Table.of(self._chunks)


def _sizes(head: memoryview) -> tuple[int, int, int]:
    """(stored bytes, length of the content, scheme). Raises BadXorb."""
    number = int.from_bytes(head, "little")
    stored, scheme, length = number >> 8 & 0xFFFFFF, number >> 32 & 0xFF, number >> 40
    if not 0 < length <= LONGEST:
        raise BadXorb(f"a chunk has {length} bytes; from 1 to {LONGEST} are allowed")
    if not 0 < stored <= MOST_STORED:
        raise BadXorb(f"a chunk is stored in {stored} bytes; up to {MOST_STORED} are allowed")
    return stored, length, scheme


def contents(data: bytes | memoryview) -> Iterator[bytes | memoryview]:
    """The contents of the whole chunks that `data` consists of. Raises BadXorb."""
    view, at = memoryview(data), 0
    while at < len(view):
        if len(view) - at < HEADER or view[at] != 0:
            raise BadXorb("there is no header of a chunk")
        stored, length, scheme = _sizes(view[at : at + HEADER])
        at += HEADER + stored
        if at > len(view):
            raise BadXorb("it breaks off inside a chunk")
        yield decoded(scheme, view[at - stored : at], length)


def built(chunks: Iterable[bytes]) -> tuple[bytes, bytes, Table]:
    """(hash, bytes, table) of a xorb over these contents, uncompressed. Raises BadXorb where they are none or too many."""
    body = b"".join(header(PLAIN, len(content), len(content)) + content for content in chunks)
    scan = Scan()
    taken = scan.take(memoryview(body))
    hash, table = scan.finish(len(body) - taken)
    return hash, body, table
