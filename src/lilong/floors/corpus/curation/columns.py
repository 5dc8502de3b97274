"""Documents as Arrow buffers, the one shape that kernels take: a run of bytes and the offsets between documents."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

Bytes = npt.NDArray[np.uint8]
Offsets = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Texts:
    """UTF-8 of n documents: document i is data[offsets[i]:offsets[i + 1]]; offsets has n + 1 entries."""

    data: Bytes
    offsets: Offsets

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @classmethod
    def of(cls, documents: Sequence[bytes]) -> Texts:
        offsets = np.zeros(len(documents) + 1, np.int64)
        np.cumsum([len(document) for document in documents], out=offsets[1:])
        return cls(np.frombuffer(b"".join(documents), np.uint8), offsets)

    @classmethod
    def of_arrow(cls, column: pa.Array | pa.ChunkedArray) -> Texts:
        """From a column of strings or binaries without nulls; the bytes of a single chunk are shared, not copied."""
        whole = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
        large: Any = whole.cast(pa.large_binary())
        _, offsets, data = large.buffers()
        bounds = np.frombuffer(offsets, np.int64)[large.offset : large.offset + len(large) + 1]
        return cls(np.frombuffer(data, np.uint8) if data else np.zeros(0, np.uint8), bounds)

    def batches(self, size: int) -> Iterator[tuple[int, int]]:
        """Ranges of documents of about `size` bytes each, so that what kernels need in memory is bounded."""
        start = 0
        while start < len(self):
            end = int(np.searchsorted(self.offsets, self.offsets[start] + size, side="right")) - 1
            end = min(max(end, start + 1), len(self))
            yield start, end
            start = end
