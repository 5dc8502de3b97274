"""Reading what an engine answers: tokens counted, text digested, extra events taken out, bytes otherwise passed on as they came.

The *text digest* of an answer is the same streamed or not: SHA-256 over the UTF-8 text of its one choice; with several choices,
SHA-256 over their SHA-256 digests in the order of their indices. So a receipt can be checked against the text alone.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field

import msgspec

EVENT_LIMIT = 1 << 20  # bytes of one server-sent event


class Usage(msgspec.Struct):
    prompt_tokens: int = 0
    completion_tokens: int | None = 0


class Part(msgspec.Struct):
    """The `delta` of a chat chunk or the `message` of a chat answer."""

    content: str | None = None
    reasoning_content: str | None = None
    tool_calls: msgspec.Raw = msgspec.Raw()

    def says_something(self) -> bool:
        return bool(self.content or self.reasoning_content) or bytes(self.tool_calls) not in (b"", b"null", b"[]")


class Choice(msgspec.Struct):
    index: int = 0
    text: str | None = None
    delta: Part | None = None
    message: Part | None = None


class Progress(msgspec.Struct):
    total: int = 0


class Body(msgspec.Struct):
    """The fields of an answer or of a chunk that the gateway looks at."""

    choices: list[Choice] = []
    usage: Usage | None = None
    prompt_progress: Progress | None = None
    error: msgspec.Raw = msgspec.Raw()


decode = msgspec.json.Decoder(Body).decode


def text_digest(texts: dict[int, str]) -> str:
    """The text digest of choices by index."""
    return _digest({index: hashlib.sha256(text.encode("utf-8", "surrogatepass")) for index, text in texts.items()})


def _digest(choices: dict[int, hashlib._Hash]) -> str:
    if not choices:
        return "sha256:" + hashlib.sha256().hexdigest()
    if len(choices) == 1:
        return "sha256:" + next(iter(choices.values())).hexdigest()
    return "sha256:" + hashlib.sha256(b"".join(choices[index].digest() for index in sorted(choices))).hexdigest()


def read_whole(body: bytes) -> tuple[int, int, str] | None:
    """(prompt tokens, completion tokens, text digest) of an answer that was not streamed; None where it is no such answer."""
    try:
        answer = decode(body)
    except msgspec.DecodeError:
        return None
    if answer.usage is None or not answer.choices:
        return None
    texts = {each.index: each.text if each.text is not None else (each.message and each.message.content) or "" for each in answer.choices}
    return answer.usage.prompt_tokens, answer.usage.completion_tokens or 0, text_digest(texts)


@dataclass(slots=True)
class Stream:
    """Follows one streamed answer. `feed` takes what came and gives back what goes on."""

    shows_usage: bool  # the client asked for the usage chunk
    usage: Usage | None = None
    prompt_tokens: int = 0
    done: bool = False  # `data: [DONE]` was seen
    failed: bool = False  # the engine sent an error event
    _rest: bytes = b""
    _choices: dict[int, hashlib._Hash] = field(default_factory=dict)

    def feed(self, data: bytes) -> tuple[bytes, int]:
        """(bytes to pass on, tokens in them). Whole events only; the rest waits. Raises ValueError for an endless event."""
        if b"\r" in data:
            data = data.replace(b"\r", b"")
        if self._rest:
            data = self._rest + data
        end = data.rfind(b"\n\n") + 2
        if end < 2:
            if len(data) > EVENT_LIMIT:
                raise ValueError("an event without an end")
            self._rest = data
            return b"", 0
        if end < len(data):
            self._rest = data[end:]
            data = data[:end]
        else:
            self._rest = b""
        events = data.split(b"\n\n")
        events.pop()
        tokens = 0
        dropped = False
        for place, event in enumerate(events):
            counted = self._read(event)
            if counted < 0:
                events[place] = b""
                dropped = True
            else:
                tokens += counted
        if dropped:
            data = b"".join([event + b"\n\n" for event in events if event])
        return data, tokens

    def digest(self) -> str:
        return _digest(self._choices)

    def _read(self, event: bytes) -> int:
        """Tokens in one event; -1 where it is not for the client."""
        if not event.startswith(b"data:"):
            return 0
        payload = event[5:]
        if payload.strip() == b"[DONE]":
            self.done = True
            return 0
        try:
            chunk = decode(payload)
        except (msgspec.DecodeError, UnicodeDecodeError):
            return 0
        if chunk.error:
            self.failed = True
            return 0
        if chunk.prompt_progress is not None:
            self.prompt_tokens = chunk.prompt_progress.total
            return -1
        if chunk.usage is not None:
            self.usage = chunk.usage
            if not chunk.choices:
                return 0 if self.shows_usage else -1
        tokens = 0
        for choice in chunk.choices:
            part = choice.delta
            text = choice.text if part is None else part.content
            if text:
                known = self._choices.get(choice.index)
                if known is None:
                    known = self._choices[choice.index] = hashlib.sha256()
                known.update(text.encode("utf-8", "surrogatepass"))
                tokens += 1
            elif part is not None and part.says_something():
                tokens += 1
        return tokens
