"""Deployments: asked for, started by compute, made ready, ended."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

from lilong.floors.compat.contract import Certificates, Certified
from lilong.floors.compute.contract import FINISHED, PYTHON, Compute, Job, JobAsk, JobState
from lilong.floors.hub.contract import Hub, Kind
from lilong.floors.serving import rules, store
from lilong.floors.serving.contract import (
    DeployAsk,
    DeploymentEnded,
    DeploymentNotFound,
    DeploymentReady,
    DeploymentRequested,
    DeploymentRow,
    NameTaken,
    NotServable,
)
from lilong.ground.access import SYSTEM, Actor
from lilong.ground.db import Tx
from lilong.ground.errors import BadInput
from lilong.ground.events import Recorded
from lilong.ground.evidence import Artifact, Statement
from lilong.ground.house import House
from lilong.ground.seams import stamp

DEPLOYMENT = "https://lilong.dev/deployment/v1"
REGISTRATION = "https://slsa.dev/verification_summary/v1"
GATE = "may-be-served"
YEAR = 366 * 24 * 3600


def deploy(house: House, actor: Actor, ask: DeployAsk) -> DeploymentRow:
    """Serve a revision under a name. Raises Forbidden, RepositoryNotFound, RevisionNotFound, BadInput, NotServable, NameTaken.

    Refused unless the compatibility certificate covers the stack and governance says the model may be served.
    """
    return house.db.write(lambda tx: _deploy(house, tx, actor, ask))


def _deploy(house: House, tx: Tx, actor: Actor, ask: DeployAsk) -> DeploymentRow:
    house.access.require(tx, actor, "serving.deploy", ask.organisation)
    if not ask.key:
        raise BadInput(field="key", problem="it is empty", way_out="Give a key of your own, so that asking twice deploys once.")
    known = store.by_key(tx, ask.organisation, ask.key)
    if known is not None and known.state not in rules.ENDED:
        return known
    repository, ref = rules.split_model(ask.model)
    revision = house.port(Hub).revision(tx, actor, Kind.MODEL, repository, ref)  # type: ignore[type-abstract]
    sizes = {file.path: file.size for file in revision.files}
    model = f"{repository}@{revision.commit[:12]}"
    certified = _certified(house, tx, model, revision.manifest, ask.stack)
    file = rules.model_file(list(sizes), ask.stack, certified.file)
    if certified.file is not None and certified.file != file:
        raise NotServable(
            model=model,
            problem=f"its certificate speaks of {certified.file}, not of {file}.",
            way_out=f"Ask for the stack llama.cpp:{certified.file}, or examine {file}.",
        )
    name = rules.served_name(ask.name, repository, ask.organisation)
    holder = store.live_by_name(tx, name)
    if holder is not None:
        raise NameTaken(
            name=name,
            deployment=holder.id if house.access.allowed(tx, actor, "serving.read", holder.organisation) else "of another organisation",
        )
    row = DeploymentRow(
        id=known.id if known else house.ids.new("deployment"),
        organisation=ask.organisation,
        key=ask.key,
        name=name,
        repository=repository,
        commit=revision.commit,
        manifest=revision.manifest,
        stack=ask.stack,
        file=file,
        plan=_plan(ask, sizes[file]),
        shared=ask.shared,
        state="requested",
        job=None,
        attempt=known.attempt + 1 if known else 1,
        artifact=None,
        statement=None,
        certificate=certified.statement,
        registration=None,
        registration_number=None,
        error=None,
        created_by=actor.user,
        created_at=stamp(house.clock.now()),
        ready_at=None,
        ended_at=None,
    )
    _ask_gate(house, tx, row)
    registration = _newest(house, tx, row.manifest, REGISTRATION)
    job = _submit(house, tx, actor, row, revision.file(file).digest)
    if known:
        tx.run("DELETE FROM serving_deployments WHERE id = :id", id=known.id)
    number = registration and registration.predicate.get("number")
    changes: dict[str, Any] = {"job": job.id, "registration": registration.id if registration else None}
    store.add(tx, DeploymentRow(**{**asdict(row), **changes, "registration_number": str(number) if number else None}))
    house.events.append(tx, actor, DeploymentRequested(row.id, row.organisation, row.name, row.manifest))
    return _get(tx, row.id)


def _plan(ask: DeployAsk, file_bytes: int) -> dict[str, int]:
    for field, value, most in (("context", ask.context, 1 << 20), ("parallel", ask.parallel, 256), ("threads", ask.threads, 512)):
        if not 1 <= value <= most:
            raise BadInput(field=field, problem=f"{value} is not between 1 and {most}", way_out="Give a whole number in that range.")
    memory = ask.memory_mib or rules.memory_mib(file_bytes, ask.context, ask.parallel)
    return {"context": ask.context, "parallel": ask.parallel, "threads": ask.threads, "memory_mib": memory}


def _submit(house: House, tx: Tx, actor: Actor, row: DeploymentRow, digest: str) -> Job:
    plan = row.plan
    spec = {"model": row.file, "name": row.name, "digests": {row.file: digest}}
    ask = JobAsk(
        kind="serving.serve",
        organisation=row.organisation,
        argv=(PYTHON, "-m", "lilong.floors.serving.work", "serve"),
        inputs={"model": {row.file: digest}},
        spec={**spec, **{name: plan[name] for name in ("context", "parallel", "threads")}},
        cpus=plan["threads"],
        memory_mib=plan["memory_mib"],
        timeout_s=YEAR,
        attempts=3,
        service=True,
        key=f"{row.id}:{row.attempt}",
        title=f"serve {row.repository}@{row.commit[:12]} as {row.name}",
    )
    return house.port(Compute).submit(tx, actor, ask)  # type: ignore[type-abstract]


def _newest(house: House, tx: Tx, manifest: str, predicate_type: str) -> Statement | None:
    found = [each for each in house.evidence.about(tx, manifest, predicate_type=predicate_type) if each.revoked_by is None]
    return found[-1] if found else None


def _certified(house: House, tx: Tx, model: str, manifest: str, stack: str) -> Certified:
    """What the compatibility certificate says. Raises NotServable where it does not say that the stack runs the model well."""
    certified = house.port(Certificates).check(tx, manifest, stack)  # type: ignore[type-abstract]
    if not certified.holds:
        way_out = f"Examine it first (compat.examine) on the stack {stack}, or serve it on a stack that passed."
        raise NotServable(model=model, problem=f"{certified.reason.rstrip('.')}.", way_out=way_out)
    return certified


def _ask_gate(house: House, tx: Tx, row: DeploymentRow) -> None:
    """Raises NotServable with governance's reason."""
    about = {"organisation": row.organisation, "repository": row.repository, "commit": row.commit, "manifest": row.manifest}
    answer = house.gates.ask(GATE, tx=tx, **about, stack=row.stack, file=row.file)
    if not answer.allowed:
        raise NotServable(
            model=f"{row.repository}@{row.commit[:12]}", problem=f"{answer.reason.rstrip('.')}.", way_out="Register it first (governance)."
        )


