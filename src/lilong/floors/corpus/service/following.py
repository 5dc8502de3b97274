"""Jobs that started or ended bring their source set or version along; so do repositories that have moved."""

from __future__ import annotations

import json
from typing import Any

from lilong.floors.compute.contract import Compute, Job, JobStarted, JobState, told
from lilong.floors.corpus import rules, store
from lilong.floors.corpus.contract import (
    PREDICATE,
    SourceSet,
    SourcesFailed,
    SourcesFetched,
    State,
    Version,
    VersionFailed,
    VersionPublished,
)
from lilong.floors.hub.contract import Hub, Kind, Revision
from lilong.ground.access import SYSTEM
from lilong.ground.db import Tx
from lilong.ground.errors import LilongError, Refused
from lilong.ground.events import Recorded
from lilong.ground.evidence import Artifact
from lilong.ground.house import House
from lilong.ground.seams import stamp

from . import asking, taking_down
from .building import BUILD
from .fetching import FETCH
from .files import texts_of
from .parts import check_audience
from .publishing import PUBLISH

REVIEW = "review/dropped.parquet"


def follow(house: House, recorded: Recorded) -> None:
    """A job started or ended: bring its source set, version or index along. Jobs of others are none of our business."""
    kind = recorded.body.get("job_kind")
    if kind == asking.INDEX and recorded.kind != JobStarted.kind:
        asking.followed(house, recorded.subject)
    if kind not in (FETCH, BUILD, PUBLISH):
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


def moved(house: House, recorded: Recorded) -> None:
    """A repository has another name: its versions go along."""
    body = recorded.body
    if body["repository_kind"] == Kind.DATASET.value:
        house.db.write(lambda tx: store.moved(tx, body["old_name"], recorded.subject))


def _reason(job: Job) -> str:
    return rules.reason(job.exit.reason) if job.exit and job.exit.reason else f"the job {job.id} was {job.state.value}"


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
    check_audience(house, tx, row.repository, row.terms, "its sources")  # the repository may have been opened meanwhile
    if (missed := taking_down.missed(tx, row)) is not None:
        raise Refused(problem=f"{missed} was taken down while it was made.", way_out="Ask for it again, with the same key.")
    statement = house.evidence.issue(
        tx, SYSTEM, predicate_type=PREDICATE,
        subjects=[Artifact(f"{row.repository}@{revision.commit[:12]}", revision.manifest, "corpus")],
        materials=rules.materials(result, outputs),
        predicate=rules.predicate(result, row.repository, revision.commit, told(job)),
    )  # fmt: skip
    finished = store.finish_version(
        tx, row.id, commit=revision.commit, manifest=revision.manifest, statement=statement.id, figures=rules.figures(result),
        result=outputs["result.json"], at=stamp(house.clock.now()), files=texts_of(revision.tree()), review=outputs.get(REVIEW),
    )  # fmt: skip
    if finished:
        published = VersionPublished(row.id, row.organisation, row.repository, revision.commit, revision.manifest, statement.id)
        house.events.append(tx, SYSTEM, published)
        taking_down.ended(house, tx, row.id, None)


def _fail_version(house: House, tx: Tx, row: Version, reason: str) -> None:
    if store.fail(tx, "corpus_versions", row.id, reason, stamp(house.clock.now())):
        house.events.append(tx, SYSTEM, VersionFailed(row.id, row.organisation, reason))
        taking_down.ended(house, tx, row.id, reason)
