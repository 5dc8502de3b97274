"""Webhooks: made by the real client, told of what their user may read, signed, tried again, never lost."""

from __future__ import annotations

import hashlib
import hmac
import http.server
import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import HfApi, WebhookPayload
from huggingface_hub.errors import HfHubHTTPError
from hypothesis import given
from hypothesis import strategies as st

from lilong.floors.hub import service
from lilong.floors.hub.contract import Kind
from lilong.floors.hub.rules import webhooks as rules
from lilong.floors.hub.service import commits, sending, webhooks
from lilong.floors.hub.service.outgoing import AddressRefused
from lilong.floors.hub.service.webhooks import WebhookAsk
from lilong.floors.hub.store import webhooks as store
from lilong.floors.hub.store.webhooks import Watch, Webhook
from lilong.ground.access import SYSTEM, Actor, TokenTooNarrow
from lilong.ground.chores import Background, deliver
from lilong.ground.config import load
from lilong.ground.errors import BadInput, NotFound
from lilong.ground.house import House, open_house
from tests.hub.conftest import HARBOUR, LANTERN, Served, hub_house

MEI, JUN, ADA, TOM = Actor("mei"), Actor("jun"), Actor("ada"), Actor("tom")


@dataclass
class Receiver:
    """Another side, on a socket; answers with `status`."""

    url: str
    status: int = 200
    calls: list[tuple[dict[str, str], dict[str, Any], bytes]] = field(default_factory=list)
    came: threading.Event = field(default_factory=threading.Event)


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    class Answers(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            found.calls.append(({key.lower(): value for key, value in self.headers.items()}, json.loads(body), body))
            self.send_response(found.status)
            self.send_header("location", "http://127.0.0.1:1/elsewhere")
            self.end_headers()
            self.wfile.write(b"thank you")
            found.came.set()

        def log_message(self, *_: Any) -> None: ...

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answers)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    found = Receiver(f"http://127.0.0.1:{server.server_port}/hook/")
    yield found
    server.shutdown()
    server.server_close()


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    (tmp_path / "lilong.toml").write_text('import_hosts = "127.0.0.1"')
    opened = hub_house(tmp_path)
    yield opened
    opened.close()


def events(house: House) -> None:
    """Hand the waiting events to the webhooks."""
    mine = next(each for each in house.subscriptions if each.name == "hub-webhooks")
    while deliver(house, mine):
        pass


def add(house: House, actor: Actor, url: str, *watched: tuple[str, str], **more: Any) -> Webhook:
    return webhooks.add(house, actor, WebhookAsk(url, tuple(Watch(*each) for each in watched), **more))


def create(house: House, name: str, *, private: bool = False, actor: Actor = MEI) -> None:
    commits.create(house, actor, Kind.MODEL, name, private=private)


def put(house: House, name: str, text: bytes, actor: Actor = MEI) -> str:
    return commits.commit(house, actor, Kind.MODEL, name, "main", commits.Ask({"notes.txt": commits.kept(house, text)}, "Change notes")).id


def later(house: House, seconds: float) -> None:
    """As if so much time had passed for the queue."""
    shift = timedelta(seconds=seconds)

    def write(tx: Any) -> None:
        for row in tx.rows("SELECT id, next_at FROM hub_deliveries WHERE state = 'waiting'"):
            at = datetime.fromisoformat(row["next_at"].replace("Z", "+00:00")) - shift
            tx.run(
                "UPDATE hub_deliveries SET next_at = :at WHERE id = :id",
                at=at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
                id=row["id"],
            )

    house.db.write(write)


def send(house: House) -> None:
    while sending.deliver_due(house):
        pass


# --- made -----------------------------------------------------------------------------------------------------------------


def test_the_real_client_makes_changes_and_deletes_webhooks(served: Served) -> None:
    api = HfApi(endpoint=served.url, token=served.tokens["jun"])
    made = api.create_webhook(
        url="https://203.0.114.7/hook/", watched=[{"type": "org", "name": LANTERN}], domains=["repo"], secret="s3cret"
    )
    assert (made.url, made.domains, made.secret, made.disabled) == ("https://203.0.114.7/hook/", ["repo"], "s3cret", False)
    assert [(each.type, each.name) for each in made.watched] == [("org", LANTERN)]
    assert api.get_webhook(made.id) == made
    assert made in api.list_webhooks()
    changed = api.update_webhook(
        made.id, url="https://203.0.114.7/other", watched=[{"type": "user", "name": "jun"}], domains=["discussion"]
    )
    assert (changed.url, changed.domains, changed.watched[0].name) == ("https://203.0.114.7/other", ["discussion"], "jun")
    assert api.disable_webhook(made.id).disabled is True
    assert api.enable_webhook(made.id).disabled is False
    with pytest.raises(HfHubHTTPError, match="404"):
        HfApi(endpoint=served.url, token=served.tokens["mei"]).get_webhook(made.id)
    api.delete_webhook(made.id)
    with pytest.raises(HfHubHTTPError, match="404"):
        api.get_webhook(made.id)


