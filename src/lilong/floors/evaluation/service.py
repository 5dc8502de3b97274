"""The evaluation floor's verbs: fix a protocol, carry it out, show what came of it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from lilong.floors.compute.contract import PYTHON, Compute, Job, JobAsk, JobFinished, JobStarted, JobState, WorkMeasured
from lilong.floors.evaluation import rules, store
from lilong.floors.evaluation.contract import (
    BadEvaluationRecipe,
    DepartsFromProtocol,
    EvaluationFailed,
    EvaluationProtocol,
    EvaluationRun,
    EvaluationStarted,
    PlannedProtocol,
    ProtocolAsk,
    ProtocolFixed,
    ProtocolNotFixed,
    ProtocolNotFound,
    ReportIssued,
    ReportShown,
    RunAsk,
    RunNotFound,
    State,
)
from lilong.floors.evaluation.scoring.langtest import REQUIREMENT
from lilong.floors.hub.contract import Hub, Kind, Revision
from lilong.ground.access import SYSTEM, Actor
from lilong.ground.db import Tx
from lilong.ground.errors import BadInput, LilongError
from lilong.ground.events import Recorded
from lilong.ground.evidence import Artifact
from lilong.ground.house import House
from lilong.ground.seams import stamp

PROTOCOL = "https://lilong.dev/evaluation-protocol/v1"
TEST_RESULT = "https://in-toto.io/attestation/test-result/v0.1"
KINDS = {"fetch": "evaluation.fetch-tasks", "plan": "evaluation.plan", "score": "evaluation.score"}
OUTPUTS = {"report": "report.json", "markdown": "report.md", "items": "items.parquet"}
OPEN = (State.REQUESTED, State.RUNNING)


def start(house: House) -> None:
    house.subscribe("evaluation.jobs", (JobStarted.kind, JobFinished.kind), follow)


# --- plan --------------------------------------------------------------------------------------------------------------------


def plan(house: House, actor: Actor, ask: ProtocolAsk) -> PlannedProtocol:
    """Fix a protocol for these revisions, before anything is run. Raises Forbidden, NotFound, BadInput."""
    recipe = rules.read_recipe(ask.recipe)
    _check_key(ask.key)

    def write(tx: Tx) -> PlannedProtocol:
        house.access.require(tx, actor, "evaluation.run", ask.organisation)
        known = store.by_key(tx, PlannedProtocol, ask.organisation, ask.key)
        if known is not None and known.state is not State.FAILED:
            return known
        base = _revision(house, tx, actor, Kind.MODEL, ask.base, "base")
        corpus = _revision(house, tx, actor, Kind.DATASET, ask.corpus, "corpus")
        tasks = _revision(house, tx, actor, Kind.DATASET, ask.tasks, "tasks").tree() if ask.tasks else store.kept_tasks(tx, REQUIREMENT)
        stage = "plan" if tasks or not recipe.questions else "fetch"
        one = PlannedProtocol(
            id=known.id if known else house.ids.new("protocol"),
            organisation=ask.organisation,
            key=ask.key,
            state=State.REQUESTED,
            base=_pinned(base),
            base_manifest=base.manifest,
            new=ask.new,
            corpus=_pinned(corpus),
            corpus_manifest=corpus.manifest,
            recipe=dict(ask.recipe),
            requested_by=actor.user,
            created_at=known.created_at if known else stamp(house.clock.now()),
            attempt=known.attempt + 1 if known else 1,
            stage=stage,
            job="",
            tasks=tasks if recipe.questions else {},
        )
        one = replace(one, job=_plan_job(house, tx, actor, one).id)
        store.put(tx, one)
        return one

    return house.db.write(write)


def _plan_job(house: House, tx: Tx, actor: Actor, one: PlannedProtocol) -> Job:
    """The job of the protocol's stage. Fetching needs the network: the house itself asks, for one package that nobody can choose."""
    compute = house.port(Compute)  # type: ignore[type-abstract]
    fetch = one.stage == "fetch"
    corpus = {} if fetch else _revision(house, tx, SYSTEM, Kind.DATASET, one.corpus, "corpus").tree("data/")
    models = {"base": one.base, "new": one.new or "the model of the run (see the report's statement)"}
    ask = JobAsk(
        kind=KINDS[one.stage],
        organisation=one.organisation,
        argv=(PYTHON, "-m", "lilong.floors.evaluation.work", "fetch-tasks" if fetch else "plan"),
        inputs={} if fetch else {"corpus": corpus, "tasks": one.tasks},
        spec={} if fetch else {"models": models, "corpus": one.corpus, "recipe": dict(one.recipe)},
        memory_mib=512 if fetch else 1024,
        timeout_s=600,
        attempts=2,
        network=fetch,
        key=f"{one.id}.{one.attempt}.{one.stage}",
        title="Fetch test items" if fetch else f"Plan an evaluation on {one.corpus}",
    )
    return compute.submit(tx, SYSTEM if fetch else actor, ask)


