"""The corpus floor's verbs: keep texts, fetch sources, build and publish corpus versions, look at them."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

from lilong.floors.compute.contract import PYTHON, Compute, Job, JobAsk, JobFinished, JobStarted, JobState, told
from lilong.floors.corpus import rules, store
from lilong.floors.corpus.contract import (
    PREDICATE,
    AskedOtherwise,
    BuildAsk,
    Datasheet,
    SourcesAsk,
    SourceSet,
    SourceSetNotFound,
    SourcesFailed,
    SourcesFetched,
    SourcesNotReady,
    SourcesRequested,
    State,
    Text,
    TextNotKept,
    Version,
    VersionFailed,
    VersionNotFound,
    VersionPublished,
    VersionRequested,
)
from lilong.floors.corpus.curation import recipe
from lilong.floors.hub.contract import Hub, Kind, Revision
from lilong.ground.access import SYSTEM, Actor
from lilong.ground.db import Tx
from lilong.ground.errors import LilongError
from lilong.ground.events import Recorded
from lilong.ground.evidence import Artifact
from lilong.ground.house import House
from lilong.ground.seams import stamp

FETCH, BUILD = "corpus.fetch", "corpus.build"
FETCH_MIB = 1024
_PROGRAM = (PYTHON, "-m", "lilong.floors.corpus.work")
_PAGE = 200


def start(house: House) -> None:
    house.subscribe("corpus.jobs", (JobStarted.kind, JobFinished.kind), follow)


# --- texts and sources -----------------------------------------------------------------------------------------------------


def keep_text(house: House, actor: Actor, organisation: str, content: bytes) -> Text:
    """Keep a text for a source set of this organisation. Idempotent. Raises Forbidden."""
    house.db.read(lambda tx: house.access.require(tx, actor, "corpus.build", organisation))
    blob = house.blobs.put(content)

    def write(tx: Tx) -> None:
        house.access.require(tx, actor, "corpus.build", organisation)
        store.keep_text(tx, organisation, blob.digest, blob.size, actor.user, stamp(house.clock.now()))

    house.db.write(write)
    return Text(blob.digest, blob.size)


def fetch(house: House, actor: Actor, ask: SourcesAsk) -> SourceSet:
    """Fetch sources. The same key answers the same set; a failed one is tried again.

    Raises Forbidden, BadInput, TextNotKept, AskedOtherwise; NetworkForbidden for packages without the right to use the network.
    """
    rules.check_key(ask.key)
    rules.check_packages(ask.packages)
    if ask.texts is not None:
        rules.check_texts(ask.texts)
    return house.db.write(lambda tx: _fetch(house, tx, actor, ask))


def _fetch(house: House, tx: Tx, actor: Actor, ask: SourcesAsk) -> SourceSet:
    house.access.require(tx, actor, "corpus.build", ask.organisation)
    house.access.organisation(tx, ask.organisation)
    known = store.source_set_by_key(tx, ask.organisation, ask.key)
    if known is not None and known[1] != asdict(ask):
        raise AskedOtherwise(key=ask.key)
    if known is not None and known[0].state is not State.FAILED:
        return known[0]
    texts = ask.texts or {}
    missing = store.missing_text(tx, ask.organisation, texts.values())
    if missing is not None:
        path = next(path for path, digest in texts.items() if digest == missing)
        raise TextNotKept(path=path, digest=missing, organisation=ask.organisation)
    identity = known[0].id if known else house.ids.new("sources")
    attempt = known[0].attempt + 1 if known else 1
    job = house.port(Compute).submit(tx, actor, JobAsk(  # type: ignore[type-abstract]
        kind=FETCH, organisation=ask.organisation, argv=(*_PROGRAM, "fetch"), inputs={"texts": texts} if texts else {},
        spec={"packages": ask.packages, "fallback": ask.fallback}, memory_mib=FETCH_MIB, timeout_s=1800, attempts=3,
        network=bool(ask.packages) and not texts, key=f"{identity}.{attempt}", title=_title(ask),
    ))  # fmt: skip
    now = stamp(house.clock.now())
    row = SourceSet(
        identity,
        ask.organisation,
        ask.key,
        State.REQUESTED,
        ask.packages,
        attempt,
        job.id,
        actor.user,
        known[0].created_at if known else now,
    )
    store.add_source_set(tx, row, ask)
    house.events.append(tx, actor, SourcesRequested(identity, ask.organisation, job.id))
    return row


def _title(ask: SourcesAsk) -> str:
    if ask.texts:
        return f"Pack {len(ask.texts)} texts"
    return (
        f"Fetch {', '.join(ask.packages[:3])}{' …' if len(ask.packages) > 3 else ''}" if ask.packages else "Gather texts of Python packages"
    )


def source_set(house: House, actor: Actor, identity: str) -> SourceSet:
    """Raises SourceSetNotFound."""
    return house.db.read(lambda tx: _source_set(house, tx, actor, identity))


def _source_set(house: House, tx: Tx, actor: Actor, identity: str) -> SourceSet:
    hidden = SourceSetNotFound(name=identity)
    row = store.source_set(tx, identity)
    if row is None:
        raise hidden
    house.access.require(tx, actor, "corpus.read", row.organisation, hidden=hidden)
    return row


def source_sets(house: House, actor: Actor, limit: int = 50) -> list[SourceSet]:
    """Newest first."""
    condition, parameters = house.access.visible(actor, "corpus.read", "organisation")
    return house.db.read(lambda tx: store.source_sets(tx, condition, parameters, max(1, min(limit, _PAGE))))


# --- versions --------------------------------------------------------------------------------------------------------------


def build(house: House, actor: Actor, ask: BuildAsk) -> Version:
    """Make a corpus version. The same key answers the same one; a failed one is tried again.

    Raises Forbidden, BadInput, BadRecipe, SourceSetNotFound, SourcesNotReady, AskedOtherwise.
    """
    rules.check_key(ask.key)
    owner = rules.organisation_of(ask.repository)
    recipe.parse(ask.recipe)
    return house.db.write(lambda tx: _build(house, tx, actor, ask, owner))


def _build(house: House, tx: Tx, actor: Actor, ask: BuildAsk, owner: str) -> Version:
    house.access.require(tx, actor, "corpus.build", ask.organisation)
    house.access.organisation(tx, ask.organisation)
    house.access.require(tx, actor, "hub.write", owner)
    house.access.organisation(tx, owner)
    known = store.version_by_key(tx, ask.organisation, ask.key)
    if known is not None and known[1] != asdict(ask):
        raise AskedOtherwise(key=ask.key)
    if known is not None and known[0].state is not State.FAILED:
        return known[0]
    sources = _source_set(house, tx, actor, ask.sources)
    if sources.state is not State.DONE:
        way_out = f"It says: {sources.error}" if sources.state is State.FAILED else "Wait for it."
        raise SourcesNotReady(name=sources.id, state=sources.state.value, way_out=way_out)
    identity = known[0].id if known else house.ids.new("corpus")
    attempt = known[0].attempt + 1 if known else 1
    job = house.port(Compute).submit(tx, actor, JobAsk(  # type: ignore[type-abstract]
        kind=BUILD, organisation=ask.organisation, argv=(*_PROGRAM, "build"), inputs={"sources": store.tree(tx, sources.id)},
        spec={"name": ask.repository, "recipe": ask.recipe}, memory_mib=rules.build_memory_mib(sum(one["bytes"] for one in sources.sources)), timeout_s=7200, attempts=2, key=f"{identity}.{attempt}",
        title=f"Build {ask.repository}",
    ))  # fmt: skip
    now = stamp(house.clock.now())
    row = Version(
        identity, ask.organisation, ask.key, State.REQUESTED, sources.id, ask.repository, ask.recipe, attempt, job.id, actor.user,
        known[0].created_at if known else now,
    )  # fmt: skip
    store.add_version(tx, row, ask)
    house.events.append(tx, actor, VersionRequested(identity, ask.organisation, ask.repository, sources.id, job.id))
    return row


def version(house: House, actor: Actor, name: str) -> Version:
    """By id, organisation/name or organisation/name@commit. Raises VersionNotFound."""

    def look(tx: Tx) -> Version:
        hidden = VersionNotFound(name=name)
        row = store.version(tx, name)
        if row is None:
            raise hidden
        house.access.require(tx, actor, "corpus.read", row.organisation, hidden=hidden)
        return row

    return house.db.read(look)


def versions(house: House, actor: Actor, repository: str | None = None, limit: int = 50) -> list[Version]:
    """Newest first; `repository`: only versions published there."""
    condition, parameters = house.access.visible(actor, "corpus.read", "organisation")
    if repository is not None:
        condition, parameters = f"{condition} AND repository = :repository", {**parameters, "repository": repository}
    return house.db.read(lambda tx: store.versions(tx, condition, parameters, max(1, min(limit, _PAGE))))


def datasheet(house: House, actor: Actor, name: str) -> Datasheet:
    """A version with its sources, licences, drop reasons and sample documents. Raises VersionNotFound."""
    row = version(house, actor, name)
    digest = house.db.read(lambda tx: store.result(tx, row.id))
    samples: dict[str, Any] = json.loads(house.blobs.read(digest))["samples"] if digest else {}
    return rules.datasheet(row, samples)


# --- follow the jobs -------------------------------------------------------------------------------------------------------


def follow(house: House, recorded: Recorded) -> None:
    """A job started or ended: bring its source set or version along. Jobs of others are none of our business."""
    if recorded.body.get("job_kind") not in (FETCH, BUILD):
        return
    if recorded.kind == JobStarted.kind:
        house.db.write(lambda tx: store.started(tx, recorded.subject))
        return

    def look(tx: Tx) -> tuple[SourceSet | None, Version | None, Job]:
        job = house.port(Compute).job(tx, SYSTEM, recorded.subject)  # type: ignore[type-abstract]
        return store.source_set_of_job(tx, job.id), store.version_of_job(tx, job.id), job

    sources, built, job = house.db.read(look)
    if sources is not None and sources.state in (State.REQUESTED, State.RUNNING):
        _finish_sources(house, sources, job)
    if built is not None and built.state in (State.REQUESTED, State.RUNNING):
        _finish_version(house, built, job)


def _reason(job: Job) -> str:
    return job.exit.reason if job.exit and job.exit.reason else f"the job {job.id} was {job.state.value}"


def _finish_sources(house: House, row: SourceSet, job: Job) -> None:
    result = None
    files: dict[str, str] = {}
    if job.state is JobState.SUCCEEDED:
        files = {output.path: output.digest for output in job.outputs if output.path != "result.json"}
        result = json.loads(house.blobs.read(job.output("result.json").digest))

    def write(tx: Tx) -> None:
        now = stamp(house.clock.now())
        if result is None:
            if store.fail(tx, "corpus_source_sets", row.id, _reason(job), now):
                house.events.append(tx, SYSTEM, SourcesFailed(row.id, row.organisation, _reason(job)))
        elif store.finish_source_set(tx, row.id, result, files, now):
            digests = tuple(source["digest"] for source in result["sources"])
            house.events.append(tx, SYSTEM, SourcesFetched(row.id, row.organisation, result["kind"], digests))

    house.db.write(write)


def _finish_version(house: House, row: Version, job: Job) -> None:
    if job.state is not JobState.SUCCEEDED:
        house.db.write(lambda tx: _fail_version(house, tx, row, _reason(job)))
        return
    outputs = {output.path: output.digest for output in job.outputs}
    result = json.loads(house.blobs.read(outputs["result.json"]))
    kept = result["documents"]["kept"]
    message = f"{kept:,} documents by recipe {result['recipe_digest'][:19]} from {len(result['materials'])} sources"
    try:
        house.port(Hub).publish(  # type: ignore[type-abstract]
            SYSTEM, Kind.DATASET, row.repository, rules.published(outputs), message,
            lambda tx, revision: _publish(house, tx, row, job, outputs, result, revision),
        )  # fmt: skip
    except LilongError as problem:
        if problem.status >= 500:
            raise  # the house's trouble, not the version's: the event is handed over again
        reason = f"it could not be published: {problem}"
        house.db.write(lambda tx: _fail_version(house, tx, row, reason))


def _publish(house: House, tx: Tx, row: Version, job: Job, outputs: dict[str, str], result: dict[str, Any], revision: Revision) -> None:
    """In the commit's own transaction: the statement, the row, the event."""
    statement = house.evidence.issue(
        tx, SYSTEM, predicate_type=PREDICATE,
        subjects=[Artifact(f"{row.repository}@{revision.commit[:12]}", revision.manifest, "corpus")],
        materials=rules.materials(result, outputs),
        predicate=rules.predicate(result, row.repository, revision.commit, told(job)),
    )  # fmt: skip
    finished = store.finish_version(
        tx, row.id, commit=revision.commit, manifest=revision.manifest, statement=statement.id, figures=rules.figures(result),
        result=outputs["result.json"], at=stamp(house.clock.now()),
    )  # fmt: skip
    if finished:
        published = VersionPublished(row.id, row.organisation, row.repository, revision.commit, revision.manifest, statement.id)
        house.events.append(tx, SYSTEM, published)


def _fail_version(house: House, tx: Tx, row: Version, reason: str) -> None:
    if store.fail(tx, "corpus_versions", row.id, reason, stamp(house.clock.now())):
        house.events.append(tx, SYSTEM, VersionFailed(row.id, row.organisation, reason))
