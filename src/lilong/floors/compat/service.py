"""The compat floor's verbs: ask for an examination, turn its outcome into a certificate, answer whether one holds."""

from __future__ import annotations

import json
from typing import Any

from lilong.floors.compat import rules, store
from lilong.floors.compat.backends import SELF_TEST, adapter
from lilong.floors.compat.contract import (
    Certificate,
    CertificateIssued,
    CertificateNotFound,
    Certificates,
    CertificateShown,
    Certified,
    Examination,
    ExaminationAsk,
    ExaminationFailed,
    ExaminationNotFound,
    ExaminationRequested,
    MatrixLine,
    NothingToExamine,
    Recipe,
    State,
    UnknownStack,
)
from lilong.floors.compute.contract import PYTHON, Compute, Job, JobAsk, JobFinished, JobStarted, JobState, WorkMeasured
from lilong.floors.hub.contract import Hub, Kind, Revision
from lilong.ground.access import SYSTEM, Actor
from lilong.ground.db import Tx
from lilong.ground.errors import BadInput
from lilong.ground.events import Recorded
from lilong.ground.evidence import Artifact
from lilong.ground.house import House
from lilong.ground.seams import stamp

PREDICATE = "https://lilong.dev/compat-result/v1"
JOB_KIND = "compat.examine"
OUTPUTS = {"certificate": "certificate.json", "suite": "suite.json", "cases": "cases.parquet"}


def start(house: House) -> None:
    house.provide(Certificates, HouseCertificates(house))  # type: ignore[type-abstract]
    house.subscribe("compat.jobs", (JobStarted.kind, JobFinished.kind), follow)


# --- ask ---------------------------------------------------------------------------------------------------------------------


def examine(house: House, actor: Actor, ask: ExaminationAsk) -> Examination:
    """Examine a model revision on a recipe's stacks. Raises Forbidden, NotFound, BadInput; the same key answers the same examination."""
    recipe = Recipe.parse(ask.recipe)
    for stack in recipe.stacks:
        if stack in SELF_TEST:
            raise UnknownStack(field="recipe.stacks", stack=stack, known="the stacks that `lilong certificate stacks` lists")
        adapter(stack)
    if not ask.key:
        raise BadInput(field="key", problem="it is empty", way_out="Give a text that names this examination, such as a random one.")
    return house.db.write(lambda tx: _examine(house, tx, actor, ask, recipe))


def _examine(house: House, tx: Tx, actor: Actor, ask: ExaminationAsk, recipe: Recipe) -> Examination:
    house.access.require(tx, actor, "compat.run", ask.organisation)
    known = store.by_key(tx, ask.organisation, ask.key)
    if known is not None and known.state is not State.FAILED:
        return known
    hub = house.port(Hub)  # type: ignore[type-abstract]
    model = hub.revision(tx, actor, Kind.MODEL, *rules.split_reference(ask.model))
    corpus = hub.revision(tx, actor, Kind.DATASET, *rules.split_reference(ask.corpus))
    files = rules.model_files(ask.model, model.tree())
    texts = corpus.tree("data/heldout-")
    if not texts:
        raise NothingToExamine(
            field="corpus", reference=ask.corpus, problem="it has no data/heldout-*.parquet", way_out="Name a corpus version that was built here."
        )
    identity = known.id if known else house.ids.new("exam")
    attempt = known.attempt + 1 if known else 1
    job = house.port(Compute).submit(tx, actor, _job(ask, recipe, model, files, texts, f"{identity}.{attempt}"))  # type: ignore[type-abstract]
    one = Examination(
        id=identity,
        organisation=ask.organisation,
        key=ask.key,
        state=State.REQUESTED,
        repository=model.repository.name,
        commit=model.commit,
        manifest=model.manifest,
        corpus=f"{corpus.repository.name}@{corpus.commit}",
        recipe=ask.recipe,
        requested_by=actor.user,
        created_at=known.created_at if known else stamp(house.clock.now()),
        attempt=attempt,
        job=job.id,
    )
    if known:
        store.retry(tx, one)
    else:
        store.add(tx, one, files, corpus.manifest)
    stacks = tuple(str(stack) for stack in recipe.stacks)
    house.events.append(tx, actor, ExaminationRequested(identity, ask.organisation, one.repository, one.commit, one.manifest, job.id, stacks))
    return one


