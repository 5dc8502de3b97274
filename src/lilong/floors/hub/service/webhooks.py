"""Webhooks: made and changed by users, told of events in their repositories, never of what their user may not read.

An event becomes a row of the queue for each webhook before its subscription moves on; the row goes to the log only once the other side
has answered, or after the last try. So each is delivered at least once, with an id by which a second time can be told.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from lilong.floors.hub import store as rows
from lilong.floors.hub.contract import Kind, WebhookChanged
from lilong.floors.hub.rules import webhooks as rules
from lilong.floors.hub.rules.webhooks import Comment, Repo, Talk
from lilong.floors.hub.store import community
from lilong.floors.hub.store import webhooks as store
from lilong.floors.hub.store.webhooks import Delivery, Watch, Webhook
from lilong.ground.access import Actor, TokenTooNarrow
from lilong.ground.db import Tx
from lilong.ground.errors import BadInput, Conflict, NotFound
from lilong.ground.events import Recorded
from lilong.ground.house import House
from lilong.ground.presence import running
from lilong.ground.seams import stamp

from . import outgoing, reading, sending, users

_MOST = 100  # webhooks of one user
_MOST_WATCHED = 100


@dataclass(frozen=True, slots=True)
class WebhookAsk:
    url: str
    watched: tuple[Watch, ...]
    domains: tuple[str, ...] = rules.DOMAINS
    secret: str = ""


# --- made and changed -----------------------------------------------------------------------------------------------------


def add(house: House, actor: Actor, ask: WebhookAsk) -> Webhook:
    """Raises BadInput, BadAddress, AddressRefused, NotFound, Forbidden, Conflict."""
    _check(house, ask)

    def write(tx: Tx) -> Webhook:
        if len(store.of_user(tx, actor.user)) >= _MOST:
            raise Conflict(problem=f"You have {_MOST} webhooks already. Delete one first.")
        _check_watched(house, tx, actor, ask.watched)
        now = stamp(house.clock.now())
        made = Webhook(house.ids.new("webhook"), actor.user, ask.url.strip(), ask.secret, ask.watched, ask.domains, False, now)
        store.add(tx, made)
        house.events.append(tx, actor, WebhookChanged(made.id, "added"))
        return made

    return house.db.write(write)


def of(house: House, actor: Actor) -> list[Webhook]:
    """One's own; by a narrower token, those that watch only what the token is for."""
    return [hook for hook in house.db.read(lambda tx: store.of_user(tx, actor.user)) if _covered(actor, hook.watched)]


def one(house: House, actor: Actor, identity: str) -> Webhook:
    """Raises NotFound."""
    return house.db.read(lambda tx: _own(tx, actor, identity))


def change(house: House, actor: Actor, identity: str, ask: WebhookAsk) -> Webhook:
    """Raises what `add` raises."""
    _check(house, ask)

    def write(tx: Tx) -> Webhook:
        before = _own(tx, actor, identity)
        _check_watched(house, tx, actor, [each for each in ask.watched if each not in before.watched])
        made = replace(before, url=ask.url.strip(), secret=ask.secret, watched=ask.watched, domains=ask.domains)
        store.change(tx, made)
        house.events.append(tx, actor, WebhookChanged(identity, "changed"))
        return made

    return house.db.write(write)


def enable(house: House, actor: Actor, identity: str, on: bool) -> Webhook:
    """Raises NotFound."""

    def write(tx: Tx) -> Webhook:
        before = _own(tx, actor, identity)
        made = replace(before, disabled=not on)
        if made != before:
            store.change(tx, made)
            house.events.append(tx, actor, WebhookChanged(identity, "enabled" if on else "disabled"))
        return made

    return house.db.write(write)


def delete(house: House, actor: Actor, identity: str) -> None:
    """With its log. Raises NotFound."""

    def write(tx: Tx) -> None:
        store.delete(tx, _own(tx, actor, identity).id)
        house.events.append(tx, actor, WebhookChanged(identity, "deleted"))

    house.db.write(write)


def deliveries(house: House, actor: Actor, identity: str, limit: int = 50) -> list[Delivery]:
    """What was sent, the newest first. Raises NotFound."""
    return house.db.read(lambda tx: store.deliveries(tx, _own(tx, actor, identity).id, limit))


def again(house: House, actor: Actor, identity: str, delivery: str) -> None:
    """Send something once more that is done with. Raises NotFound, Conflict."""

    def write(tx: Tx) -> None:
        hook = _own(tx, actor, identity)
        found = store.delivery(tx, delivery)
        if found is None or found.webhook != hook.id:
            raise NotFound(kind="delivery", name=delivery[:60])
        if not store.send_again(tx, delivery, stamp(house.clock.now())):
            raise Conflict(problem="This delivery still waits, or it was dropped because its reader may not have it.")

    house.db.write(write)
    sending.wake(house)


def _own(tx: Tx, actor: Actor, identity: str) -> Webhook:
    found = store.webhook(tx, identity)
    if found is None or found.user != actor.user or not _covered(actor, found.watched):
        raise NotFound(kind="webhook", name=identity[:60])
    return found


def _covered(actor: Actor, watched: Sequence[Watch]) -> bool:
    return actor.whole or all(actor.covers("hub.read", each.organisation, each.short) for each in watched)


