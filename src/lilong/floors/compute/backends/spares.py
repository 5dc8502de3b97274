"""Emptied folders of attempts that are over, for attempts to come: a short job makes and removes as little on the disk as can be.

To make a folder and a file costs more than to move one, and much more where many were removed a moment ago: ext4 without a journal gives no
inode out again for a minute, and each new file looks through all that wait (`recently_deleted`, fs/ext4/ialloc.c). Only for a site without
walls between programs: a process that had outlived its attempt may have such a folder open.
"""

from __future__ import annotations

import contextlib
import os
import stat
import threading
from collections import deque
from pathlib import Path

SPEC = "spec.json"
_KINDS = {"in": [SPEC], "out": [], "tmp": []}
"""Names of an attempt's folders, and what one of that name holds while it waits."""
_MANY = 256  # of each kind


class Spares:
    """Safe for many threads. What waits at a crash is found again."""

    def __init__(self, shelf: Path) -> None:
        self._shelf = shelf
        shelf.mkdir(mode=0o700, exist_ok=True)
        self._waiting: dict[str, deque[Path]] = {kind: deque() for kind in _KINDS}
        self._guard = threading.Lock()
        for path in shelf.iterdir():
            self._waiting.get(path.name.partition(".")[0], deque()).append(path)

    def take(self, to: Path) -> bool:
        """Put a folder where none is, of the kind that `to` is called; False if there is none."""
        waiting = self._waiting[to.name]
        while True:
            with self._guard:
                if not waiting:
                    return False
                found = waiting.popleft()
            with contextlib.suppress(FileNotFoundError):  # another process on these folders has taken it
                found.rename(to)
                return True

    def give(self, path: Path, token: str) -> bool:
        """Take an attempt's folder back, if it is as it was made but for what is in its spec; False, and it is the caller's to remove."""
        kind = path.name
        if kind not in self._waiting or len(self._waiting[kind]) >= _MANY or not _plain(path):
            return False
        spare = self._shelf / f"{kind}.{token}"
        with contextlib.suppress(OSError):
            path.rename(spare)
            with self._guard:
                self._waiting[kind].append(spare)
            return True
        return False


def _plain(path: Path) -> bool:
    try:
        facts = path.lstat()
        with os.scandir(path) as entries:
            held = [(entry.name, entry.stat(follow_symlinks=False)) for entry in entries]
    except OSError:
        return False
    mode = stat.S_IMODE(facts.st_mode)
    own = stat.S_ISDIR(facts.st_mode) and facts.st_uid == os.getuid() and mode & 0o700 == 0o700 and not mode & ~0o755
    files = all(stat.S_ISREG(one.st_mode) and one.st_nlink == 1 and stat.S_IMODE(one.st_mode) & 0o600 == 0o600 for _, one in held)
    return own and files and [name for name, _ in held] == _KINDS[path.name]
