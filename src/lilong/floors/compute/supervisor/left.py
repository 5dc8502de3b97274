"""What a program leaves in its folders, which are hostile ground: no link followed, no recursion that depth could break."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence

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


def too_much(folders: Sequence[str], limit: int) -> str | None:
    """Why a program may not go on writing into its folders: it wrote more than `limit` bytes, or more than it has left free on their disk.

    So its results can be kept, which are copies, and whatever several programs write, there is room for the house and the others.
    """
    size, files = 0, 0
    for folder in folders:
        more, many = _held(folder)
        size, files = size + more, files + many
    if size > limit:
        return f"it wrote {size >> 20} MiB into its folders, where {limit >> 20} MiB are allowed"
    for folder in folders:
        with contextlib.suppress(OSError):
            disk = os.statvfs(folder)
            free = disk.f_bavail * disk.f_frsize
            if size > free:
                return f"it wrote {size >> 20} MiB into its folders, and left {free >> 20} MiB free on their disk"
            if disk.f_files and files > disk.f_favail:  # file systems that count no files tell 0
                return f"it made {files:,} files in its folders, and left room for {disk.f_favail:,} on their disk"
    return None


def _held(folder: str) -> tuple[int, int]:
    """Bytes on disk beneath a folder, and the number of files and folders."""
    size, files = 0, 0
    waiting = [folder]
    while waiting:
        with contextlib.suppress(OSError), os.scandir(waiting.pop()) as entries:
            for entry in entries:
                with contextlib.suppress(OSError):
                    size += entry.stat(follow_symlinks=False).st_blocks * 512
                    files += 1
                    if entry.is_dir(follow_symlinks=False):
                        waiting.append(entry.path)
    return size, files