# --- run ---------------------------------------------------------------------------------------------------------------------


def run(house: House, actor: Actor, ask: RunAsk) -> EvaluationRun:
    """Score a new model against the base by a fixed protocol. Raises Forbidden, NotFound, ProtocolNotFixed, DepartsFromProtocol."""
    _check_key(ask.key)

    def write(tx: Tx) -> EvaluationRun:
        house.access.require(tx, actor, "evaluation.run", ask.organisation)
        known = store.by_key(tx, EvaluationRun, ask.organisation, ask.key)
        if known is not None and known.state is not State.FAILED:
            return known
        protocol = _protocol(house, tx, actor, ask.protocol)
        if protocol.state is not State.DONE or protocol.digest is None:
            raise ProtocolNotFixed(protocol.id, protocol.state)
        base = _revision(house, tx, actor, Kind.MODEL, ask.base or protocol.base, "base")
        corpus = _revision(house, tx, actor, Kind.DATASET, ask.corpus or protocol.corpus, "corpus")
        new = _revision(house, tx, actor, Kind.MODEL, ask.new, "new")
        for what, found, planned in (("The base model", base, protocol.base_manifest), ("The corpus", corpus, protocol.corpus_manifest)):
            if found.manifest != planned:
                raise DepartsFromProtocol(what, f"{_pinned(found)} was given")
        one = EvaluationRun(
            id=known.id if known else house.ids.new("evaluation"),
            organisation=ask.organisation,
            key=ask.key,
            state=State.REQUESTED,
            protocol=protocol.id,
            protocol_digest=protocol.digest,
            base=_pinned(base),
            base_manifest=base.manifest,
            new=_pinned(new),
            new_manifest=new.manifest,
            corpus=_pinned(corpus),
            corpus_manifest=corpus.manifest,
            requested_by=actor.user,
            created_at=known.created_at if known else stamp(house.clock.now()),
            attempt=known.attempt + 1 if known else 1,
            job="",
        )
        inputs = {
            "base": rules.model_files(base.tree()),
            "new": rules.model_files(new.tree()),
            "corpus": corpus.tree("data/"),
            "tasks": dict(protocol.tasks),
            "protocol": {"protocol.json": protocol.digest},
        }
        memory = rules.scoring_memory({file.path: file.size for model in (base, new) for file in model.files})
        one = replace(one, job=_score_job(house, tx, actor, one, inputs, memory).id)
        store.put(tx, one)
        house.events.append(tx, actor, EvaluationStarted(one.id, one.organisation, protocol.digest, new.manifest, one.job))
        return one

    return house.db.write(write)


