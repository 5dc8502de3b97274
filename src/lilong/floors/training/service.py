"""The training floor's verbs: import a base model, train one on a corpus version, look at both."""

from __future__ import annotations

import json
from typing import Any

import lilong
from lilong.floors.compute.contract import PYTHON, Compute, Job, JobAsk, JobFinished, JobStarted, JobState, told
from lilong.floors.hub.contract import Hub, Kind, Revision
from lilong.floors.training import rules, store
from lilong.floors.training.contract import (
    IMPORT_PREDICATE,
    TRAINING_PREDICATE,
    AskedOtherwise,
    Base,
    BaseAsk,
    BaseFailed,
    BaseImported,
    BaseNotFound,
    BaseRequested,
    Loss,
    ModelTrained,
    Run,
    RunAsk,
    RunFailed,
    RunNotFound,
    RunRequested,
    RunShown,
    State,
)
from lilong.floors.training.pretraining.recipe import Recipe
from lilong.ground.access import SYSTEM, Actor
from lilong.ground.db import Tx
from lilong.ground.errors import LilongError
from lilong.ground.events import Recorded
from lilong.ground.evidence import Artifact
from lilong.ground.floor import Room
from lilong.ground.house import House
from lilong.ground.seams import stamp

FETCH, IMPORT, TRAIN = "training.fetch-base", "training.import-base", "training.run"
_PROGRAM = (PYTHON, "-m", "lilong.floors.training.work")
_PAGE = 200


def start(house: House) -> None:
    house.subscribe("training.jobs", (JobStarted.kind, JobFinished.kind), follow)


# --- bases -----------------------------------------------------------------------------------------------------------------


def import_base(house: House, actor: Actor, ask: BaseAsk) -> Base:
    """Import a base model. The same key answers the same import; a failed one is tried again.

    Raises Forbidden, NetworkForbidden, BadInput, AskedOtherwise.
    """
    rules.check_base(ask)
    owner = rules.organisation_of(ask.repository)
    return house.db.write(lambda tx: _import_base(house, tx, actor, ask, owner))


def _import_base(house: House, tx: Tx, actor: Actor, ask: BaseAsk, owner: str) -> Base:
    _authorise(house, tx, actor, ask.organisation, owner)
    known = store.base_by_key(tx, ask.organisation, ask.key)
    if known is not None and known[1] != ask:
        raise AskedOtherwise(key=ask.key)
    if known is not None and known[0].state is not State.FAILED:
        return known[0]
    identity = known[0].id if known else house.ids.new("base")
    attempt = known[0].attempt + 1 if known else 1
    job = house.port(Compute).submit(tx, actor, JobAsk(  # type: ignore[type-abstract]
        kind=FETCH, organisation=ask.organisation, argv=(*_PROGRAM, "fetch-base"), spec={"requirement": ask.requirement, "index": ask.index},
        memory_mib=512, timeout_s=3600, attempts=3, network=True, key=f"{identity}.{attempt}.fetch", title=f"Fetch {ask.requirement}",
    ))  # fmt: skip
    created = known[0].created_at if known else stamp(house.clock.now())
    row = Base(
        identity, ask.organisation, ask.key, State.REQUESTED, ask.repository, ask.requirement, attempt, (job.id,), actor.user, created
    )
    store.add_base(tx, row, ask)
    house.events.append(tx, actor, BaseRequested(identity, ask.organisation, ask.repository, ask.requirement, job.id))
    return row


def base(house: House, actor: Actor, name: str) -> Base:
    """By id, organisation/name or organisation/name@commit. Raises BaseNotFound."""

    def look(tx: Tx) -> Base:
        hidden = BaseNotFound(name=name)
        row = store.base(tx, name)
        if row is None:
            raise hidden
        house.access.require(tx, actor, "training.read", row.organisation, hidden=hidden)
        return row

    return house.db.read(look)


def bases(house: House, actor: Actor, limit: int = 50) -> list[Base]:
    """Newest first."""
    condition, parameters = house.access.visible(actor, "training.read", "organisation")
    return house.db.read(lambda tx: store.bases(tx, condition, parameters, max(1, min(limit, _PAGE))))


# --- runs ------------------------------------------------------------------------------------------------------------------


