"""SQL on webhooks, what they watch, and the queue and log of what they are sent."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

from lilong.ground.db import Row, Tx


@dataclass(frozen=True, slots=True)
class Watch:
    type: str  # user | org | model | dataset
    name: str

    @property
    def organisation(self) -> str:
        return self.name.partition("/")[0]

    @property
    def short(self) -> str | None:
        return self.name.partition("/")[2] or None


@dataclass(frozen=True, slots=True)
class Webhook:
    id: str
    user: str
    url: str
    secret: str
    watched: tuple[Watch, ...]
    domains: tuple[str, ...]
    disabled: bool
    created_at: str


@dataclass(frozen=True, slots=True)
class Delivery:
    id: str
    webhook: str
    event: str
    subject: str
    organisation: str
    hidden: bool
    body: str
    state: str
    attempts: int
    next_at: str
    status: int | None
    answer: str
    took_ms: int | None
    created_at: str
    finished_at: str | None


def add(tx: Tx, made: Webhook) -> None:
    tx.run(
        "INSERT INTO hub_webhooks (id, user_name, url, secret, domains, disabled, created_at) "
        "VALUES (:id, :user, :url, :secret, :domains, :disabled, :at)",
        id=made.id, user=made.user, url=made.url, secret=made.secret, domains=json.dumps(made.domains), disabled=int(made.disabled), at=made.created_at,
    )  # fmt: skip
    _set_watched(tx, made)


def change(tx: Tx, made: Webhook) -> None:
    tx.run(
        "UPDATE hub_webhooks SET url = :url, secret = :secret, domains = :domains, disabled = :disabled WHERE id = :id",
        id=made.id, url=made.url, secret=made.secret, domains=json.dumps(made.domains), disabled=int(made.disabled),
    )  # fmt: skip
    _set_watched(tx, made)


def _set_watched(tx: Tx, made: Webhook) -> None:
    tx.run("DELETE FROM hub_webhook_watches WHERE webhook = :id", id=made.id)
    rows = [{"id": made.id, "n": n, "type": each.type, "name": each.name} for n, each in enumerate(dict.fromkeys(made.watched))]
    tx.many("INSERT INTO hub_webhook_watches (webhook, position, type, name) VALUES (:id, :n, :type, :name)", rows)


def delete(tx: Tx, identity: str) -> None:
    for table in ("hub_deliveries", "hub_webhook_watches"):
        tx.run(f"DELETE FROM {table} WHERE webhook = :id", id=identity)
    tx.run("DELETE FROM hub_webhooks WHERE id = :id", id=identity)


def webhook(tx: Tx, identity: str) -> Webhook | None:
    row = tx.row("SELECT * FROM hub_webhooks WHERE id = :id", id=identity)
    return None if row is None else _webhook(tx, row)


def of_user(tx: Tx, user: str) -> list[Webhook]:
    return [_webhook(tx, row) for row in tx.rows("SELECT * FROM hub_webhooks WHERE user_name = :user ORDER BY created_at, id", user=user)]


def _webhook(tx: Tx, row: Row) -> Webhook:
    watched = tx.rows("SELECT type, name FROM hub_webhook_watches WHERE webhook = :id ORDER BY position", id=row["id"])
    return Webhook(
        row["id"], row["user_name"], row["url"], row["secret"], tuple(Watch(each["type"], each["name"]) for each in watched),
        tuple(json.loads(row["domains"])), bool(row["disabled"]), row["created_at"],
    )  # fmt: skip


def watching(tx: Tx, kind: str, names: Sequence[str]) -> list[Webhook]:
    """Those that are on and watch one of these repositories, or its namespace."""
    found: dict[str, Webhook] = {}
    for name in names:
        rows = tx.rows(
            "SELECT DISTINCT h.* FROM hub_webhooks h JOIN hub_webhook_watches w ON w.webhook = h.id JOIN ground_users u ON u.name = h.user_name "
            "WHERE h.disabled = 0 AND u.disabled_at IS NULL AND ((w.type = :kind AND w.name = :name) OR (w.type IN ('user', 'org') AND w.name = :owner))",
            kind=kind, name=name, owner=name.partition("/")[0],
        )  # fmt: skip
        for row in rows:
            found.setdefault(row["id"], _webhook(tx, row))
    return [found[identity] for identity in sorted(found)]


# --- deliveries -----------------------------------------------------------------------------------------------------------


def put(tx: Tx, made: Delivery, seq: int) -> bool:
    """Into the queue, once for each webhook and event."""
    return bool(
        tx.run(
            "INSERT INTO hub_deliveries (id, webhook, seq, event, subject, organisation, hidden, body, state, next_at, created_at) "
            "VALUES (:id, :webhook, :seq, :event, :subject, :organisation, :hidden, :body, 'waiting', :next, :at) ON CONFLICT (webhook, seq) DO NOTHING",
            id=made.id, webhook=made.webhook, seq=seq, event=made.event, subject=made.subject, organisation=made.organisation, hidden=int(made.hidden),
            body=made.body, next=made.next_at, at=made.created_at,
        )
    )  # fmt: skip


def due(tx: Tx, now: str, limit: int) -> list[str]:
    """One for each webhook, the longest due first: what one of them leaves lying holds up no other."""
    rows = tx.rows(
        "SELECT MIN(id) AS id, MIN(next_at) AS first FROM hub_deliveries WHERE state = 'waiting' AND next_at <= :now GROUP BY webhook ORDER BY first LIMIT :limit",
        now=now, limit=limit,
    )  # fmt: skip
    return [row["id"] for row in rows]


def next_due(tx: Tx) -> str | None:
    found = tx.value("SELECT MIN(next_at) FROM hub_deliveries WHERE state = 'waiting'")
    return None if found is None else str(found)


def delivery(tx: Tx, identity: str) -> Delivery | None:
    row = tx.row("SELECT * FROM hub_deliveries WHERE id = :id", id=identity)
    return None if row is None else _delivery(row)


def deliveries(tx: Tx, webhook: str, limit: int) -> list[Delivery]:
    rows = tx.rows(
        "SELECT * FROM hub_deliveries WHERE webhook = :id ORDER BY created_at DESC, id DESC LIMIT :limit", id=webhook, limit=limit
    )
    return [_delivery(row) for row in rows]


def _delivery(row: Row) -> Delivery:
    return Delivery(
        row["id"], row["webhook"], row["event"], row["subject"], row["organisation"], bool(row["hidden"]), row["body"], row["state"], row["attempts"],
        row["next_at"], row["status"], row["answer"], row["took_ms"], row["created_at"], row["finished_at"],
    )  # fmt: skip


def record(
    tx: Tx, identity: str, *, state: str, next_at: str, status: int | None, answer: str, took_ms: int, finished_at: str | None
) -> None:
    tx.run(
        "UPDATE hub_deliveries SET state = :state, attempts = attempts + 1, next_at = :next, status = :status, answer = :answer, took_ms = :took, "
        "finished_at = :finished WHERE id = :id AND state = 'waiting'",
        id=identity, state=state, next=next_at, status=status, answer=answer, took=took_ms, finished=finished_at,
    )  # fmt: skip


def drop(tx: Tx, identity: str, why: str, now: str) -> None:
    tx.run(
        "UPDATE hub_deliveries SET state = 'dropped', answer = :why, body = '', finished_at = :now WHERE id = :id AND state = 'waiting'",
        id=identity, why=why, now=now,
    )  # fmt: skip


def send_again(tx: Tx, identity: str, now: str) -> bool:
    return bool(
        tx.run(
            "UPDATE hub_deliveries SET state = 'waiting', attempts = 0, next_at = :now, finished_at = NULL "
            "WHERE id = :id AND state IN ('delivered', 'failed')",
            now=now, id=identity,
        )
    )  # fmt: skip


def forget(tx: Tx, before: str) -> int:
    """The log of what is done with, up to a day."""
    return tx.run("DELETE FROM hub_deliveries WHERE state <> 'waiting' AND finished_at < :before", before=before)
