"""Files cut into parts of bounded size. Where a cut falls depends on a file's bytes alone, so a part can be known again by its digest."""

from __future__ import annotations

import bz2
import gzip
import hashlib
import io
import json
import lzma
import os
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from lilong.floors.corpus.curation.formats import MAX_FILE
from lilong.floors.corpus.curation.reading import inputs, warc
from lilong.floors.corpus.curation.reading.inputs import File

PART_BYTES = 8 << 20
"""Unpacked bytes of a part, roughly."""
MAX_RECORD = 64 << 20
"""Bytes; a longer line or record is no document."""
MAX_CONVERTED = 256 << 20
_READ = 1 << 18
_PACKED = 4  # how many times smaller packed text is, roughly; only how progress is told depends on it
_PARQUET_ROWS = 2_048
_MUCH = 1 << 60  # bytes, where nobody knows how many
_CLOSED = {
    inputs.LOCKED: ("is a folder that may not be read", "unreadable"),
    inputs.DEAD_LINK: ("is a link that leads nowhere", "unreadable"),
    inputs.FOLDER_LINK: ("is a link to a folder, which is not followed: give the folder as an input", "link"),
    inputs.DEVICE: ("is a pipe, a socket or a device", "unknown-format"),
}
_DAMAGE = (zlib.error, EOFError, OSError, lzma.LZMAError, ValueError)


@dataclass(frozen=True, slots=True)
class Problem:
    """What could not be read, and why. `lost`: the rest of a whole file is missing, not one record of it; `skipped`: it is no document.
    `reason` is the same word for all problems of a kind."""

    source: str
    uri: str
    problem: str
    lost: bool = False
    skipped: bool = False
    reason: str = "unreadable"


@dataclass(frozen=True, slots=True)
class Part:
    """Some of a file: whole lines of JSON, whole WARC records, rows of a Parquet file as an Arrow stream, or all of a file.
    `first` is the number of its first record. Licence and time are those of records that do not say their own. `place`: the file and the
    byte where the data stand as they are, and when the file was changed last; a process that is sent the part reads them there. `changed`: the
    file is not what it was."""

    kind: str
    source: str
    uri: str
    first: int
    data: bytes
    licence: str | None = None
    retrieved_at: str | None = None
    place: tuple[str, int, int] | None = None
    changed: bool = False

    def __getstate__(self) -> list[Any]:
        values = {name: getattr(self, name) for name in self.__slots__}
        return list((values | {"data": len(self.data)} if self.place else values).values())

    def __setstate__(self, state: Sequence[Any]) -> None:
        values = dict(zip(self.__slots__, state, strict=True))
        if values["place"]:
            path, start, changed_at = values["place"]
            values["data"], values["changed"] = _still_there(path, start, values["data"], changed_at)
        for name, value in values.items():
            object.__setattr__(self, name, value)


def _still_there(path: str, start: int, size: int, changed_at: int) -> tuple[bytes, bool]:
    try:
        with Path(path).open("rb") as file:
            file.seek(start)
            return file.read(size), os.fstat(file.fileno()).st_mtime_ns != changed_at
    except OSError:
        return b"", True


@dataclass(slots=True)
class Batch:
    """Parts that are measured together. `key` is the digest of their names and contents; `read`: bytes of the input files behind them."""

    parts: list[Part] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    read: int = 0

    def key(self) -> str:
        digest = hashlib.sha256()
        for part in self.parts:
            head = f"{part.kind}\0{part.source}\0{part.uri}\0{part.first}\0{part.licence}\0{part.retrieved_at}\0{len(part.data)}\0"
            digest.update(head.encode())
            digest.update(part.data)
        for problem in self.problems:
            digest.update(repr(problem).encode())
        return digest.hexdigest()


@runtime_checkable
class Reading(Protocol):
    """What a run reads."""

    @property
    def size(self) -> int:
        """Bytes, for telling how far a run is."""

    def identity(self) -> dict[str, Any]:
        """What tells it from any other: a JSON object. Equal where the batches are."""

    def batches(self) -> Iterator[Batch]:
        """The same ones each time, in the same order."""