def train(house: House, actor: Actor, ask: RunAsk) -> Run:
    """Train a base on a corpus version. The same key answers the same run; a failed one is tried again.

    Raises Forbidden, BadInput, BadRecipe, UnsafeModelFile, UnsupportedModel, CorpusUnusable, AskedOtherwise; NotFound for a base or
    corpus that the actor may not see.
    """
    rules.check_key(ask.key)
    owner = rules.organisation_of(ask.repository)
    recipe = Recipe.parse(ask.recipe)
    return house.db.write(lambda tx: _train(house, tx, actor, ask, owner, recipe))


def _train(house: House, tx: Tx, actor: Actor, ask: RunAsk, owner: str, recipe: Recipe) -> Run:
    _authorise(house, tx, actor, ask.organisation, owner)
    known = store.run_by_key(tx, ask.organisation, ask.key)
    if known is not None and known[1] != ask:
        raise AskedOtherwise(key=ask.key)
    if known is not None and known[0].state is not State.FAILED:
        return known[0]
    hub = house.port(Hub)  # type: ignore[type-abstract]
    model = hub.revision(tx, actor, Kind.MODEL, *rules.split_reference("base", ask.base))
    corpus = hub.revision(tx, actor, Kind.DATASET, *rules.split_reference("corpus", ask.corpus))
    identity = known[0].id if known else house.ids.new("run")
    attempt = known[0].attempt + 1 if known else 1
    job = house.port(Compute).submit(tx, actor, _job(ask, recipe, model, corpus, f"{identity}.{attempt}"))  # type: ignore[type-abstract]
    row = Run(
        identity, ask.organisation, ask.key, State.REQUESTED, _reference(model), model.manifest, _reference(corpus), corpus.manifest,
        ask.repository, recipe.as_json(), attempt, job.id, actor.user, known[0].created_at if known else stamp(house.clock.now()),
    )  # fmt: skip
    store.add_run(tx, row, ask)
    house.events.append(tx, actor, RunRequested(identity, ask.organisation, ask.repository, model.manifest, corpus.manifest, job.id))
    return row


def _job(ask: RunAsk, recipe: Recipe, model: Revision, corpus: Revision, key: str) -> JobAsk:
    weights = sum(file.size for file in model.files if file.path == "model.safetensors")
    return JobAsk(
        kind=TRAIN,
        organisation=ask.organisation,
        argv=(*_PROGRAM, "train"),
        inputs={
            "base": rules.base_files(model.repository.name, model.tree()),
            "corpus": rules.corpus_files(corpus.repository.name, corpus.tree(), recipe.read),
        },
        spec={
            "name": ask.repository.partition("/")[2],
            "recipe": recipe.as_json(),
            "base": {"reference": model.repository.name, "revision": model.commit},
            "corpus": {"reference": corpus.repository.name, "revision": corpus.commit},
        },
        cpus=recipe.threads,
        memory_mib=rules.train_memory_mib(weights, recipe),
        timeout_s=rules.train_timeout_s(weights, recipe),
        attempts=2,
        key=key,
        title=f"Train {model.repository.name} on {corpus.repository.name}, {recipe.steps} steps",
    )


def run(house: House, actor: Actor, name: str) -> Run:
    """By id, organisation/name or organisation/name@commit. Raises RunNotFound."""

    def look(tx: Tx) -> Run:
        hidden = RunNotFound(name=name)
        row = store.run(tx, name)
        if row is None:
            raise hidden
        house.access.require(tx, actor, "training.read", row.organisation, hidden=hidden)
        return row

    return house.db.read(look)


def runs(house: House, actor: Actor, limit: int = 50) -> list[Run]:
    """Newest first."""
    condition, parameters = house.access.visible(actor, "training.read", "organisation")
    return house.db.read(lambda tx: store.runs(tx, condition, parameters, max(1, min(limit, _PAGE))))


