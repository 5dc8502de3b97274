"""What a program leaves in its folders, which are hostile ground: no link followed, no recursion that depth could break."""

from __future__ import annotations

import contextlib
import os

_SINGLE_SYNCS = 200  # more files than this are quicker to force to the disk all at once


def make_durable(folder: str) -> None:
    """Force what a job left to the disk: after a power cut, the word that it succeeded must not outlive its results."""
    found: list[str] = []
    waiting = [folder]
    while waiting and len(found) < _SINGLE_SYNCS:
        at = waiting.pop()
        found.append(at)
        with contextlib.suppress(OSError), os.scandir(at) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    waiting.append(entry.path)
                elif entry.is_file(follow_symlinks=False):
                    found.append(entry.path)
    if len(found) == 1:
        return  # nothing was left
    if len(found) >= _SINGLE_SYNCS:
        os.sync()
        return
    for path in found:
        with contextlib.suppress(OSError):
            _sync(path)


def _sync(path: str) -> None:
    handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def bytes_in(folder: str) -> int:
    """Bytes on disk beneath a folder."""
    total = 0
    waiting = [folder]
    while waiting:
        with contextlib.suppress(OSError), os.scandir(waiting.pop()) as entries:
            for entry in entries:
                with contextlib.suppress(OSError):
                    total += entry.stat(follow_symlinks=False).st_blocks * 512
                    if entry.is_dir(follow_symlinks=False):
                        waiting.append(entry.path)
    return total
