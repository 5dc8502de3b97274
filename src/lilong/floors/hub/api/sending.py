"""How bytes leave: by nginx where it stands in front of us, else from a worker thread, large pieces at a time."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from pathlib import Path

import anyio.to_thread
from fastapi import Request, Response
from starlette.responses import StreamingResponse

from lilong.ground.house import House

_PIECE = 1 << 20  # bytes handed to the socket at a time
_RANGE = re.compile(r"bytes=(\d{0,18})-(\d{0,18})")
ACCEL = "x-lilong-accel"  # nginx sets this header of a request: without it somebody has come past nginx, and gets the bytes from us


class Unsatisfiable(Exception):
    """The range begins behind the last byte."""


def range_of(text: str, size: int) -> tuple[int, int] | None:
    """First byte, and the byte after the last, that a Range header asks for; None where it asks for nothing that is understood.

    Raises Unsatisfiable.
    """
    found = _RANGE.fullmatch(text.strip())
    if found is None or not (found[1] or found[2]):
        return None
    if found[1]:
        first, stop = int(found[1]), min(int(found[2]) + 1 if found[2] else size, size)
        if found[2] and int(found[2]) < first:
            return None
    else:
        first, stop = max(size - int(found[2]), 0), size
    if first >= stop:
        raise Unsatisfiable
    return first, stop


def by_nginx(request: Request, house: House, path: Path, headers: Mapping[str, str]) -> Response | None:
    """The answer that makes nginx send this file, or the range of it that the request asks for; None where nginx is not there."""
    if house.settings.accel != "nginx" or ACCEL not in request.headers or not path.is_relative_to(house.settings.house):
        return None
    shown = {name: value for name, value in headers.items() if name not in ("content-length", "content-range")}
    return Response(headers={**shown, "x-accel-redirect": f"/.lilong/{path.relative_to(house.settings.house)}"})


def of_file(path: Path, first: int, stop: int) -> AsyncIterator[bytes | memoryview]:
    """Bytes of a file. Opened at once: what is deleted meanwhile is still sent. Raises FileNotFoundError."""
    file = path.open("rb", buffering=0)  # an object: it is closed with its last reference, also where nothing of it is ever read

    async def pieces() -> AsyncIterator[bytes | memoryview]:
        with file:
            at = first
            while at < stop:
                piece = await anyio.to_thread.run_sync(os.pread, file.fileno(), min(_PIECE, stop - at), at)
                if not piece:
                    raise RuntimeError(f"the file {path.name} is shorter than is known of it")
                at += len(piece)
                yield piece

    return pieces()


async def whole_file(path: Path, size: int, digest: str, damaged: Callable[[], None]) -> AsyncIterator[bytes | memoryview] | None:
    """All bytes of a file; the last of them only if their SHA-256 is right. None where that is known before the first is sent."""
    file = path.open("rb", buffering=0)
    hasher = hashlib.sha256()

    def piece_at(at: int) -> bytes | None:
        piece = os.pread(file.fileno(), min(_PIECE, size - at), at)
        hasher.update(piece)
        if len(piece) == 0 < size or (at + len(piece) == size and f"sha256:{hasher.hexdigest()}" != digest):
            damaged()
            return None
        return piece

    beginning = await anyio.to_thread.run_sync(piece_at, 0)
    if beginning is None:
        file.close()
        return None

    async def pieces() -> AsyncIterator[bytes | memoryview]:
        with file:
            piece, at = beginning, len(beginning)
            yield piece
            while at < size:
                more = await anyio.to_thread.run_sync(piece_at, at)
                if more is None:
                    raise RuntimeError(f"the bytes of {digest} are damaged")  # the answer breaks off
                at += len(more)
                yield more

    return pieces()


async def of_iterator(make: Callable[[], Iterator[bytes | memoryview]]) -> AsyncIterator[bytes | memoryview]:
    """What an iterator that blocks gives, about a MiB for each turn of a worker thread. It fails here if its beginning cannot be had."""
    pieces = await anyio.to_thread.run_sync(make)

    def some() -> bytes | memoryview:
        gathered, size = list[bytes | memoryview](), 0
        for piece in pieces:
            gathered.append(piece)
            size += len(piece)
            if size >= _PIECE:
                break
        return gathered[0] if len(gathered) == 1 else b"".join(gathered)

    beginning = await anyio.to_thread.run_sync(some)

    async def rest() -> AsyncIterator[bytes | memoryview]:
        piece = beginning
        while piece:
            yield piece
            piece = await anyio.to_thread.run_sync(some)

    return rest()


def streamed(pieces: AsyncIterator[bytes | memoryview], status: int, headers: Mapping[str, str]) -> Response:
    return StreamingResponse(pieces, status, headers)