def _check(house: House, ask: WebhookAsk) -> None:
    if not ask.watched or len(ask.watched) > _MOST_WATCHED or not all(each.type in rules.TYPES for each in ask.watched):
        way_out = f"Name 1 to {_MOST_WATCHED} things of these types: {', '.join(rules.TYPES)}."
        raise BadInput(field="watched", problem="there are none, too many, or one that is not watched here", way_out=way_out)
    if not ask.domains or not set(ask.domains) <= set(rules.DOMAINS):
        raise BadInput(field="domains", problem="one is not known", way_out=f"Name some of: {', '.join(rules.DOMAINS)}.")
    if len(ask.secret) > 500 or not ask.secret.isascii() or not ask.secret.isprintable() or ask.secret != ask.secret.strip():
        raise BadInput(field="secret", problem="it is too long, or cannot stand in a header", way_out="Give up to 500 ASCII characters.")
    if len(ask.url) > 2000:
        raise BadInput(field="url", problem="it is too long", way_out="Give up to 2,000 characters.")
    outgoing.check_url(ask.url)
    try:
        outgoing.addresses(ask.url.strip(), outgoing.allowed_hosts(house))
    except outgoing.SourceAway:  # it may come up later
        return


def _check_watched(house: House, tx: Tx, actor: Actor, watched: Sequence[Watch]) -> None:
    for each in watched:
        if not actor.covers("hub.read", each.organisation, each.short):
            raise TokenTooNarrow(permission=f"hub.read@{each.name}")
        if each.type in ("model", "dataset"):
            reading.opened(house, tx, actor, Kind(each.type), each.name)
        elif each.type == "user":
            if tx.row("SELECT 1 FROM ground_users WHERE name = :name", name=each.name) is None or not users.sees_user(
                house, tx, actor, each.name
            ):
                raise NotFound(kind="user", name=each.name[:100])
        elif not users.sees_organisation(house, tx, actor, each.name):
            raise NotFound(kind="organisation", name=each.name[:100])


# --- from events to the queue ---------------------------------------------------------------------------------------------


def on_event(house: House, recorded: Recorded) -> None:
    """Queue what this event is to be told to. Asked twice, it does nothing the second time."""
    if recorded.body_text is None:
        return
    body = recorded.body
    kind, name = str(body.get("repository_kind", "model")), recorded.subject
    names = [name, str(body["old_name"])] if body.get("old_name") else [name]
    if not house.db.read(lambda tx: store.watching(tx, kind, names)):
        return
    at = address(house)

    def write(tx: Tx) -> int:
        held = rows.repository(tx, Kind(kind), name)
        action, scope = rules.event_of(recorded.kind, body)
        # Of what is gone nobody knows any more whether it was public.
        hidden = held is None or held.repository.private or bool(body.get("private"))
        organisation = name.partition("/")[0]
        queued = 0
        shown: dict[str, Any] | None = None
        for hook in store.watching(tx, kind, names):
            if rules.domain_of(scope) not in hook.domains or not sending.may_know(
                house, tx, hook, name, hidden=hidden, held=held, scope=scope
            ):
                continue
            shown = shown or _payload(tx, recorded, body, at, kind, name, held)
            if shown is None:
                return 0
            now = stamp(house.clock.now())
            text = json.dumps({**shown, "webhook": {"id": hook.id, "version": 3}}, ensure_ascii=False)
            made = Delivery(
                house.ids.new("delivery"),
                hook.id,
                f"{action} {scope}",
                name,
                organisation,
                hidden,
                text,
                "waiting",
                0,
                now,
                None,
                "",
                None,
                now,
                None,
            )
            queued += store.put(tx, made, recorded.seq)
        return queued

    if house.db.write(write):
        sending.wake(house)


def _payload(
    tx: Tx, recorded: Recorded, body: dict[str, Any], at: str, kind: str, name: str, held: rows.Held | None
) -> dict[str, Any] | None:
    """None for a discussion that is gone with its repository."""
    if held is None:
        if body.get("number") is not None:
            return None
        return rules.payload(recorded.kind, body, at, Repo(kind, name, "", True, None, ()))
    main = rows.ref(tx, held, "refs/heads/main")
    tags = tuple(row["tag"] for row in tx.rows("SELECT tag FROM hub_tags WHERE repository = :id ORDER BY tag LIMIT 100", id=held.id))
    repo = Repo(kind, name, held.id, held.repository.private, main, tags)
    parent = (
        tx.value("SELECT parent FROM hub_commits WHERE repository = :r AND id = :id", r=held.id, id=body["commit"])
        if body.get("commit")
        else None
    )
    talk = comment = None
    if body.get("number") is not None:
        found = community.discussion(tx, held, int(body["number"]))
        if found is None:
            return None
        talk = Talk(found.number, found.title, found.status, found.author, found.pull_request, found.base, found.merge_commit)
        if body.get("comment"):
            said = community.comment(tx, held, found.number, str(body["comment"]))
            comment = None if said is None else _comment(said)
    old = str(parent) if parent is not None and recorded.kind == "hub.committed" else None
    return rules.payload(recorded.kind, body, at, repo, parent=old, talk=talk, comment=comment)


def _comment(said: community.Happening) -> Comment:
    hidden = said.hidden_at is not None
    return Comment(said.id, said.author, None if hidden else said.text, hidden)


def address(house: House) -> str:
    server = running(house.settings.house)
    return server.url.rstrip("/") if server is not None else f"http://{house.settings.host}:{house.settings.port}"


def start(house: House) -> None:
    house.subscribe("hub-webhooks", rules.KINDS, on_event)
    sending.start(house)
