"""Append-only segments of receipts: framed, checked, found by receipt id, provable one by one.

A segment is a 64-byte header followed by frames. A frame is `length u32 | crc32 u32 | seq u64 | record`, little-endian; the
crc covers seq and record; the record is one JSON object. The header names the gateway, its epoch (the start it belongs to),
the segment's number in the epoch, and `low`/`next`: the lowest request number still open and the next to be given out when
the segment was begun. Together with the next segment's header that bounds which numbers a segment can hold, so a lookup
opens one or two segments, however many there are.
"""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import msgspec

from lilong.floors.serving.contract import Receipt, ReceiptNotFound, ReceiptProof, SegmentDamaged, SegmentHead
from lilong.ground import log

MAGIC = b"LLSEG\x001\n"
HEADER = struct.Struct("<8s16sQIQQI")  # magic, gateway, epoch, number, low, next, crc of the rest
HEADER_BYTES = 64
FRAME = struct.Struct("<IIQ")
RECORD_LIMIT = 64 * 1024
SUFFIX = ".seg"

_decode = msgspec.json.Decoder(Receipt).decode

fdatasync = getattr(os, "fdatasync", os.fsync)  # macOS has only the latter


def reserve(handle: int, start: int, size: int) -> None:
    """Have the disk keep room for these bytes, which are 0 where there were none. Raises OSError where it has none."""
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(handle, start, size)
        return
    at = max(start, os.fstat(handle).st_size)  # macOS: bytes that were written have room
    while at < start + size:
        at += os.pwrite(handle, bytes(min(1 << 16, start + size - at)), at)


@dataclass(frozen=True, slots=True)
class Header:
    gateway: str
    epoch: int
    number: int
    low: int
    next: int

    def pack(self) -> bytes:
        fields = (MAGIC, self.gateway.encode(), self.epoch, self.number, self.low, self.next)
        bare = HEADER.pack(*fields, 0)
        return HEADER.pack(*fields, zlib.crc32(bare[:-4])).ljust(HEADER_BYTES, b"\0")

    @classmethod
    def parse(cls, data: bytes, place: str) -> Header:
        """Raises SegmentDamaged."""
        if len(data) < HEADER_BYTES:
            raise SegmentDamaged(place=place, problem="its header is cut short")
        magic, gateway, epoch, number, low, next_, crc = HEADER.unpack_from(data)
        if magic != MAGIC or crc != zlib.crc32(data[: HEADER.size - 4]) or any(data[HEADER.size : HEADER_BYTES]):
            raise SegmentDamaged(place=f"{place} at byte 0", problem="its header fails its checksum")
        return cls(gateway.rstrip(b"\0").decode(), epoch, number, low, next_)


def name(epoch: int, number: int) -> str:
    return f"{epoch:013d}-{number:06d}{SUFFIX}"


def place_of(path: Path) -> tuple[int, int]:
    """(epoch, number) of a segment file."""
    epoch, _, number = path.stem.partition("-")
    return int(epoch), int(number)


def frame(seq: int, record: bytes) -> bytes:
    crc = zlib.crc32(record, zlib.crc32(seq.to_bytes(8, "little")))
    return FRAME.pack(len(record), crc, seq) + record


@dataclass(frozen=True, slots=True)
class Frame:
    seq: int
    offset: int  # of the frame in its file
    record: bytes


@dataclass(frozen=True, slots=True)
class Scan:
    """What a segment holds. `end` is the byte after the last whole frame; `torn` bytes follow it, the remains of a cut write."""

    header: Header
    frames: tuple[Frame, ...]
    end: int
    torn: int


def scan(path: Path) -> Scan:
    """Read a segment through, checking every frame.

    A bad frame with nothing sound behind it is a torn tail (a write cut by a crash). A bad frame with a sound one behind it,
    or one that lies wholly inside the file, is damage. Raises SegmentDamaged.
    """
    data = path.read_bytes()
    header = Header.parse(data, path.name)
    frames: list[Frame] = []
    at = HEADER_BYTES
    while at < len(data):
        found = _frame_at(data, at)
        if found is None:
            if not any(data[at:]) or _runs_past_the_end(data, at):
                return Scan(header, tuple(frames), at, len(data) - at)
            raise SegmentDamaged(place=f"{path.name} at byte {at}", problem="the record fails its checksum")
        frames.append(found)
        at += FRAME.size + len(found.record)
    return Scan(header, tuple(frames), at, 0)


def _frame_at(data: bytes, at: int) -> Frame | None:
    if at + FRAME.size > len(data):
        return None
    length, crc, seq = FRAME.unpack_from(data, at)
    start = at + FRAME.size
    if not 0 < length <= RECORD_LIMIT or start + length > len(data):
        return None
    record = data[start : start + length]
    if zlib.crc32(record, zlib.crc32(data[at + 8 : start])) != crc:
        return None
    return Frame(seq, at, record)


def _runs_past_the_end(data: bytes, at: int) -> bool:
    """Whether the frame at `at` was cut by the end of the file, as a torn write is, and no whole frame stands behind it."""
    if at + FRAME.size <= len(data):
        length = FRAME.unpack_from(data, at)[0]
        if at + FRAME.size + length <= len(data):
            return False
    # a flipped length would also point past the end; then later frames still begin with a record we can recognise
    behind = data.find(b'{"id":"rcpt-', at + FRAME.size + 1)
    while behind >= 0:
        if _frame_at(data, behind - FRAME.size) is not None:
            return False
        behind = data.find(b'{"id":"rcpt-', behind + 1)
    return True


def receipt_id(gateway: str, epoch: int, seq: int) -> str:
    return f"rcpt-{gateway}-{epoch}-{seq}"


