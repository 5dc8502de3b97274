"""The gateway as a raw ASGI application: `/v1/chat/completions`, `/v1/completions`, `/v1/models`."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import time
from collections.abc import Awaitable, Callable, MutableMapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import msgspec

from lilong.floors.serving.contract import Deployment, Key, MeterFull, Snapshot, Terminal
from lilong.floors.serving.gateway import answers, asks, refusals
from lilong.floors.serving.gateway.admission import Admission, authenticate, choose, choose_ready, visible
from lilong.floors.serving.gateway.meter import Meter, Ticket
from lilong.floors.serving.gateway.refusals import Refusal
from lilong.floors.serving.gateway.upstream import ClientGone, Connection, UpstreamDown, UpstreamLost, Upstreams, Watch, request_bytes
from lilong.ground.errors import TooLarge

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Headers = list[tuple[bytes, bytes]]
T = TypeVar("T")

NEEDS = {"/v1/chat/completions": "messages", "/v1/completions": "prompt"}
MODELS = "/v1/models"
CATCH_UP_SECONDS = 0.03
CATCH_UP_LOOKS = 40
JSON = (b"content-type", b"application/json")
SSE = [(b"content-type", b"text/event-stream; charset=utf-8"), (b"cache-control", b"no-cache"), (b"x-accel-buffering", b"no")]

logger = logging.getLogger("lilong.gateway")


@dataclass(slots=True)
class Call:
    """One HTTP request as ASGI hands it over. `request` is its x-request-id."""

    method: str
    path: str
    headers: dict[bytes, bytes]
    request: str
    receive: Receive
    send: Send
    body_read: bool = False

    @property
    def organisation(self) -> str | None:
        """What the client's library calls `organization`."""
        named = self.headers.get(b"openai-organization")
        return named.decode("latin-1") if named else None


class Following(Protocol):
    """Counts what was written to the tables that the snapshot is made from, and how much of it the snapshot shows."""

    @property
    def written(self) -> int: ...
    @property
    def shown(self) -> int: ...


