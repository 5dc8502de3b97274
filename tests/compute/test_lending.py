"""A lender gets its own back within the reclaim bound."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest
from tests.compute.snapshots import node, snapshot, way

from lilong.floors.compute.scheduler import by_name
from lilong.floors.compute.scheduler.compiled import plainly
from lilong.floors.compute.scheduler.snapshot import SnapJob, SnapTenant

TENANTS = (
    SnapTenant("city", nominal={"h20": 32000}),
    SnapTenant("lantern-works", "city", 2000, nominal={"h20": 16000}, borrow={"h20": 16000}),
    SnapTenant("harbour-lab", "city", 1000, nominal={"h20": 16000}, lend={"h20": 16000}),
)
NODES = tuple(node(f"n{at}") for at in range(4))


def running(name: str, tenant: str, limit: int, *where: str) -> SnapJob:
    places = tuple((f"pudong/{each}", 255) for each in where)
    return SnapJob(name, tenant, 900, (way(tasks=len(where), limit=limit),), started=950, places=places)


HELD = (running("own", "lantern-works", 9000, "n0", "n1"), running("borrowing", "lantern-works", 110, "n2"))
LENDER = SnapJob("lender", "harbour-lab", 990, (way(tasks=2, limit=3000),), 1)
LATER = SnapJob("later", "lantern-works", 995, (way(limit=115),), 2)


@pytest.fixture(autouse=True)
def _plain() -> Iterator[None]:
    with plainly():
        yield


def test_nobody_borrows_more_while_the_lender_waits_for_its_own() -> None:
    seen = snapshot(NODES, (*HELD, LENDER, LATER), TENANTS, policy="drf-tree", reclaim_s=120)
    assert dict(by_name.decide(seen).starts) == {}


def test_the_lender_starts_once_what_it_lent_has_ended() -> None:
    seen = snapshot(NODES, (HELD[0], LENDER, LATER), TENANTS, policy="drf-tree", reclaim_s=120)
    assert set(by_name.decide(replace(seen, now=1100)).starts) == {"lender"}


def test_who_is_within_its_own_quota_goes_before_who_would_borrow_whatever_the_weights() -> None:
    """harbour-lab holds 8 of its 16, lantern-works 16 of its 16, weighted 2 : 1 against it; 8 are free."""
    held = (HELD[0], running("half", "harbour-lab", 9000, "n2"))
    heavy = tuple(replace(one, weight=5000) if one.name == "lantern-works" else one for one in TENANTS)
    waiting = (replace(LENDER, ways=(way(limit=3000),)), replace(LATER, submit=980))
    seen = snapshot(NODES, (*held, *waiting), heavy, policy="drf-tree", reclaim_s=120)
    assert set(by_name.decide(seen).starts) == {"lender"}
