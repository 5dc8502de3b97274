"""What has changed at a site, in a file to which supervisors append a line each: `<token> <what>`. A look costs what has changed."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

_TURN_BYTES = 8 << 20
_READ_BYTES = 1 << 20


class Changes:
    """A cursor is the file's number (inode) and a place in it. Files take turns: one that has grown large becomes `<name>.before`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._before = path.with_name(path.name + ".before")
        path.touch()

    def now(self) -> str:
        facts = self.path.stat()
        return f"{facts.st_ino}:{facts.st_size}"

    def since(self, cursor: str) -> tuple[list[str], str] | None:
        """Tokens in the order of their lines, and the next cursor. None if it cannot be told: look at everything."""
        number, _, place = cursor.partition(":")
        if not number.isdigit() or not place.isdigit():
            return None
        for path in (self.path, self._before):
            with contextlib.suppress(FileNotFoundError), path.open("rb") as file:
                facts = os.fstat(file.fileno())
                if facts.st_ino != int(number):
                    continue
                if int(place) > facts.st_size:
                    return None
                file.seek(int(place))
                text = file.read(_READ_BYTES)
                whole = text[: text.rfind(b"\n") + 1]
                tokens = [line.split(b" ", 1)[0].decode("ascii", "replace") for line in whole.splitlines()]
                at = int(place) + len(whole)
                if path == self._before and at == facts.st_size:
                    return tokens, f"{self.path.stat().st_ino}:0"
                if path == self.path and at == facts.st_size and at > _TURN_BYTES:
                    self._turn()
                return tokens, f"{number}:{at}"
        return None

    def _turn(self) -> None:
        # whoever has it open still writes into it; the next look reads the rest of it before it goes on to the new one
        with contextlib.suppress(FileNotFoundError):
            self.path.replace(self._before)
        self.path.touch()
