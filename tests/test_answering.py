"""What the server's event loop must never do: wait."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import httpx
import pytest

from lilong.app import build
from lilong.client import read_secret
from lilong.ground.house import House


@pytest.mark.parametrize("path", ["/readyz", "/metrics", "/api/house/who-am-i", "/api/compute/jobs", "/"])
def test_no_request_reads_the_database_in_the_event_loop(house: House, path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    where: list[threading.Thread] = []
    read = house.db.read

    def watched(fn: Any) -> Any:
        where.append(threading.current_thread())
        return read(fn)

    app = build(house)
    monkeypatch.setattr(house.db, "read", watched)

    async def ask() -> httpx.Response:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://house") as client:
            token = read_secret(house.settings.keys / "operator.token")
            return await client.get(path, headers={"authorization": f"Bearer {token}"})

    asyncio.run(ask())
    assert where and threading.main_thread() not in where