def shown(house: House, actor: Actor, name: str) -> RunShown:
    """A run with its loss curve, also while it goes on. Raises RunNotFound."""
    row = run(house, actor, name)
    digest = house.db.read(lambda tx: store.losses(tx, row.id))
    if digest:
        lines = [json.loads(line) for line in house.blobs.read(digest).decode().splitlines()]
    else:
        lines = house.port(Compute).progress(row.job)  # type: ignore[type-abstract]
    by_step = {int(line["step"]): line for line in lines if "loss" in line}  # a resumed job tells of some steps twice
    losses = (
        Loss(step, line["loss"], line["learning_rate"], int(line["tokens"]), line["seconds"]) for step, line in sorted(by_step.items())
    )
    return RunShown(row, tuple(losses))


def rooms(house: House, actor: Actor) -> list[Room]:
    """Bases and runs, newest first, as the tower shows them."""
    found = [(row.created_at, _base_room(row)) for row in bases(house, actor, 10)]
    found += [(row.created_at, _run_room(row)) for row in runs(house, actor, 10)]
    return [room for _, room in sorted(found, key=lambda item: item[0], reverse=True)]


def _base_room(row: Base) -> Room:
    return Room(
        row.repository,
        f"{row.requirement} · {row.state}",
        f"/models/{row.repository}" if row.commit else f"/jobs/{row.jobs[-1]}",
        row.manifest,
    )


def _run_room(row: Run) -> Room:
    figures = row.figures
    detail = f"{figures['steps']} steps" if figures else str(row.state)  # one batch's loss says nothing: the reports do
    return Room(row.repository, detail, f"/jobs/{row.job}", row.manifest)


# --- follow the jobs -------------------------------------------------------------------------------------------------------


def follow(house: House, recorded: Recorded) -> None:
    """A job started or ended: bring its import or run along. Jobs of others are none of our business."""
    kind = recorded.body.get("job_kind")
    if kind not in (FETCH, IMPORT, TRAIN):
        return
    if recorded.kind == JobStarted.kind:
        house.db.write(lambda tx: store.started(tx, recorded.subject))
        return
    job = house.db.read(lambda tx: house.port(Compute).job(tx, SYSTEM, recorded.subject))  # type: ignore[type-abstract]
    if kind == TRAIN:
        row = house.db.read(lambda tx: store.run_of_job(tx, job.id))
        if row is not None and row.state in (State.REQUESTED, State.RUNNING):
            _finish_run(house, row, job)
        return
    found = house.db.read(lambda tx: store.base_of_job(tx, job.id))
    if found is not None and found[0].state in (State.REQUESTED, State.RUNNING):
        _go_on_importing(house, *found, job)


def _go_on_importing(house: House, row: Base, ask: BaseAsk, fetched: dict[str, Any] | None, job: Job) -> None:
    if job.state is not JobState.SUCCEEDED:
        house.db.write(lambda tx: _fail_base(house, tx, row, _reason(job)))
    elif job.ask.kind == FETCH:
        result = json.loads(house.blobs.read(job.output("result.json").digest))
        house.db.write(lambda tx: _start_import(house, tx, row, ask, job, result))
    else:
        assert fetched is not None
        _publish_base(house, row, fetched, job)


def _start_import(house: House, tx: Tx, row: Base, ask: BaseAsk, fetch: Job, fetched: dict[str, Any]) -> None:
    wheel = fetch.output(fetched["wheel"])
    try:
        job = house.port(Compute).submit(tx, Actor(row.requested_by), JobAsk(  # type: ignore[type-abstract]
            kind=IMPORT, organisation=row.organisation, argv=(*_PROGRAM, "import-base"), inputs={"wheel": {wheel.path: wheel.digest}},
            spec=rules.import_spec(ask, fetched), memory_mib=rules.import_memory_mib(wheel.size), timeout_s=1800,
            key=f"{row.id}.{row.attempt}.import", title=f"Import {row.requirement} into {row.repository}",
        ))  # fmt: skip
    except LilongError as problem:
        _fail_base(house, tx, row, str(problem))
        return
    store.go_on(tx, row.id, job.id, fetched)