@pytest.mark.parametrize(
    "url",
    ["http://127.0.0.1/", "http://localhost:8900/", "http://[::1]/", "http://10.1.2.3/", "http://169.254.169.254/latest", "http://[::ffff:127.0.0.1]/", "http://0/", "https://100.64.0.1/"],
)  # fmt: skip
def test_no_webhook_leads_into_the_houses_own_network(tmp_path: Path, url: str) -> None:
    house = hub_house(tmp_path / "house")
    with pytest.raises(AddressRefused):
        add(house, JUN, url, ("org", LANTERN))
    house.close()


@pytest.mark.parametrize(
    "url", ["ftp://x.example/", "https://u:p@x.example/", "x", "https://x.example/a b", "https://x.example:99999/", ""]
)
def test_an_address_must_be_one(house: House, url: str) -> None:
    with pytest.raises(BadInput):
        add(house, JUN, url, ("org", LANTERN))


def test_only_what_one_may_see_is_watched(house: House, receiver: Receiver) -> None:
    create(house, f"{LANTERN}/hidden", private=True)
    for watched in (("model", f"{LANTERN}/hidden"), ("model", f"{LANTERN}/missing"), ("org", LANTERN), ("user", "ada")):
        with pytest.raises(NotFound):
            add(house, TOM, receiver.url, watched)
    narrow = Actor("jun", frozenset({f"hub.read@{LANTERN}/hidden"}), "token-x")
    add(house, narrow, receiver.url, ("model", f"{LANTERN}/hidden"))
    with pytest.raises(TokenTooNarrow):
        add(house, narrow, receiver.url, ("org", LANTERN))
    add(house, JUN, receiver.url, ("org", LANTERN), secret="kept back")
    assert [each.watched[0].type for each in webhooks.of(house, narrow)] == ["model"]
    for bad in ({"domains": ("billing",)}, {"secret": "a\nb"}, {"secret": "é"}):
        with pytest.raises(BadInput):
            add(house, JUN, receiver.url, ("org", LANTERN), **bad)
    with pytest.raises(BadInput):
        add(house, JUN, receiver.url, ("space", "a/b"))


# --- told -----------------------------------------------------------------------------------------------------------------


def test_a_commit_is_told_as_the_public_hub_tells_it_and_signed(house: House, receiver: Receiver) -> None:
    create(house, f"{LANTERN}/tide")
    hook = add(house, JUN, receiver.url, ("model", f"{LANTERN}/tide"), secret="s3cret")
    events(house)
    send(house)
    receiver.calls.clear()
    before = service.show(house, MEI, Kind.MODEL, f"{LANTERN}/tide").revision.commit
    commit = put(house, f"{LANTERN}/tide", b"one")
    events(house)
    send(house)
    ((headers, shown, body),) = receiver.calls
    payload = WebhookPayload(**shown)
    assert (payload.event.action, payload.event.scope, payload.webhook.id, payload.webhook.version) == (
        "update",
        "repo.content",
        hook.id,
        3,
    )
    assert (payload.repo.name, payload.repo.type, payload.repo.private, payload.repo.owner.id) == (
        f"{LANTERN}/tide",
        "model",
        False,
        LANTERN,
    )
    assert payload.updatedRefs is not None
    assert [(each.ref, each.oldSha, each.newSha) for each in payload.updatedRefs] == [("refs/heads/main", before, commit)]
    assert shown["repo"]["headSha"] == commit
    assert headers["x-webhook-secret"] == "s3cret"
    stamp_, _, mac = headers["x-lilong-signature"].partition(",")
    expected = hmac.new(b"s3cret", stamp_.removeprefix("t=").encode() + b"." + body, hashlib.sha256).hexdigest()
    assert mac == f"v1={expected}"
    (logged,) = webhooks.deliveries(house, JUN, hook.id, 1)
    assert (logged.id, logged.state, logged.status, logged.answer) == (headers["x-lilong-delivery"], "delivered", 200, "thank you")


def test_the_life_of_a_repository_is_told_by_its_namespace(house: House, receiver: Receiver) -> None:
    add(house, JUN, receiver.url, ("org", LANTERN), domains=("repo",))
    add(house, TOM, receiver.url, ("org", HARBOUR))
    create(house, f"{LANTERN}/tide")
    service.add_branch(house, MEI, Kind.MODEL, f"{LANTERN}/tide", "dev", "main")
    service.delete(house, MEI, Kind.MODEL, f"{LANTERN}/tide")
    events(house)
    send(house)
    said = [(shown["event"]["action"], shown["event"]["scope"]) for _, shown, _ in receiver.calls]
    assert said == [("create", "repo"), ("update", "repo.content"), ("update", "repo.content"), ("delete", "repo")]
    assert all(WebhookPayload(**shown).repo.name == f"{LANTERN}/tide" for _, shown, _ in receiver.calls)


