"""Parquet files of which columns and row groups are read when they are asked for, and small columns are kept for the next question."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

T = TypeVar("T")
Keys = npt.NDArray[np.uint64]
Rows = npt.NDArray[np.int64]
KEPT_BYTES = 256 << 20
"""Of columns that are kept in memory for the next question, over all versions."""
DIGITS = 16
"""Hexadecimal digits of an id that its key holds; 64 bits of a sha256 are enough to find it by, and the id itself is compared then."""


class Kept:
    """What was worked out of files, the least recently used going first. A file is known by its path, size and time: blobs never change."""

    def __init__(self, most: int = KEPT_BYTES) -> None:
        self._most = most
        self._held: OrderedDict[tuple[Any, ...], tuple[Any, int]] = OrderedDict()
        self._bytes = 0
        self._lock = threading.Lock()

    def get(self, key: tuple[Any, ...], make: Callable[[], tuple[T, int]]) -> T:
        """`make` gives the value and how many bytes it takes; two may make the same thing at once, which does no harm."""
        with self._lock:
            if key in self._held:
                self._held.move_to_end(key)
                found: T = self._held[key][0]
                return found
        value, size = make()
        with self._lock:
            if key not in self._held:
                self._held[key] = (value, size)
                self._bytes += size
            while self._bytes > self._most and len(self._held) > 1:
                self._bytes -= self._held.popitem(last=False)[1][1]
        return value


KEPT = Kept()


@dataclass(frozen=True)
class Coded:
    """A column of few different texts: per row the number of its text."""

    codes: npt.NDArray[np.int32]
    names: list[str]

    def number(self, name: str) -> int:
        """-1 where no row has it."""
        return self.names.index(name) if name in self.names else -1


@dataclass(frozen=True)
class Table:
    """One Parquet file."""

    path: Path

    @cached_property
    def key(self) -> tuple[Any, ...]:
        facts = self.path.stat()
        return (str(self.path), facts.st_size, facts.st_mtime_ns)

    @cached_property
    def metadata(self) -> pq.FileMetaData:
        return pq.read_metadata(self.path)

    @cached_property
    def names(self) -> tuple[str, ...]:
        return tuple(self.metadata.schema.to_arrow_schema().names)

    @property
    def rows(self) -> int:
        return int(self.metadata.num_rows)

    @cached_property
    def starts(self) -> Rows:
        """The first row of each row group, and the number of rows."""
        sizes = [self.metadata.row_group(group).num_rows for group in range(self.metadata.num_row_groups)]
        return np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)

    def group(self, number: int, columns: Sequence[str]) -> pa.Table:
        """The rows of one row group."""
        with pq.ParquetFile(self.path) as file:
            return file.read_row_group(number, columns=list(columns), use_threads=False)

    def bytes_of(self, number: int, column: str) -> int:
        """Bytes that a column of a row group takes once it is unpacked."""
        at = self.names.index(column)
        return int(self.metadata.row_group(number).column(at).total_uncompressed_size)

    def column(self, name: str) -> pa.ChunkedArray:
        """A whole column, as it is and not kept."""
        return pq.read_table(self.path, columns=[name], use_threads=False).column(name)

    def numbers(self, name: str) -> npt.NDArray[np.float64]:
        """A column of numbers, NaN for those that are missing."""

        def make() -> tuple[npt.NDArray[np.float64], int]:
            found = self.column(name).cast(pa.float64(), safe=False).to_numpy().astype(np.float64, copy=False)
            return found, found.nbytes

        return KEPT.get((*self.key, "numbers", name), make)

    def coded(self, name: str) -> Coded:
        def make() -> tuple[Coded, int]:
            with pq.ParquetFile(self.path, read_dictionary=[name]) as file:
                column = file.read(columns=[name], use_threads=False).column(name).unify_dictionaries().combine_chunks()
            if isinstance(column, pa.ChunkedArray):
                column = column.chunk(0) if column.num_chunks else pa.array([], pa.string()).dictionary_encode()
            if not isinstance(column, pa.DictionaryArray):
                column = column.dictionary_encode()
            names = [str(word) for word in column.dictionary.to_pylist()]
            codes = column.indices.fill_null(len(names)).to_numpy(zero_copy_only=False).astype(np.int32, copy=False)
            return Coded(codes, [*names, ""] if len(codes) and int(codes.max()) == len(names) else names), codes.nbytes

        return KEPT.get((*self.key, "coded", name), make)

    def keys(self, name: str = "id") -> Keys:
        """The first 64 bits of each id in a column."""

        def make() -> tuple[Keys, int]:
            with pq.ParquetFile(self.path) as file:
                parts = [key_column(batch.column(0)) for batch in file.iter_batches(1 << 16, columns=[name], use_threads=False)]
            found = np.concatenate(parts) if parts else np.zeros(0, np.uint64)
            return found, found.nbytes

        return KEPT.get((*self.key, "keys", name), make)

    def take(self, rows: Rows, columns: Sequence[str], most_bytes: int = 1 << 62, sized: str = "") -> Iterator[tuple[int, dict[str, Any]]]:
        """(row, its values) of these rows, sorted. Only row groups that hold one are read, and of these no more than `most_bytes` of the
        column `sized`: rows beyond are left out."""
        spent = 0
        groups = np.searchsorted(self.starts, rows, "right") - 1
        for number in np.unique(groups).tolist():
            if sized:
                spent += self.bytes_of(number, sized)
                if spent > most_bytes and spent > self.bytes_of(number, sized):
                    return
            wanted = rows[groups == number]
            part = self.group(number, columns).take(pa.array(wanted - self.starts[number]))
            yield from zip(wanted.tolist(), part.to_pylist(), strict=True)

    def find(self, identity: str, name: str = "id") -> Rows:
        """The rows with this id in a column, a few at most."""
        near = np.flatnonzero(self.keys(name) == key_of(identity))
        return np.array([row for row, values in self.take(near, [name]) if values[name] == identity], np.int64)


_VALUES = np.full(256, 255, np.uint8)
_VALUES[np.frombuffer(b"0123456789abcdef", np.uint8)] = np.arange(16)


def key_column(ids: pa.Array) -> Keys:
    """The first 64 bits of ids of 64 hexadecimal digits; all ones where there is no id."""
    if ids.null_count:
        found = np.full(len(ids), np.iinfo(np.uint64).max)
        found[ids.is_valid().to_numpy(zero_copy_only=False)] = key_column(ids.drop_null())
        return found
    if not len(ids):
        return np.zeros(0, np.uint64)
    if ids.type != pa.string():
        ids = ids.cast(pa.string())
    offsets = np.frombuffer(ids.buffers()[1], np.int32)[ids.offset : ids.offset + len(ids) + 1]
    letters = np.frombuffer(ids.buffers()[2], np.uint8)
    if (np.diff(offsets) < DIGITS).any():
        return np.array([key_of(one) for one in ids.to_pylist()], np.uint64)
    if offsets[-1] - offsets[0] == 64 * len(ids):
        digits = _VALUES[letters[offsets[0] : offsets[-1]].reshape(-1, 64)[:, :DIGITS]]
    else:
        digits = _VALUES[letters[offsets[:-1, None] + np.arange(DIGITS)]]
    pairs = (digits[:, 0::2] << 4) | (digits[:, 1::2] & 15)
    return np.ascontiguousarray(pairs).view(">u8").astype(np.uint64).ravel()


def key_of(identity: str) -> np.uint64:
    """The key of one id, or of the beginning of one, filled with zeros; of a text that is no id, 0."""
    start = identity[:DIGITS].ljust(DIGITS, "0")
    return np.uint64(int(start, 16)) if set(start) <= set("0123456789abcdef") else np.uint64(0)
