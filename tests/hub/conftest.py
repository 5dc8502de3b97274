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
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
import uvicorn
from fastapi import FastAPI
from starlette.types import ASGIApp

from lilong.app import _Front
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

    house.db.write(lambda tx: populate(house, tx))
    return house


def populate(house: House, tx: Tx) -> None:
    for organisation in (LANTERN, HARBOUR):
        house.access.add_organisation(tx, SYSTEM, organisation)
    for name, (role, organisation) in PEOPLE.items():
        house.access.add_user(tx, SYSTEM, name)
        house.access.grant(tx, SYSTEM, name, role, organisation)


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


def tokens_of(house: House, kind: str = "api") -> dict[str, str]:
    return house.db.write(lambda tx: {name: house.access.add_token(tx, Actor(name), name, "test", kind=kind)[1] for name in PEOPLE})


def hub_alone(house: House) -> ASGIApp:
    """The hub's routes and its CAS, without pages and other floors."""
    app = FastAPI()
    app.state.house = house
    web.install_errors(app)
    app.include_router(routes.router)
    return _Front(house, app, [("/xet/", cas.asgi(house))])


@contextmanager
def answering(app: ASGIApp) -> Iterator[str]:
    """The address on which it answers."""
    listening = socket.socket()
    listening.bind(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning"))
    thread = threading.Thread(target=lambda: server.run([listening]), daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    try:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(10)


@pytest.fixture(scope="session")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """One server for all tests of the protocol; each test makes repositories of its own."""
    house = hub_house(tmp_path_factory.mktemp("hub") / "house")
    with answering(hub_alone(house)) as url:
        yield Served(house, url, tokens_of(house))
    house.close()