def _job(ask: ExaminationAsk, recipe: Recipe, model: Revision, files: dict[str, str], texts: dict[str, str], key: str) -> JobAsk:
    cases = recipe.limits.first_seconds * 3 + recipe.limits.case_seconds * (recipe.positions / recipe.length + recipe.prompts)
    return JobAsk(
        kind=JOB_KIND,
        organisation=ask.organisation,
        argv=(PYTHON, "-m", "lilong.floors.compat.work", "examine"),
        inputs={"model": files, "corpus": texts},
        spec=dict(ask.recipe),
        cpus=recipe.limits.threads,
        memory_mib=rules.memory_mib({file.path: file.size for file in model.files}),
        timeout_s=int(max(1800, cases * (len(recipe.stacks) + 1))),
        attempts=2,
        key=key,
        title=f"Examine {model.repository.name}@{model.commit[:8]} on {len(recipe.stacks)} stacks",
    )


# --- follow the job ----------------------------------------------------------------------------------------------------------


def follow(house: House, recorded: Recorded) -> None:
    """A job started or finished: bring its examination along. Jobs of others are none of our business."""
    if recorded.body.get("job_kind") != JOB_KIND:
        return
    if recorded.kind == JobStarted.kind:
        house.db.write(lambda tx: store.start(tx, recorded.subject))
        return
    one, job = house.db.read(lambda tx: (store.by_job(tx, recorded.subject), house.port(Compute).job(tx, SYSTEM, recorded.subject)))  # type: ignore[type-abstract]
    if one is None or one.state not in (State.REQUESTED, State.RUNNING):
        return
    if job.state is not JobState.SUCCEEDED:
        reason = job.exit.reason if job.exit else f"the job was {job.state}"
        house.db.write(lambda tx: _fail(house, tx, one.id, reason))
        return
    digests = {name: job.output(path).digest for name, path in OUTPUTS.items()}
    content = json.loads(house.blobs.read(digests["certificate"]))
    house.db.write(lambda tx: _certify(house, tx, one.id, job, digests, content))


def _fail(house: House, tx: Tx, identity: str, reason: str) -> None:
    one = store.by_id(tx, identity)
    if one is None or one.state in (State.DONE, State.FAILED):
        return
    store.fail(tx, identity, reason, stamp(house.clock.now()))
    house.events.append(tx, SYSTEM, ExaminationFailed(identity, one.organisation, reason))


def _certify(house: House, tx: Tx, identity: str, job: Job, digests: dict[str, str], content: dict[str, Any]) -> None:
    one = store.by_id(tx, identity)
    if one is None or one.state in (State.DONE, State.FAILED):
        return
    files, corpus_manifest = store.materials(tx, identity)
    problem = rules.unlike(content, files)
    if problem:
        _fail(house, tx, identity, problem)
        return
    rows: list[dict[str, Any]] = content["rows"]
    name = f"{one.repository}@{one.commit[:12]}"
    statement = house.evidence.issue(
        tx,
        SYSTEM,
        predicate_type=PREDICATE,
        subjects=[Artifact(name, one.manifest, "model"), Artifact(f"compatibility of {name}", digests["certificate"], "certificate")],
        # The texts are what it was asked about, not what it was made from: bad text in the corpus does not taint a model that was examined with it.
        materials=[Artifact("suite of texts and prompts", digests["suite"], "task")],
        predicate={
            "examination": identity,
            "certificate": digests["certificate"],
            "cases": digests["cases"],
            "suite": digests["suite"],
            "texts": {"corpus": one.corpus, "manifest": corpus_manifest},
            "job": job.id,
            "sandbox": job.sandbox,
            "rows": rows,
            "tested": content.get("tested", []),
            "not_tested": content.get("not_tested", []),
        },
    )
    store.finish(tx, identity, digests, statement.id, rows, stamp(house.clock.now()))
    passed = tuple(row["stack"] for row in rows if row["verdict"] == "pass")
    issued = CertificateIssued(digests["certificate"], one.organisation, identity, one.repository, one.commit, one.manifest, statement.id, passed)
    house.events.append(tx, SYSTEM, issued)
    weights = sum(house.blobs.size(digest) for path, digest in files.items() if path.endswith(".safetensors"))
    house.events.append(tx, SYSTEM, WorkMeasured(job.id, one.organisation, rules.work_done(content, weights), digests["certificate"]))