def _score_job(house: House, tx: Tx, actor: Actor, one: EvaluationRun, inputs: Mapping[str, Mapping[str, str]], memory_mib: int) -> Job:
    ask = JobAsk(
        kind=KINDS["score"],
        organisation=one.organisation,
        argv=(PYTHON, "-m", "lilong.floors.evaluation.work", "score"),
        inputs=inputs,
        cpus=2,
        memory_mib=memory_mib,
        timeout_s=4 * 3600,
        attempts=3,
        key=f"{one.id}.{one.attempt}",
        title=f"Evaluate {one.new} against {one.base}",
    )
    return house.port(Compute).submit(tx, actor, ask)  # type: ignore[type-abstract]


# --- follow the jobs ---------------------------------------------------------------------------------------------------------


def follow(house: House, recorded: Recorded) -> None:
    """A job started or finished: bring its protocol or run along. Jobs of others are none of our business; twice is once."""
    if recorded.body.get("job_kind") not in KINDS.values():
        return
    job, protocol, one = house.db.read(
        lambda tx: (
            house.port(Compute).job(tx, SYSTEM, recorded.subject),  # type: ignore[type-abstract]
            store.by_job(tx, PlannedProtocol, recorded.subject),
            store.by_job(tx, EvaluationRun, recorded.subject),
        )
    )
    row = protocol or one
    if row is None or row.state not in OPEN:
        return
    if recorded.kind == JobStarted.kind:
        house.db.write(lambda tx: _started(tx, row))
    elif job.state is not JobState.SUCCEEDED:
        reason = job.exit.reason if job.exit else f"the job was {job.state}"
        house.db.write(lambda tx: _fail(house, tx, row, reason))
    else:
        try:
            if one is not None:
                _report(house, one, job)
            elif protocol is not None:
                _planned(house, protocol, job)
        except LilongError as error:
            if error.status >= 500:
                raise  # the house's trouble, not the evaluation's: the event is handed over again
            reason = str(error)
            house.db.write(lambda tx: _fail(house, tx, row, reason))


def _started(tx: Tx, row: PlannedProtocol | EvaluationRun) -> None:
    now = store.by_id(tx, type(row), row.id)
    if now is not None and now.state is State.REQUESTED and now.job == row.job:
        store.put(tx, replace(now, state=State.RUNNING))


def _fail(house: House, tx: Tx, row: PlannedProtocol | EvaluationRun, reason: str) -> None:
    now = store.by_id(tx, type(row), row.id)
    if now is None or now.state not in OPEN or now.job != row.job:
        return
    store.put(tx, replace(now, state=State.FAILED, error=reason, finished_at=stamp(house.clock.now())))
    house.events.append(tx, SYSTEM, EvaluationFailed(row.id, row.organisation, reason))


def _planned(house: House, row: PlannedProtocol, job: Job) -> None:
    """The fetch job is done: plan. The plan job is done: the protocol is fixed, and signed."""
    if row.stage == "fetch":
        tasks = rules.task_files({output.path: output.digest for output in job.outputs})

        def go_on(tx: Tx) -> None:
            now = store.by_id(tx, PlannedProtocol, row.id)
            if now is None or now.state not in OPEN or now.job != row.job:
                return
            store.keep_tasks(tx, REQUIREMENT, tasks, stamp(house.clock.now()))
            onward = replace(now, stage="plan", tasks=tasks)
            store.put(tx, replace(onward, job=_plan_job(house, tx, SYSTEM, onward).id))

        house.db.write(go_on)
        return
    digest = job.output("protocol.json").digest
    protocol = rules.read_protocol(house.blobs.read(digest))
    house.db.write(lambda tx: _fix(house, tx, row, job, protocol, digest))