def _publish_base(house: House, row: Base, fetched: dict[str, Any], job: Job) -> None:
    outputs = {output.path: output.digest for output in job.outputs}
    result = json.loads(house.blobs.read(outputs["result.json"]))

    def finish(tx: Tx, revision: Revision) -> None:
        fetch = house.port(Compute).job(tx, SYSTEM, row.jobs[0])  # type: ignore[type-abstract]
        statement = house.evidence.issue(
            tx, SYSTEM, predicate_type=IMPORT_PREDICATE, subjects=[_artifact(revision)], materials=rules.import_materials(result, outputs),
            predicate=rules.import_predicate(row.repository, revision.commit, result, fetched, {"fetch": told(fetch), "import": told(job)}),
        )  # fmt: skip
        if store.finish_base(
            tx, row.id, commit=revision.commit, manifest=revision.manifest, statement=statement.id,
            figures=rules.import_figures(result, fetched), at=stamp(house.clock.now()),
        ):  # fmt: skip
            imported = BaseImported(row.id, row.organisation, row.repository, revision.commit, revision.manifest, statement.id)
            house.events.append(tx, SYSTEM, imported)

    try:
        message = f"{result['name']}, out of {fetched['origin']}"
        house.port(Hub).publish(SYSTEM, Kind.MODEL, row.repository, rules.published(outputs), message, finish)  # type: ignore[type-abstract]
    except LilongError as problem:
        if problem.status >= 500:
            raise  # the house's trouble, not the model's: the event is handed over again
        reason = f"it could not be published: {problem}"
        house.db.write(lambda tx: _fail_base(house, tx, row, reason))


def _finish_run(house: House, row: Run, job: Job) -> None:
    if job.state is not JobState.SUCCEEDED:
        house.db.write(lambda tx: _fail_run(house, tx, row, _reason(job)))
        return
    outputs = {output.path: output.digest for output in job.outputs}
    result = json.loads(house.blobs.read(outputs["result.json"]))

    def finish(tx: Tx, revision: Revision) -> None:
        statement = house.evidence.issue(
            tx, SYSTEM, predicate_type=TRAINING_PREDICATE, subjects=[_artifact(revision)], materials=rules.train_materials(row, outputs),
            predicate=rules.provenance(row, revision.commit, result, outputs, told(job), lilong.__version__),
        )  # fmt: skip
        if store.finish_run(
            tx, row.id, commit=revision.commit, manifest=revision.manifest, statement=statement.id, figures=rules.figures(result),
            losses=outputs["loss.jsonl"], at=stamp(house.clock.now()),
        ):  # fmt: skip
            trained = ModelTrained(row.id, row.organisation, row.repository, revision.commit, revision.manifest, statement.id)
            house.events.append(tx, SYSTEM, trained)

    try:
        message = f"{result['steps']} steps of {row.base.partition('@')[0]} on {row.corpus.partition('@')[0]}"
        house.port(Hub).publish(SYSTEM, Kind.MODEL, row.repository, rules.published(outputs), message, finish)  # type: ignore[type-abstract]
    except LilongError as problem:
        if problem.status >= 500:
            raise
        reason = f"it could not be published: {problem}"
        house.db.write(lambda tx: _fail_run(house, tx, row, reason))


def _fail_base(house: House, tx: Tx, row: Base, reason: str) -> None:
    if store.fail(tx, "training_bases", row.id, reason, stamp(house.clock.now())):
        house.events.append(tx, SYSTEM, BaseFailed(row.id, row.organisation, reason))


def _fail_run(house: House, tx: Tx, row: Run, reason: str) -> None:
    if store.fail(tx, "training_runs", row.id, reason, stamp(house.clock.now())):
        house.events.append(tx, SYSTEM, RunFailed(row.id, row.organisation, reason))


def _authorise(house: House, tx: Tx, actor: Actor, organisation: str, owner: str) -> None:
    """To run for one organisation, and to write into the repositories of another (mostly the same)."""
    house.access.require(tx, actor, "training.run", organisation)
    house.access.organisation(tx, organisation)
    house.access.require(tx, actor, "hub.write", owner)
    house.access.organisation(tx, owner)


def _reason(job: Job) -> str:
    return job.exit.reason if job.exit and job.exit.reason else f"the job {job.id} was {job.state.value}"


def _reference(revision: Revision) -> str:
    return f"{revision.repository.name}@{revision.commit}"


def _artifact(revision: Revision) -> Artifact:
    return Artifact(f"{revision.repository.name}@{revision.commit[:12]}", revision.manifest, "model")
