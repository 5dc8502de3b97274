"""Statements are signed as others expect, recorded once, walked both ways, and taken back in the open."""

from __future__ import annotations

import json
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lilong.ground import envelope as envelopes
from lilong.ground import evidence
from lilong.ground.access import Actor
from lilong.ground.errors import BadInput, Conflict, NotFound
from lilong.ground.evidence import Artifact, Graph, Statement
from lilong.ground.house import House
from lilong.ground.signing import BadKey
from tests.ground.opened import ground

MEI = Actor("mei")


def digest(number: int | str) -> str:
    return envelopes.statement_id(str(number).encode())


SOURCE, LICENCE = Artifact("manpages", digest("source"), "source"), Artifact("GPL-2.0", digest("licence"), "licence")
CORPUS, BASE = Artifact("northwind/pages@1", digest("corpus"), "corpus"), Artifact("northwind/base@1", digest("base"), "model")
MODEL, REPORT = Artifact("northwind/tea@1", digest("model"), "model"), Artifact("report of tea", digest("report"), "report")
TYPE = "https://lilong.dev/example/v1"


@pytest.fixture
def house(tmp_path: Path, database_url: str) -> Iterator[House]:
    opened = ground(tmp_path, database_url)
    yield opened
    opened.close()


def issue(house: House, subject: Artifact, *materials: Artifact, signers: tuple[str, ...] = ("house",), **predicate: object) -> Statement:
    return house.db.write(
        lambda tx: house.evidence.issue(tx, MEI, predicate_type=TYPE, subjects=[subject], materials=materials, predicate=predicate, signers=signers)
    )


def chain(house: House) -> dict[str, Statement]:
    return {
        "corpus": issue(house, CORPUS, SOURCE, LICENCE),
        "model": issue(house, MODEL, CORPUS, BASE, seed=7),
        "report": issue(house, REPORT, MODEL, CORPUS),
    }


def down(house: House, start: str) -> Graph:
    return house.db.read(lambda tx: house.evidence.down(tx, start))


def up(house: House, start: str) -> Graph:
    return house.db.read(lambda tx: house.evidence.up(tx, start))


def test_securesystemslib_accepts_the_signatures_and_refuses_a_changed_payload(house: House) -> None:
    from securesystemslib.dsse import Envelope
    from securesystemslib.exceptions import VerificationError
    from securesystemslib.signer import SSlibKey

    made = issue(house, MODEL, CORPUS, signers=("house", "@harbour-lab"))
    public = house.db.read(house.evidence.keys)
    keys = [SSlibKey(keyid, "ed25519", "ed25519", {"public": public[keyid].raw().hex()}) for keyid in made.signers]
    stored = house.db.read(lambda tx: house.evidence.envelope(tx, made.id))
    assert set(Envelope.from_dict(json.loads(stored)).verify(keys, 2)) == set(made.signers)
    forged = Envelope.from_dict(json.loads(stored))
    forged.payload = forged.payload.replace(b"tea", b"ink")
    with pytest.raises(VerificationError):
        forged.verify(keys, 2)


def test_the_payload_is_a_valid_in_toto_statement(house: House) -> None:
    from google.protobuf import json_format
    from in_toto_attestation.v1 import statement_pb2
    from in_toto_attestation.v1.statement import Statement as InToto

    made = issue(house, MODEL, CORPUS, note="字", ratio=0.25)
    parsed = json_format.Parse(made.claim.payload(), statement_pb2.Statement())
    InToto.copy_from_pb(parsed).validate()
    assert parsed.subject[0].digest["sha256"] == MODEL.digest.removeprefix("sha256:")


def test_provenance_has_its_materials_where_slsa_wants_them() -> None:
    claim = envelopes.Claim(envelopes.SLSA_PROVENANCE, (MODEL,), (CORPUS, BASE), {"buildDefinition": {"buildType": "x"}, "runDetails": {}})
    payload = json.loads(claim.payload())
    assert [each["name"] for each in payload["predicate"]["buildDefinition"]["resolvedDependencies"]] == [CORPUS.name, BASE.name]
    assert envelopes.Claim.parse(claim.payload()) == claim


def test_the_id_is_the_hash_of_the_envelope_and_the_same_claim_is_one_statement(house: House) -> None:
    first, second = issue(house, MODEL, CORPUS, seed=1), issue(house, MODEL, CORPUS, seed=1)
    assert first == second
    assert envelopes.statement_id(house.db.read(lambda tx: house.evidence.envelope(tx, first.id))) == first.id
    assert [event.kind for event in house.db.read(lambda tx: house.events.since(tx, 0))] == ["key.registered", "statement.issued"]