def _fix(house: House, tx: Tx, row: PlannedProtocol, job: Job, protocol: EvaluationProtocol, digest: str) -> None:
    now = store.by_id(tx, PlannedProtocol, row.id)
    if now is None or now.state not in OPEN or now.job != row.job:
        return
    items = [(path, found) for path, found in sorted(row.tasks.items()) if path.endswith(".jsonl")]
    figures = rules.protocol_figures(protocol)
    statement = house.evidence.issue(
        tx,
        SYSTEM,
        predicate_type=PROTOCOL,
        subjects=[Artifact(f"protocol: {protocol.title}", digest, "protocol")],
        materials=[
            Artifact(row.base, row.base_manifest, "model"),
            Artifact(row.corpus, row.corpus_manifest, "corpus"),
            *(
                Artifact(figures[path.removesuffix(".jsonl")]["data"], found, "task")
                for path, found in items
                if path.removesuffix(".jsonl") in figures
            ),
        ],
        predicate={
            "id": row.id,
            "title": protocol.title,
            "engine": protocol.engine,
            "dtype": protocol.dtype,
            "alpha": protocol.alpha,
            "seed": protocol.seed,
            "new": row.new,
            "tasks": figures,
            "requestedBy": row.requested_by,
            "job": job.id,
        },
    )
    done = replace(now, state=State.DONE, finished_at=stamp(house.clock.now()), title=protocol.title, digest=digest)
    store.put(tx, replace(done, statement=statement.id, figures=figures))
    house.events.append(tx, SYSTEM, ProtocolFixed(row.id, row.organisation, digest, statement.id))


def _report(house: House, row: EvaluationRun, job: Job) -> None:
    digests = {name: job.output(path).digest for name, path in OUTPUTS.items()}
    report: dict[str, Any] = json.loads(house.blobs.read(digests["report"]))
    if report["protocol"] != row.protocol_digest:
        raise DepartsFromProtocol("The report", f"it speaks of the protocol {report['protocol']}")
    house.db.write(lambda tx: _issue(house, tx, row, job, report, digests))


def _issue(house: House, tx: Tx, row: EvaluationRun, job: Job, report: Mapping[str, Any], digests: Mapping[str, str]) -> None:
    now = store.by_id(tx, EvaluationRun, row.id)
    if now is None or now.state not in OPEN or now.job != row.job:
        return
    protocol = Artifact(f"protocol: {report['title']}", row.protocol_digest, "protocol")
    figures = rules.run_figures(report)
    statement = house.evidence.issue(
        tx,
        SYSTEM,
        predicate_type=TEST_RESULT,
        subjects=[Artifact(row.new, row.new_manifest, "model"), Artifact(f"report: {report['title']}", digests["report"], "report")],
        materials=[Artifact(row.base, row.base_manifest, "model"), Artifact(row.corpus, row.corpus_manifest, "corpus"), protocol],
        predicate={
            **rules.test_result(report, [protocol.descriptor()]),
            "evaluation": row.id,
            "report": digests["report"],
            "items": digests["items"],
            "figures": figures,
            "alpha": report["alpha"],
            "environment": report["environment"],
            "job": job.id,
            "sandbox": job.sandbox,
            "requestedBy": row.requested_by,
        },
    )
    done = replace(now, state=State.DONE, finished_at=stamp(house.clock.now()), answer=report["answer"], figures=figures)
    store.put(tx, replace(done, statement=statement.id, report=digests["report"], markdown=digests["markdown"], items=digests["items"]))
    house.events.append(
        tx, SYSTEM, ReportIssued(row.id, row.organisation, row.new_manifest, digests["report"], statement.id, report["answer"])
    )
    sizes = {
        name: sum(house.blobs.size(digest) for path, digest in job.ask.inputs[name].items() if path.endswith(".safetensors"))
        for name in ("base", "new")
    }
    house.events.append(tx, SYSTEM, WorkMeasured(job.id, row.organisation, rules.work_done(report, sizes), digests["report"]))


# --- look --------------------------------------------------------------------------------------------------------------------


def protocol(house: House, actor: Actor, name: str) -> PlannedProtocol:
    """By its id or its digest. Raises ProtocolNotFound."""
    return house.db.read(lambda tx: _protocol(house, tx, actor, name))


