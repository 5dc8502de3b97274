"""How a process that is a run's alone uses its memory and loads what it needs. It is asked before all else is imported."""

from __future__ import annotations

import ctypes
import gc
import os
import sys
from typing import Any

_TRIM_THRESHOLD, _MMAP_THRESHOLD, _ARENA_MAX = -1, -3, -8  # of mallopt(3)


class _NoPandas:
    """A finder of modules that finds none, and no pandas."""

    def find_spec(self, name: str, *_: object) -> None:
        if name == "pandas":
            raise ModuleNotFoundError("not looked for", name=name)


def start() -> None:
    """Load all that is needed sooner, and use memory again that was freed.

    At its first list pyarrow imports pandas, at 0.2 s, to see whether it is given one of its columns: here it finds none, but looks again where
    it is asked for a DataFrame outright. And what is loaded stays, so to search it for garbage again and again would be 0.1 s for nothing.
    """
    gc.set_threshold(100_000, 20, 20)
    _keep_memory()
    import pyarrow as pa

    none: Any = _NoPandas()
    if "pandas" not in sys.modules:
        sys.meta_path.insert(0, none)
        try:
            pa.array([None])
        finally:
            sys.meta_path.remove(none)


def _keep_memory() -> None:
    """Pages that go back to the system come again zeroed: a tenth of the time of a batch, and a third of that of the tables. All threads use
    the same ones, else each would keep as many as it ever had."""
    os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")  # read when pyarrow is imported
    keep = getattr(ctypes.CDLL(None), "mallopt", None)  # GNU's alone
    if keep:
        keep(_MMAP_THRESHOLD, 1 << 30)
        keep(_TRIM_THRESHOLD, 1 << 30)
        keep(_ARENA_MAX, 1)
