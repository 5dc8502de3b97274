"""A house with the three floors that an examination needs, a tiny model and a corpus version in its hub."""

from __future__ import annotations

import io
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from lilong.floors.compat import service
from lilong.floors.compat.contract import ExaminationAsk
from lilong.floors.compute import service as compute
from lilong.floors.compute.work import run_until_idle
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
MODEL, CORPUS = f"{ORGANISATION}/tiny", f"{ORGANISATION}/texts"
RECIPE = {"stacks": ["llama.cpp", "onnxruntime"], "positions": 32, "length": 16, "prompts": 1, "greedy_tokens": 4, "limits": {"threads": 1}}
ASK = ExaminationAsk(ORGANISATION, "first", MODEL, CORPUS, RECIPE)



def open_furnished(folder: Path, tiny_model: Path, documents: list[str]) -> House:
    opened = open_house(load(folder, {"cpus": 2, "memory_mib": 4096}, environment={}))
    migrate(opened.db, [("ground", "lilong.ground"), *((name, f"lilong.floors.{name}") for name in ("compute", "hub", "compat"))], opened.clock)
    for start in (compute.start, hub.start, service.start):
        start(opened)
    opened.db.write(lambda tx: furnish(opened, tx))
    model = {path.name: opened.blobs.put_file(path).digest for path in tiny_model.iterdir() if path.is_file()}
    publish(opened, Kind.MODEL, MODEL, model)
    table = io.BytesIO()
    pq.write_table(pa.table({"text": documents}), table)
    publish(opened, Kind.DATASET, CORPUS, {"data/heldout-00000.parquet": opened.blobs.put(table.getvalue()).digest})
    return opened


def furnish(house: House, tx: Tx) -> None:
    house.access.add_organisation(tx, SYSTEM, ORGANISATION, "Lantern Works")
    house.access.add_organisation(tx, SYSTEM, "other-yard", "Other Yard")
    for user, organisation in (("mei", ORGANISATION), ("stranger", "other-yard")):
        house.access.add_user(tx, SYSTEM, user)
        house.access.grant(tx, SYSTEM, user, "member", organisation)


def publish(house: House, kind: Kind, name: str, files: dict[str, str]) -> None:
    house.port(Hub).publish(SYSTEM, kind, name, files, "for the test", lambda tx, revision: revision)  # type: ignore[type-abstract]


def settle(house: House) -> None:
    """Jobs to their end, and every event to its subscribers."""
    run_until_idle(house)
    while sum(deliver(house, subscription) for subscription in house.subscriptions):
        pass
