"""The HTTP doors answer with what the contract says, as the client reads it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from tests.compat.furnished import ASK

from lilong.floors.compat.api import routes
from lilong.floors.compat.contract import Certificate, CertificateShown, Examination, MatrixLine
from lilong.ground import web
from lilong.ground.access import SYSTEM
from lilong.ground.house import House


@pytest.fixture(scope="module")
def door(house: House, done: Examination) -> Iterator[TestClient]:
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


def test_an_examination_reads_back_as_it_was_kept(door: TestClient, done: Examination) -> None:
    assert get(door, f"/api/compat/examinations/{done.id}", Examination) == done
    assert get(door, "/api/compat/examinations", list[Examination]) == [done]


def test_a_certificate_is_found_by_its_digest(door: TestClient, done: Examination) -> None:
    shown = get(door, f"/api/compat/certificates/{done.certificate}", CertificateShown)
    assert get(door, "/api/compat/certificates", list[Certificate]) == [shown.certificate]
    assert get(door, f"/api/compat/certificates?model={done.repository}@{'0' * 40}", list[Certificate]) == []


def test_the_matrix_lists_every_row(door: TestClient, done: Examination) -> None:
    assert len(get(door, "/api/compat/matrix", list[MatrixLine])) == len(done.rows)


def test_posting_the_same_ask_again_answers_the_same_examination(door: TestClient, done: Examination) -> None:
    answer = door.post("/api/compat/examinations", json=msgspec.to_builtins(ASK))
    assert (answer.status_code, answer.json()["id"]) == (201, done.id)


def test_a_recipe_with_a_typo_is_named(door: TestClient) -> None:
    answer = door.post("/api/compat/examinations", json={**msgspec.to_builtins(ASK), "key": "typo", "recipe": {"stakcs": []}})
    assert answer.status_code == 422
    assert "stakcs" in answer.text


def test_what_does_not_exist_is_404(door: TestClient) -> None:
    assert door.get("/api/compat/certificates/sha256:0").status_code == 404


def test_a_guest_gets_nothing(door: TestClient) -> None:
    assert door.get("/api/compat/matrix", headers={"authorization": ""}).status_code == 401