def test_nobody_is_told_of_what_they_may_not_read(house: House, receiver: Receiver) -> None:
    create(house, f"{LANTERN}/shown")
    house.db.write(lambda tx: house.access.add_user(tx, SYSTEM, "guest"))
    hook = add(house, TOM, receiver.url, ("org", LANTERN))
    put(house, f"{LANTERN}/shown", b"public")
    create(house, f"{LANTERN}/hidden", private=True)
    put(house, f"{LANTERN}/hidden", b"private")
    service.delete(house, MEI, Kind.MODEL, f"{LANTERN}/hidden")
    events(house)
    send(house)
    assert {shown["repo"]["name"] for _, shown, _ in receiver.calls} == {f"{LANTERN}/shown"}
    assert {each.subject for each in webhooks.deliveries(house, TOM, hook.id)} == {f"{LANTERN}/shown"}


def test_who_loses_the_right_to_read_is_not_told_what_was_queued_before(house: House, receiver: Receiver) -> None:
    create(house, f"{LANTERN}/hidden", private=True)
    hook = add(house, ADA, receiver.url, ("model", f"{LANTERN}/hidden"))
    events(house)
    house.db.write(lambda tx: tx.run("DELETE FROM ground_grants WHERE user_name = 'ada'"))
    send(house)
    assert receiver.calls == []
    assert {(each.state, each.body) for each in webhooks.deliveries(house, ADA, hook.id)} == {("dropped", "")}


def test_what_became_private_or_moved_since_is_told_only_to_those_who_may_read_it(house: House, receiver: Receiver) -> None:
    create(house, f"{LANTERN}/tide")
    commits.create(house, MEI, Kind.DATASET, f"{LANTERN}/moon", private=True)
    create(house, f"{LANTERN}/moon")
    hooks = [add(house, TOM, receiver.url, ("model", f"{LANTERN}/{name}")) for name in ("tide", "moon")]
    events(house)
    house.db.write(lambda tx: tx.run("UPDATE hub_repositories SET private = 1 WHERE name = 'tide'"))
    send(house)
    assert {shown["repo"]["name"] for _, shown, _ in receiver.calls} == {f"{LANTERN}/moon"}
    assert {each.state for each in webhooks.deliveries(house, TOM, hooks[0].id)} == {"dropped"}


def test_a_webhook_that_is_off_hears_nothing(house: House, receiver: Receiver) -> None:
    create(house, f"{LANTERN}/tide")
    hook = add(house, JUN, receiver.url, ("org", LANTERN))
    webhooks.enable(house, JUN, hook.id, False)
    put(house, f"{LANTERN}/tide", b"one")
    events(house)
    send(house)
    assert receiver.calls == []


# --- kept and tried again -------------------------------------------------------------------------------------------------


def test_what_fails_is_tried_again_with_growing_pauses_and_given_up_in_the_log(house: House, receiver: Receiver) -> None:
    receiver.status = 503
    create(house, f"{LANTERN}/tide")
    events(house)
    hook = add(house, JUN, receiver.url, ("org", LANTERN))
    put(house, f"{LANTERN}/tide", b"one")
    events(house)
    for tries in range(1, len(rules.PAUSES) + 2):
        send(house)
        assert len(receiver.calls) == tries
        send(house)
        assert len(receiver.calls) == tries, "not before its time"
        later(house, rules.PAUSES[tries - 1] if tries <= len(rules.PAUSES) else 0)
    (logged,) = webhooks.deliveries(house, JUN, hook.id)
    assert (logged.state, logged.status, logged.attempts) == ("failed", 503, len(rules.PAUSES) + 1)
    assert len({headers["x-lilong-delivery"] for headers, _, _ in receiver.calls}) == 1
    receiver.status = 204
    webhooks.again(house, JUN, hook.id, logged.id)
    send(house)
    assert webhooks.deliveries(house, JUN, hook.id)[0].state == "delivered"


def test_a_redirect_is_not_followed(house: House, receiver: Receiver) -> None:
    receiver.status = 302
    create(house, f"{LANTERN}/tide")
    hook = add(house, JUN, receiver.url, ("org", LANTERN))
    put(house, f"{LANTERN}/tide", b"one")
    events(house)
    sending.deliver_due(house)
    assert {each.status for each in webhooks.deliveries(house, JUN, hook.id) if each.attempts} == {302}


