"""The HTTP doors answer with what the contract says, as the client reads it; the rows are the same on every database."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from tests.evaluation.conftest import write_corpus, write_tasks
from tests.evaluation.furnished import ASK, MEI, open_furnished, run_ask, settle

from lilong.floors.compute.backends.local import LocalSite
from lilong.floors.evaluation import service, store
from lilong.floors.evaluation.api import routes
from lilong.floors.evaluation.contract import EvaluationRun, PlannedProtocol, ReportShown, State
from lilong.ground import web
from lilong.ground.access import SYSTEM
from lilong.ground.db import Database
from lilong.ground.house import House
from lilong.ground.migrations import migrate
from lilong.ground.seams import SystemClock


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory, base_folder: Path, new_folder: Path) -> Iterator[House]:
    folder = tmp_path_factory.mktemp("house")
    opened = open_furnished(folder / "house", base_folder, new_folder, write_corpus(folder / "corpus"), write_tasks(folder / "tasks"))
    yield opened
    opened.port(LocalSite).stop()
    opened.close()


@pytest.fixture(scope="module")
def door(house: House) -> Iterator[TestClient]:
    app = FastAPI()
    app.state.house = house
    app.include_router(routes.router)
    web.install_errors(app)
    secret = house.db.write(lambda tx: house.access.add_token(tx, SYSTEM, "mei", "for the test"))[1]
    with TestClient(app, headers={"authorization": f"Bearer {secret}", "accept": "application/json"}) as client:
        yield client


def get(door: TestClient, path: str, kind: Any) -> Any:
    answer = door.get(path)
    assert answer.status_code == 200, answer.text
    return msgspec.convert(answer.json(), kind)


def test_a_plan_and_a_run_go_through_the_doors(house: House, door: TestClient) -> None:
    planned = msgspec.convert(door.post("/api/evaluation/protocols", json=msgspec.to_builtins(ASK)).json(), PlannedProtocol)
    settle(house)
    protocol = get(door, f"/api/evaluation/protocols/{planned.id}", PlannedProtocol)
    assert protocol == service.protocol(house, MEI, planned.id)
    assert get(door, f"/api/evaluation/protocols/{protocol.digest}/document", dict)["title"] == "A small test"
    asked = msgspec.convert(door.post("/api/evaluation/runs", json=msgspec.to_builtins(run_ask(protocol.id))).json(), EvaluationRun)
    settle(house)
    done = get(door, f"/api/evaluation/runs/{asked.id}", EvaluationRun)
    assert (done.state, done.error) == (State.DONE, None)
    assert get(door, "/api/evaluation/reports", list[EvaluationRun]) == [done]
    shown = get(door, f"/api/evaluation/reports/{done.report}", ReportShown)
    assert shown.run == done
    assert door.get(f"/api/evaluation/reports/{done.id}/markdown").text.startswith("# A small test")


def test_a_recipe_with_a_typo_is_named(door: TestClient) -> None:
    answer = door.post("/api/evaluation/protocols", json={**msgspec.to_builtins(ASK), "key": "typo", "recipe": {"qestions": 3}})
    assert answer.status_code == 422
    assert "qestions" in answer.json()["detail"]


def test_what_is_not_there_is_404(door: TestClient) -> None:
    for path in ("protocols/none", "protocols/none/document", "runs/none", "reports/none", "reports/none/markdown"):
        assert door.get(f"/api/evaluation/{path}").status_code == 404


def test_rows_survive_on_every_database(database_url: str) -> None:
    database = Database(database_url)
    migrate(database, [("ground", "lilong.ground"), ("evaluation", "lilong.floors.evaluation")], SystemClock())
    names = (
        "id",
        "organisation",
        "key",
        "base",
        "base_manifest",
        "new",
        "corpus",
        "corpus_manifest",
        "requested_by",
        "created_at",
        "stage",
        "job",
    )
    row = PlannedProtocol(
        **dict.fromkeys(names, "x"), state=State.DONE, attempt=1, recipe={"documents": 3}, tasks={"a": "b"}, figures={"n": 0.5}
    )
    run_names = (*(name for name in names if name != "stage"), "protocol", "protocol_digest", "new_manifest")
    one = EvaluationRun(**dict.fromkeys(run_names, "y"), state=State.RUNNING, attempt=2)
    for kept in (row, one, row, one):
        database.write(lambda tx, kept=kept: store.put(tx, kept))  # type: ignore[misc]
    database.write(lambda tx: store.keep_tasks(tx, "p==1", {"a": "b"}, "now"))
    database.write(lambda tx: store.keep_tasks(tx, "p==1", {"c": "d"}, "later"))
    assert database.read(lambda tx: store.by_key(tx, PlannedProtocol, "x", "x")) == row
    assert database.read(lambda tx: store.by_job(tx, EvaluationRun, "y")) == one
    assert database.read(lambda tx: store.kept_tasks(tx, "p==1")) == {"a": "b"}
    database.close()
