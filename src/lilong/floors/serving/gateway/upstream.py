"""The gateway's own HTTP/1.1 client: keep-alive, over TCP or Unix sockets, parsed by httptools.

It does what a gateway needs and no more. A general client costs milliseconds of CPU a proxied request; this one about a
tenth of one.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

import httptools

from lilong.floors.serving.contract import BadAddress
from lilong.ground.errors import LilongError, TooLarge

READ_AHEAD = 1 << 18  # bytes of an answer held for a slow client before the upstream is paused
SWEEP_SECONDS = 1.0
BACKLOG_PAUSE_SECONDS = 0.005
SOCKET_PATH_LIMIT = 100  # sun_path holds 108 bytes with its zero


class UpstreamLost(LilongError):
    """The model server closed the connection before its answer was whole: {problem}."""

    status = 502
    exit_code = 7


class UpstreamDown(LilongError):
    """The model server cannot be reached: {problem}."""

    status = 503
    exit_code = 7


class ClientGone(LilongError):
    """The client closed the connection."""

    status = 499


@dataclass(frozen=True, slots=True)
class Address:
    """Where a model server listens: a Unix socket's path, or a port of this machine's loopback."""

    path: str = ""
    host: str = ""
    port: int = 0

    @classmethod
    def parse(cls, text: str) -> Address:
        """Reads 'unix:/path' and 'tcp:127.0.0.1:port'. Raises BadAddress for all else: the gateway calls no other machine."""
        kind, _, rest = text.partition(":")
        if kind == "unix" and rest.startswith("/"):
            return cls(path=rest)
        host, _, port = rest.rpartition(":")
        if kind == "tcp" and host in ("127.0.0.1", "[::1]") and port.isascii() and port.isdigit() and 0 < int(port) < 65536:
            return cls(host=host.strip("[]"), port=int(port))
        raise BadAddress(address=text)


@dataclass(frozen=True, slots=True)
class Limits:
    connect_seconds: float = 2.0
    silence_seconds: float = 300.0  # an upstream that says nothing for so long in the middle of an answer is given up
    idle_seconds: float = 3.5  # llama.cpp closes idle connections after 5 s
    uses: int = 90  # requests on one connection; llama.cpp closes it after 100
    connections: int = 4096  # per upstream; a deployment's own queue is the bound that matters
    answer_bytes: int = 32 << 20  # of an answer that is not streamed


class Connection(asyncio.Protocol):
    """One connection, one exchange at a time. Errors come out of `head` and `read`."""

    def __init__(self, loop: asyncio.AbstractEventLoop, freed: Callable[[Connection], None]) -> None:
        self.loop = loop
        self.transport: asyncio.Transport
        self.closed = False
        self.used = 0
        self.since = 0.0  # loop time of the last byte, or of going idle
        self.released = True
        self.status = 0
        self.headers: dict[bytes, bytes] = {}
        self.complete = True
        self.started = False  # a byte of this answer has come
        self._freed = freed
        self._parser: httptools.HttpResponseParser
        self._chunks: list[bytes] = []
        self._held = 0
        self._paused = False
        self._headed = False
        self._error: LilongError | None = None
        self._waiter: asyncio.Future[None] | None = None

    def send(self, request: bytes) -> None:
        self.used += 1
        self.status = 0
        self.headers = {}
        self.complete = self.started = self.released = self._headed = False
        self._chunks = []
        self._held = 0
        self._error = None
        self._parser = httptools.HttpResponseParser(self)
        self.since = self.loop.time()
        self.transport.write(request)

    async def head(self) -> None:
        """Wait for the status and headers. Raises UpstreamLost, ClientGone."""
        while not self._headed:
            if self._error is not None:
                raise self._error
            await self._wait()

    async def read(self) -> bytes:
        """What has come of the body, at least one byte; b'' at its end. Raises UpstreamLost, ClientGone."""
        while not self._chunks:
            if self.complete:
                return b""
            if self._error is not None:
                raise self._error
            await self._wait()
        data = self._chunks[0] if len(self._chunks) == 1 else b"".join(self._chunks)
        self._chunks = []
        self._held = 0
        if self._paused:
            self._paused = False
            self.transport.resume_reading()
        if type(self._error) is ClientGone:
            raise self._error
        return data

    async def whole(self, limit: int) -> bytes:
        """The body to its end. Raises TooLarge beside the errors of `read`."""
        parts: list[bytes] = []
        size = 0
        while data := await self.read():
            parts.append(data)
            size += len(data)
            if size > limit:
                raise TooLarge(what="the model server's answer", size=size, limit=limit)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def release(self) -> None:
        """The exchange is over for the caller: keep the connection where its answer is whole, else close it when it is."""
        if not self.released:
            self.released = True
            if self._paused:
                self._paused = False
                self.transport.resume_reading()
            if self.complete or self.closed:
                self._freed(self)

    def abort(self, error: LilongError) -> None:
        """Close at once; whoever waits on the exchange gets `error`. The model server sees the connection go and stops."""
        if self._error is None:
            self._error = error
        self.closed = True
        self.transport.abort()
        self._wake()

    async def _wait(self) -> None:
        self._waiter = self.loop.create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None

    def _wake(self) -> None:
        waiter = self._waiter
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:

        self.transport = cast(asyncio.Transport, transport)  # uvloop's transports do not derive from it

    def data_received(self, data: bytes) -> None:
        self.since = self.loop.time()
        if self.complete:  # bytes that nobody asked for: this connection can no longer be trusted
            self.closed = True
            self.transport.abort()
            return
        self.started = True
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as e:
            self.abort(UpstreamLost(problem=f"it does not speak HTTP/1.1 ({e})"))
            return
        if self._held > READ_AHEAD and not self._paused and not self.complete and not self.released:
            self._paused = True
            self.transport.pause_reading()
        self._wake()

    def connection_lost(self, exc: Exception | None) -> None:
        self.closed = True
        if not self.complete:
            if self._headed and b"content-length" not in self.headers and b"transfer-encoding" not in self.headers and exc is None:
                self.complete = True  # a body that is ended by closing
            elif self._error is None:
                self._error = UpstreamLost(problem=str(exc) if exc else "it closed")
        self._wake()
        self._freed(self)

    # httptools

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers[name.lower()] = value

    def on_headers_complete(self) -> None:
        self.status = self._parser.get_status_code()
        if self.status >= 200:
            self._headed = True
        else:
            self.headers = {}

    def on_body(self, data: bytes) -> None:
        self._chunks.append(data)
        self._held += len(data)

    def on_message_complete(self) -> None:
        if self.status < 200:
            return
        self.complete = True
        if not self._parser.should_keep_alive():
            self.closed = True
        if self.released:
            self._freed(self)


@dataclass(slots=True)
class Watch:
    """Ties one request to its client: when the client goes, so does the connection that works for it."""

    gone: bool = False
    connection: Connection | None = None

    def client_gone(self) -> None:
        self.gone = True
        if self.connection is not None:
            self.connection.abort(ClientGone())


@dataclass(slots=True)
class Pool:
    """The connections to one upstream."""

    idle: list[Connection] = field(default_factory=list)  # the most recently used last
    busy: set[Connection] = field(default_factory=set)


class Upstreams:
    """Pools by address, all on one event loop; swept about once a second while there are any."""

    def __init__(self, limits: Limits | None = None) -> None:
        self.limits = limits or Limits()
        self._pools: dict[str, Pool] = {}
        self._sweeping: asyncio.TimerHandle | None = None

    async def send(self, address: str, request: bytes, watch: Watch) -> Connection:
        """Send a request and wait until the head of its answer is there. The caller must `release` or `abort` the connection.

        A request that failed before the first byte of its answer, on a connection that had been kept or could not be made,
        is sent once more on a new one. Raises UpstreamDown, UpstreamLost, ClientGone.
        """
        pool = self._pools.get(address)
        if pool is None:
            pool = self._pools[address] = Pool()
            if self._sweeping is None:
                loop = asyncio.get_running_loop()
                self._sweeping = loop.call_later(SWEEP_SECONDS, self._sweep, loop)
        kept = self._kept(pool)
        if kept is not None:
            pool.busy.add(kept)
            try:
                return await _exchange(kept, request, watch)
            except UpstreamLost:
                if kept.started:
                    raise
        return await _exchange(await self._connect(address, pool), request, watch)

    def sweep(self, now: float) -> None:
        """Close connections idle for too long, and give up exchanges whose upstream has fallen silent."""
        for address, pool in list(self._pools.items()):
            for kept in [each for each in pool.idle if now - each.since > self.limits.idle_seconds]:
                pool.idle.remove(kept)
                kept.transport.abort()
            for busy in [each for each in pool.busy if now - each.since > self.limits.silence_seconds]:
                busy.abort(UpstreamLost(problem=f"nothing came for {self.limits.silence_seconds:.0f} s"))
            if not pool.idle and not pool.busy:
                del self._pools[address]

    def _sweep(self, loop: asyncio.AbstractEventLoop) -> None:
        self.sweep(loop.time())
        self._sweeping = loop.call_later(SWEEP_SECONDS, self._sweep, loop) if self._pools else None

    def close(self) -> None:
        if self._sweeping is not None:
            self._sweeping.cancel()
            self._sweeping = None
        for pool in self._pools.values():
            for each in [*pool.idle, *pool.busy]:
                each.abort(UpstreamLost(problem="the gateway stops"))
        self._pools.clear()

    def _kept(self, pool: Pool) -> Connection | None:
        while pool.idle:
            kept = pool.idle.pop()
            if not kept.closed and not kept.transport.is_closing():
                return kept
        return None

    async def _connect(self, address: str, pool: Pool) -> Connection:
        if len(pool.busy) >= self.limits.connections:
            raise UpstreamDown(problem=f"all {self.limits.connections} connections to it are in use")
        loop = asyncio.get_running_loop()
        made = Connection(loop, self._freer(pool))
        pool.busy.add(made)
        place = Address.parse(address)
        try:
            async with asyncio.timeout(self.limits.connect_seconds):
                while not await _open(loop, place, made):  # noqa: ASYNC110 - a backlog tells nobody when it has room
                    await asyncio.sleep(BACKLOG_PAUSE_SECONDS)
        except (OSError, TimeoutError) as e:
            pool.busy.discard(made)
            raise UpstreamDown(problem=(os.strerror(e.errno) if isinstance(e, OSError) and e.errno else "no answer in time")) from e
        except BaseException:
            pool.busy.discard(made)
            raise
        return made

    def _freer(self, pool: Pool) -> Callable[[Connection], None]:
        def freed(connection: Connection) -> None:
            pool.busy.discard(connection)
            if connection.closed or connection.used >= self.limits.uses:
                connection.closed = True
                connection.transport.abort()
                if connection in pool.idle:
                    pool.idle.remove(connection)
            else:
                connection.since = connection.loop.time()
                pool.idle.append(connection)

        return freed


async def _exchange(connection: Connection, request: bytes, watch: Watch) -> Connection:
    if watch.gone:
        connection.abort(ClientGone())
        raise ClientGone
    watch.connection = connection
    connection.send(request)
    try:
        await connection.head()
    except BaseException as e:
        connection.abort(e if isinstance(e, LilongError) else ClientGone())
        raise
    return connection


async def _open(loop: asyncio.AbstractEventLoop, address: Address, protocol: Connection) -> bool:
    """Connect; False where a Unix socket's backlog is full just now (llama.cpp's holds five), which TCP would wait out by itself."""
    if not address.path:
        await loop.create_connection(lambda: protocol, address.host, address.port)
        return True
    path, folder = address.path, -1
    if len(os.fsencode(path)) > SOCKET_PATH_LIMIT:  # reach a long path through a descriptor of its folder
        folder = os.open(Path(path).parent, os.O_PATH | os.O_DIRECTORY)
        path = f"/proc/self/fd/{folder}/{Path(path).name}"
    try:
        await loop.create_unix_connection(lambda: protocol, path)
    except BlockingIOError:
        return False
    finally:
        if folder >= 0:
            os.close(folder)
    return True


def request_bytes(method: str, path: str, body: bytes, request_id: str) -> bytes:
    return (
        f"{method} {path} HTTP/1.1\r\nhost: model\r\ncontent-type: application/json\r\n"
        f"x-request-id: {request_id}\r\ncontent-length: {len(body)}\r\n\r\n"
    ).encode() + body
