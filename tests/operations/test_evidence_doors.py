"""The doors to evidence: what one may see of it, walks, bundles and checks from the command line and over HTTP."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from starlette.testclient import TestClient

from lilong.app import build
from lilong.cli import root
from lilong.floors.governance import service as governance
from lilong.floors.governance.work import seal_the_log
from lilong.floors.hub.contract import Kind
from lilong.ground import log
from lilong.ground.access import SYSTEM, Actor
from lilong.ground.blobs import digest_of
from lilong.ground.errors import Forbidden
from lilong.ground.evidence import Artifact
from lilong.operations import evidence_service as service
from lilong.operations.evidence_service import NothingSuch
from tests.governance.test_service import APPROVE, LI, MEI, Street, published, street

__all__ = ["street"]
OPERATOR = Actor("operator")


@pytest.fixture
def door(street: Street) -> Iterator[TestClient]:
    with TestClient(build(street.house), base_url="http://house") as client:
        token = (street.house.settings.keys / "operator.token").read_text().strip()
        client.headers["authorization"] = f"Bearer {token}"
        yield client


def lilong(folder: Path, *arguments: str) -> Result:
    return CliRunner().invoke(root, [*arguments, "--house", str(folder)], catch_exceptions=False)


def test_a_walk_down_ends_at_sources_and_licences(street: Street) -> None:
    trace = service.trace(street.house, MEI, "lantern-works/handbook-model@main", "down")
    assert trace.start.digest == street.model.manifest
    assert [(artifact.kind, artifact.name) for artifact in trace.artifacts][1:] == [
        ("corpus", "lantern-works/handbooks@1"), ("source", "python3-doc"), ("licence", "PSF-2.0"),
    ]  # fmt: skip


def test_a_walk_up_from_a_licence_finds_the_registration(street: Street) -> None:
    registration = street.registered()
    (licence,) = street.statements["corpus"].materials[1:]
    trace = service.trace(street.house, OPERATOR, licence.digest, "up")
    assert registration.number in [artifact.name for artifact in trace.artifacts]


def test_a_registration_number_is_a_place_to_start(street: Street) -> None:
    registration = street.registered()
    trace = service.trace(street.house, MEI, str(registration.number), "down")
    assert {"corpus", "model", "report", "certificate", "licence", "source"} <= {artifact.kind for artifact in trace.artifacts}


def test_what_one_may_not_see_is_not_there(street: Street) -> None:
    for of in ("lantern-works/handbook-model", street.model.manifest, street.statements["training"].id, "LL-2026-0001", "rcpt-unknown", "sha256:" + "0" * 64):
        with pytest.raises(Exception, match="that you may see"):
            service.find(street.house, Actor("anybody"), of)
    with pytest.raises(NothingSuch):
        service.statement(street.house, Actor("anybody"), street.statements["training"].id)
    assert service.statements(street.house, Actor("anybody")) == []
    street.house.db.write(lambda tx: street.house.access.grant(tx, SYSTEM, "anybody", "reader", "lantern-works"))
    for statement in street.statements.values():
        assert service.statement(street.house, Actor("anybody"), statement.id).signers == ("house",)
    elsewhere = street.issue("https://lilong.dev/example/v1", Artifact("letters", digest_of(b"letters"), "corpus"))
    assert {each.id for each in service.statements(street.house, Actor("anybody"))} == {each.id for each in street.statements.values()}
    assert elsewhere.id in {each.id for each in service.statements(street.house, OPERATOR, limit=1)}


def test_a_private_model_of_others_keeps_its_name_to_itself(street: Street) -> None:
    (licence,) = street.statements["corpus"].materials[1:]
    street.house.db.write(lambda tx: street.house.access.grant(tx, SYSTEM, "anybody", "reader", None))
    narrow = Actor("anybody", frozenset({"evidence.read"}))
    names = {artifact.name for artifact in service.trace(street.house, narrow, licence.digest, "up").artifacts}
    assert "a private model" in names
    assert not [name for name in names if name.startswith("lantern-works/")]


def test_a_bundle_comes_over_http_and_verifies(street: Street, door: TestClient, tmp_path: Path) -> None:
    from lilong.operations.bundles.check import verify
    from lilong.operations.bundles.export import unpack

    registration = street.registered()
    with door.stream("GET", "/api/evidence/bundle", params={"of": str(registration.number)}) as response:
        assert response.status_code == 200
        unpack(response.iter_bytes(), tmp_path / "out")
    findings = verify(tmp_path / "out", trusted=door.get("/api/evidence/key").text)
    assert findings.problems == ()
    assert (tmp_path / "out" / "files").is_dir()


def test_anybody_can_follow_the_log(street: Street, door: TestClient) -> None:
    street.registered()
    del door.headers["authorization"]
    key = log.Verifier.parse(door.get("/api/evidence/key").text)
    old = log.Checkpoint.parse(log.open_note(door.get("/api/evidence/checkpoint").text, [key]))
    street.issue("https://lilong.dev/example/v1", street.corpus)
    seal_the_log(street.house)
    new = log.Checkpoint.parse(log.open_note(door.get("/api/evidence/checkpoint").text, [key]))
    proof = [bytes.fromhex(each) for each in door.get("/api/evidence/log/consistency", params={"old": old.size, "new": new.size}).json()]
    assert log.verify_consistency(old.size, new.size, old.root, new.root, proof)
    found = door.get("/api/evidence/log/inclusion/3", params={"size": new.size}).json()
    assert log.verify_inclusion(bytes.fromhex(found["leaf"]), 3, new.size, [bytes.fromhex(each) for each in found["path"]], new.root)
    assert door.get("/api/evidence/statements").status_code == 401


def test_a_statement_is_revoked_over_http_by_an_operator_only(street: Street, door: TestClient) -> None:
    place = f"/api/evidence/statements/{street.statements['report'].id}"
    revoked = door.post(f"{place}/revocation", json={"reason": "wrong items"})
    assert (revoked.status_code, revoked.json()["predicate"]["reason"]) == (201, "wrong items")
    assert door.get(place).json()["revoked_by"] == revoked.json()["id"]
    assert door.post(f"{place}/revocation", json={"reason": "again"}).status_code == 409
    with pytest.raises(Forbidden):
        service.revoke(street.house, MEI, street.statements["training"].id, service.RevokeAsk("mine"))


def test_the_check_of_the_house_tells_how_it_goes_and_what_it_found(street: Street, door: TestClient) -> None:
    lines = [json.loads(line) for line in door.get("/api/evidence/verification").text.splitlines()]
    assert lines[-1]["findings"]["summary"] == "verified: 4 statements, 0 problems"


def test_the_command_line_exports_verifies_and_traces(street: Street, tmp_path: Path) -> None:
    registration = governance.review(street.house, LI, street.request().id, APPROVE)
    folder, out = street.house.settings.house, tmp_path / "out"
    street.house.close()
    exported = lilong(folder, "export", str(registration.number), "--out", str(out))
    assert exported.exit_code == 0, exported.output

    checked = CliRunner().invoke(root, ["verify", str(out)])
    assert (checked.exit_code, checked.stdout.splitlines()[-1]) == (0, "verified: 6 statements, 0 problems")
    whole = lilong(folder, "verify")
    assert (whole.exit_code, whole.stdout.splitlines()[-1]) == (0, "verified: 6 statements, 0 problems"), whole.output

    traced = lilong(folder, "trace", str(registration.number))
    assert "licence PSF-2.0" in traced.stdout
    assert json.loads(lilong(folder, "trace", str(registration.number), "--json").stdout)["direction"] == "down"
    listed = json.loads(lilong(folder, "registration", "list", "--json").stdout)
    assert [each["number"] for each in listed] == [registration.number]
    shown = lilong(folder, "registration", "show", str(registration.number))
    assert "compatibility" in shown.stdout and "met" in shown.stdout

    outline = [line.strip() for line in traced.stdout.splitlines()]
    assert len(outline) == len(set(outline))
    (report,) = (each for each in json.loads(lilong(folder, "statement", "list", "--json").stdout) if each["subjects"] == ["report"])
    assert lilong(folder, "statement", "revoke", report["id"], "--reason", "wrong items").exit_code == 0
    standing = {each["id"]: each["standing"] for each in json.loads(lilong(folder, "registration", "check", registration.repository, "--json").stdout)["requirements"]}
    assert standing["report"] == "revoked"

    victim = next(path for path in out.glob("statements/*.json"))
    victim.write_bytes(victim.read_bytes()[:-1] + b"]")
    broken = CliRunner().invoke(root, ["verify", str(out)])
    assert broken.exit_code == 8
    assert f"statements/{victim.name}: " in broken.stdout


def test_whose_corpus_a_model_learned_from_may_not_read_about_the_model(street: Street) -> None:
    house = street.house
    theirs = published(house, Kind.MODEL, "harbour-lab/quiet-model", "README.md")
    model = Artifact(f"harbour-lab/quiet-model@{theirs.commit}", theirs.manifest, "model")
    trained = street.issue("https://slsa.dev/provenance/v1", model, street.corpus, note="of the harbour only")
    report = Artifact("report: quiet", digest_of(b"quiet"), "report")
    judged = street.issue("https://in-toto.io/attestation/test-result/v0.1", report, model, street.corpus)
    deployed = street.issue("https://lilong.dev/deployment/v1", Artifact("quiet", digest_of(b"deployed"), "deployment"), model)
    answered = street.issue("https://lilong.dev/answer/v1", Artifact("rcpt-1", digest_of(b"answer"), "answer"), deployed.subjects[0])
    street.house.db.write(lambda tx: house.access.grant(tx, SYSTEM, "anybody", "reader", "lantern-works"))
    anybody = Actor("anybody")
    for each in (trained, judged, deployed, answered):
        assert service.statement(house, LI, each.id).id == each.id
        for of in (each.id, each.subjects[0].digest):
            with pytest.raises(NothingSuch):
                service.find(house, anybody, of)
        with pytest.raises(NothingSuch):
            service.statement(house, anybody, each.id)
    listed = service.statements(house, anybody)
    assert not [name for each in listed for name in each.subjects if "quiet" in name or "rcpt" in name]
    assert service.statement(house, anybody, street.statements["training"].id).signers == ("house",)
