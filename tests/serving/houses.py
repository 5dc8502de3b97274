"""A house with compute, hub and serving, and its server: in this process, or as a process of its own that a test may kill.

python tests/serving/houses.py FOLDER      opens the house, prints 'ready PORT', serves until it is ended
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from unittest.mock import patch

import openai
import uvicorn
from tests.serving.conftest import until

from lilong.app import build, open_house_with_floors
from lilong.floors.compat.contract import Certificates, Certified
from lilong.floors.compute import floor as compute
from lilong.floors.hub import floor as hub
from lilong.floors.hub.contract import Hub, Kind, Revision
from lilong.floors.serving import floor as serving
from lilong.floors.serving import service
from lilong.floors.serving.contract import DeployAsk, DeploymentRow
from lilong.floors.serving.gateway.process import listen
from lilong.floors.serving.service.deployments import GATE
from lilong.ground.access import SYSTEM, Actor
from lilong.ground.chores import Background
from lilong.ground.config import load
from lilong.ground.db import Tx
from lilong.ground.gates import Answer
from lilong.ground.house import House

MINE, OTHER = "lantern-works", "other-yard"
MEI, ADA = Actor("mei"), Actor("ada")
MODEL = f"{MINE}/tiny"


@dataclass
class Says(Certificates):
    """What the floors above answer, as the test wants it."""

    certified: Certified = field(default_factory=lambda: Certified(True, "it passed"))
    allowed: Answer = field(default_factory=lambda: Answer(True, "registered"))

    def check(self, tx: Tx, manifest: str, stack: str) -> Certified:
        return self.certified


@dataclass
class Served:
    """A house with its server running in this process, on a loop of its own."""

    house: House
    says: Says
    url: str = ""

    def token(self, actor: Actor = MEI) -> str:
        return self.house.db.write(lambda tx: self.house.access.add_token(tx, SYSTEM, actor.user, "test"))[1]

    def client(self, token: str) -> openai.OpenAI:
        return openai.OpenAI(base_url=f"{self.url}/v1", api_key=token, max_retries=0)

    def deploy(self, key: str = "k1", name: str = "tiny", **more: object) -> DeploymentRow:
        return service.deploy(self.house, MEI, DeployAsk(MINE, key, MODEL, name, **{"context": 256, **more}))

    def ready(self, row: DeploymentRow) -> DeploymentRow:
        until(lambda: service.shown(self.house, MEI, row.id).state not in ("requested", "stopping"), seconds=60)
        return service.shown(self.house, MEI, row.id)


def furnish(house: House, tx: Tx) -> None:
    for user, organisation in (("mei", MINE), ("ada", OTHER)):
        house.access.add_organisation(tx, SYSTEM, organisation)
        house.access.add_user(tx, SYSTEM, user)
        house.access.grant(tx, SYSTEM, user, "owner", organisation)


@contextmanager
def running(folder: Path, says: Says) -> Iterator[Served]:
    with patch("lilong.app.floors", lambda: [compute, hub, serving]):
        house = open_house_with_floors(load(folder, {"cpus": 2, "memory_mib": 4096}, environment={}), background=True)
        app = build(house)
    house.provide(Certificates, says)  # type: ignore[type-abstract]
    house.gates.answer(GATE, lambda **_: says.allowed)
    background = Background(house)
    background.start()
    listener = listen("127.0.0.1", 0)
    server = uvicorn.Server(uvicorn.Config(app, lifespan="off", log_config=None, access_log=False))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    try:
        yield Served(house, says, f"http://127.0.0.1:{listener.getsockname()[1]}")
    finally:
        server.should_exit = True
        thread.join(20)
        background.stop()
        house.close()


def publish(house: House, model: Path) -> str:
    blobs = {name: house.blobs.put_file(model / name).digest for name in ("config.json", "README.md")}
    gguf = next(model.rglob("*.gguf"))
    blobs["model-q8.gguf"] = house.blobs.put_file(gguf).digest
    done: Callable[[Tx, Revision], str] = lambda _, revision: revision.commit  # noqa: E731
    return house.port(Hub).publish(SYSTEM, Kind.MODEL, MODEL, blobs, "a tiny model", done)  # type: ignore[type-abstract]


if __name__ == "__main__":
    with running(Path(sys.argv[1]), Says()) as opened:
        print("ready", opened.url.rpartition(":")[2], flush=True)
        threading.Event().wait()
