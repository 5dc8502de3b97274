"""Reading what a client asks: the few fields the gateway needs, and the one change it makes to a streamed request."""

from __future__ import annotations

import re
from typing import Any

import msgspec

from lilong.floors.serving.gateway import refusals

ABSENT = msgspec.Raw()
_USAGE = b'"stream_options":{"include_usage":true}'
_PROGRESS = b'"return_progress":true'  # llama.cpp: says the prompt's tokens before the first one of the answer
_REQUEST_ID = re.compile(rb"[A-Za-z0-9._:-]{1,64}")


class StreamOptions(msgspec.Struct):
    include_usage: bool | None = None


class Ask(msgspec.Struct):
    model: str
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    messages: msgspec.Raw = ABSENT
    prompt: msgspec.Raw = ABSENT
    return_progress: bool | None = None

    @property
    def wants_usage(self) -> bool:
        return self.stream_options is not None and bool(self.stream_options.include_usage)


_decode = msgspec.json.Decoder(Ask).decode


def read(body: bytes, needs: str) -> Ask:
    """Raises Refusal (400) naming what is wrong. `needs` is the field the route cannot do without."""
    try:
        ask = _decode(body)
    except msgspec.ValidationError as e:
        problem = str(e)
        missing = re.match(r"Object missing required field `(\w+)`", problem)
        if missing:
            raise refusals.bad_request(f"you must provide a {missing[1]} parameter", missing[1]) from None
        place = re.search(r"at `\$\.(\w+)", problem)
        raise refusals.bad_request(problem, place[1] if place else None) from None
    except (msgspec.DecodeError, UnicodeDecodeError) as e:
        raise refusals.bad_request(f"The body is not valid JSON: {e}") from None
    raw = bytes(ask.messages if needs == "messages" else ask.prompt)
    if raw in (b"", b"null"):
        raise refusals.bad_request(f"you must provide a {needs} parameter", needs)
    if needs == "messages" and not raw.startswith(b"["):
        raise refusals.bad_request("messages must be a list", "messages")
    return ask


def for_upstream(body: bytes, ask: Ask, engine: str) -> bytes:
    """The body to send on: as it came, but a streamed answer always brings its usage (and, from llama.cpp, its prompt's size)."""
    if not ask.stream:
        return body
    if ask.stream_options is None and b'"stream_options"' not in body and b'"return_progress"' not in body:
        start = body.index(b"{") + 1
        extra = _USAGE + b"," + _PROGRESS + b"," if engine == "llama.cpp" else _USAGE + b","
        return body[:start] + extra + body[start:]
    whole: dict[str, Any] = msgspec.json.decode(body)
    whole["stream_options"] = {**(whole.get("stream_options") or {}), "include_usage": True}
    if engine == "llama.cpp":
        whole["return_progress"] = True
    return msgspec.json.encode(whole)


def request_id(offered: bytes | None) -> str | None:
    """A client's own x-request-id, where it is short and plain."""
    return offered.decode() if offered is not None and _REQUEST_ID.fullmatch(offered) else None