# --- look --------------------------------------------------------------------------------------------------------------------


def examination(house: House, actor: Actor, identity: str) -> Examination:
    """Raises ExaminationNotFound."""

    def look(tx: Tx) -> Examination:
        hidden = ExaminationNotFound(name=identity)
        one = store.by_id(tx, identity)
        if one is None:
            raise hidden
        house.access.require(tx, actor, "compat.read", one.organisation, hidden=hidden)
        return one

    return house.db.read(look)


def examinations(house: House, actor: Actor) -> list[Examination]:
    """Newest first."""
    condition, parameters = house.access.visible(actor, "compat.read", "organisation")
    return house.db.read(lambda tx: store.listed(tx, condition, parameters))


def certificates(house: House, actor: Actor, model: str | None = None) -> list[Certificate]:
    """Newest first; `model`: a repository, or a repository@commit."""
    condition, parameters = house.access.visible(actor, "compat.read", "organisation")
    condition += " AND state = 'done'"
    if model:
        repository, _, commit = model.partition("@")
        condition += " AND repository = :repository"
        parameters["repository"] = repository
        if commit:
            condition += " AND commit_id = :commit_id"
            parameters["commit_id"] = commit
    return house.db.read(lambda tx: [_certificate(house, tx, one) for one in store.listed(tx, condition, parameters)])


def certificate(house: House, actor: Actor, digest: str) -> CertificateShown:
    """By its digest, or its examination's id. Raises CertificateNotFound."""

    def look(tx: Tx) -> Certificate:
        one = store.by_certificate(tx, digest, *house.access.visible(actor, "compat.read", "organisation"))
        if one is None:
            raise CertificateNotFound(name=digest)
        return _certificate(house, tx, one)

    found = house.db.read(look)
    return CertificateShown(found, json.loads(house.blobs.read(found.digest)))


def matrix(house: House, actor: Actor) -> list[MatrixLine]:
    """Each revision on each stack, by the newest certificate that holds; the most recently examined first."""
    lines: dict[tuple[str, str], MatrixLine] = {}
    for one in certificates(house, actor):
        for row in one.rows if one.revoked_by is None else ():
            lines.setdefault((one.manifest, row.stack), MatrixLine(one.repository, one.commit, one.manifest, one.digest, one.at, row))
    return list(lines.values())


class HouseCertificates:
    """What serving and governance ask."""

    def __init__(self, house: House) -> None:
        self._house = house

    def check(self, tx: Tx, manifest: str, stack: str) -> Certified:
        return rules.decide(self.of(tx, manifest), stack)

    def of(self, tx: Tx, manifest: str) -> list[Certificate]:
        found = store.listed(tx, "manifest = :manifest AND state = 'done'", {"manifest": manifest})
        return [_certificate(self._house, tx, one) for one in found]


def _certificate(house: House, tx: Tx, one: Examination) -> Certificate:
    assert one.certificate and one.statement and one.suite and one.cases and one.finished_at
    return Certificate(
        digest=one.certificate,
        examination=one.id,
        organisation=one.organisation,
        repository=one.repository,
        commit=one.commit,
        manifest=one.manifest,
        suite=one.suite,
        cases=one.cases,
        statement=one.statement,
        revoked_by=house.evidence.get(tx, one.statement).revoked_by,
        at=one.finished_at,
        passed=tuple(row.stack for row in one.rows if row.verdict == "pass"),
        rows=one.rows,
    )