def listed(house: House, actor: Actor) -> list[DeploymentRow]:
    """The deployments that the actor may see, newest first."""
    condition, parameters = house.access.visible(actor, "serving.read", "organisation")
    return house.db.read(lambda tx: store.deployments(tx, condition, parameters))


def shown(house: House, actor: Actor, deployment: str) -> DeploymentRow:
    """Raises DeploymentNotFound."""

    def read(tx: Tx) -> DeploymentRow:
        row = _get(tx, deployment)
        house.access.require(tx, actor, "serving.read", row.organisation, hidden=DeploymentNotFound(name=deployment))
        return row

    return house.db.read(read)


def stop(house: House, actor: Actor, deployment: str) -> DeploymentRow:
    """Take a model off the gateway and end its job. Idempotent. Raises DeploymentNotFound, Forbidden."""

    def write(tx: Tx) -> DeploymentRow:
        row = _get(tx, deployment)
        house.access.require(tx, actor, "serving.deploy", row.organisation, hidden=DeploymentNotFound(name=deployment))
        if row.state in ("requested", "ready"):
            store.change(tx, row.id, state="stopping")
            assert row.job is not None
            house.port(Compute).cancel(tx, SYSTEM, row.job)  # type: ignore[type-abstract]
        return _get(tx, deployment)

    return house.db.write(write)


