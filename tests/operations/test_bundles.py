"""A bundle is checked with nothing but its folder; whatever byte is changed, in it or in the house, the place is named."""

from __future__ import annotations

import json
import random
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from lilong.ground import log, manifest
from lilong.ground.access import Actor
from lilong.ground.blobs import Blob
from lilong.ground.db import Tx
from lilong.ground.evidence import Artifact, Statement
from lilong.ground.house import House
from lilong.ground.signing import BadKey
from lilong.operations.bundles.audit import house_key, verify_house
from lilong.operations.bundles.check import verify
from lilong.operations.bundles.export import CutShort, Held, NotABundle, Package, gather, stream, unpack
from tests.ground.opened import ground

MEI = Actor("mei")
TYPE = "https://lilong.dev/example/v1"


@dataclass
class Chain:
    """A house with a corpus, a base, a model made of both, and the model's report and registration."""

    house: House
    subject: Artifact
    statements: dict[str, Statement]
    held: dict[str, Held]

    def package(self, subject: Artifact | None = None) -> Package:
        return gather(self.house, subject or self.subject, lambda _tx, digest: self.held.get(digest))

    def export(self, out: Path, subject: Artifact | None = None) -> Path:
        unpack(stream(self.package(subject), self.house.blobs), out)
        return out


def lay_chain(house: House) -> Chain:
    held: dict[str, Held] = {}

    def kept(name: str, kind: str) -> Artifact:
        return Artifact(name, house.blobs.put(f"{name}\n".encode()).digest, kind)

    def repository(name: str, kind: str, *files: str) -> Artifact:
        blobs = {file: house.blobs.put(f"{name} {file}\n".encode() * 30) for file in files}
        root = manifest.root({path: blob.digest for path, blob in blobs.items()})
        held[root] = Held(f"{name}@0123456789ab", blobs)
        return Artifact(name, root, kind)

    def issue(subject: Artifact, *materials: Artifact, signer: str = "house") -> Statement:
        return house.db.write(
            lambda tx: house.evidence.issue(
                tx, MEI, predicate_type=TYPE, subjects=[subject], materials=materials, predicate={"about": subject.name}, signers=(signer,)
            )
        )

    source, licence, wheel = kept("manpages.deb", "source"), kept("GPL-2.0", "licence"), kept("base.whl", "source")
    corpus, base = repository("northwind/pages", "corpus", "data/0.parquet"), repository("northwind/base", "model", "model.safetensors")
    model = repository("northwind/tea", "model", "model.safetensors", "tokenizer/vocab.json", ".gitattributes")
    report, registration = kept("report of tea", "report"), kept("LL-2026-0001", "registration")
    statements = {
        "corpus": issue(corpus, source, licence),
        "base": issue(base, wheel, licence),
        "model": issue(model, corpus, base),
        "report": issue(report, model, corpus),
    }
    signer, origin = house.keys.house(), "lilong/lilong"
    house.db.write(lambda tx: house.events.checkpoint(tx, signer, origin))
    statements["registration"] = issue(registration, model, report, signer="li")
    return Chain(house, model, statements, held)


@pytest.fixture
def chain(tmp_path: Path) -> Iterator[Chain]:
    house = ground(tmp_path / "house")
    yield lay_chain(house)
    house.close()


def test_an_exported_bundle_verifies_on_its_own(chain: Chain, tmp_path: Path) -> None:
    findings = verify(chain.export(tmp_path / "out"), trusted=house_key(chain.house))
    assert findings.problems == ()
    assert findings.summary() == "verified: 5 statements, 0 problems"
    assert findings.key == house_key(chain.house)
    assert findings.files > 20


def test_it_verifies_where_nothing_of_the_server_can_be_imported(chain: Chain, tmp_path: Path) -> None:
    out = chain.export(tmp_path / "out")
    program = (
        "import sys\n"
        "for name in ('sqlalchemy', 'fastapi', 'torch', 'numpy', 'msgspec', 'structlog', 'click'): sys.modules[name] = None\n"
        "from pathlib import Path\nfrom lilong.operations.bundles.check import verify\nprint(verify(Path(sys.argv[1])).summary())\n"
    )
    done = subprocess.run([sys.executable, "-c", program, str(out)], capture_output=True, text=True, check=False)
    assert done.stdout == "verified: 5 statements, 0 problems\n", done.stderr


def test_the_tool_of_openssf_verifies_the_model_in_the_bundle(chain: Chain, tmp_path: Path) -> None:
    from model_signing.verifying import Config

    out = chain.export(tmp_path / "out")
    signature = out / "signatures" / f"{chain.subject.digest.removeprefix('sha256:')}.sig"
    config = Config().use_elliptic_key_verifier(public_key=out / "model-key.pem")
    config.verify(out / "files" / "northwind" / "tea@0123456789ab", signature)


