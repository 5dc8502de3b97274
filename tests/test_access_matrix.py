"""Every route with every role: what the table of permissions says is what the house does, and nothing is served outside the table."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterable, Iterator
from typing import Any

import httpx

from lilong.app import build
from lilong.ground.access import PERMISSIONS, PUBLIC, ROLES, SIGNED_IN, SYSTEM
from lilong.ground.house import House
from tests.conftest import ORGANISATION

WHO = ("anonymous", "no role", *ROLES)


def people(house: House) -> None:
    """One user for each role."""

    def write(tx: Any) -> None:
        for role in ("no role", *ROLES):
            name = "u-" + role.replace(" ", "-")
            house.access.add_user(tx, SYSTEM, name)
            if role in ROLES:
                house.access.grant(tx, SYSTEM, name, role, None if role == "operator" else ORGANISATION)

    house.db.write(write)


def fresh_secrets(house: House) -> dict[str, str | None]:
    """A token for each role; fresh for each route, because some routes end the token that calls them."""

    def write(tx: Any) -> dict[str, str | None]:
        made: dict[str, str | None] = {"anonymous": None}
        for role in ("no role", *ROLES):
            made[role] = house.access.add_token(tx, SYSTEM, "u-" + role.replace(" ", "-"), "test")[1]
        return made

    return house.db.write(write)


def expected_to_enter(allow: str, who: str) -> bool:
    if allow == PUBLIC:
        return True
    if who == "anonymous":
        return False
    return allow == SIGNED_IN or allow in ROLES.get(who, ())


async def walk(house: House, rules: list[Any], app: Any) -> list[str]:
    people(house)
    wrong = []
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app, raise_app_exceptions=False), base_url="http://house") as client:
        for rule in rules:
            path = re.sub(r"\{[^}]*\}", "nothing-here", rule.path)
            secrets = fresh_secrets(house)
            for who in WHO:
                headers = {"authorization": f"Bearer {secrets[who]}"} if secrets[who] else {}
                response = await client.request(rule.method, path, headers=headers)
                code = response.status_code
                enters = expected_to_enter(rule.allow, who)
                if code >= 500:
                    wrong.append(f"{rule.method} {path} as {who}: {code} {response.text[:200]}")
                elif not enters and code != (401 if who == "anonymous" else 403):
                    wrong.append(f"{rule.method} {path} ({rule.allow}) let {who} in: {code}")
                elif enters and code == 401 and who != "anonymous" and rule.allow != PUBLIC:
                    wrong.append(f"{rule.method} {path} ({rule.allow}) did not know {who}")
                elif enters and code == 403 and rule.allow in PERMISSIONS:
                    wrong.append(f"{rule.method} {path} ({rule.allow}) turned {who} away: {response.text[:200]}")
    return wrong


def test_every_route_lets_in_exactly_the_roles_that_the_table_names(house: House) -> None:
    app = build(house)
    rules = app.app.state.rules  # type: ignore[attr-defined]
    assert len(rules) > 20
    assert asyncio.run(walk(house, rules, app)) == []


def flat(routes: Iterable[Any]) -> Iterator[Any]:
    for route in routes:
        inner = getattr(route, "original_router", None)
        if inner is None:
            yield route
        else:
            yield from flat(inner.routes)


def test_no_route_is_served_that_is_not_in_the_table(house: House) -> None:
    app = build(house).app  # type: ignore[attr-defined]
    routes = list(flat(app.routes))
    served = {(method, route.path) for route in routes for method in route.methods} - {("GET", "/api/openapi.json"), ("HEAD", "/api/openapi.json")}
    ruled = {(rule.method, rule.path) for rule in app.state.rules}
    # A plain Starlette route for GET answers HEAD as well, through the same door.
    assert {pair for pair in served if pair not in ruled and not (pair[0] == "HEAD" and ("GET", pair[1]) in ruled)} == set()
    assert ruled <= served


def test_a_bad_token_is_told_so_and_never_taken_for_nobody(house: House) -> None:
    async def ask() -> httpx.Response:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app=build(house)), base_url="http://house") as client:
            return await client.get("/healthz", headers={"authorization": "Bearer ll_wrong"})

    response = asyncio.run(ask())
    assert response.status_code == 401
    assert response.json()["code"] == "token-not-usable"


def test_every_error_has_one_shape(house: House) -> None:
    people(house)
    secret = fresh_secrets(house)["operator"]

    async def ask() -> list[httpx.Response]:
        transport = httpx.ASGITransport(app=build(house), raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://house", headers={"authorization": f"Bearer {secret}"}) as client:
            return [
                await client.get("/api/compute/jobs/job-none"),
                await client.post("/api/house/users", json={"name": "../x"}),
                await client.post("/api/house/users", json={}),
                await client.post("/api/house/users", content=b"{"),
                await client.get("/api/no/such/route/at/all"),
            ]

    for response, status in zip(asyncio.run(ask()), (404, 422, 422, 422, 404), strict=True):
        assert response.status_code == status, response.text
        assert response.headers["content-type"] == "application/problem+json"
        assert {"type", "title", "status", "code", "detail", "request_id"} <= set(response.json())
        assert response.headers["x-request-id"] == response.json()["request_id"]
        assert response.headers["x-content-type-options"] == "nosniff"