def protocols(house: House, actor: Actor) -> list[PlannedProtocol]:
    """Newest first."""
    condition, parameters = house.access.visible(actor, "evaluation.read", "organisation")
    return house.db.read(lambda tx: store.listed(tx, PlannedProtocol, condition, parameters))


def protocol_document(house: House, actor: Actor, name: str) -> dict[str, Any]:
    """The protocol as it was signed, with every item. Raises ProtocolNotFound, ProtocolNotFixed."""
    one = protocol(house, actor, name)
    if one.digest is None:
        raise ProtocolNotFixed(one.id, one.state)
    found: dict[str, Any] = json.loads(house.blobs.read(one.digest))
    return found


def evaluation(house: House, actor: Actor, name: str) -> EvaluationRun:
    """A run by its id or its report's digest. Raises RunNotFound."""

    condition, parameters = house.access.visible(actor, "evaluation.read", "organisation")
    one = house.db.read(lambda tx: store.reported(tx, name, condition, parameters))
    if one is None:
        raise RunNotFound(name=name)
    return one


def evaluations(house: House, actor: Actor) -> list[EvaluationRun]:
    """All runs, newest first."""
    return _runs(house, actor, "1 = 1", {})


def reports(house: House, actor: Actor, model: str | None = None) -> list[EvaluationRun]:
    """Runs with a report, newest first; `model`: of this repository, repository@commit, or manifest."""
    if not model:
        return _runs(house, actor, "state = 'done'", {})
    condition = "state = 'done' AND (new = :model OR new_manifest = :model OR substr(new, 1, :length) = :start)"
    return _runs(house, actor, condition, {"model": model, "start": f"{model}@", "length": len(model) + 1})


def report(house: House, actor: Actor, name: str) -> ReportShown:
    """A report by its digest or its run's id, with intervals ready to be drawn. Raises RunNotFound."""
    one = evaluation(house, actor, name)
    if one.report is None or one.statement is None:
        raise RunNotFound(name=name)
    statement = one.statement
    document: dict[str, Any] = json.loads(house.blobs.read(one.report))
    revoked_by = house.db.read(lambda tx: house.evidence.get(tx, statement).revoked_by)
    return ReportShown(one, 1 - document["alpha"], rules.task_figures(document), document, revoked_by)


def report_markdown(house: House, actor: Actor, name: str) -> str:
    """The report to read. Raises RunNotFound."""
    one = evaluation(house, actor, name)
    if one.markdown is None:
        raise RunNotFound(name=name)
    return house.blobs.read(one.markdown).decode()


def _runs(house: House, actor: Actor, condition: str, parameters: Mapping[str, Any]) -> list[EvaluationRun]:
    visible, more = house.access.visible(actor, "evaluation.read", "organisation")
    return house.db.read(lambda tx: store.listed(tx, EvaluationRun, f"{condition} AND {visible}", {**parameters, **more}))


def _protocol(house: House, tx: Tx, actor: Actor, name: str) -> PlannedProtocol:
    one = store.fixed_protocol(tx, name, *house.access.visible(actor, "evaluation.read", "organisation"))
    if one is None:
        raise ProtocolNotFound(name=name)
    return one


def _revision(house: House, tx: Tx, actor: Actor, kind: Kind, reference: str, field: str) -> Revision:
    name, ref = rules.split_reference(reference, field)
    revision = house.port(Hub).revision(tx, actor, kind, name, ref)  # type: ignore[type-abstract]
    if field == "corpus" and not (revision.tree("data/heldout-") and revision.tree("data/train-")):
        raise BadInput(
            field=field, problem=f"{reference} has no data/heldout-*.parquet or no data/train-*.parquet", way_out="Name a corpus version."
        )
    return revision


def _pinned(revision: Revision) -> str:
    return f"{revision.repository.name}@{revision.commit}"


def _check_key(key: str) -> None:
    if not key:
        raise BadEvaluationRecipe("key", "is empty", "Give a text that names this request, such as a random one.")
