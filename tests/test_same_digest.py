"""Two organisations may come to the same document, byte for byte: each finds its own by the digest, and never the other's."""

from __future__ import annotations

from dataclasses import replace

import pytest

from lilong.floors.compat import service as compat
from lilong.floors.compat import store as compat_store
from lilong.floors.compat.contract import CertificateNotFound, Examination
from lilong.floors.compat.contract import State as CompatState
from lilong.floors.evaluation import service as evaluation
from lilong.floors.evaluation import store as evaluation_store
from lilong.floors.evaluation.contract import EvaluationRun, PlannedProtocol, ProtocolNotFound, RunNotFound, State
from lilong.ground.access import SYSTEM, Actor
from lilong.ground.evidence import Artifact
from lilong.ground.house import House
from tests.conftest import ORGANISATION

MEI, AFUA, NOBODY = Actor("mei"), Actor("afua"), Actor("nobody")
DIGEST = "sha256:" + "7" * 64


@pytest.fixture
def two(house: House) -> House:
    def write(tx):  # type: ignore[no-untyped-def]
        house.access.add_organisation(tx, SYSTEM, "other-yard")
        for user, organisation in (("afua", "other-yard"), ("nobody", None)):
            house.access.add_user(tx, SYSTEM, user)
            if organisation:
                house.access.grant(tx, SYSTEM, user, "member", organisation)
        statement = house.evidence.issue(tx, SYSTEM, predicate_type="https://lilong.dev/example/v1", subjects=[Artifact("it", DIGEST, "certificate")], predicate={}).id  # fmt: skip
        for number, organisation in enumerate((ORGANISATION, "other-yard")):
            planned = dict.fromkeys(
                ("key", "base", "base_manifest", "new", "corpus", "corpus_manifest", "requested_by", "stage", "job"), "x"
            )
            common = {
                "id": f"one-{number}",
                "organisation": organisation,
                "created_at": f"2026-11-0{number + 1}",
                "attempt": 1,
                "state": State.DONE,
            }
            protocol = PlannedProtocol(**planned, **common, recipe={}, tasks={})  # type: ignore[arg-type]
            evaluation_store.put(tx, replace(protocol, digest=DIGEST))
            run = {key: value for key, value in planned.items() if key != "stage"} | {
                "protocol": "x",
                "protocol_digest": DIGEST,
                "new_manifest": "x",
            }
            evaluation_store.put(tx, replace(EvaluationRun(**run, **common), report=DIGEST))  # type: ignore[arg-type]
            exam = Examination(
                id=f"exam-{number}", organisation=organisation, key="x", state=CompatState.REQUESTED, repository="x/y", commit="c", manifest=DIGEST,
                corpus="x/z", recipe={}, requested_by="x", created_at=f"2026-11-0{number + 1}", attempt=1, job=f"job-{number}",
            )  # fmt: skip
            compat_store.add(tx, exam, {}, "x")
            digests = dict.fromkeys(("certificate", "suite", "cases"), DIGEST)
            compat_store.finish(tx, exam.id, digests, statement, [], f"2026-11-1{number}")

    house.db.write(write)
    house.blobs.put(b"{}")
    return house


def test_a_protocol_and_a_report(two: House) -> None:
    for actor, organisation in ((MEI, ORGANISATION), (AFUA, "other-yard")):
        assert evaluation.protocol(two, actor, DIGEST).organisation == organisation
        assert evaluation.evaluation(two, actor, DIGEST).organisation == organisation
    with pytest.raises(ProtocolNotFound):
        evaluation.protocol(two, NOBODY, DIGEST)
    with pytest.raises(ProtocolNotFound):
        evaluation.protocol(two, MEI, "one-1")
    with pytest.raises(RunNotFound):
        evaluation.evaluation(two, MEI, "one-1")


def test_a_certificate(two: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(two.blobs, "read", lambda _digest: b"{}")
    for actor, organisation in ((MEI, ORGANISATION), (AFUA, "other-yard")):
        assert compat.certificate(two, actor, DIGEST).certificate.organisation == organisation
    for actor, name in ((NOBODY, DIGEST), (MEI, "exam-1")):
        with pytest.raises(CertificateNotFound):
            compat.certificate(two, actor, name)
