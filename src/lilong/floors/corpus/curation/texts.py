"""Texts as two flat arrays, the form in which every kernel takes them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True, slots=True)
class Texts:
    """n texts: text i is `data[offsets[i]:offsets[i + 1]]`, valid UTF-8. `data` may hold bytes before the first and after the last."""

    data: npt.NDArray[np.uint8]
    offsets: npt.NDArray[np.int64]

    @classmethod
    def of(cls, column: pa.Array | pa.ChunkedArray | Sequence[str]) -> Texts:
        """The texts of an Arrow string column or of Python strings. A null is an empty text.

        One large_string array without nulls shares its buffers; a string array shares its bytes; anything else is copied once.
        """
        import pyarrow as pa

        if not isinstance(column, pa.Array | pa.ChunkedArray):
            column = pa.array(column, pa.large_string())
        array = _one_array(column)
        offset_type = np.int64 if pa.types.is_large_string(array.type) else np.int32
        _, offsets, data = array.buffers()
        if len(array) == 0 or offsets is None:
            return cls(np.empty(0, np.uint8), np.zeros(len(array) + 1, np.int64))
        bounds = np.frombuffer(offsets, offset_type, len(array) + 1, array.offset * np.dtype(offset_type).itemsize)
        return cls(np.frombuffer(data, np.uint8) if data is not None else np.empty(0, np.uint8), bounds.astype(np.int64, copy=False))

    def column(self) -> pa.Array:
        """These texts as one Arrow large_string array over the same buffers."""
        import pyarrow as pa

        buffers = [None, pa.py_buffer(np.ascontiguousarray(self.offsets)), pa.py_buffer(np.ascontiguousarray(self.data))]
        return pa.Array.from_buffers(pa.large_string(), len(self), buffers)

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, index: int) -> str:
        return bytes(self.data[self.offsets[index] : self.offsets[index + 1]]).decode()

    def __iter__(self) -> Iterator[str]:
        return (self[index] for index in range(len(self)))

    @property
    def bytes(self) -> int:
        """Bytes in all texts together."""
        return int(self.offsets[-1] - self.offsets[0])


def _one_array(column: Any) -> Any:
    import pyarrow as pa
    import pyarrow.compute as pc

    if isinstance(column, pa.ChunkedArray):
        column = column.chunk(0) if column.num_chunks == 1 else column.cast(pa.large_string()).combine_chunks()
    if not (pa.types.is_string(column.type) or pa.types.is_large_string(column.type)):
        column = column.cast(pa.large_string())
    return pc.fill_null(column, "") if column.null_count else column
