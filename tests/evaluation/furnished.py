"""A house with the floors that an evaluation needs; two tiny models, a corpus version and a few questions in its hub."""

from __future__ import annotations

from pathlib import Path

from lilong.floors.compute import service as compute
from lilong.floors.compute.work import run_until_idle
from lilong.floors.evaluation import service
from lilong.floors.evaluation.contract import ProtocolAsk, RunAsk
from lilong.floors.hub import service as hub
from lilong.floors.hub.contract import Hub, Kind
from lilong.ground.access import SYSTEM, Actor
from lilong.ground.chores import deliver
from lilong.ground.config import load
from lilong.ground.db import Tx
from lilong.ground.house import House, open_house
from lilong.ground.migrations import migrate

ORGANISATION = "lantern-works"
MEI, STRANGER = Actor("mei"), Actor("stranger")
BASE, NEW, CORPUS, TASKS = (f"{ORGANISATION}/{name}" for name in ("base", "new", "texts", "questions"))
RECIPE = {"title": "A small test", "documents": 8, "least_bytes": 50, "questions": 6}
ASK = ProtocolAsk(ORGANISATION, "plan", BASE, CORPUS, new=NEW, recipe=RECIPE, tasks=TASKS)


def run_ask(protocol: str, key: str = "run") -> RunAsk:
    return RunAsk(ORGANISATION, key, protocol, NEW)


def open_furnished(folder: Path, base: Path, new: Path, corpus: Path, tasks: Path) -> House:
    opened = open_house(load(folder, {"cpus": 2, "memory_mib": 4096}, environment={}))
    floors = ("compute", "hub", "evaluation")
    migrate(opened.db, [("ground", "lilong.ground"), *((name, f"lilong.floors.{name}") for name in floors)], opened.clock)
    for start in (compute.start, hub.start, service.start):
        start(opened)
    opened.db.write(lambda tx: furnish(opened, tx))
    for kind, name, source in (
        (Kind.MODEL, BASE, base),
        (Kind.MODEL, NEW, new),
        (Kind.DATASET, CORPUS, corpus),
        (Kind.DATASET, TASKS, tasks),
    ):
        publish(opened, kind, name, source)
    return opened


def furnish(house: House, tx: Tx) -> None:
    house.access.add_organisation(tx, SYSTEM, ORGANISATION, "Lantern Works")
    house.access.add_organisation(tx, SYSTEM, "other-yard", "Other Yard")
    for user, organisation in (("mei", ORGANISATION), ("stranger", "other-yard")):
        house.access.add_user(tx, SYSTEM, user)
        house.access.grant(tx, SYSTEM, user, "member", organisation)


def publish(house: House, kind: Kind, name: str, folder: Path) -> None:
    files = {path.relative_to(folder).as_posix(): house.blobs.put_file(path).digest for path in sorted(folder.rglob("*")) if path.is_file()}
    house.port(Hub).publish(SYSTEM, kind, name, files, "for the test", lambda tx, revision: revision)  # type: ignore[type-abstract]


def deliver_all(house: House) -> None:
    while sum(deliver(house, subscription) for subscription in house.subscriptions):
        pass


def settle(house: House) -> None:
    """Jobs to their end, and every event to its subscribers."""
    run_until_idle(house)
    deliver_all(house)
