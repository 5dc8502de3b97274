"""A model server with a script: answers as OpenAI's API does, with tokens as told, and fails where told. For tests and benches.

The `model` field of what it is asked does not matter; the last message's text does: words of the form `key=value`.
tokens=N  gap=SECONDS  die_after=N (cuts the connection after N tokens)  status=N (answers an error)  mute=1 (never answers)
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from typing import ClassVar

import httptools


class Exchange(asyncio.Protocol):
    seen: ClassVar[list[dict[str, object]]] = []
    cancelled: ClassVar[int] = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        self.parser = httptools.HttpRequestParser(self)
        self.body = b""
        self.url = b""
        self.task: asyncio.Task[None] | None = None

    def data_received(self, data: bytes) -> None:
        self.parser.feed_data(data)

    def connection_lost(self, exc: Exception | None) -> None:
        if self.task is not None and not self.task.done():
            Exchange.cancelled += 1
            self.task.cancel()

    def on_url(self, url: bytes) -> None:
        self.url = url

    def on_body(self, body: bytes) -> None:
        self.body += body

    def on_message_complete(self) -> None:
        body, self.body = self.body, b""
        if self.url == b"/seen":
            self._json(200, {"seen": Exchange.seen[-20:], "cancelled": Exchange.cancelled})
            return
        self.task = asyncio.get_running_loop().create_task(self.answer(json.loads(body)))

    def _json(self, status: int, answer: object) -> None:
        data = json.dumps(answer).encode()
        self.transport.write(b"HTTP/1.1 %d X\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % (status, len(data)) + data)

    async def answer(self, ask: dict[str, object]) -> None:
        Exchange.seen.append(ask)
        chat = "messages" in ask
        text = ask["messages"][-1]["content"] if chat else ask["prompt"]  # type: ignore[index]
        told = dict(word.split("=") for word in str(text).split() if "=" in word)
        tokens, gap = int(told.get("tokens", 3)), float(told.get("gap", 0))
        die = int(told.get("die_after", -1))
        if "mute" in told:
            await asyncio.sleep(3600)
        if "status" in told:
            self._json(int(told["status"]), {"error": {"message": "told to", "type": "server_error", "code": None, "param": None}})
            return
        usage = {"prompt_tokens": 7, "completion_tokens": tokens, "total_tokens": 7 + tokens}
        words = [f"w{n} " for n in range(tokens)]
        if not ask.get("stream"):
            await asyncio.sleep(gap * tokens)
            said = "".join(words)
            choice = {
                "index": 0,
                "finish_reason": "stop",
                **({"message": {"role": "assistant", "content": said}} if chat else {"text": said}),
            }
            self._json(200, {"id": "x", "object": "chat.completion", "created": 1, "model": "stub", "choices": [choice], "usage": usage})
            return
        self.transport.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n")
        if ask.get("return_progress"):
            self._event({"choices": [{"index": 0, "delta": {}}], "prompt_progress": {"total": 7, "processed": 7}})
        if chat:
            self._event({"id": "x", "choices": [{"index": 0, "finish_reason": None, "delta": {"role": "assistant", "content": None}}]})
        for place, word in enumerate(words):
            if place == die:
                self.transport.close()
                return
            self._event(
                {"id": "x", "choices": [{"index": 0, "finish_reason": None, **({"delta": {"content": word}} if chat else {"text": word})}]}
            )
            if gap:
                await asyncio.sleep(gap)
        self._event({"id": "x", "choices": [{"index": 0, "finish_reason": "stop", **({"delta": {}} if chat else {"text": ""})}]})
        if ask.get("stream_options"):
            self._event({"id": "x", "choices": [], "usage": usage})
        self._chunk(b"data: [DONE]\n\n")
        self.transport.write(b"0\r\n\r\n")

    def _event(self, body: dict[str, object]) -> None:
        shape = {"object": "chat.completion.chunk", "created": 1, "model": "stub"}
        self._chunk(b"data: " + json.dumps({**shape, **body}).encode() + b"\n\n")

    def _chunk(self, data: bytes) -> None:
        self.transport.write(b"%x\r\n" % len(data) + data + b"\r\n")


async def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--socket", required=True)
    asked = parser.parse_args()
    server = await asyncio.get_running_loop().create_unix_server(Exchange, asked.socket, backlog=5)
    print("ready", flush=True)
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
    sys.exit(0)
