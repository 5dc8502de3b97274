"""A house with the hub alone, and a real server of it on a socket."""

from __future__ import annotations

import os
import tempfile

os.environ["HF_HOME"] = tempfile.mkdtemp(prefix="lilong-tests-hf-")  # before the client is imported: it reads its settings then
os.environ["HF_HUB_DISABLE_PROGRESS_BARS"] = "1"
os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"

import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import uvicorn
from fastapi import FastAPI
from starlette.types import Receive, Scope, Send

from lilong.floors.hub import service
from lilong.floors.hub.api import cas, routes
from lilong.ground import web
from lilong.ground.access import SYSTEM, Actor
from lilong.ground.config import load
from lilong.ground.db import Tx
from lilong.ground.house import House, open_house
from lilong.ground.migrations import migrate

LANTERN, HARBOUR = "lantern-works", "harbour-lab"
PEOPLE = {"mei": ("owner", LANTERN), "jun": ("member", LANTERN), "ada": ("reader", LANTERN), "tom": ("member", HARBOUR)}


def hub_house(folder: Path, database: str = "") -> House:
    house = open_house(load(folder, {"database": database or None}, environment={}))
    migrate(house.db, [("ground", "lilong.ground"), ("hub", "lilong.floors.hub")], house.clock)
    service.start(house)

    def furnish(tx: Tx) -> None:
        for organisation in (LANTERN, HARBOUR):
            house.access.add_organisation(tx, SYSTEM, organisation)
        for name, (role, organisation) in PEOPLE.items():
            house.access.add_user(tx, SYSTEM, name)
            house.access.grant(tx, SYSTEM, name, role, organisation)

    house.db.write(furnish)
    return house


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    opened = hub_house(tmp_path / "house")
    yield opened
    opened.close()


@pytest.fixture
def mei() -> Actor:
    return Actor("mei")


@dataclass
class Served:
    house: House
    url: str
    tokens: dict[str, str]


@pytest.fixture(scope="session")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """One server for all tests of the protocol; each test makes repositories of its own."""
    house = hub_house(tmp_path_factory.mktemp("hub") / "house")
    tokens = {name: house.db.write(lambda tx, name=name: house.access.add_token(tx, Actor(name), name, "test"))[1] for name in PEOPLE}
    app = FastAPI()
    app.state.house = house
    web.install_errors(app)
    app.include_router(routes.router)
    listening = socket.socket()
    listening.bind(("127.0.0.1", 0))
    envelope, xet = web.Envelope(app, house, lambda *_: None), cas.asgi(house)

    async def both(scope: Scope, receive: Receive, send: Send) -> None:
        await (xet if scope.get("path", "").startswith("/xet/") else envelope)(scope, receive, send)

    config = uvicorn.Config(both, log_level="warning")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=lambda: server.run([listening]), daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    yield Served(house, f"http://127.0.0.1:{listening.getsockname()[1]}", tokens)
    server.should_exit = True
    thread.join(10)
    house.close()