def job_ready(house: House, recorded: Recorded) -> None:
    """A model server answers: state what is deployed, once, and let the gateway send requests to it."""
    row = house.db.read(lambda tx: store.by_job(tx, recorded.subject))
    if row is None or row.state != "requested":
        return  # not ours, or ready before (a server that was started again): the snapshot follows compute by itself
    body = _artifact(row)
    digest = house.blobs.put(body).digest

    def write(tx: Tx) -> None:
        now = store.deployment(tx, row.id)
        if now is None or now.state != "requested" or now.job != recorded.subject:
            return
        model = Artifact(f"{row.repository}@{row.commit}", row.manifest, "model")
        grounds = [(row.certificate, "certificate"), (row.registration, "registration")]
        evidence = [each for statement, kind in grounds if statement for each in house.evidence.get(tx, statement).subjects if each.kind == kind]
        job = house.port(Compute).job(tx, SYSTEM, recorded.subject)  # type: ignore[type-abstract]
        statement = house.evidence.issue(
            tx,
            SYSTEM,
            predicate_type=DEPLOYMENT,
            subjects=[Artifact(f"{row.name} ({row.id})", digest, "deployment")],
            materials=[model, *evidence],
            predicate={**json.loads(body), "job": recorded.subject, "sandbox": job.sandbox or "none", "ready_at": recorded.at},
        )
        store.change(tx, row.id, state="ready", artifact=digest, statement=statement.id, ready_at=recorded.at, error=None)
        house.events.append(tx, SYSTEM, DeploymentReady(row.id, row.organisation, row.name, statement.id))

    house.db.write(write)


def _artifact(row: DeploymentRow) -> bytes:
    """What a deployment is, as the bytes whose digest stands for it."""
    names = ("id", "organisation", "name", "repository", "commit", "manifest", "stack", "file", "plan", "attempt")
    return json.dumps({name: getattr(row, name) for name in names}, sort_keys=True, ensure_ascii=False, separators=(",", ":")).encode()


def job_finished(house: House, recorded: Recorded) -> None:
    """A model server has ended, wanted or not."""
    if house.db.read(lambda tx: store.by_job(tx, recorded.subject)) is None:
        return  # most jobs are none

    def write(tx: Tx) -> None:
        row = store.by_job(tx, recorded.subject)
        if row is None or row.state in rules.ENDED:
            return
        job = house.port(Compute).job(tx, SYSTEM, recorded.subject)  # type: ignore[type-abstract]
        if job.state not in FINISHED:
            return
        if row.state == "stopping":
            state, reason = ("suspended", row.error) if row.error else ("stopped", "stopped on request")
        else:
            reason = job.exit.reason if job.exit else "compute gave no reason"
            state, reason = ("stopped", "its job was cancelled") if job.state is JobState.CANCELLED else ("failed", reason)
        store.change(tx, row.id, state=state, error=None if state == "stopped" else reason, ended_at=recorded.at)
        house.events.append(tx, SYSTEM, DeploymentEnded(row.id, row.organisation, row.name, state, reason or ""))

    house.db.write(write)


def reconsider(house: House, recorded: Recorded) -> None:
    """Something was revoked: whatever may no longer be served is taken off the gateway."""

    def write(tx: Tx) -> None:
        for row in store.live(tx):
            if row.state == "stopping":
                continue
            try:
                _certified(house, tx, f"{row.repository}@{row.commit[:12]}", row.manifest, row.stack)
                _ask_gate(house, tx, row)
            except NotServable as problem:
                store.change(tx, row.id, state="stopping", error=str(problem))
                assert row.job is not None
                house.port(Compute).cancel(tx, SYSTEM, row.job)  # type: ignore[type-abstract]

    house.db.write(write)


def _get(tx: Tx, deployment: str) -> DeploymentRow:
    row = store.deployment(tx, deployment)
    if row is None:
        raise DeploymentNotFound(name=deployment)
    return row