def test_every_changed_byte_is_found_at_its_place(chain: Chain, tmp_path: Path) -> None:
    out = chain.export(tmp_path / "out")
    places = sorted(path for path in out.rglob("*") if path.is_file())
    chance = random.Random(7)
    targets = places + [chance.choice(places) for _ in range(max(0, 100 - len(places)))]
    for path in targets:
        content = path.read_bytes()
        changed = bytearray(content)
        changed[chance.randrange(len(changed))] ^= 1 << chance.randrange(8)
        path.write_bytes(bytes(changed))
        named = {problem.place for problem in verify(out).problems}
        assert path.relative_to(out).as_posix() in named, f"{path}: {named}"
        path.write_bytes(content)
    assert verify(out).sound


def test_a_missing_an_added_and_a_linked_file_are_found(chain: Chain, tmp_path: Path) -> None:
    out = chain.export(tmp_path / "out")
    for name in sorted(path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file()):
        moved = out.parent / "moved"
        (out / name).rename(moved)
        assert name in {problem.place for problem in verify(out).problems}
        (out / name).symlink_to(moved)
        assert not verify(out).sound
        (out / name).unlink()
        moved.rename(out / name)
    (out / "files" / "more.txt").write_text("more")
    assert [problem.place for problem in verify(out).problems] == ["files/more.txt"]


def test_a_bundle_signed_anew_by_another_key_is_not_the_houses(chain: Chain, tmp_path: Path) -> None:
    other = ground(tmp_path / "other")
    try:
        forged = lay_chain(other).export(tmp_path / "out")
    finally:
        other.close()
    assert verify(forged).sound
    assert "bundle.sig" in {problem.place for problem in verify(forged, trusted=house_key(chain.house)).problems}


