"""Houses with two organisations, their people, and corpora that are made of small texts."""

from __future__ import annotations

import json
import tempfile
from dataclasses import asdict
from pathlib import Path

import pytest

from lilong.floors.compute import service as compute
from lilong.floors.compute.backends.local import LocalSite
from lilong.floors.compute.contract import Compute, Exit, Job, JobFinished
from lilong.floors.corpus import service, work
from lilong.floors.corpus.alliance import indexing, publishing
from lilong.floors.corpus.contract import BuildAsk, Conditions, SourcesAsk, SourceSet, Terms, Version
from lilong.floors.corpus.service.asking import INDEX
from lilong.floors.hub import service as hub
from lilong.ground.access import SYSTEM, Actor
from lilong.ground.blobs import Blob
from lilong.ground.chores import deliver
from lilong.ground.config import load
from lilong.ground.db import Tx
from lilong.ground.errors import LilongError
from lilong.ground.house import House, open_house
from lilong.ground.migrations import migrate
from lilong.ground.work import Workspace
from tests import postgres
from tests.corpus import texts

LANTERN, HARBOUR, WHARF = "lantern-works", "harbour-lab", "west-wharf"
MEI, TOM, HANA, WIM, STEWARD = Actor("mei"), Actor("tom"), Actor("hana"), Actor("wim"), Actor("steward")
"""Owner and member of lantern-works, owner of harbour-lab, owner of west-wharf, steward of the house."""


def database(request: pytest.FixtureRequest) -> str | None:
    """The URL of a fresh database of the kind that a fixture is for; None for SQLite in the house's folder."""
    return postgres.new_database(request.getfixturevalue("postgres")) if request.param == "postgresql" else None


def opened(folder: Path, url: str | None = None) -> House:
    """A house with the floors up to the corpora; nothing runs in the background."""
    given = {"cpus": 2, "memory_mib": 6144} | ({"database": url} if url else {})
    house = open_house(load(folder / "house", given, environment={}))
    migrate(
        house.db, [("ground", "lilong.ground"), *((name, f"lilong.floors.{name}") for name in ("compute", "hub", "corpus"))], house.clock
    )
    for start in (compute.start, hub.start, service.start):
        start(house)
    house.db.write(lambda tx: _furnish(house, tx))
    return house


def closed(house: House) -> None:
    house.port(LocalSite).stop()
    house.close()


def _furnish(house: House, tx: Tx) -> None:
    for organisation in (LANTERN, HARBOUR, WHARF):
        house.access.add_organisation(tx, SYSTEM, organisation, organisation.title())
    grants = (
        ("mei", "owner", LANTERN),
        ("tom", "member", LANTERN),
        ("hana", "owner", HARBOUR),
        ("wim", "owner", WHARF),
        ("steward", "steward", None),
    )
    for user, role, of in grants:
        house.access.add_user(tx, SYSTEM, user)
        house.access.grant(tx, SYSTEM, user, role, of)


def settle(house: House) -> None:
    """The corpora's jobs to their end, and every event to its subscribers, until nothing is left to do."""
    while True:
        ran = [
            _run(house, row["id"])
            for row in house.db.read(lambda tx: tx.rows("SELECT id FROM compute_jobs WHERE state = 'queued' ORDER BY place"))
        ]
        if not sum(deliver(house, subscription) for subscription in house.subscriptions) and not any(ran):
            return


def _run(house: House, identity: str) -> bool:
    """A job's own program, in this process: what it does is the same, and its kernels are compiled once."""
    job = house.db.read(lambda tx: house.port(Compute).job(tx, SYSTEM, identity))  # type: ignore[type-abstract]
    programs = {service.FETCH: work.fetch, service.BUILD: work.build, service.PUBLISH: publishing.publish, INDEX: indexing.make}
    if job.ask.kind not in programs:
        return False
    with tempfile.TemporaryDirectory() as folder:
        space = Workspace(*(Path(folder) / name for name in ("in", "out", "state")))
        for each in (space.inputs, space.state):
            each.mkdir()
        (space.inputs / "spec.json").write_text(json.dumps(dict(job.ask.spec)))
        for name, files in job.ask.inputs.items():
            for path, digest in files.items():
                house.blobs.place(digest, space.inputs / name / path)
        try:
            programs[job.ask.kind](space)
            problem = None
        except LilongError as error:
            problem = f"{error.code()}: {error}"
        found = sorted(path for path in space.out.rglob("*") if path.is_file()) if problem is None else []
        outputs = [(path.relative_to(space.out).as_posix(), house.blobs.put_file(path)) for path in found]
    house.db.write(lambda tx: _ended(house, tx, job, outputs, problem))
    return True


def _ended(house: House, tx: Tx, job: Job, outputs: list[tuple[str, Blob]], problem: str | None) -> None:
    state = "failed" if problem else "succeeded"
    told = json.dumps(asdict(Exit(1 if problem else 0, None, problem or "it finished", 0.0, 0.0, 0.0)))
    tx.run("UPDATE compute_jobs SET state = :state, attempt = 1, exit = :told WHERE id = :id", state=state, told=told, id=job.id)
    for path, blob in outputs:
        tx.run(
            "INSERT INTO compute_outputs (job, path, digest, size) VALUES (:job, :path, :digest, :size)",
            job=job.id,
            path=path,
            digest=blob.digest,
            size=blob.size,
        )
    house.events.append(tx, SYSTEM, JobFinished(job.id, job.ask.organisation, job.ask.kind, state))


def fetched(
    house: House, actor: Actor, organisation: str, name: str, seeds: range, terms: Terms = Terms.PRIVATE, conditions: Conditions | None = None
) -> SourceSet:  # fmt: skip
    """A source set of one source called `name`, with an English page for each seed."""
    kept = {f"{name}/page{seed}.txt": service.keep_text(house, actor, organisation, texts.english(seed).encode()).digest for seed in seeds}
    declared = f'[sources.{name}]\npath = "{name}"\nlicence = "CC-BY-4.0"\nstatement = "Written by the staff of {organisation}."\n'
    kept["licences.toml"] = service.keep_text(house, actor, organisation, declared.encode()).digest
    asked = service.fetch(
        house, actor, SourcesAsk(organisation, f"{name}, {terms}", texts=kept, terms=terms, conditions=conditions or Conditions())
    )
    settle(house)
    return service.source_set(house, actor, asked.id)


def built(house: House, actor: Actor, organisation: str, name: str, *sets: SourceSet) -> Version:
    asked = service.build(house, actor, BuildAsk(organisation, name, [one.id for one in sets], f"{organisation}/{name}", {"held_out": 0.2}))
    settle(house)
    return service.version(house, actor, asked.id)
