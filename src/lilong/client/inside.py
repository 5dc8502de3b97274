"""A client of a house whose server is not running: the same routes, called in this process, with no chores and no jobs."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any
from urllib.parse import unquote


class InsideTransport:
    @property
    def url(self) -> None:
        return None

    def __init__(self, house: Path) -> None:
        from lilong.app import build, open_house_with_floors
        from lilong.ground import logs
        from lilong.ground.config import load

        logs.configure("error")
        self._house = open_house_with_floors(load(house), background=False)
        self._app = build(self._house)
        self._loop = asyncio.new_event_loop()

    def request(self, method: str, path: str, headers: Mapping[str, str], body: bytes | IO[bytes] | None) -> tuple[int, Mapping[str, str], Iterator[bytes]]:
        return self._loop.run_until_complete(self._request(method, path, headers, body))

    async def _request(self, method: str, path: str, headers: Mapping[str, str], body: bytes | IO[bytes] | None) -> tuple[int, Mapping[str, str], Iterator[bytes]]:
        raw, _, query = path.partition("?")
        scope = {
            "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": method, "scheme": "http", "path": unquote(raw),
            "raw_path": raw.encode(), "query_string": query.encode(), "root_path": "", "client": ("127.0.0.1", 0), "server": ("house", 80),
            "headers": [(b"host", b"house"), *((name.lower().encode(), value.encode()) for name, value in headers.items())],
        }  # fmt: skip
        waiting = [body if isinstance(body, bytes) else body.read() if body is not None else b""]
        status = 500
        answered: dict[str, str] = {}
        chunks: list[bytes] = []

        async def receive() -> dict[str, Any]:
            if waiting:
                return {"type": "http.request", "body": waiting.pop(), "more_body": False}
            await asyncio.sleep(3600)
            return {"type": "http.disconnect"}

        async def send(message: Any) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                answered.update({name.decode().lower(): value.decode("latin-1") for name, value in message["headers"]})
            else:
                chunks.append(message.get("body", b""))

        await self._app(scope, receive, send)
        return status, answered, iter(chunks)

    def close(self) -> None:
        self._loop.close()
        self._house.close()
