"""What the console's own pages show, as plain data."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from lilong.chain.service import ChainShown
from lilong.floors import declared
from lilong.ground.access import Actor
from lilong.ground.draw import Interval, intervals
from lilong.ground.floor import Room, load
from lilong.ground.house import House
from lilong.operations import evidence_service

_ROOMS = 6  # newest shown on a tier


@dataclass(frozen=True, slots=True)
class Tier:
    floor: str
    rooms: tuple[Room, ...]
    lit: frozenset[str]  # digests of the rooms that the selected thing was made from, or touched


@dataclass(frozen=True, slots=True)
class Tower:
    tiers: tuple[Tier, ...]  # the top floor first
    selected: str
    reached: int  # artifacts up and down the chain of what is selected


def tower(house: House, actor: Actor, select: str) -> Tower:
    """Every floor with what is on it; with a digest selected, all that its chain of evidence reaches is lit.

    Of what the actor may neither see in a room nor read about, not even the length of the chain is told.
    """
    reached: set[str] = set()
    standing = [(floor.name, tuple(load(floor.rooms)(house, actor)) if floor.rooms else ()) for floor in reversed(declared())]
    if select:
        seen = any(room.digest == select for _, rooms in standing for room in rooms)

        def walk(tx: Any) -> set[str]:
            if not seen and not evidence_service.may_read(house, tx, actor, select):
                return set()
            return {artifact.digest for graph in (house.evidence.down(tx, select), house.evidence.up(tx, select)) for artifact in graph.artifacts} | {select}

        reached = house.db.read(walk)
    tiers = []
    for name, every in standing:
        rooms = every[:_ROOMS]
        tiers.append(Tier(name, rooms, frozenset(room.digest for room in rooms if room.digest in reached and room.digest is not None)))
    return Tower(tuple(tiers), select, len(reached))


def links_of(chain: ChainShown) -> dict[str, list[tuple[str, str | None]]]:
    """For each finished step, what it made, with the page that shows it."""
    found: dict[str, list[tuple[str, str | None]]] = {}
    for step in chain.steps:
        outputs = step.outputs or {}
        lines: list[tuple[str, str | None]] = []
        if outputs.get("repository"):
            kind = "datasets" if step.uses == "corpus.build" else "models"
            lines.append((f"{outputs['repository']}@{str(outputs.get('commit', ''))[:8]}", f"/{kind}/{outputs['repository']}"))
        if outputs.get("number"):
            lines.append((str(outputs["number"]), None))
        if outputs.get("answer"):
            lines.append((str(outputs["answer"])[:200], None))
        if outputs.get("receipt"):
            lines.append((f"receipt {outputs['receipt']}", None))
        for job in outputs.get("jobs") or ([outputs["job"]] if outputs.get("job") else []):
            lines.append((f"job {job[-8:]}", f"/jobs/{job}"))
        found[step.name] = lines
    return found


def statement(house: House, actor: Actor, statement_id: str) -> dict[str, Any]:
    """One statement with its place in the log, for its page."""
    from lilong.operations.evidence_service import statement as shown

    found = shown(house, actor, statement_id)
    return {"statement": found, "predicate": json.dumps(found.predicate, indent=1, sort_keys=True, ensure_ascii=False)}


@dataclass(frozen=True, slots=True)
class ModelShown:
    """A model with everything that the floors know of it."""

    shown: Any  # hub.contract.Shown
    reports: tuple[Any, ...]  # evaluation.contract.ReportShown, the newest first
    certificates: tuple[Any, ...]  # compat.contract.Certificate
    registrations: tuple[Any, ...]
    deployments: tuple[Any, ...]


def model(house: House, actor: Actor, name: str) -> ModelShown:
    """Raises RepositoryNotFound."""
    from lilong.floors.compat import service as compat
    from lilong.floors.evaluation import service as evaluation
    from lilong.floors.governance import service as governance
    from lilong.floors.hub.contract import Kind
    from lilong.floors.hub.service import reading
    from lilong.floors.serving.service import deployments

    shown = reading.show(house, actor, Kind.MODEL, name)
    manifest = shown.revision.manifest
    return ModelShown(
        shown=shown,
        reports=tuple(evaluation.report(house, actor, run.id) for run in evaluation.reports(house, actor, manifest)[:3]),
        certificates=tuple(one for one in compat.certificates(house, actor, name) if one.manifest == manifest),
        registrations=tuple(one for one in governance.listed(house, actor) if one.manifest == manifest),
        deployments=tuple(one for one in deployments.listed(house, actor) if one.manifest == manifest),
    )


def charts(shown: ModelShown) -> list[dict[str, Any]]:
    """For each task of the newest report, base and new model with their intervals, and the same for their difference."""
    found = []
    for task in shown.reports[0].tasks if shown.reports else ():
        pair = [Interval(label, e.estimate, e.low, e.high) for label, e in (("base", task.base), ("new", task.new)) if None not in (e.low, e.estimate, e.high)]
        found.append({"task": task, "chart": intervals(pair, title=f"{task.task}: base and new model", unit=task.unit)})
    return found
