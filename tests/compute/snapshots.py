"""Snapshots of small houses, with what runs there placed by decisions of before."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import strategies as st

from lilong.floors.compute.scheduler.opening import decided
from lilong.floors.compute.scheduler.snapshot import SnapJob, SnapNode, Snapshot, SnapTenant, Way
from lilong.floors.compute.scheduler.supposing import after

SITES = (("pudong", "h20"), ("pudong", "910b"), ("lingang", "910b"), ("lingang", ""))
TENANTS = ("lantern-works", "harbour-lab", "old-mill")
LEVELS = ("zone", "rack")


def node(name: str, site: str = "pudong", accelerator: str = "h20", devices: int = 8, **more: object) -> SnapNode:
    given = {"cpu": 64_000, "memory": 512_000, **more}
    return SnapNode(f"{site}/{name}", site, accelerator, devices, **given)  # type: ignore[arg-type]


def way(site: str = "pudong", accelerator: str = "h20", devices: int = 8, **more: object) -> Way:
    given = {"cpu": 1000, "memory": 1000, "limit": 3600, "price": 10, **more}
    return Way(site, accelerator, devices, **given)  # type: ignore[arg-type]


def snapshot(nodes: tuple[SnapNode, ...], jobs: tuple[SnapJob, ...], tenants: tuple[SnapTenant, ...] = (), **more: object) -> Snapshot:
    """At second 1,000, under `easy`."""
    names = {tenant.name for tenant in tenants}
    tenants += tuple(SnapTenant(name) for name in sorted({job.tenant for job in jobs} - names))
    given = {"now": 1000, "policy": "easy", "seed": 0, "levels": LEVELS, "reclaim_s": 3600, **more}
    return Snapshot(nodes=nodes, tenants=tenants, jobs=jobs, **given)  # type: ignore[arg-type]


@st.composite
def ways(draw: st.DrawFn, where: tuple[tuple[str, str], ...] = SITES) -> Way:
    site, kind = draw(st.sampled_from(where))
    devices = draw(st.integers(1, 4)) if kind else 0
    milli = draw(st.sampled_from([1000, 500])) if devices == 1 else 1000
    return Way(
        site, kind, devices, milli, draw(st.integers(1, 4)) * 1000, draw(st.integers(0, 3)) * 100, draw(st.integers(1, 3)),
        draw(st.integers(10, 5000)), draw(st.integers(0, 5)), draw(st.sampled_from(["site", "site", "rack"])),
        draw(st.sampled_from(["", "", "rack"])),
    )  # fmt: skip


@st.composite
def jobs(draw: st.DrawFn, prefix: str, most: int, latest: int) -> tuple[SnapJob, ...]:
    return tuple(
        SnapJob(
            f"{prefix}{at}", draw(st.sampled_from(TENANTS)), draw(st.integers(0, latest)), tuple(draw(st.lists(ways(), min_size=1, max_size=2))),
            at, draw(st.integers(0, 2)), f"user{at % 3}", draw(st.booleans()), draw(st.sampled_from([0, 50])),
        )
        for at in range(draw(st.integers(1, most)))
    )  # fmt: skip


@st.composite
def tenants(draw: st.DrawFn) -> tuple[SnapTenant, ...]:
    found = []
    for name in TENANTS:
        nominal = {kind: draw(st.integers(1, 8)) * 1000 for kind in ("h20", "910b", "") if draw(st.booleans())}
        borrow = {kind: draw(st.integers(0, 4)) * 1000 for kind in nominal if draw(st.booleans())}
        found.append(SnapTenant(name, weight=draw(st.integers(500, 3000)), nominal=nominal, borrow=borrow))
    return tuple(found)


@st.composite
def houses(draw: st.DrawFn, policies: tuple[str, ...]) -> Snapshot:
    """At a moment at which nothing more starts."""
    nodes = tuple(
        SnapNode(
            f"{site}/n{at}", site, kind, draw(st.integers(1, 4)) if kind else 0, draw(st.integers(2, 8)) * 1000, draw(st.integers(2, 8)) * 100,
            {"zone": "z", "rack": f"r{at % 2}"}, draw(st.sampled_from([None, None, None, 1500, 3000])),
        )
        for at, (site, kind) in enumerate(draw(st.lists(st.sampled_from(SITES), min_size=1, max_size=5)))
    )  # fmt: skip
    found = Snapshot(
        500, draw(st.sampled_from(policies)), draw(st.integers(0, 9)), LEVELS, draw(st.sampled_from([100, 4000])), nodes, draw(tenants()),
        draw(jobs("early", 6, 400)),
    )  # fmt: skip
    begun = after(found, decided(found))
    running = tuple(job for job in begun.jobs if job.started is not None)
    found = replace(found, now=1000, jobs=(*running, *draw(jobs("late", 10, 900))))
    for _ in range(4):
        decision = decided(found)
        if not decision.starts and not decision.preemptions:
            break
        found = after(found, decision)
    return found
