"""Jobs that read revisions of the hub and leave their outputs there."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.conftest import ORGANISATION, deliver_all, furnish

from lilong.app import open_house_with_floors
from lilong.floors.compute import service
from lilong.floors.compute.contract import PYTHON, Compute, Job, JobAsk, JobState
from lilong.floors.compute.work import run_until_idle
from lilong.floors.hub.contract import Hub, Kind, RepositoryNotFound, Revision, RevisionNotFound
from lilong.ground.access import SYSTEM, Actor
from lilong.ground.config import load
from lilong.ground.errors import BadInput, Forbidden, LilongError
from lilong.ground.house import House

MEI, TOM, ADA = Actor("mei"), Actor("tom"), Actor("ada")
DATA = f"datasets/{ORGANISATION}/tide"
MODEL = f"models/{ORGANISATION}/tide-model"
COPY = """
from lilong.ground.work import Workspace
w = Workspace.here()
w.out.mkdir(exist_ok=True)
(w.out / "heights.txt").write_text((w.input("data") / "heights.txt").read_text().upper())
"""


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    opened = open_house_with_floors(load(tmp_path / "house", environment={}))
    opened.db.write(lambda tx: furnish(opened, tx))

    def people(tx: object) -> None:
        opened.access.add_organisation(tx, SYSTEM, "harbour-lab", "Harbour Lab")  # type: ignore[arg-type]
        for user, role, organisation in (
            ("tom", "reader", ORGANISATION),
            ("tom", "member", "harbour-lab"),
            ("ada", "member", "harbour-lab"),
        ):
            if user == "ada" or organisation == ORGANISATION:
                opened.access.add_user(tx, SYSTEM, user)  # type: ignore[arg-type]
            opened.access.grant(tx, SYSTEM, user, role, organisation)  # type: ignore[arg-type]

    opened.db.write(people)
    yield opened
    opened.close()


def commit(house: House, text: str, name: str = f"{ORGANISATION}/tide", folder: str = "") -> Revision:
    files = {f"{folder}heights.txt": house.blobs.put(text.encode()).digest}
    return house.port(Hub).publish(MEI, Kind.DATASET, name, files, "heights", lambda tx, revision: revision)  # type: ignore[type-abstract]


def submit(house: House, actor: Actor = MEI, organisation: str = ORGANISATION, **given: object) -> Job:
    wanted = {"revisions": {"data": DATA}, "memory_mib": 128, **given}
    return service.submit(house, actor, JobAsk("test.run", organisation, (PYTHON, "-c", COPY), **wanted))  # type: ignore[arg-type]


def finish(house: House, job: Job) -> Job:
    run_until_idle(house)
    deliver_all(house)
    return service.show(house, MEI, job.id)


def test_a_job_reads_the_revision_as_it_was_when_it_was_submitted_and_leaves_one_with_its_provenance(house: House) -> None:
    first = commit(house, "high")
    job = submit(house, publish=MODEL)
    assert job.ask.revisions == {"data": f"{DATA}@{first.commit}"}
    assert job.ask.publish == f"{MODEL}@main"
    commit(house, "low")
    done = finish(house, job)
    assert done.state is JobState.SUCCEEDED
    revision = house.db.read(lambda tx: house.port(Hub).revision(tx, MEI, Kind.MODEL, f"{ORGANISATION}/tide-model"))  # type: ignore[type-abstract]
    assert done.published == f"{MODEL}@{revision.commit}"
    assert house.blobs.read(revision.file("heights.txt").digest) == b"HIGH"
    assert revision.author == "mei"
    [statement] = house.db.read(lambda tx: house.evidence.about(tx, revision.manifest))
    assert statement.claim.predicate["runDetails"]["metadata"]["invocationId"] == job.id
    assert [material.digest for material in statement.claim.materials] == [first.manifest]


def test_told_twice_that_a_job_ended_the_house_makes_one_commit_and_one_statement(house: House) -> None:
    commit(house, "high")
    done = finish(house, submit(house, publish=MODEL))
    from lilong.floors.hub.service import job_outputs

    def undone(tx: object) -> None:  # as if the house had been killed before it noted what came of it
        tx.run("UPDATE compute_jobs SET published = NULL WHERE id = :id", id=done.id)  # type: ignore[attr-defined]

    house.db.write(undone)
    finished = next(event for event in house.db.read(lambda tx: house.events.since(tx, 0, 10_000)) if event.kind == "compute.job-finished")
    job_outputs.follow(house, finished)
    assert service.show(house, MEI, done.id).published == done.published
    assert int(house.db.read(lambda tx: tx.value("SELECT COUNT(*) FROM ground_statements"))) == 1


def test_outputs_go_to_a_branch_that_is_made_for_them(house: House) -> None:
    commit(house, "high")
    done = finish(house, submit(house, publish=f"{DATA}@upper"))
    hub = house.port(Hub)  # type: ignore[type-abstract]
    assert done.published, done.unpublished
    upper, main = (
        house.db.read(lambda tx, ref=ref: hub.revision(tx, MEI, Kind.DATASET, f"{ORGANISATION}/tide", ref)) for ref in ("upper", "main")
    )  # type: ignore[misc]
    assert (house.blobs.read(upper.file("heights.txt").digest), house.blobs.read(main.file("heights.txt").digest)) == (b"HIGH", b"high")
    assert done.published == f"{DATA}@{upper.commit}", done


def test_a_folder_of_a_revision_is_enough(house: House) -> None:
    commit(house, "high", folder="years/")
    job = submit(house, revisions={"data": f"{DATA}@main:years"})
    assert list(job.ask.inputs["data"]) == ["heights.txt"]
    with pytest.raises(BadInput, match="nothing in the folder 'yeers'"):
        submit(house, revisions={"data": f"{DATA}:yeers"})


def test_the_same_key_is_the_same_job_although_the_branch_has_moved(house: House) -> None:
    commit(house, "high")
    job = submit(house, key="once")
    commit(house, "low")
    assert submit(house, key="once").id == job.id


@pytest.mark.parametrize(
    ("given", "error"),
    [
        ({"revisions": {"data": f"datasets/{ORGANISATION}/none"}}, RepositoryNotFound),
        ({"revisions": {"data": f"{DATA}@none"}}, RevisionNotFound),
        ({"revisions": {"data": "tide"}}, BadInput),
        ({"revisions": {"data": "spaces/a/b"}}, BadInput),
        ({"publish": "tide"}, BadInput),
        ({"publish": f"{MODEL}@../x"}, BadInput),
        ({"publish": f"models/{ORGANISATION}/.."}, BadInput),
        ({"publish": f"{MODEL}@side"}, RepositoryNotFound),
        ({"publish": "models/harbour-lab/x"}, Forbidden),
    ],
)
def test_what_cannot_be_read_or_written_is_refused_at_submit(given: dict[str, object], error: type[LilongError], house: House) -> None:
    commit(house, "high")
    with pytest.raises(error):
        submit(house, **given)
    assert service.jobs(house, MEI) == []


def test_a_private_repository_of_others_is_answered_like_one_that_is_not_there(house: House) -> None:
    commit(house, "high")
    said = []
    for name in ("tide", "none"):
        with pytest.raises(RepositoryNotFound) as refused:
            submit(house, ADA, "harbour-lab", revisions={"data": f"datasets/{ORGANISATION}/{name}"})
        said.append(str(refused.value).replace(name, "it"))
    assert said[0] == said[1]


def test_who_may_read_may_not_write(house: House) -> None:
    commit(house, "high")
    job = submit(house, TOM, "harbour-lab")
    assert job.ask.inputs["data"]
    with pytest.raises(Forbidden):
        submit(house, TOM, "harbour-lab", publish=f"{DATA}@main")


def test_outputs_that_cannot_be_published_say_why_and_the_job_keeps_them(house: House) -> None:
    commit(house, "high")
    job = submit(house, TOM, "harbour-lab", publish="models/harbour-lab/tide-model")
    house.db.write(lambda tx: tx.run("DELETE FROM ground_grants WHERE user_name = 'tom' AND scope = '@harbour-lab'"))
    run_until_idle(house)
    deliver_all(house)
    done = house.db.read(lambda tx: house.port(Compute).job(tx, SYSTEM, job.id))  # type: ignore[type-abstract]
    assert (done.state, done.published) == (JobState.SUCCEEDED, None)
    assert "hub.write" in (done.unpublished or "")
    assert [output.path for output in done.outputs] == ["heights.txt"]


def test_a_failed_job_publishes_nothing(house: House) -> None:
    done = finish(
        house,
        service.submit(house, MEI, JobAsk("test.run", ORGANISATION, (PYTHON, "-c", "raise SystemExit(3)"), memory_mib=128, publish=MODEL)),
    )
    assert (done.state, done.published, done.unpublished) == (JobState.FAILED, None, "the job is failed")
