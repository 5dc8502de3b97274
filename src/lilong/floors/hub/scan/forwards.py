"""A file read forwards, once, without trusting what it says of its own lengths."""

from __future__ import annotations

from typing import Protocol

_BUFFER = 1 << 16
_LINE = 1 << 20  # bytes of what ends with a newline


class Broken(ValueError):
    """The bytes are not what can be followed to their end."""


class Readable(Protocol):
    def read(self, count: int, /) -> bytes: ...


class Bytes:
    """A file read forwards through a buffer; payloads are skipped, not kept."""

    def __init__(self, file: Readable) -> None:
        self._file = file
        self._buffer = b""
        self._at = 0

    def take(self, count: int) -> bytes:
        end = self._at + count
        while end > len(self._buffer):
            more = self._file.read(max(_BUFFER, end - len(self._buffer)))
            if not more:
                raise Broken("it ends in the middle of an opcode")
            self._buffer = self._buffer[self._at :] + more
            end -= self._at
            self._at = 0
        piece = self._buffer[self._at : end]
        self._at = end
        return piece

    def skip(self, count: int) -> None:
        while count > 0:
            held = len(self._buffer) - self._at
            if not held:
                self._buffer, self._at = self._file.read(1 << 20), 0
                held = len(self._buffer)
                if not held:
                    raise Broken("it ends in the middle of a value")
            step = min(held, count)
            self._at += step
            count -= step

    def line(self) -> bytes:
        """Up to a newline, without it."""
        while (end := self._buffer.find(b"\n", self._at)) < 0:
            if len(self._buffer) - self._at > _LINE:
                raise Broken("a line of it has no end")
            more = self._file.read(_BUFFER)
            if not more:
                raise Broken("it ends in the middle of a line")
            self._buffer = self._buffer[self._at :] + more
            self._at = 0
        piece = self._buffer[self._at : end]
        self._at = end + 1
        return piece

    @property
    def ended(self) -> bool:
        if self._at == len(self._buffer):
            self._buffer, self._at = self._file.read(_BUFFER), 0
        return not self._buffer