def test_one_silent_webhook_holds_up_no_other(house: House, receiver: Receiver) -> None:
    create(house, f"{LANTERN}/tide")
    events(house)
    add(house, JUN, "http://127.0.0.1:9/closed", ("org", LANTERN))
    add(house, ADA, receiver.url, ("org", LANTERN))
    for number in range(5):
        put(house, f"{LANTERN}/tide", str(number).encode())
    events(house)
    send(house)
    assert len(receiver.calls) == 5


def test_an_event_that_comes_twice_is_queued_once(house: House, receiver: Receiver) -> None:
    create(house, f"{LANTERN}/tide")
    hook = add(house, JUN, receiver.url, ("org", LANTERN))
    put(house, f"{LANTERN}/tide", b"one")
    recorded = [each for each in house.db.read(lambda tx: house.events.since(tx, 0)) if each.kind in rules.KINDS]
    for each in recorded * 2:
        webhooks.on_event(house, each)
    assert len(webhooks.deliveries(house, JUN, hook.id)) == len(recorded)


def test_a_server_that_dies_between_sending_and_writing_down_sends_again_under_the_same_id(
    tmp_path: Path, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "lilong.toml").write_text('import_hosts = "127.0.0.1"')
    house = hub_house(tmp_path)
    create(house, f"{LANTERN}/tide")
    events(house)
    add(house, JUN, receiver.url, ("org", LANTERN))
    put(house, f"{LANTERN}/tide", b"one")
    events(house)
    with monkeypatch.context() as patched:
        patched.setattr(store, "record", lambda *_a, **_k: (_ for _ in ()).throw(SystemError("dead")))
        with pytest.raises(SystemError):
            sending.deliver_due(house)
    house.close()
    again = open_house(load(tmp_path, {}, environment={}))
    service.start(again)
    send(again)
    assert len(receiver.calls) == 2
    assert len({headers["x-lilong-delivery"] for headers, _, _ in receiver.calls}) == 1
    again.close()


def test_a_running_server_tells_at_once(house: House, receiver: Receiver) -> None:
    create(house, f"{LANTERN}/tide")
    events(house)
    add(house, JUN, receiver.url, ("org", LANTERN))
    house.background = True
    sender = sending.Sender(house)
    sending._SENDERS[id(house)] = sender
    mine = [each for each in house.subscriptions if each.name == "hub-webhooks"]
    house.subscriptions[:], house.chores[:] = mine, []
    background = Background(house)
    background.start()
    sender.start()
    put(house, f"{LANTERN}/tide", b"one")
    assert receiver.came.wait(20)
    background.stop()
    sending._SENDERS.pop(id(house)).stop()


def test_the_log_forgets_after_a_while(house: House, receiver: Receiver) -> None:
    create(house, f"{LANTERN}/tide")
    hook = add(house, JUN, receiver.url, ("org", LANTERN))
    put(house, f"{LANTERN}/tide", b"one")
    events(house)
    send(house)
    assert house.db.write(lambda tx: store.forget(tx, "2000-01-01")) == 0
    assert house.db.write(lambda tx: store.forget(tx, "2999-01-01")) > 0
    assert webhooks.deliveries(house, JUN, hook.id) == []


@given(
    secret=st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=40),
    body=st.binary(max_size=60),
    at=st.integers(0, 2**33),
)
def test_a_signature_is_of_this_secret_time_and_body(secret: str, body: bytes, at: int) -> None:
    made = rules.signature(secret, at, body)
    assert made == rules.signature(secret, at, body)
    assert made not in (
        rules.signature(secret + "x", at, body),
        rules.signature(secret, at + 1, body),
        rules.signature(secret, at, body + b"x"),
    )
    assert made.startswith(f"t={at},v1=")


def test_pauses_grow_and_end() -> None:
    assert [rules.next_pause(tries) for tries in (1, 6, 7)] == [10, 21600, None]
    assert list(rules.PAUSES) == sorted(rules.PAUSES)


def test_either_database_keeps_the_queue(database_url: str, tmp_path: Path, receiver: Receiver) -> None:
    (tmp_path / "lilong.toml").write_text('import_hosts = "127.0.0.1"')
    house = hub_house(tmp_path, database_url)
    try:
        create(house, f"{LANTERN}/tide")
        hook = add(house, JUN, receiver.url, ("org", LANTERN), ("model", f"{LANTERN}/tide"), secret="s")
        put(house, f"{LANTERN}/tide", b"one")
        events(house)
        events(house)
        send(house)
        states = [(each.state, each.status) for each in webhooks.deliveries(house, JUN, hook.id)]
        assert states == [("delivered", 200)] * 3 and len(receiver.calls) == 3
        webhooks.again(house, JUN, hook.id, webhooks.deliveries(house, JUN, hook.id)[0].id)
        assert house.db.read(store.next_due) is not None
        webhooks.delete(house, JUN, hook.id)
        assert webhooks.of(house, JUN) == []
    finally:
        house.close()
