"""The gateway inside a running house: its meter, and the snapshot that follows the tables of tokens and deployments."""

from __future__ import annotations

import threading
from dataclasses import replace
from pathlib import Path

import structlog

from lilong.floors.compute.contract import Compute
from lilong.floors.serving import store
from lilong.floors.serving.contract import Deployment, DeploymentRow, Key, Snapshot
from lilong.floors.serving.gateway import snapshots
from lilong.floors.serving.gateway.app import Gateway
from lilong.floors.serving.gateway.meter import Meter
from lilong.floors.serving.gateway.upstream import Upstreams
from lilong.ground.access import Actor, Token
from lilong.ground.db import Tx
from lilong.ground.house import House
from lilong.ground.seams import parse_stamp

log = structlog.get_logger("lilong.serving")

PAUSE = 0.25  # seconds between two rebuilds while the database is written to
AT_LEAST_EVERY = 15.0  # seconds; grants and tokens expire without an event


def folder(house: House) -> Path:
    """Where serving keeps what is not in the database: a folder for each gateway's meter, and `snapshot.json`."""
    return house.settings.house / "segments"


class Plane:
    """One house's data plane. The gateway runs on the server's event loop; the snapshot is rebuilt in a thread of its own."""

    def __init__(self, house: House) -> None:
        self._house = house
        self._folder = folder(house)
        self.meter = Meter(self._folder, wall=lambda: house.clock.now().timestamp())
        self.gateway = Gateway(self.meter, Upstreams(), wall=self.meter.wall, monotonic=house.clock.monotonic)
        self.gateway.following = self
        self.written = 0  # commits of the database, by the count of this process
        self.shown = 0  # of those, how many the snapshot shows
        self._written = threading.Event()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._follow, name="serving-snapshot", daemon=True)
        found = self.meter.recovery
        if found.interrupted or found.torn_bytes or found.damaged:
            log.warning("meter recovered", interrupted=found.interrupted, torn_bytes=found.torn_bytes, damaged=list(found.damaged))

    def start(self) -> None:
        """After all floors are there."""
        from lilong.floors.serving.gateway.process import allow_many_files  # its uvicorn is not needed before a server runs

        allow_many_files()
        self.refresh()
        self._house.db.on_commit(self._note)
        self._thread.start()

    def refresh(self) -> None:
        """Bring the gateway's snapshot up to date, now."""
        mark = self.written
        fresh = self._house.db.read(lambda tx: snapshot(self._house, tx))
        known = self.gateway.snapshot
        if replace(fresh, version=known.version) != known:
            fresh = replace(fresh, version=known.version + 1)
            self.gateway.swap(fresh)
            snapshots.save(self._folder / "snapshot.json", fresh)
        self.shown = mark

    def _note(self) -> None:
        self.written += 1
        self._written.set()

    def metrics(self) -> str:
        """Prometheus text."""
        lines = [
            "# HELP lilong_gateway_requests_total Requests that reached the gateway.",
            "# TYPE lilong_gateway_requests_total counter",
            f"lilong_gateway_requests_total {self.gateway.requests}",
            "# HELP lilong_gateway_in_flight Requests being answered.",
            "# TYPE lilong_gateway_in_flight gauge",
            f"lilong_gateway_in_flight {self.meter.in_flight}",
        ]
        return "\n".join(lines) + "\n"

    def close(self) -> None:
        self._stopping.set()
        self._written.set()
        if self._thread.is_alive():
            self._thread.join(timeout=5)
        self.meter.close()

    def _follow(self) -> None:
        while not self._stopping.is_set():
            self._written.wait(timeout=AT_LEAST_EVERY)
            self._written.clear()
            if self._stopping.is_set():
                return
            try:
                self.refresh()
            except Exception as problem:  # the gateway goes on with the last good snapshot
                log.error("snapshot not refreshed", error=repr(problem))
            self._stopping.wait(PAUSE)


def snapshot(house: House, tx: Tx) -> Snapshot:
    """What the gateway may know, from the tables as they are."""
    keys = {hashed: key_of(house, tx, token) for token, hashed in house.access.live_tokens(tx)}
    return Snapshot(keys, {row.name: _target(house, row) for row in store.live(tx) if row.state != "stopping"})


def key_of(house: House, tx: Tx, token: Token) -> Key:
    expires = parse_stamp(token.expires_at).timestamp() if token.expires_at else None
    return replace(key_for(house, tx, Actor(token.user, frozenset(token.scopes), token.id)), token=token.id, expires=expires)


def key_for(house: House, tx: Tx, actor: Actor) -> Key:
    """What an actor may ask of the models: the organisations in which it has `serving.use`."""
    organisations = sorted({name for name, _ in house.access.organisations_of(tx, actor.user)})
    mine = tuple(name for name in organisations if house.access.allowed(tx, actor, "serving.use", name))
    everywhere = house.access.allowed(tx, actor, "serving.use")
    return Key(actor.user, actor.token or f"house:{actor.user}", mine, everywhere)


def _target(house: House, row: DeploymentRow) -> Deployment:
    address = house.port(Compute).service(row.job) if row.job and row.state == "ready" else None  # type: ignore[type-abstract]
    return Deployment(
        id=row.id,
        model=row.name,
        upstream=upstream(address) if address else "",
        revision=row.manifest,
        organisation=row.organisation,
        repository=row.repository,
        commit=row.commit,
        statement=row.statement or "",
        registration=row.registration_number or "",
        shared=row.shared,
        ready=address is not None,
        created=int(parse_stamp(row.created_at).timestamp()),
        parallel=row.plan["parallel"],
    )


def upstream(address: str) -> str:
    """A service job's address as the gateway writes it."""
    return address if address.startswith(("unix:", "tcp:")) else f"tcp:{address}"
