"""From the ask to the certificate, through the real queue and the real hub, with the job in its sandbox."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import pytest
from tests.compat.furnished import ASK, MEI, MODEL, ORGANISATION, STRANGER, publish, settle

from lilong.floors.compat import service
from lilong.floors.compat.contract import (
    CertificateNotFound,
    Certificates,
    Examination,
    ExaminationNotFound,
    NothingToExamine,
    State,
    UnknownStack,
)
from lilong.floors.compute.contract import Compute
from lilong.floors.hub.contract import Kind
from lilong.ground.access import SYSTEM
from lilong.ground.errors import Forbidden
from lilong.ground.events import Recorded
from lilong.ground.house import House


def test_an_examination_ends_with_a_certificate_and_a_statement(house: House, done: Examination) -> None:
    assert done.state is State.DONE, done.error
    assert [(row.stack, row.verdict) for row in done.rows] == [("torch-fp32", "pass"), ("llama.cpp", "pass"), ("onnxruntime", "pass")]
    assert done.certificate == "sha256:" + hashlib.sha256(house.blobs.read(done.certificate or "")).hexdigest()


def test_the_statement_is_about_the_model_revision_and_rests_on_the_suite(house: House, done: Examination) -> None:
    statement = house.db.read(lambda tx: house.evidence.get(tx, done.statement or ""))
    assert [(subject.kind, subject.digest) for subject in statement.subjects] == [("model", done.manifest), ("certificate", done.certificate)]
    assert [(material.kind, material.digest) for material in statement.materials] == [("task", done.suite)]
    assert [row["verdict"] for row in statement.predicate["rows"]] == ["pass"] * 3


def test_asking_again_with_the_same_key_is_the_same_examination(house: House, done: Examination) -> None:
    assert service.examine(house, MEI, ASK).id == done.id


def test_other_floors_learn_whether_a_stack_is_certified(house: House, done: Examination) -> None:
    port = house.port(Certificates)  # type: ignore[type-abstract]
    assert house.db.read(lambda tx: port.check(tx, done.manifest, "llama.cpp")).holds
    assert not house.db.read(lambda tx: port.check(tx, done.manifest, "torch-bf16")).holds
    assert not house.db.read(lambda tx: port.check(tx, "sha256:" + "0" * 64, "llama.cpp")).holds


def test_a_certificate_is_shown_with_what_was_not_tested(house: House, done: Examination) -> None:
    shown = service.certificate(house, MEI, done.certificate or "")
    assert shown.certificate.passed == ("torch-fp32", "llama.cpp", "onnxruntime")
    assert shown.content["not_tested"]
    assert service.certificate(house, MEI, done.id) == shown


def test_the_matrix_has_one_line_for_each_stack(house: House, done: Examination) -> None:
    lines = [line for line in service.matrix(house, MEI) if line.manifest == done.manifest]
    assert [line.row.stack for line in lines] == ["torch-fp32", "llama.cpp", "onnxruntime"]
    assert service.certificates(house, MEI, MODEL)[0].digest == done.certificate


def test_a_stranger_sees_nothing_of_it(house: House, done: Examination) -> None:
    assert service.examinations(house, STRANGER) == []
    assert service.matrix(house, STRANGER) == []
    with pytest.raises(ExaminationNotFound):
        service.examination(house, STRANGER, done.id)
    with pytest.raises(CertificateNotFound):
        service.certificate(house, STRANGER, done.certificate or "")
    with pytest.raises(Forbidden):
        service.examine(house, STRANGER, replace(ASK, key="mine"))


def test_a_cancelled_job_fails_its_examination_and_the_same_key_tries_again(house: House) -> None:
    asked = service.examine(house, MEI, replace(ASK, key="cancelled"))
    house.db.write(lambda tx: house.port(Compute).cancel(tx, MEI, asked.job))  # type: ignore[type-abstract]
    settle(house)
    failed = service.examination(house, MEI, asked.id)
    assert failed.state is State.FAILED
    assert failed.error
    again = service.examine(house, MEI, replace(ASK, key="cancelled"))
    assert (again.id, again.attempt, again.state) == (asked.id, 2, State.REQUESTED)
    house.db.write(lambda tx: house.port(Compute).cancel(tx, MEI, again.job))  # type: ignore[type-abstract]
    settle(house)


def test_events_that_come_twice_change_nothing(house: House, done: Examination) -> None:
    recorded = house.db.read(lambda tx: tx.row("SELECT * FROM ground_events WHERE kind = 'compute.job-finished' AND subject = :job", job=done.job))
    assert recorded is not None
    before = house.db.read(house.events.size)
    service.follow(house, Recorded.from_row(recorded))
    assert house.db.read(house.events.size) == before
    assert service.examination(house, MEI, done.id) == done


def test_an_examination_tells_how_fast_such_jobs_run_on_what_it_ran_on(house: House, done: Examination) -> None:
    (row,) = house.db.read(lambda tx: tx.rows("SELECT * FROM compute_throughput"))
    assert (row["family"], row["accelerator"]) == ("compat.examine", "")
    assert row["rate"] > 0


def test_a_model_without_weights_is_refused_when_it_is_asked_about(house: House) -> None:
    publish(house, Kind.MODEL, f"{ORGANISATION}/bare", {"config.json": house.blobs.put(b"{}").digest, "tokenizer.json": house.blobs.put(b"{}").digest})
    with pytest.raises(NothingToExamine, match="no safetensors"):
        service.examine(house, MEI, replace(ASK, key="bare", model=f"{ORGANISATION}/bare"))


def test_a_broken_device_cannot_be_asked_for_from_outside(house: House) -> None:
    with pytest.raises(UnknownStack):
        service.examine(house, MEI, replace(ASK, key="broken", recipe={"stacks": ["faulty-hang"]}))


def test_a_revoked_statement_takes_the_certificate_out_of_the_matrix(house: House, done: Examination) -> None:
    house.db.write(lambda tx: house.evidence.revoke(tx, SYSTEM, done.statement or "", "the machine's memory was bad"))
    port = house.port(Certificates)  # type: ignore[type-abstract]
    answer = house.db.read(lambda tx: port.check(tx, done.manifest, "llama.cpp"))
    assert not answer.holds
    assert "revoked" in answer.reason
    assert service.matrix(house, MEI) == []