def test_a_list_signed_again_by_the_house_does_not_hide_a_changed_statement(chain: Chain, tmp_path: Path) -> None:
    """The inner checks stand on their own: even with the house's key at hand, the list cannot cover for its content."""
    package = chain.package()
    for place in [place for place in package.entries if place.split("/")[0] in ("statements", "events", "proofs", "keys", "artifacts", "files")]:
        forged = dict(package.entries)
        entry = forged[place]
        content = bytearray(chain.house.blobs.read(entry.digest) if isinstance(entry, Blob) else entry)
        content[len(content) // 2] ^= 1
        forged[place] = bytes(content)
        out = tmp_path / "out"
        unpack(stream(_signed_again(chain.house, forged), chain.house.blobs), out)
        assert not verify(out).sound, place


def _signed_again(house: House, entries: dict[str, bytes | Blob]) -> Package:
    import hashlib

    from lilong.ground import log
    from lilong.operations.bundles.check import signed_text

    index = json.loads(entries["bundle.json"])  # type: ignore[arg-type]
    for place, entry in entries.items():
        if place in index["files"] and isinstance(entry, bytes):
            index["files"][place] = {"sha256": hashlib.sha256(entry).hexdigest(), "size": len(entry)}
    entries["bundle.json"] = json.dumps(index).encode()
    text = signed_text(index["origin"], hashlib.sha256(entries["bundle.json"]).hexdigest())
    entries["bundle.sig"] = log.sign_note(text, index["origin"], house.keys.house().private).encode()
    return Package(entries)


def test_a_chain_with_a_missing_link_is_found(chain: Chain, tmp_path: Path) -> None:
    loose = Artifact("northwind/loose", chain.house.blobs.put(b"loose").digest, "model")
    report = Artifact("report", chain.house.blobs.put(b"loose report").digest, "report")
    chain.house.db.write(
        lambda tx: chain.house.evidence.issue(tx, MEI, predicate_type=TYPE, subjects=[report], materials=[loose], predicate={})
    )
    problems = verify(chain.export(tmp_path / "out", report)).problems
    assert any("no statement here says what the model northwind/loose" in problem.what for problem in problems)
    assert any("do not lead from report to any licence" in problem.what for problem in problems)


def test_a_revoked_statement_is_a_problem_of_the_bundle(chain: Chain, tmp_path: Path) -> None:
    revoked = chain.statements["corpus"].id
    chain.house.db.write(lambda tx: chain.house.evidence.revoke(tx, MEI, revoked, "a source was not free"))
    (problem,) = verify(chain.export(tmp_path / "out")).problems
    assert problem.place == f"statements/{revoked.removeprefix('sha256:')}.json"
    assert "a source was not free" in problem.what


def answered(chain: Chain, record: bytes, **changes: object) -> Artifact:
    """An answer's statement over its record, which is the second of three in a sealed segment."""
    house, nodes = chain.house, log.MemoryNodes()
    for number, entry in enumerate((b"first", record, b"third")):
        log.append(nodes, number, log.leaf_hash(entry))
    root = log.root(nodes, 3).hex()
    deployment = Artifact("tea", house.blobs.put(b"deployment").digest, "deployment")
    answer = Artifact("rcpt-1", house.blobs.put(record).digest, "answer")

    def issue(subject: Artifact, material: Artifact, **predicate: object) -> Statement:
        return house.db.write(
            lambda tx: house.evidence.issue(tx, MEI, predicate_type=TYPE, subjects=[subject], materials=[material], predicate=predicate)
        )

    issue(deployment, chain.subject)
    seal = issue(Artifact("segment", f"sha256:{root}", "usage"), deployment)
    path = [each.hex() for each in log.inclusion(nodes, 1, 3)]
    issue(answer, deployment, **{"index": 1, "records": 3, "root": root, "path": path, "seal": seal.id, **changes})
    return answer


def test_an_answer_is_proved_from_its_record_to_the_licences(chain: Chain, tmp_path: Path) -> None:
    record = json.dumps({"id": "rcpt-1", "revision": chain.subject.digest}).encode()
    out = chain.export(tmp_path / "out", answered(chain, record))
    findings = verify(out)
    assert findings.problems == ()
    assert (out / "files" / "northwind" / "tea@0123456789ab" / "model.safetensors").exists()
    assert findings.statements == 8


@pytest.mark.parametrize(
    ("record", "changes"),
    [
        ({"id": "rcpt-2"}, {}),
        ({"revision": "sha256:" + "0" * 64}, {}),
        ({}, {"index": 2}),
        ({}, {"records": 2}),
        ({}, {"path": []}),
        ({}, {"root": "00" * 32}),
    ],
)
def test_an_answer_whose_record_or_proof_is_not_right_is_found(chain: Chain, tmp_path: Path, record: dict[str, str], changes: dict[str, object]) -> None:
    content = json.dumps({"id": "rcpt-1", "revision": chain.subject.digest, **record}).encode()
    answer = answered(chain, content, **changes)
    problems = verify(chain.export(tmp_path / "out", answer)).problems
    assert {problem.place for problem in problems} == {f"artifacts/{answer.digest.removeprefix('sha256:')}"}


def test_a_folder_that_is_no_bundle_is_never_replaced_and_a_broken_stream_leaves_nothing(chain: Chain, tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.mkdir()
    (precious / "thesis.txt").write_text("years of work")
    with pytest.raises(NotABundle):
        chain.export(precious)
    whole = b"".join(stream(chain.package(), chain.house.blobs))
    for part in range(0, len(whole) - 1024, 4099):
        with pytest.raises(CutShort):
            unpack(iter([whole[:part]]), tmp_path / "half")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["house", "precious"]
    chain.export(tmp_path / "out")
    assert verify(chain.export(tmp_path / "out")).sound


# --- the whole house -------------------------------------------------------------------------------------------------------


def test_a_house_as_it_was_written_has_no_problems_on_either_database(tmp_path: Path, database_url: str) -> None:
    house = ground(tmp_path / "house", database_url)
    try:
        chain = lay_chain(house)
        assert verify(chain.export(tmp_path / "out")).sound
        findings = verify_house(house)
        assert findings.problems == ()
        assert (findings.statements, findings.files) == (5, len(list(house.blobs.digests())))
    finally:
        house.close()


COLUMNS = [
    ("ground_events", column, "seq", "event {}") for column in ("at", "actor", "kind", "subject", "body", "salt", "body_sha256")
] + [
    ("ground_statements", column, "id", "statement {}") for column in ("predicate_type", "envelope", "at", "actor")
] + [
    ("ground_links", column, "statement", "statement {}") for column in ("digest", "kind", "name", "role")
] + [
    ("ground_keys", column, "keyid", "key {}") for column in ("holder", "public", "algorithm")
] + [("ground_checkpoints", "note", "size", "checkpoint {}")]  # fmt: skip


@pytest.mark.parametrize(("table", "column", "key", "place"), COLUMNS)
def test_every_changed_byte_of_a_row_is_found_at_its_place(chain: Chain, table: str, column: str, key: str, place: str) -> None:
    chance = random.Random(f"{table}.{column}")
    house = chain.house
    for row in house.db.read(lambda tx: tx.rows(f"SELECT {key} AS key, {column} AS value FROM {table} ORDER BY 1")):
        for bit in (1, 0x80):  # another letter; and text that is no longer UTF-8
            changed = bytearray(row["value"].encode())
            changed[chance.randrange(len(changed))] ^= bit
            where = f"{key} = :key AND {column} = :old"
            write = f"UPDATE {table} SET {column} = CAST(:new AS TEXT) WHERE {where}"
            house.db.write(lambda tx: tx.run(write, new=bytes(changed), key=row["key"], old=row["value"]))  # noqa: B023
            named = {problem.place for problem in verify_house(house).problems}
            back = f"UPDATE {table} SET {column} = :old WHERE {key} = :key AND {column} = CAST(:new AS TEXT)"
            house.db.write(lambda tx: tx.run(back, new=bytes(changed), key=row["key"], old=row["value"]))  # noqa: B023
            assert place.format(row["key"]) in named, (row["key"], named)
    assert verify_house(house).sound


@pytest.mark.parametrize(
    ("change", "place"),
    [
        ("DELETE FROM ground_events WHERE seq = (SELECT MAX(seq) FROM ground_events)", "statement"),
        ("DELETE FROM ground_events WHERE seq = 2", "event 2"),
        ("DELETE FROM ground_log_nodes WHERE level = 1 AND idx = 1", "log node 1/1"),
        ("UPDATE ground_log_nodes SET hash = x'00' WHERE level = 1 AND idx = 1", "log node 1/1"),
        ("INSERT INTO ground_log_nodes (level, idx, hash) VALUES (0, 999, x'00')", "log nodes"),
        ("UPDATE ground_checkpoints SET root = x'00'", "checkpoint"),
        ("DELETE FROM ground_keys", "key"),
        ("UPDATE ground_statements SET revoked_by = id", "statement"),
        ("UPDATE ground_statements SET seq = seq + 1 WHERE seq = 3", "statement"),
        ("DELETE FROM ground_links WHERE position = 1", "statement"),
        ("UPDATE ground_events SET body = NULL WHERE seq = 1", "event 1"),
    ],
)
def test_rows_taken_out_put_in_and_turned_round_are_found(chain: Chain, change: str, place: str) -> None:
    chain.house.db.write(lambda tx: tx.run(change))
    assert any(problem.place.startswith(place) for problem in verify_house(chain.house).problems)


def test_a_history_cut_short_is_found_by_its_checkpoint(chain: Chain) -> None:
    (signed,) = chain.house.db.read(lambda tx: tx.rows("SELECT size FROM ground_checkpoints"))

    def cut(tx: Tx) -> None:
        for table in ("ground_links", "ground_statements", "ground_log_nodes", "ground_events", "ground_keys"):
            tx.run(f"DELETE FROM {table}")

    chain.house.db.write(cut)
    (problem, *_) = verify_house(chain.house).problems
    assert problem.place == f"checkpoint {signed['size']}"


def test_every_changed_byte_of_a_blob_is_found_at_its_place(chain: Chain) -> None:
    for file in sorted(path for path in chain.house.settings.blobs.glob("??/*")):
        content = file.read_bytes()
        file.chmod(0o644)
        file.write_bytes(bytes([content[0] ^ 1]) + content[1:])
        assert {problem.place for problem in verify_house(chain.house).problems} == {f"blob sha256:{file.parent.name}{file.name}"}
        file.write_bytes(content)


def test_a_blob_that_a_statement_names_or_a_repository_holds_is_missed(chain: Chain) -> None:
    held = next(blobs for blobs in chain.held.values() if "tokenizer/vocab.json" in blobs.files)
    report = chain.statements["report"].subjects[0].digest
    for digest, what in ((report, "report report of tea"), (held.files["tokenizer/vocab.json"].digest, "northwind/tea@0123456789ab/tokenizer/vocab.json")):
        name = digest.removeprefix("sha256:")
        (chain.house.settings.blobs / name[:2] / name[2:]).unlink()
        problems = verify_house(chain.house, held=lambda _tx, each: chain.held.get(each)).problems
        assert f"blob {digest}: it is missing, and it is {what}" in [str(problem) for problem in problems]


def test_an_erased_body_is_no_problem(chain: Chain) -> None:
    @dataclass(frozen=True, slots=True)
    class Signed:
        kind = "users.signed"
        subject: str
        address: str

    seq = chain.house.db.write(lambda tx: chain.house.events.append(tx, MEI, Signed("mei", "mei@example.org")))
    chain.house.db.write(lambda tx: chain.house.events.erase(tx, seq))
    assert verify_house(chain.house).sound


def test_a_key_file_that_others_may_read_is_refused(chain: Chain) -> None:
    shutil.copytree(chain.house.settings.keys, chain.house.settings.keys.parent / "spare")
    for file in chain.house.settings.keys.iterdir():
        file.chmod(0o640)
    with pytest.raises(BadKey):
        chain.house.keys.house()
