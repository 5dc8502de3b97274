"""Registering files and getting tokens: what a client may lie about, and what it may not learn."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from lilong.floors.hub import service
from lilong.floors.hub.contract import Kind
from lilong.floors.hub.service import quotas, xet_access, xet_dedup, xet_register, xet_tokens
from lilong.floors.hub.xet import hashes, shards
from lilong.floors.hub.xet.shards import File, Term
from lilong.ground.access import SYSTEM, Actor

from .conftest import hub_house
from .xet_server import HARBOUR, LANTERN, Cas, asked, client, made, quota, sent, serving, term


@pytest.fixture(scope="module")
def cas(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cas]:
    with serving(tmp_path_factory.mktemp("xet") / "house") as server:
        yield server


SHARD_LIES: dict[str, tuple[Callable[[File], File], str]] = {
    "a length": (term(length=99_001), "shard-not-true"),
    "a run that ends behind the last chunk": (term(end=4), "shard-not-true"),
    "a run that ends before it begins": (term(begin=2, end=1), "shard-not-true"),
    "an empty run": (term(begin=1, end=1, length=0), "shard-not-true"),
    "a verification hash": (term(verification=bytes(32)), "shard-not-true"),
    "no verification hashes": (term(verification=None), "shard-not-true"),
    "a xorb that nobody sent": (term(xorb=bytes(32)), "xorb-not-known"),
    "a hash of the file": (lambda file: replace(file, hash=b"\1" * 32), "shard-not-true"),
    "the same chunks twice": (lambda file: replace(file, terms=file.terms * 2), "shard-not-true"),
    "a file of nothing": (lambda file: replace(file, terms=()), "shard-not-true"),
    "a sha256": (lambda file: replace(file, digest="sha256:" + "ab" * 32), "shard-not-true"),
    "more than a file may have": (
        lambda file: replace(file, terms=tuple(replace(file.terms[0], length=2**32 - 1) for _ in range(3))),
        "too-large",
    ),
}


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("name", SHARD_LIES)
def test_a_shard_that_lies_registers_nothing(cas: Cas, name: str, version: int) -> None:
    lie, code = SHARD_LIES[name]
    honest, it, token = made(), made(), cas.grant("mei")
    for one in (honest, it):
        assert cas.send(token, one.hash, one.body).status_code == 200
    answer = cas.register(token, honest.file, lie(it.file), version=version)
    assert (answer.status_code, answer.json()["code"]) == (413 if code == "too-large" else 400, code)
    assert cas.rows("hub_xet_files", it.file.hash) == cas.rows("hub_xet_files", honest.file.hash) == 0


def test_who_waits_long_is_told_how_far_it_is(cas: Cas, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lilong.floors.hub.api.cas._PATIENCE", 0.0005)
    it, token = made(), cas.grant("mei")
    cas.send(token, it.hash, it.body)
    lie = [json.loads(line) for line in cas.register(token, replace(it.file, digest="sha256:" + "ab" * 32)).iter_lines()]
    assert lie[0]["type"] == "validating"
    assert (lie[-1]["type"], lie[-1]["retryable"]) == ("error", False)
    assert [json.loads(line)["type"] for line in cas.register(token, it.file).iter_lines()][-1] == "result"
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "a.bin").write_bytes(random.Random(9).randbytes(4 << 20))
    assert client(cas, tmp_path / "cache", "dataset", f"{LANTERN}/slow", str(tmp_path / "folder"))["a.bin"][0] == 4 << 20


def test_a_sha256_is_worked_out_where_none_was_sent(cas: Cas) -> None:
    it, token = made(), cas.grant("mei")
    cas.send(token, it.hash, it.body)
    assert cas.register(token, replace(it.file, digest=None)).status_code == 200
    assert cas.house.blobs.read(it.file.digest or "") == it.content
    lie = replace(it.file, digest="sha256:" + "ab" * 32)  # known by now, and not believed either
    assert cas.register(token, lie).json()["code"] == "shard-not-true"


def test_a_foreign_xorb_is_as_unknown_as_one_that_nobody_sent(cas: Cas) -> None:
    it, theirs = made(), cas.grant("tom", repository=f"{HARBOUR}/reef")
    cas.send(cas.grant("mei"), it.hash, it.body)
    cas.register(cas.grant("mei"), it.file)
    foreign = cas.register(theirs, it.file)
    missing = cas.register(theirs, term(xorb=b"\2" * 32)(it.file))
    assert foreign.status_code == missing.status_code == 400
    assert foreign.text == missing.text.replace("02" * 32, hashes.text(it.hash))
    chunk = hashes.text(hashes.chunk(it.content[:9000]))
    answers = [cas.ask("GET", f"/v1/chunks/default/{hash}", theirs) for hash in (chunk, "00" * 32)]
    assert [answer.status_code for answer in answers] == [404, 404]
    assert answers[0].text.replace(chunk, "") == answers[1].text.replace("00" * 32, "")


def test_a_chunk_is_told_to_who_sent_it_and_to_who_may_read_it(cas: Cas) -> None:
    it, token = made(), cas.grant("mei")
    cas.send(token, it.hash, it.body)
    cas.register(token, it.file)
    place = f"/v1/chunks/default-merkledb/{hashes.text(hashes.chunk(it.content[:9000]))}"
    told = cas.ask("GET", place, token)
    assert told.status_code == 200
    assert shards.parse(told.content).xorbs == (it.hash,)
    assert hashes.chunk(it.content[:9000]) not in told.content
    assert cas.ask("GET", place, cas.grant("jun")).status_code == 404  # of the same organisation, but no repository holds it yet

    def hold(tx: Any) -> None:
        repository = tx.value("SELECT id FROM hub_repositories WHERE name = 'tide'")
        tx.run("INSERT INTO hub_contents (digest, repository, size) VALUES (:d, :r, 1)", d=it.file.digest, r=repository)

    cas.house.db.write(hold)
    assert cas.ask("GET", place, cas.grant("jun")).status_code == 200
    assert cas.register(cas.grant("jun"), it.file).status_code == 200
    assert cas.ask("GET", place, cas.grant("tom", repository=f"{HARBOUR}/reef")).status_code == 404


def test_damaged_bytes_are_not_registered(cas: Cas) -> None:
    it, token = made(), cas.grant("mei")
    cas.send(token, it.hash, it.body)
    file = cas.house.settings.house / "xorbs" / hashes.text(it.hash)[:2] / hashes.text(it.hash)
    file.chmod(0o600)
    file.write_bytes(it.body[:-100])
    answer = cas.register(token, it.file)
    assert (answer.status_code, answer.json()["code"]) == (409, "xorb-damaged")
    assert hashes.text(it.hash) in answer.json()["error"]


def test_a_quota_is_asked_before_bytes_are_taken(cas: Cas) -> None:
    it, token = made(), cas.grant("tom", repository=f"{HARBOUR}/reef")
    cas.send(token, it.hash, it.body)
    with quota(cas, HARBOUR, 1):
        assert cas.register(token, it.file).json()["code"] == "quota-exceeded"
    with quota(cas, HARBOUR, 0):
        word = {"authorization": f"Bearer {cas.tokens['tom']}"}
        assert httpx.get(f"{cas.url}/api/models/{HARBOUR}/reef/xet-write-token/main", headers=word).status_code == 403
    assert cas.register(token, it.file).status_code == 200


def test_what_is_sent_and_never_used_is_bounded_by_the_quota(cas: Cas) -> None:
    token = cas.grant("tom", repository=f"{HARBOUR}/reef")
    one, two = made(), made()
    assert cas.send(token, one.hash, one.body).status_code == 200
    with quota(cas, HARBOUR, 90_000):
        assert cas.send(token, two.hash, two.body).json()["code"] == "too-much-unused"
    assert cas.register(token, one.file).status_code == 200


def test_the_real_client_gives_up_at_once_where_it_is_refused(cas: Cas, tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "a.bin").write_bytes(random.Random(10).randbytes(2 << 20))
    client(cas, tmp_path / "cache", "dataset", f"{HARBOUR}/full", str(tmp_path / "folder"), user="tom")
    (tmp_path / "folder" / "a.bin").write_bytes(random.Random(11).randbytes(2 << 20))
    used = cas.house.db.read(lambda tx: quotas.of(cas.house, tx, HARBOUR).used)
    with quota(cas, HARBOUR, used + 1000):  # there is a token, and the shard is refused
        said = asked(cas, tmp_path / "cache", "dataset", f"{HARBOUR}/full", str(tmp_path / "folder"), user="tom")
    assert said.returncode != 0
    assert "403" in said.stderr


# --- tokens -------------------------------------------------------------------------------------------------------------


def test_a_token_is_for_who_may(cas: Cas) -> None:
    def ask(user: str | None, verb: str, rest: str, repository: str = f"{LANTERN}/tide") -> int:
        word = {"authorization": f"Bearer {cas.tokens[user]}"} if user else {}
        return httpx.get(f"{cas.url}/api/models/{repository}/xet-{verb}-token/{rest}", headers=word).status_code

    assert ask("ada", "read", "main") == 200
    assert ask("ada", "write", "main") == 403
    assert ask("ada", "write", "None?create_pr=1") == 200
    assert ask("tom", "read", "main") == ask("tom", "write", "main") == 404
    assert ask(None, "read", "main") == ask(None, "write", "main") == 401
    assert ask("mei", "write", "no-such-branch") == ask("mei", "read", "no-such-branch") == 404
    assert ask("mei", "write", "main", f"{LANTERN}/nothing") == 404
    service.create(cas.house, Actor("mei"), Kind.MODEL, f"{LANTERN}/open", private=False)
    assert ask("tom", "write", "main", f"{LANTERN}/open") == 403
    assert ask("tom", "write", "None?create_pr=1", f"{LANTERN}/open") == 200  # everybody with an account may propose
    assert ask(None, "read", "main", f"{LANTERN}/open") == 200
    assert ask(None, "write", "None?create_pr=1", f"{LANTERN}/open") == 401
    opened = {"title": "Ebb", "pullRequest": True}
    word = {"authorization": f"Bearer {cas.tokens['tom']}"}
    assert httpx.post(f"{cas.url}/api/models/{LANTERN}/open/discussions", json=opened, headers=word).json()["num"] == 1
    assert ask("tom", "write", "refs%2Fpr%2F1", f"{LANTERN}/open") == 200
    assert ask("ada", "write", "refs%2Fpr%2F1", f"{LANTERN}/open") == 403
    assert ask("tom", "write", "refs%2Fpr%2F2", f"{LANTERN}/open") == 404


def test_a_token_that_is_forged_over_or_too_narrow_opens_nothing(cas: Cas) -> None:
    it = made()
    good = xet_tokens.grant_of(cas.house, cas.grant("mei"))
    over = xet_tokens.issue(cas.house, replace(good, expires=int(time.time()) - 1))
    reading = xet_tokens.issue(cas.house, replace(good, verb="read"))
    word, _, signature = xet_tokens.issue(cas.house, good).partition(".")
    stranger, _, _ = xet_tokens.issue(cas.house, replace(good, actor=Actor("tom"))).partition(".")
    for token, status in (
        (over, 401), (reading, 403), ("", 401), ("nonsense", 401), (f"{word}.", 401), (f"{stranger}.{signature}", 401),
        (f"{word}.{signature}x", 401), (f".{signature}", 401), (cas.tokens["mei"], 401),
    ):  # fmt: skip
        assert cas.send(token, it.hash, it.body).status_code == status
        assert cas.register(token, it.file).status_code == status
    assert cas.rows("hub_xorbs", it.hash) == 0


def test_a_token_dies_with_the_user_and_with_the_token_behind_it(cas: Cas) -> None:
    house = cas.house

    def add(tx: Any) -> tuple[str, str]:
        house.access.add_user(tx, SYSTEM, "ivo")
        house.access.grant(tx, SYSTEM, "ivo", "member", LANTERN)
        return house.access.add_token(tx, Actor("ivo"), "ivo", "one")[1], house.access.add_token(tx, Actor("ivo"), "ivo", "two")[1]

    one, two = house.db.write(add)
    first, second = (Cas(house, cas.url, {"ivo": token}).grant("ivo") for token in (one, two))
    it = made()
    assert cas.send(first, it.hash, it.body).status_code == 200
    identity = house.db.read(lambda tx: house.access.authenticate(tx, one)).token
    house.db.write(lambda tx: house.access.revoke_token(tx, SYSTEM, identity))
    assert cas.send(first, it.hash, it.body).status_code == 401
    assert cas.send(second, it.hash, it.body).status_code == 200
    house.db.write(lambda tx: house.access.disable_user(tx, SYSTEM, "ivo"))
    assert cas.send(second, it.hash, it.body).status_code == 401


def test_both_databases_keep_the_same(tmp_path: Path, database_url: str) -> None:
    house = hub_house(tmp_path / "house", database_url)
    try:
        repository = service.create(house, Actor("mei"), Kind.MODEL, f"{LANTERN}/tide", private=True)
        grant = xet_access.to_write(house, Actor("mei"), Kind.MODEL, f"{LANTERN}/tide", "main")
        foreign = replace(grant, actor=Actor("tom"))
        one, two = made(), made()
        for it in (one, two, one):
            sent(house, grant, it)
        body = shards.registering([one.file, two.file, one.file])
        assert [xet_register.register(house, grant, body) for _ in range(2)] == [True, False]
        chunk = hashes.text(hashes.chunk(one.content[:9000]))
        assert shards.parse(xet_dedup.shard(house, grant, chunk)).xorbs == (one.hash,)
        with pytest.raises(xet_dedup.ChunkNotKnown):
            xet_dedup.shard(house, foreign, chunk)
        with pytest.raises(xet_register.XorbNotKnown):
            xet_register.register(house, foreign, body)
        sent(house, foreign, one)
        assert xet_register.register(house, foreign, shards.registering([one.file])) is False
        whole = Term(one.hash, 9000, 0, 1, hashes.verification(hashes.chunk(one.content[:9000])))
        part = File(hashes.file([(hashes.chunk(one.content[:9000]), 9000)]), (whole,), None)
        assert xet_register.register(house, grant, shards.registering([part]))
        assert repository is not None
    finally:
        house.close()
