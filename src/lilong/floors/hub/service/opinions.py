"""A second opinion on what the allow-list took: a scanner for known bad pickles, where it is installed."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import logging
from typing import Any, BinaryIO

_LIMIT = 64 << 20  # bytes; it reads values into memory


def of_picklescan(file: BinaryIO, size: int) -> dict[str, Any] | None:
    """How many issues picklescan finds; None where it is not installed or cannot say."""
    if size > _LIMIT or importlib.util.find_spec("picklescan") is None:
        return None
    from picklescan import scanner  # type: ignore[import-untyped]

    logging.getLogger("picklescan").setLevel(logging.CRITICAL)  # it writes names from the file into our log otherwise
    file.seek(0)
    try:
        result = scanner.scan_bytes(file, "file", ".bin")
    except Exception:  # whatever a foreign scanner stumbles over: the allow-list has judged already
        return None
    return {"scanner": f"picklescan {importlib.metadata.version('picklescan')}", "issues": int(result.issues_count)}