def test_a_statement_is_read_back_as_it_was_issued(house: House) -> None:
    made = issue(house, MODEL, CORPUS, BASE, seed=7)
    assert house.db.read(lambda tx: house.evidence.get(tx, made.id)) == made
    assert house.db.read(lambda tx: house.evidence.about(tx, CORPUS.digest)) == [made]
    assert house.db.read(lambda tx: house.evidence.about(tx, CORPUS.digest, "subject")) == []
    assert house.db.read(lambda tx: house.evidence.named(tx, BASE.digest)) == BASE


@given(place=st.integers(0, 10_000))
def test_no_byte_of_an_envelope_can_be_changed(tmp_path_factory: pytest.TempPathFactory, place: int) -> None:
    from lilong.ground.seams import SystemClock
    from lilong.ground.signing import Keyring

    signer = Keyring(tmp_path_factory.getbasetemp() / "keys", SystemClock()).of("mei")
    envelope = bytearray(envelopes.seal(envelopes.Claim(TYPE, (MODEL,), (CORPUS,), {"n": 1}), [signer]))
    assert envelopes.open_envelope(bytes(envelope), {signer.keyid: signer.public})[1] == (signer.public,)
    envelope[place % len(envelope)] ^= 1
    with pytest.raises((envelopes.BadEnvelope, UnicodeDecodeError)):
        envelopes.open_envelope(bytes(envelope), {signer.keyid: signer.public})


def test_down_walks_to_the_sources_and_licences(house: House) -> None:
    chain(house)
    graph = down(house, REPORT.digest)
    assert [(artifact.name, graph.depths[artifact.digest]) for artifact in graph.artifacts] == [
        (REPORT.name, 0), (MODEL.name, 1), (CORPUS.name, 1), (BASE.name, 2), (SOURCE.name, 2), (LICENCE.name, 2),
    ]  # fmt: skip
    assert [step.depth for step in graph.steps] == [0, 1, 1]


def test_up_finds_all_that_a_source_touched(house: House) -> None:
    made = chain(house)
    graph = up(house, SOURCE.digest)
    assert [artifact.name for artifact in graph.artifacts] == [SOURCE.name, CORPUS.name, MODEL.name, REPORT.name]
    assert {step.id for step in graph.steps} == {statement.id for statement in made.values()}
    assert [artifact.name for artifact in up(house, BASE.digest).artifacts] == [BASE.name, MODEL.name, REPORT.name]


def test_a_walk_goes_through_a_statement_that_another_rests_on(house: House) -> None:
    made = chain(house)
    registration = Artifact("LL-2026-0001", digest("registration"), "registration")
    issue(house, registration, Artifact("the report's statement", made["report"].id, "statement"))
    assert SOURCE in down(house, registration.digest).artifacts
    assert registration in up(house, made["report"].id).artifacts
    assert registration in up(house, made["corpus"].id).artifacts


def test_a_walk_ends_even_in_a_circle(house: House) -> None:
    issue(house, MODEL, CORPUS)
    issue(house, CORPUS, MODEL)
    assert {artifact.name for artifact in down(house, MODEL.digest).artifacts} == {MODEL.name, CORPUS.name}


def test_a_revocation_is_a_statement_that_lists_its_reach(house: House) -> None:
    made = chain(house)
    revocation = house.db.write(lambda tx: house.evidence.revoke(tx, MEI, made["corpus"].id, "a source was not free"))
    assert revocation.subjects[0].digest == made["corpus"].id
    assert [each["name"] for each in revocation.predicate["reach"]] == [CORPUS.name, MODEL.name, REPORT.name]
    assert house.db.read(lambda tx: house.evidence.get(tx, made["corpus"].id)).revoked_by == revocation.id
    assert [step.id for step in down(house, REPORT.digest).revoked] == [made["corpus"].id]
    event = house.db.read(lambda tx: house.events.about(tx, made["corpus"].id))[-1]
    assert (event.kind, event.body["by"]) == ("statement.revoked", revocation.id)


