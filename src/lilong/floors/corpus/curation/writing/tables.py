"""Parquet files whose bytes depend on their rows alone, not on the pieces in which the rows came."""

from __future__ import annotations

import os
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

ROWS = 16_384
"""Rows of a row group; the last one may be shorter."""
GROUP_BYTES = 32 << 20
"""Bytes of the `sized` column from which on a row group is full before it has all its rows."""


class TableFile:
    """A Parquet file that is written piece by piece, in memory that does not grow, and synced when it is closed.

    With `sized`, a column of texts, row groups end early where the texts are long: from `group` bytes on.
    """

    def __init__(self, path: Path, sized: str | None = None, group: int = GROUP_BYTES) -> None:
        self._path = path
        self._group = group
        self._sized = sized
        self._writer: Any = None
        self._held: list[pa.Table] = []
        self._rows = self._bytes = 0

    def __enter__(self) -> TableFile:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        if kind is None:
            self.close()
        elif self._writer is not None:
            self._writer.close()

    def close(self) -> None:
        """Write what is held, and sync the file."""
        self._flush()
        if self._writer is not None:
            self._writer.close()
            handle = os.open(self._path, os.O_RDONLY)
            try:
                os.fsync(handle)
            finally:
                os.close(handle)

    def write(self, table: pa.Table) -> None:
        if self._writer is None:
            self._writer = pq.ParquetWriter(self._path, table.schema, compression="zstd", compression_level=3, write_page_index=True)
        while table.num_rows:
            take = min(table.num_rows, ROWS - self._rows)
            if self._sized:
                sizes = np.cumsum(pc.binary_length(table.column(self._sized).slice(0, take)).to_numpy().astype(np.int64)) + self._bytes
                take = min(take, int(np.searchsorted(sizes, self._group)) + 1)
                self._bytes = int(sizes[take - 1])
            self._held.append(table.slice(0, take))
            self._rows += take
            table = table.slice(take)
            if self._rows == ROWS or self._bytes >= self._group:
                self._flush()

    def _flush(self) -> None:
        if self._held:
            whole = pa.concat_tables(self._held).combine_chunks()
            self._writer.write_table(whole, row_group_size=max(1, whole.num_rows))
        self._held, self._rows, self._bytes = [], 0, 0