def parse_receipt_id(receipt: str) -> tuple[str, int, int]:
    """(gateway, epoch, seq). Raises ReceiptNotFound for anything else."""
    parts = receipt.split("-")
    if len(parts) == 4 and parts[0] == "rcpt" and all(part.isascii() and part.isdigit() and len(part) <= 18 for part in parts[2:]):
        return parts[1], int(parts[2]), int(parts[3])
    raise ReceiptNotFound(name=receipt)


class SegmentReader:
    """Reads the segments of all gateways under one folder, while they are being written.

    Holds the frame table of segments it has opened; a segment that grew is read again. Not for use by several threads at once.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._headers: dict[Path, Header] = {}
        self._scans: dict[Path, tuple[int, Scan, dict[int, int]]] = {}

    def segments(self) -> list[str]:
        """Names, relative to the folder ('g0/0001764…-000001.seg'), oldest first."""
        found = [path for path in self.folder.glob(f"*/*{SUFFIX}") if path.stat().st_size >= HEADER_BYTES]
        return [f"{path.parent.name}/{path.name}" for path in sorted(found, key=lambda path: (place_of(path), path.parent.name))]

    def records(self, segment: str, start: int = 0) -> Iterator[Receipt]:
        """The receipts of one segment from record number `start` on, in the order written. Raises SegmentDamaged."""
        for found in self._scan(self.folder / segment)[0].frames[start:]:
            yield _decode(found.record)

    def all_records(self) -> Iterator[Receipt]:
        for segment in self.segments():
            yield from self.records(segment)

    def find(self, receipt: str) -> Receipt:
        """Raises ReceiptNotFound (also while the request is still being answered), SegmentDamaged."""
        path, index = self._locate(receipt)
        return _decode(self._scan(path)[0].frames[index].record)

    def segment_of(self, receipt: str) -> str:
        """The segment that holds a receipt. Raises ReceiptNotFound."""
        path, _ = self._locate(receipt)
        return f"{path.parent.name}/{path.name}"

    def size(self, segment: str) -> int:
        """Bytes of a segment's file."""
        return (self.folder / segment).stat().st_size

    def head(self, segment: str, records: int | None = None) -> SegmentHead:
        """The tree head over the first `records` records (all there are, by default), made durable before it is told."""
        path = self.folder / segment
        frames = self._scan(path)[0].frames
        size = len(frames) if records is None else records
        if size > len(frames):
            raise SegmentDamaged(place=segment, problem=f"it holds {len(frames)} records and {size} were sealed")
        handle = os.open(path, os.O_RDONLY)
        try:
            fdatasync(handle)  # per file, not per process: also covers what the gateway wrote
        finally:
            os.close(handle)
        return SegmentHead(segment, size, log.root(_tree(frames[:size]), size).hex())

    def record_proof(self, receipt: str, head: SegmentHead | None = None) -> ReceiptProof:
        """The record and its audit path under `head`, or under a head over all of its segment made now.

        Raises ReceiptNotFound, also where the head is older than the record; SegmentDamaged where the segment is no longer
        what the head was made of.
        """
        path, index = self._locate(receipt)
        segment = f"{path.parent.name}/{path.name}"
        now = self.head(segment, head.records if head else None)
        if head is not None and (head.segment != segment or head.records <= index):
            raise ReceiptNotFound(name=receipt)
        if head is not None and head.root != now.root:
            raise SegmentDamaged(place=segment, problem=f"its first {head.records} records no longer have the sealed root")
        frames = self._scan(path)[0].frames[: now.records]
        path_up = log.inclusion(_tree(frames), index, now.records)
        return ReceiptProof(frames[index].record.decode(), index, now, tuple(step.hex() for step in path_up))

    def verify(self, head: SegmentHead) -> None:
        """Check a segment against a head sealed earlier. Raises SegmentDamaged."""
        if not (self.folder / head.segment).exists():
            raise SegmentDamaged(place=head.segment, problem="the file is gone")
        if self.head(head.segment, head.records).root != head.root:
            raise SegmentDamaged(place=head.segment, problem=f"its first {head.records} records no longer have the sealed root")

    def _locate(self, receipt: str) -> tuple[Path, int]:
        gateway, epoch, seq = parse_receipt_id(receipt)
        if not gateway.isalnum():
            raise ReceiptNotFound(name=receipt)
        files = sorted((self.folder / gateway).glob(f"{epoch:013d}-*{SUFFIX}"), key=place_of)
        headers = [self._header(path) for path in files]
        for place, path in enumerate(files):
            beyond = headers[place + 1].next if place + 1 < len(files) else seq + 1
            if headers[place].low <= seq < beyond:
                index = self._scan(path)[1].get(seq)
                if index is not None:
                    return path, index
        raise ReceiptNotFound(name=receipt)

    def _header(self, path: Path) -> Header:
        known = self._headers.get(path)
        if known is None:
            with path.open("rb") as file:
                known = self._headers[path] = Header.parse(file.read(HEADER_BYTES), path.name)
        return known

    def _scan(self, path: Path) -> tuple[Scan, dict[int, int]]:
        size = path.stat().st_size
        known = self._scans.get(path)
        if known is None or known[0] != size:
            found = scan(path)
            if len(self._scans) >= 8:  # bounds memory: a full segment's table takes a few MB
                self._scans.pop(next(iter(self._scans)))
            known = self._scans[path] = (size, found, {each.seq: index for index, each in enumerate(found.frames)})
        return known[1], known[2]


def _tree(frames: tuple[Frame, ...]) -> log.MemoryNodes:
    nodes = log.MemoryNodes()
    for index, each in enumerate(frames):
        log.append(nodes, index, log.leaf_hash(each.record))
    return nodes
