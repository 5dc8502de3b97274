"""Whether a repository takes a file: the one check that every way in goes through."""

from __future__ import annotations

from typing import BinaryIO

from lilong.floors.hub.contract import Kind
from lilong.ground import intake

from . import files, pickles


def check(kind: Kind, path: str, file: BinaryIO, size: int) -> None:
    """By name and content; the file is back at its beginning. A dataset takes everything. Raises UnsafeFile."""
    files.check_name(kind, path)
    if kind is not Kind.MODEL:
        return
    start = file.read(files.SNIFFED)
    file.seek(0)
    if files.is_weights(path):
        intake.check_model_file(path, file, size)
    elif files.is_pickle(path, start):
        pickles.check(path, file, size)
    else:
        files.check_start(kind, path, start, size)
    file.seek(0)


def check_sample(kind: Kind, path: str, start: bytes, size: int) -> None:
    """By name and first bytes, before the rest is sent: what is refused here would be refused anyway. Raises UnsafeFile."""
    files.check_name(kind, path)
    if not files.is_pickle(path, start):
        files.check_start(kind, path, start, size)
