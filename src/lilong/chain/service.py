"""What the house remembers of its chains: the file, and for each step its key, state and outputs."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any, ClassVar

from lilong.ground.access import Actor
from lilong.ground.db import Row, Tx
from lilong.ground.errors import BadInput, NotFound
from lilong.ground.house import House
from lilong.ground.seams import stamp

from . import rules

STATES = ("waiting", "running", "done", "failed")


@dataclass(frozen=True, slots=True)
class ChainAsk:
    source: str


@dataclass(frozen=True, slots=True)
class StepAsk:
    key: str
    state: str
    outputs: dict[str, Any] | None = None
    error: str | None = None


@dataclass(frozen=True, slots=True)
class StepShown:
    name: str
    uses: str
    why: str
    key: str | None
    state: str
    started_at: str | None
    finished_at: str | None
    outputs: dict[str, Any] | None
    error: str | None


@dataclass(frozen=True, slots=True)
class ChainShown:
    organisation: str
    name: str
    title: str
    updated_at: str
    source: str
    steps: tuple[StepShown, ...] = field(default=())


@dataclass(frozen=True, slots=True)
class StepChanged:
    kind: ClassVar[str] = "chain.step-changed"
    subject: str  # organisation/chain/step
    organisation: str
    state: str
    key: str


class ChainNotFound(NotFound):
    """There is no chain '{name}' that you may see."""


def keep(house: House, actor: Actor, ask: ChainAsk) -> ChainShown:
    """Remember a chain file; steps that it no longer has are forgotten, those that it still has keep their state."""
    chain = rules.parse(ask.source)

    def write(tx: Tx) -> ChainShown:
        house.access.require(tx, actor, "chain.run", chain.organisation)
        tx.run(
            "INSERT INTO chain_chains (organisation, name, title, source, updated_at) VALUES (:organisation, :name, :title, :source, :now) "
            "ON CONFLICT (organisation, name) DO UPDATE SET title = excluded.title, source = excluded.source, updated_at = excluded.updated_at",
            organisation=chain.organisation, name=chain.name, title=chain.title, source=chain.source, now=stamp(house.clock.now()),
        )  # fmt: skip
        wanted = {step.name for step in chain.steps}
        for row in tx.rows("SELECT name FROM chain_steps WHERE organisation = :o AND chain = :c", o=chain.organisation, c=chain.name):
            if row["name"] not in wanted:
                tx.run(
                    "DELETE FROM chain_steps WHERE organisation = :o AND chain = :c AND name = :n",
                    o=chain.organisation,
                    c=chain.name,
                    n=row["name"],
                )
        for position, step in enumerate(chain.steps):
            tx.run(
                "INSERT INTO chain_steps (organisation, chain, name, position, uses, why, state) VALUES (:o, :c, :n, :position, :uses, :why, 'waiting') "
                "ON CONFLICT (organisation, chain, name) DO UPDATE SET position = excluded.position, uses = excluded.uses, why = excluded.why",
                o=chain.organisation, c=chain.name, n=step.name, position=position, uses=step.uses, why=step.why,
            )  # fmt: skip
        return _shown(tx, chain.organisation, chain.name)

    return house.db.write(write)


def note(house: House, actor: Actor, organisation: str, name: str, step: str, ask: StepAsk) -> ChainShown:
    """Remember how a step stands."""
    if ask.state not in STATES:
        raise BadInput(field="state", problem=f"{ask.state!r} is not a state", way_out=f"One of {', '.join(STATES)}.")

    def write(tx: Tx) -> ChainShown:
        house.access.require(tx, actor, "chain.run", organisation, hidden=ChainNotFound(name=f"{organisation}/{name}"))
        now = stamp(house.clock.now())
        old = tx.row(
            "SELECT step_key, state, started_at FROM chain_steps WHERE organisation = :o AND chain = :c AND name = :n",
            o=organisation,
            c=name,
            n=step,
        )
        if old is None:
            raise ChainNotFound(name=f"{organisation}/{name}/{step}")
        same = old["step_key"] == ask.key
        started = old["started_at"] if same and old["started_at"] and old["state"] != "failed" else now
        tx.run(
            "UPDATE chain_steps SET step_key = :key, state = :state, started_at = :started, finished_at = :finished, outputs = :outputs, error = :error "
            "WHERE organisation = :o AND chain = :c AND name = :n",
            key=ask.key, state=ask.state, started=started, finished=now if ask.state in ("done", "failed") else None,
            outputs=json.dumps(ask.outputs, ensure_ascii=False) if ask.outputs is not None else None, error=ask.error, o=organisation, c=name, n=step,
        )  # fmt: skip
        if not same or old["state"] != ask.state:
            house.events.append(tx, actor, StepChanged(f"{organisation}/{name}/{step}", organisation, ask.state, ask.key))
        return _shown(tx, organisation, name)

    return house.db.write(write)


def show(house: House, actor: Actor, organisation: str, name: str) -> ChainShown:
    def read(tx: Tx) -> ChainShown:
        if not house.access.allowed(tx, actor, "chain.read", organisation):
            raise ChainNotFound(name=f"{organisation}/{name}")
        return _shown(tx, organisation, name)

    return house.db.read(read)


def chains(house: House, actor: Actor) -> list[ChainShown]:
    def read(tx: Tx) -> list[ChainShown]:
        condition, parameters = house.access.visible(actor, "chain.read", "organisation")
        rows = tx.rows(f"SELECT organisation, name FROM chain_chains WHERE {condition} ORDER BY updated_at DESC", **parameters)
        return [_shown(tx, row["organisation"], row["name"]) for row in rows]

    return house.db.read(read)


def _shown(tx: Tx, organisation: str, name: str) -> ChainShown:
    row = tx.row("SELECT * FROM chain_chains WHERE organisation = :o AND name = :n", o=organisation, n=name)
    if row is None:
        raise ChainNotFound(name=f"{organisation}/{name}")
    steps = tx.rows("SELECT * FROM chain_steps WHERE organisation = :o AND chain = :n ORDER BY position", o=organisation, n=name)
    return ChainShown(
        row["organisation"], row["name"], row["title"], row["updated_at"], row["source"], tuple(_step(step) for step in steps)
    )


def _step(row: Row) -> StepShown:
    outputs = json.loads(row["outputs"]) if row["outputs"] else None
    return StepShown(
        row["name"], row["uses"], row["why"], row["step_key"], row["state"], row["started_at"], row["finished_at"], outputs, row["error"]
    )