def test_a_corrected_statement_beside_a_revoked_one_holds_up_what_rests_on_it(house: House) -> None:
    made = chain(house)
    house.db.write(lambda tx: house.evidence.revoke(tx, MEI, made["corpus"].id, "a licence was misspelt"))
    undone = down(house, REPORT.digest).undone(REPORT.digest)
    assert undone is not None and undone.id == made["corpus"].id
    assert down(house, REPORT.digest).undone(BASE.digest) is None
    issue(house, CORPUS, SOURCE, Artifact("GPL-2.0-only", LICENCE.digest, "licence"))
    assert down(house, REPORT.digest).undone(REPORT.digest) is None


THINGS = [Artifact(f"thing {number}", digest(f"thing {number}"), "model") for number in range(6)]
makings = st.dictionaries(
    st.sampled_from([digest(f"maker {number}") for number in range(8)]),
    st.tuples(st.lists(st.sampled_from(THINGS), min_size=1, max_size=2), st.lists(st.sampled_from(THINGS), max_size=2)),
)


@given(makings=makings, data=st.data())
def test_revoking_more_holds_up_nothing_and_a_new_maker_of_its_own_does(makings: dict[str, tuple[list[Artifact], list[Artifact]]], data: st.DataObject) -> None:
    revoked = data.draw(st.sets(st.sampled_from(sorted(makings)))) if makings else set()
    less = data.draw(st.sets(st.sampled_from(sorted(revoked)))) if revoked else set()
    down = envelopes.fallen(makings, revoked)
    assert set(envelopes.fallen(makings, less)) <= set(down)
    assert set(down.values()) <= revoked
    thing = data.draw(st.sampled_from(THINGS))
    assert thing.digest not in envelopes.fallen({**makings, digest("new"): ([thing], [])}, revoked)


def test_a_model_that_a_report_names_as_its_subject_was_judged_and_not_made_by_it(house: House) -> None:
    certificate = Artifact("certificate", digest("certificate"), "certificate")
    made = issue(house, MODEL, CORPUS)
    judging = house.db.write(
        lambda tx: house.evidence.issue(tx, MEI, predicate_type=TYPE, subjects=[MODEL, certificate], materials=[SOURCE], predicate={})
    )
    assert [step.id for step in down(house, MODEL.digest).steps] == [made.id]
    assert certificate in up(house, MODEL.digest).artifacts
    assert MODEL not in up(house, judging.id).artifacts


def test_a_statement_is_revoked_once_and_a_revocation_never(house: House) -> None:
    made = issue(house, MODEL)
    revocation = house.db.write(lambda tx: house.evidence.revoke(tx, MEI, made.id, "wrong seed"))
    for statement in (made.id, revocation.id):
        with pytest.raises(Conflict):
            house.db.write(lambda tx, statement=statement: house.evidence.revoke(tx, MEI, statement, "again"))  # type: ignore[misc]
    with pytest.raises(BadInput):
        house.db.write(lambda tx: house.evidence.revoke(tx, MEI, made.id, "  "))
    with pytest.raises(NotFound):
        house.db.write(lambda tx: house.evidence.revoke(tx, MEI, digest("none"), "gone"))


def test_what_is_no_digest_no_kind_or_no_json_is_refused(house: House) -> None:
    with pytest.raises(BadInput):
        Artifact("x", "sha256:12", "model")
    with pytest.raises(BadInput):
        Artifact("x", MODEL.digest, "license")
    with pytest.raises(BadInput):
        issue(house, MODEL, seed=2**60)
    with pytest.raises(BadInput):
        issue(house, MODEL, materials=[])
    assert house.db.read(house.events.size) == 0


def test_key_files_are_private_and_their_names_tell_nothing(house: House) -> None:
    first = house.keys.of("../mei")
    assert house.keys.of("../mei").keyid == first.keyid != house.keys.of("li").keyid
    assert "private" not in repr(first).lower().replace("private key", "")
    for file in house.settings.keys.iterdir():
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        assert "mei" not in file.name
    next(house.settings.keys.iterdir()).chmod(0o644)
    with pytest.raises(BadKey, match="chmod 600"):
        house.keys.of("../mei"), house.keys.of("li")


def test_a_walk_never_scans_a_table(house: House) -> None:
    if house.db.dialect != "sqlite":
        pytest.skip("the other planner has statistics of its own")
    for enter, leave in evidence._ROLES.values():
        sql = "EXPLAIN QUERY PLAN " + evidence._WALK.format(enter=enter, leave=leave)
        plan = [row["detail"] for row in house.db.read(lambda tx, sql=sql: tx.rows(sql, start=MODEL.digest))]  # type: ignore[misc]
        assert not [step for step in plan if step.startswith("SCAN") and step.split()[1] not in ("reached", "met", "CONSTANT")]