@dataclass(frozen=True, slots=True)
class LocalFiles:
    """Files, in the order of their names."""

    files: Sequence[File]

    @property
    def size(self) -> int:
        return sum(file.size for file in self.files)

    def identity(self) -> dict[str, Any]:
        listed = json.dumps(sorted((file.source, file.uri, file.size) for file in self.files), ensure_ascii=False)
        return {"files": len(self.files), "bytes": self.size, "digest": f"sha256:{hashlib.sha256(listed.encode()).hexdigest()}"}

    def batches(self) -> Iterator[Batch]:
        return batched(self._pieces(), self.size)

    def _pieces(self) -> Iterator[Piece]:
        for file in self.files:
            left = file.size
            for one in cut(file):
                read = 0 if isinstance(one, Problem) else min(left, len(one.data) // (_PACKED if file.packed else 1))
                left -= read
                yield one, read
            yield None, left


Piece = tuple[Part | Problem | None, int]
"""Some of what is read, and how many bytes of the inputs lie behind it."""


def _enough(left: int) -> int:
    """Bytes of a part, or of a batch, where so many are still to come: fewer at the end, so that workers end together."""
    return PART_BYTES if left > 2 * PART_BYTES else PART_BYTES // 4


def batched(pieces: Iterable[Piece], total: int) -> Iterator[Batch]:
    """Batches of about PART_BYTES of inputs of `total` bytes. Big files are parted; small ones share a batch, in the order given."""
    batch, size = Batch(), 0
    for piece, read in pieces:
        total -= read
        if isinstance(piece, Problem):
            batch.problems.append(piece)
        elif piece is not None:
            if batch.parts and size + len(piece.data) > _enough(total):
                yield batch
                batch, size = Batch(), 0
            batch.parts.append(piece)
            size += len(piece.data)
        batch.read += read
    if batch.parts or batch.problems:
        yield batch


def cut(file: File) -> Iterator[Part | Problem]:
    """The parts of one file, in order. Damage is a Problem that is `lost`; what came before it is still a part."""
    if not file.kind:
        yield Problem(file.source, file.uri, "is in no format that is known here", skipped=True, reason="unknown-format")
        return
    if file.kind in _CLOSED:
        problem, reason = _CLOSED[file.kind]
        lost = reason == "unreadable"
        yield Problem(file.source, file.uri, problem, lost=lost, skipped=not lost, reason=reason)
        return
    if not file.size and inputs.packing(file.uri):
        yield Problem(file.source, file.uri, "is empty, as no packed file is", lost=True)
        return
    try:
        yield from _CUT[file.kind](file)
    except _DAMAGE as damage:
        yield Problem(file.source, file.uri, f"cannot be read on: {_said(damage)}", lost=True)


def _said(damage: Exception) -> str:
    return " ".join(str(damage).split())[:200] or type(damage).__name__


def _whole(file: File) -> Iterator[Part | Problem]:
    most = MAX_CONVERTED if file.kind == "converted" else MAX_FILE
    if file.size > most:
        yield Problem(file.source, file.uri, f"has {file.size} bytes, more than {most}", skipped=True, reason="too-large")
        return
    yield Part(file.kind, file.source, file.uri, 0, file.path.read_bytes())


def _lines(file: File) -> Iterator[Part | Problem]:
    """Whole lines, `_enough` at a time."""
    number, read, too_long = 0, 0, False
    held = bytearray()

    changed_at = file.path.stat().st_mtime_ns

    def part(end: int) -> Part:
        place = None if file.packed else (str(file.path), read - len(held), changed_at)
        return Part("jsonl", file.source, file.uri, number, bytes(held[:end]), place=place)

    for block, damage in _unpacked(file):
        held += block
        read += len(block)
        if too_long:  # the rest of a line that was given up
            found = held.find(b"\n") + 1
            del held[: found or len(held)]
            too_long, number = not found, number + bool(found)
        end = held.rfind(b"\n") + 1
        if end and (len(held) >= _enough(file.size - read if not file.packed else _MUCH) or len(held) - end > MAX_RECORD or damage):
            yield part(end)
            number += held.count(b"\n", 0, end)
            del held[:end]
        if len(held) > MAX_RECORD and b"\n" not in held:
            yield Problem(file.source, f"{file.uri}#{number + 1}", f"is a line of more than {MAX_RECORD} bytes")
            held.clear()
            too_long = True
        if damage:
            yield Problem(file.source, file.uri, f"cannot be read on: {_said(damage)}", lost=True)
            return
    if held and not too_long:
        yield part(len(held))


def _warc(file: File) -> Iterator[Part | Problem]:
    number = 0
    held = bytearray()
    skip = 0
    for block, damage in _unpacked(file):
        taken = min(skip, len(block))
        skip -= taken
        held += block[taken:]
        if len(held) < PART_BYTES and not damage:
            continue
        count, end = warc.whole_records(held)
        if count:
            yield Part("warc", file.source, file.uri, number, bytes(held[:end]))
            number += count
            del held[:end]
        elif not damage and (size := warc.record_size(held)) > MAX_RECORD:
            yield Problem(file.source, f"{file.uri}#{number + 1}", f"is a record of {size} bytes")
            number, skip = number + 1, max(0, size - len(held))
            held.clear()
        if damage:
            yield Problem(file.source, file.uri, f"cannot be read on: {_said(damage)}", lost=True)
            return
    count, end = warc.whole_records(held)
    if count:
        yield Part("warc", file.source, file.uri, number, bytes(held[:end]))
    if held[end:].strip():
        yield Problem(file.source, f"{file.uri}#{number + count + 1}", "ends in the middle of a record", lost=True)


def _parquet(file: File) -> Iterator[Part | Problem]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    from lilong.floors.corpus.curation.reading.records import WANTED

    try:
        opened = pq.ParquetFile(file.path)
    except (pa.ArrowException, OSError) as damage:
        yield Problem(file.source, file.uri, f"is no Parquet file: {_said(damage)}", lost=True)
        return
    columns = [name for name in opened.schema_arrow.names if name in WANTED]
    first = 0
    for group in range(opened.num_row_groups):
        rows, start = opened.metadata.row_group(group).num_rows, first
        try:
            for batch in opened.iter_batches(_PARQUET_ROWS, row_groups=[group], columns=columns, use_threads=False):
                sink = io.BytesIO()
                with pa.ipc.new_stream(sink, batch.schema) as stream:
                    stream.write_batch(batch)
                yield Part("parquet", file.source, file.uri, start, sink.getvalue())
                start += batch.num_rows
        except (pa.ArrowException, OSError) as damage:
            yield Problem(
                file.source, f"{file.uri}#{start + 1}-{first + rows}", f"row group {group} cannot be read: {_said(damage)}", lost=True
            )
        first += rows


def _unpacked(file: File) -> Iterator[tuple[bytes, Exception | None]]:
    """Blocks of the file as it was before packing. Damage comes with the last block, so that what was read before it is not lost."""
    try:
        with _opened(file) as stream:
            while block := stream.read1(_READ) if hasattr(stream, "read1") else stream.read(_READ):
                yield block, None
    except _DAMAGE as damage:
        yield b"", damage


def _opened(file: File) -> Any:
    opener = _OPENERS.get(inputs.packing(file.uri))
    return opener(str(file.path)) if opener else file.path.open("rb")


def _zstd(path: str) -> Any:
    import pyarrow as pa

    return pa.CompressedInputStream(pa.OSFile(path), "zstd")


_OPENERS: dict[str, Callable[[str], Any]] = {".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open, ".zst": _zstd}
_CUT = {"jsonl": _lines, "warc": _warc, "parquet": _parquet, "text": _whole, "epub": _whole, "converted": _whole}
