"""What one tenant could learn or keep that is another's, by the side doors."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from pathlib import Path

import httpx
import pytest
from huggingface_hub import CommitOperationAdd, HfApi

from lilong.floors.hub import store
from lilong.floors.hub.contract import Kind
from lilong.floors.hub.pages import repository as pages
from lilong.floors.hub.pages import views
from lilong.floors.hub.rules import oauth as rules
from lilong.floors.hub.service import access_requests, discussions, oauth, reading, sending, trust, xet_read, xet_tokens
from lilong.floors.hub.service.oauth import Consent, OAuthError
from lilong.floors.hub.service.xet_read import XetFileNotFound
from lilong.floors.hub.store.webhooks import Watch, Webhook
from lilong.ground.access import SYSTEM, Actor
from lilong.ground.errors import Forbidden, LilongError
from lilong.ground.house import House
from tests.hub.conftest import HARBOUR, LANTERN, Served

_NUMBERS = itertools.count(1)


@pytest.fixture
def name() -> str:
    return f"{LANTERN}/side-{next(_NUMBERS)}"


def api(served: Served, who: str) -> HfApi:
    return HfApi(served.url, token=served.tokens[who])


def token(served: Served, who: str, *scopes: str) -> str:
    return served.house.db.write(lambda tx: served.house.access.add_token(tx, Actor(who), who, "narrow", scopes))[1]


def bearer(secret: str) -> dict[str, str]:
    return {"authorization": f"Bearer {secret}"}


def test_a_link_to_verify_one_upload_answers_for_no_other_file(served: Served, name: str) -> None:
    """The link says who uploads, not what else they may read: a token for one repository must not ask by it about another."""
    content = b"x" * (1 << 20) + name.encode()
    api(served, "mei").create_repo(name, private=True)
    served.house.blobs.put(content)
    digest = "sha256:" + hashlib.sha256(content).hexdigest()
    served.house.db.write(lambda tx: store.add_upload(tx, Actor("mei"), digest, len(content), "2026-01-01T00:00:00.000000Z"))
    other = f"{name}-other"
    api(served, "mei").create_repo(other, private=True)
    narrow = token(served, "mei", f"hub.read@{other}", f"hub.write@{other}")
    wanted = {"oid": "1" * 64, "size": 5}
    batch = httpx.post(
        f"{served.url}/{other}.git/info/lfs/objects/batch", json={"operation": "upload", "objects": [wanted]}, headers=bearer(narrow)
    )
    verify = batch.json()["objects"][0]["actions"]["verify"]["href"]
    answers = [httpx.post(verify, json={"oid": oid, "size": len(content)}) for oid in (digest.removeprefix("sha256:"), "2" * 64)]
    assert [answer.status_code for answer in answers] == [400, 400]
    assert answers[0].json()["error"] == answers[1].json()["error"]


def test_a_token_for_what_one_cannot_see_does_not_tell_whether_it_is_there(served: Served, name: str) -> None:
    api(served, "mei").create_repo(name, private=True, repo_type="dataset")
    secret, nothing = (
        httpx.get(f"{served.url}/api/whoami-v2", headers=bearer(token(served, "tom", f"hub.read@{each}"))).json()["auth"]["accessToken"]
        for each in (name, f"{name}-not-there")
    )
    kinds = [[one["entity"]["type"] for one in said["fineGrained"]["scoped"]] for said in (secret, nothing)]
    assert kinds[0] == kinds[1]
    own = httpx.get(f"{served.url}/api/whoami-v2", headers=bearer(token(served, "mei", f"hub.read@{name}"))).json()
    assert own["auth"]["accessToken"]["fineGrained"]["scoped"][0]["entity"]["type"] == "dataset"


def test_who_owns_a_gate_cannot_find_out_by_it_who_is_a_user_here(served: Served) -> None:
    name = f"{HARBOUR}/gate-{next(_NUMBERS)}"
    api(served, "tom").create_repo(name, private=False)
    served.house.db.write(lambda tx: tx.run("UPDATE hub_repositories SET gated = 'manual' WHERE organisation = :o", o=HARBOUR))
    house = served.house
    house.db.write(lambda tx: house.access.add_user(tx, SYSTEM, f"eve-{name[-1]}", "Eve Of Another House", email="eve@x.example"))
    refused = []
    for user in (f"eve-{name[-1]}", "nobody-at-all"):
        deeds: list[Callable[[], object]] = [
            partial(access_requests.grant, house, Actor("tom"), Kind.MODEL, name, user),
            partial(access_requests.handle, house, Actor("tom"), Kind.MODEL, name, "accepted", user=user),
        ]
        for deed in deeds:
            with pytest.raises(LilongError) as error:
                deed()
            refused.append((type(error.value), error.value.status, str(error.value).replace(user, "…")))
    assert refused[:2] == refused[2:]


def test_a_webhook_is_not_told_what_is_said_behind_a_gate(served: Served, name: str) -> None:
    house = served.house
    api(served, "mei").create_repo(name, private=False)
    api(served, "mei").update_repo_settings(name, gated="manual")
    hooks = {
        who: Webhook("w", who, "https://board.example", "", (Watch("model", name),), ("discussion",), False, "")
        for who in ("tom", "ada", "jun")
    }

    def told(who: str, scope: str) -> bool:
        def ask(tx: object) -> bool:
            held = store.repository(tx, Kind.MODEL, name)  # type: ignore[arg-type]
            return sending.may_know(house, tx, hooks[who], name, hidden=False, held=held, scope=scope)  # type: ignore[arg-type]

        return house.db.read(ask)

    assert [told(who, "discussion.comment") for who in ("tom", "jun")] == [False, True]
    assert told("tom", "repo.content")
    discussions.open_new(house, Actor("mei"), Kind.MODEL, name, "Behind the gate", "Only for us")
    shown = {who: pages._activity(house, Actor(who), Kind.MODEL, name, None)[1] for who in ("tom", "jun")}
    kinds = {who: {one.recorded.kind for one in found} for who, found in shown.items()}
    assert "hub.discussion-opened" in kinds["jun"]
    assert not any(kind.startswith("hub.discussion") for kind in kinds["tom"])


def test_a_page_does_not_tell_that_others_had_a_file_scanned(served: Served, name: str) -> None:
    house, own = served.house, f"{HARBOUR}/page-{next(_NUMBERS)}"
    content = f"what both have {name}".encode()
    for who, repo in (("mei", name), ("tom", own)):
        api(served, who).create_repo(repo, private=True)
        api(served, who).create_commit(repo, [CommitOperationAdd("notes.txt", content)], commit_message="Notes")
    trust.scan(house, *reading.pinned(house, Actor("mei"), Kind.MODEL, name, "main"))
    shown = views.file(house, Actor("tom"), Kind.MODEL, own, "main", "notes.txt")
    listing = views.listing(house, Actor("tom"), Kind.MODEL, own, "main", "", "", 100)
    assert shown.status == "queued"
    assert {line.status for line in listing.lines} == {"queued"}


def test_a_verifier_where_no_challenge_was_given_is_refused(house: House) -> None:
    """RFC 9700 section 2.1.1: else a stolen code is slipped to a program that believes in its PKCE."""
    made = oauth.add_client(house, SYSTEM, "Board", ("https://board.example/back",), public=False)
    client = house.db.read(lambda tx: oauth.client_of(tx, made.id))
    code = oauth.agree(house, Actor("jun"), Consent(client, "https://board.example/back", "openid", "", "", ""))
    with pytest.raises(OAuthError) as refused:
        oauth.redeem(house, made.id, made.secret, code, "https://board.example/back", "v" * 50)
    assert refused.value.error == "invalid_grant"
    assert oauth.redeem(house, made.id, made.secret, code, "https://board.example/back", "").user == "jun"


def test_a_token_that_ends_lets_no_program_in_for_longer(house: House) -> None:
    _, secret = house.db.write(lambda tx: house.access.add_token(tx, Actor("jun"), "jun", "an hour", ("hub.*",), lives=timedelta(hours=1)))
    actor = house.db.read(lambda tx: house.access.authenticate(tx, secret))
    begun = oauth.begin(house, oauth.TERMINAL.id, "read-repos", "here")
    with pytest.raises(LilongError):
        oauth.decide_device(house, actor, begun.user_code, approve=True)
    made = oauth.add_client(house, SYSTEM, "Board", ("https://board.example/back",), public=True)
    client = house.db.read(lambda tx: oauth.client_of(tx, made.id))
    with pytest.raises(LilongError):
        oauth.agree(house, actor, Consent(client, "https://board.example/back", "read-repos", rules.challenge_of("v" * 50), "", ""))


def test_a_xet_token_reads_no_more_once_its_user_may_not(served: Served, name: str, tmp_path: Path) -> None:
    house = served.house
    content = name.encode() * (1 << 16)
    api(served, "mei").create_repo(name, private=True)
    held = house.db.read(lambda tx: store.repository(tx, Kind.MODEL, name))
    assert held is not None
    digest = "sha256:" + hashlib.sha256(content).hexdigest()
    house.db.write(
        lambda tx: tx.run(
            "INSERT INTO hub_xet_files (hash, digest, size, terms, created_at) VALUES (:h, :d, 0, :t, '')",
            h=hashlib.sha256(name.encode()).hexdigest(), d=digest, t=b"\x90",
        )
    )  # fmt: skip
    house.db.write(lambda tx: store.add_contents(tx, held, {digest: len(content)}))
    grant = xet_tokens.granted(house, Actor("jun"), "model", held.id, "read")
    xet_read.reconstruct(house, grant, hashlib.sha256(name.encode()).hexdigest(), 0, None)
    stranger = xet_tokens.granted(house, Actor("tom"), "model", held.id, "read")
    with pytest.raises(XetFileNotFound):
        xet_read.reconstruct(house, stranger, hashlib.sha256(name.encode()).hexdigest(), 0, None)
    nobody = xet_tokens.granted(house, reading.ANONYMOUS, "model", held.id, "read")
    with pytest.raises(XetFileNotFound):
        xet_read.reconstruct(house, nobody, hashlib.sha256(name.encode()).hexdigest(), 0, None)


def test_a_token_that_ends_makes_no_sign_in_link(house: House) -> None:
    lives = timedelta(hours=1)
    _, secret = house.db.write(lambda tx: house.access.add_token(tx, Actor("jun"), "jun", "an hour", lives=lives))
    actor = house.db.read(lambda tx: house.access.authenticate(tx, secret))
    with pytest.raises(Forbidden):
        house.db.write(lambda tx: house.access.add_token(tx, actor, "jun", "link", kind="link", lives=timedelta(days=1)))
    session = house.db.write(lambda tx: house.access.add_token(tx, Actor("jun"), "jun", "session", kind="session", lives=lives))[1]
    person = house.db.read(lambda tx: house.access.authenticate(tx, session))
    assert house.db.write(lambda tx: house.access.add_token(tx, person, "jun", "link", kind="link", lives=lives))
