"""The in-flight ledger: a shared memory-mapped file in which every open request has a slot.

A store into the mapping reaches the kernel's page cache at once, so it survives `kill -9` of the process (not a power cut) and
costs no system call. Each slot is 64 bytes of counters, written as tokens go out, and a page of detail written once when the
request is admitted.
"""

from __future__ import annotations

import errno
import mmap
import os
import struct
from dataclasses import dataclass
from pathlib import Path

from lilong.floors.serving.contract import MeterFull, SegmentDamaged
from lilong.floors.serving.gateway import segments

MAGIC = b"LLLEDG1\n"
HEADER = struct.Struct("<8s16sQI")  # magic, gateway, epoch, slots
HEADER_BYTES = 4096
SLOT = struct.Struct("<IIIIQdI")  # live, delivered, prompt, detail length, seq, started (s since 1970), 0
SLOT_BYTES = 64
SLOT_WORDS = SLOT_BYTES // 4
DETAIL_BYTES = 960
LIVE, DELIVERED, PROMPT, LENGTH = range(4)  # 32-bit words of a slot


@dataclass(frozen=True, slots=True)
class OpenRequest:
    """A slot that was live when its gateway died."""

    seq: int
    started: float
    delivered: int
    prompt: int
    detail: bytes


class Ledger:
    """Not for several threads. Word stores are aligned, so a kill never leaves half a number."""

    def __init__(self, path: Path, gateway: str, epoch: int, slots: int) -> None:
        """A fresh ledger in place of the one at `path`. Raises MeterFull where the disk has no room for it."""
        size = HEADER_BYTES + slots * (SLOT_BYTES + DETAIL_BYTES)
        fresh = path.with_name(path.name + ".new")
        handle = os.open(fresh, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600)
        try:
            segments.reserve(handle, 0, size)  # a later store must never find the disk full (SIGBUS)
            os.pwrite(handle, HEADER.pack(MAGIC, gateway.encode(), epoch, slots), 0)
            os.fsync(handle)
            self._map = mmap.mmap(handle, size, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE)
            fresh.replace(path)
        except OSError as e:
            fresh.unlink(missing_ok=True)
            if e.errno in (errno.ENOSPC, errno.EDQUOT):
                raise MeterFull(problem="the disk is full") from e
            raise
        finally:
            os.close(handle)
        self.words = memoryview(self._map)[HEADER_BYTES : HEADER_BYTES + slots * SLOT_BYTES].cast("I")
        self._details = HEADER_BYTES + slots * SLOT_BYTES
        self._free = list(range(slots - 1, -1, -1))
        self.open = 0

    def take(self, seq: int, started: float, detail: bytes) -> int:
        """A slot for a request just admitted: the word number of its first word. Raises MeterFull."""
        if not self._free:
            raise MeterFull(problem="every slot of the in-flight ledger is taken")
        if len(detail) > DETAIL_BYTES:
            raise MeterFull(problem=f"a request's detail takes {len(detail)} bytes and a slot has {DETAIL_BYTES}")
        slot = self._free.pop()
        at = self._details + slot * DETAIL_BYTES
        self._map[at : at + len(detail)] = detail
        SLOT.pack_into(self._map, HEADER_BYTES + slot * SLOT_BYTES, 0, 0, 0, len(detail), seq, started, 0)
        word = slot * SLOT_WORDS
        self.words[word + LIVE] = 1  # last: a slot is live only when all else in it is true
        self.open += 1
        return word

    def release(self, word: int) -> None:
        self.words[word + LIVE] = 0
        self._free.append(word // SLOT_WORDS)
        self.open -= 1

    def close(self) -> None:
        self.words.release()
        self._map.close()


def read(path: Path) -> tuple[str, int, list[OpenRequest]]:
    """(gateway, epoch, live slots) of a ledger that nobody writes any more. Raises SegmentDamaged."""
    data = path.read_bytes()
    if len(data) < HEADER_BYTES or not data.startswith(MAGIC):
        raise SegmentDamaged(place=path.name, problem="it does not begin as a ledger does")
    _, gateway, epoch, slots = HEADER.unpack_from(data)
    if len(data) != HEADER_BYTES + slots * (SLOT_BYTES + DETAIL_BYTES):
        raise SegmentDamaged(place=path.name, problem="it has another size than its header says")
    found = []
    for slot in range(slots):
        live, delivered, prompt, length, seq, started, _ = SLOT.unpack_from(data, HEADER_BYTES + slot * SLOT_BYTES)
        if live:
            at = HEADER_BYTES + slots * SLOT_BYTES + slot * DETAIL_BYTES
            found.append(OpenRequest(seq, started, delivered, prompt, data[at : at + length]))
    return gateway.rstrip(b"\0").decode(), epoch, found