class Gateway:
    """One event loop's gateway. `snapshot` is replaced as a whole by `swap`; requests under way keep the one they began with."""

    def __init__(
        self,
        meter: Meter,
        upstreams: Upstreams,
        snapshot: Snapshot | None = None,
        *,
        body_limit: int = 8 << 20,
        wall: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.meter = meter
        self.upstreams = upstreams
        self.snapshot = snapshot or Snapshot()
        self.body_limit = body_limit
        self.wall = wall
        self.monotonic = monotonic
        self.admission = Admission()
        self.following: Following | None = None
        self.requests = 0

    def swap(self, snapshot: Snapshot) -> None:
        self.snapshot = snapshot

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        self.requests += 1
        headers: dict[bytes, bytes] = dict(scope["headers"])
        request = asks.request_id(headers.get(b"x-request-id")) or f"req-{self.meter.gateway}-{self.meter.epoch}-{self.requests}"
        call = Call(scope["method"], scope["path"], headers, request, receive, send)
        try:
            needs = NEEDS.get(call.path)
            if needs is not None:
                await self._complete(call, needs)
            else:
                await self._look_up(call)
        except Refusal as e:
            await _discard_body(call, 8 * self.body_limit)
            await _refuse(send, e, request)
        except ClientGone:
            pass

    async def _look_up(self, call: Call) -> None:
        if call.path != MODELS and not call.path.startswith(MODELS + "/"):
            raise refusals.unknown_route(call.method, call.path)
        if call.method != "GET":
            raise refusals.wrong_method(call.method, call.path, "GET")
        key = await self._decided(lambda now: authenticate(now, call.headers.get(b"authorization"), self.wall()))
        if call.path == MODELS:
            answer: dict[str, Any] = {"object": "list", "data": [_card(each) for each in visible(self.snapshot, key, call.organisation)]}
        else:
            answer = _card(choose(self.snapshot, key, call.path[len(MODELS) + 1 :], call.organisation)[0])
        await _send_json(call.send, 200, msgspec.json.encode(answer), [(b"x-request-id", call.request.encode())])

    async def _complete(self, call: Call, needs: str) -> None:
        if call.method != "POST":
            raise refusals.wrong_method(call.method, call.path, "POST")
        key = await self._decided(lambda now: authenticate(now, call.headers.get(b"authorization"), self.wall()))
        await self._serve(call, key, needs, await _read_body(call, self.body_limit))

    async def ask(self, key: Key, path: str, body: bytes, organisation: str = "") -> tuple[int, dict[str, str], bytes]:
        """One request made by the house itself on behalf of `key`: through the same admission, meter and upstreams.

        Answers (status, headers, body); a refusal is an answer too.
        """
        collected: list[Message] = []

        async def send(message: Message) -> None:
            collected.append(message)

        async def receive() -> Message:
            await asyncio.get_running_loop().create_future()  # this client never goes
            raise ClientGone

        self.requests += 1
        headers = {b"openai-organization": organisation.encode()} if organisation else {}
        call = Call("POST", path, headers, f"req-{self.meter.gateway}-{self.meter.epoch}-{self.requests}", receive, send, body_read=True)
        try:
            await self._serve(call, key, NEEDS[path], body)
        except Refusal as e:
            await _refuse(send, e, call.request)
        head = {name.decode(): value.decode() for name, value in collected[0]["headers"]}
        return collected[0]["status"], head, b"".join(each["body"] for each in collected[1:])

    async def _decided(self, decide: Callable[[Snapshot], T]) -> T:
        """What `decide` makes of the snapshot; before a refusal, of one that shows all that was written when the request came.

        So a token works from the moment its maker was told of it, and nothing is read from a database here.
        """
        seen = self.snapshot
        try:
            return decide(seen)
        except Refusal:
            follow = self.following
            if follow is None:
                raise
            mark = follow.written
            for _ in range(CATCH_UP_LOOKS):
                if follow.shown >= mark:
                    break
                await asyncio.sleep(CATCH_UP_SECONDS)
            if self.snapshot is seen:
                raise
        return decide(self.snapshot)

    async def _serve(self, call: Call, key: Key, needs: str, body: bytes) -> None:
        ask = asks.read(body, needs)
        deployment, organisation = await self._decided(lambda now: choose_ready(now, key, ask.model, call.organisation))
        self.admission.enter(key, deployment, self.monotonic())
        watch = Watch()
        watcher = asyncio.ensure_future(_watch(call.receive, watch))
        try:
            try:
                ticket = self.meter.begin(key, organisation, deployment, "sha256:" + hashlib.sha256(body).hexdigest())
            except MeterFull as e:
                raise refusals.meter_full(e) from e
            await _Exchange(self, ticket, call.request, watch, call.send).run(call.path, ask, body)
        finally:
            self.admission.leave(key, deployment)
            if not watcher.done():
                watcher.cancel()


async def closed(scope: Scope, receive: Receive, send: Send) -> None:
    """Stands in for the gateway where a house is open without a server."""
    if scope["type"] == "http":
        await _refuse(send, refusals.no_gateway(), "req-none")


class _Exchange:
    """One admitted request, from the upstream call to its receipt."""

    __slots__ = ("gateway", "headers", "request", "send", "settled", "ticket", "watch")

    def __init__(self, gateway: Gateway, ticket: Ticket, request: str, watch: Watch, send: Send) -> None:
        self.gateway = gateway
        self.ticket = ticket
        self.request = request
        self.watch = watch
        self.send = send
        self.settled = False
        self.headers: Headers = [
            (b"x-request-id", request.encode()),
            (b"x-lilong-receipt", ticket.id.encode()),
            (b"x-lilong-model-revision", ticket.deployment.revision.encode()),
        ]

    async def run(self, path: str, ask: asks.Ask, body: bytes) -> None:
        """Answer, and settle in every case, also when this task is cancelled."""
        deployment = self.ticket.deployment
        connection: Connection | None = None
        try:
            outgoing = request_bytes("POST", path, asks.for_upstream(body, ask, deployment.engine), self.request)
            connection = await self.gateway.upstreams.send(deployment.upstream, outgoing, self.watch)
            if ask.stream and connection.status == 200:
                await self._stream(connection, ask)
            else:
                await self._whole(connection)
            connection.release()
        except ClientGone:
            self._settle(Terminal.CLIENT_GONE)
        except UpstreamDown as e:
            self._settle(Terminal.UPSTREAM_ERROR)
            await _refuse(self.send, refusals.not_ready(deployment.model, str(e)), self.request, self.headers)
        except (UpstreamLost, TooLarge) as e:
            self._settle(Terminal.UPSTREAM_ERROR)
            await _refuse(self.send, refusals.upstream_failed(e), self.request, self.headers)
        except MeterFull as e:
            await _refuse(self.send, refusals.meter_full(e), self.request, self.headers)
        except BaseException:
            self._settle(Terminal.CLIENT_GONE if self.watch.gone else Terminal.INTERRUPTED)
            raise
        finally:
            if connection is not None and not connection.released:
                connection.abort(ClientGone())

    async def _whole(self, connection: Connection) -> None:
        body = await connection.whole(self.gateway.upstreams.limits.answer_bytes)
        kind = connection.headers.get(b"content-type", b"")
        read = answers.read_whole(body) if connection.status == 200 else None
        if read is not None:
            prompt, completion, digest = read
            self.ticket.prompt(prompt)
            self.ticket.deliver(completion)
            self._settle(Terminal.COMPLETED, digest)
        else:
            self._settle(Terminal.UPSTREAM_ERROR)
            if not kind.startswith(b"application/json") or connection.status == 200:
                connection.release()
                problem = UpstreamLost(problem=f"it answered {connection.status} with what is not an answer")
                await _refuse(self.send, refusals.upstream_failed(problem), self.request, self.headers)
                return
        await _send_json(self.send, connection.status, body, self.headers)

    async def _stream(self, connection: Connection, ask: asks.Ask) -> None:
        stream = answers.Stream(ask.wants_usage)
        ticket, send = self.ticket, self.send
        await send({"type": "http.response.start", "status": 200, "headers": SSE + self.headers})
        try:
            while data := await connection.read():
                out, tokens = stream.feed(data)
                if stream.prompt_tokens and not ticket.prompt_tokens:
                    ticket.prompt(stream.prompt_tokens)
                if tokens:
                    ticket.deliver(tokens)
                if stream.done:
                    await self._end(out, stream)
                    return
                if out:
                    await send({"type": "http.response.body", "body": out, "more_body": True})
            if stream.usage is None:
                raise UpstreamLost(problem="its stream ended before it was done")
            await self._end(b"", stream)
        except ClientGone:
            self._settle(Terminal.CLIENT_GONE, stream.digest())
            raise
        except (UpstreamLost, ValueError, MeterFull) as e:
            if not isinstance(e, MeterFull):
                self._settle(Terminal.UPSTREAM_ERROR, stream.digest())
            logger.warning("stream cut: %s", e, extra={"receipt": ticket.id})
            await self._cut(str(e))

    async def _end(self, out: bytes, stream: answers.Stream) -> None:
        """The last bytes, after the record that bills them."""
        if stream.usage is not None:
            self.ticket.prompt(stream.usage.prompt_tokens)
            self.ticket.delivered = stream.usage.completion_tokens or self.ticket.delivered
        self._settle(Terminal.UPSTREAM_ERROR if stream.failed else Terminal.COMPLETED, stream.digest())
        await self.send({"type": "http.response.body", "body": out, "more_body": False})

    async def _cut(self, problem: str) -> None:
        """Tell a client in mid-stream: an error event and no `[DONE]`, so that no library takes the answer for whole."""
        event = b"data: " + refusals.error_body(problem, "server_error", "upstream_error") + b"\n\n"
        await self.send({"type": "http.response.body", "body": event, "more_body": False})

    def _settle(self, state: Terminal, digest: str = "") -> None:
        if not self.settled:
            self.gateway.meter.finish(self.ticket, state, self.ticket.prompt_tokens, self.ticket.delivered, digest)
            self.settled = True


async def _watch(receive: Receive, watch: Watch) -> None:
    with suppress(asyncio.CancelledError):
        while True:
            if (await receive())["type"] == "http.disconnect":
                watch.client_gone()
                return


async def _read_body(call: Call, limit: int) -> bytes:
    """Raises Refusal (413), ClientGone."""
    declared = call.headers.get(b"content-length")
    if declared is not None and declared.isdigit() and int(declared) > limit:
        raise refusals.too_large(limit)
    parts: list[bytes] = []
    size = 0
    while not call.body_read:
        message = await call.receive()
        if message["type"] == "http.disconnect":
            raise ClientGone
        parts.append(message.get("body", b""))
        size += len(parts[-1])
        call.body_read = not message.get("more_body", False)
        if size > limit:
            raise refusals.too_large(limit)
    return parts[0] if len(parts) == 1 else b"".join(parts)


async def _discard_body(call: Call, limit: int) -> None:
    """Take in what a refused client still sends, up to `limit`: closing on it would reset the connection and lose the refusal."""
    left = limit
    while not call.body_read and left > 0:
        message = await call.receive()
        if message["type"] == "http.disconnect":
            return
        left -= len(message.get("body", b""))
        call.body_read = not message.get("more_body", False)


async def _send_json(send: Send, status: int, body: bytes, headers: Headers) -> None:
    head: Headers = [JSON, (b"content-length", b"%d" % len(body)), *headers]
    await send({"type": "http.response.start", "status": status, "headers": head})
    await send({"type": "http.response.body", "body": body, "more_body": False})


async def _refuse(send: Send, refusal: Refusal, request: str, headers: Headers | None = None) -> None:
    more: Headers = list(headers) if headers else [(b"x-request-id", request.encode())]
    if refusal.retry_after is not None:
        more.append((b"retry-after", b"%d" % refusal.retry_after))
    if refusal.status == 401:
        more.append((b"www-authenticate", b"Bearer"))
    await _send_json(send, refusal.status, refusal.body(), more)


def _card(deployment: Deployment) -> dict[str, Any]:
    return {
        "id": deployment.model,
        "object": "model",
        "created": deployment.created,
        "owned_by": deployment.repository.partition("/")[0] or "lilong",
        "lilong": {
            "deployment": deployment.id,
            "repository": deployment.repository,
            "commit": deployment.commit,
            "revision": deployment.revision,
            "statement": deployment.statement,
            "registration": deployment.registration or None,
            "ready": deployment.ready,
        },
    }
