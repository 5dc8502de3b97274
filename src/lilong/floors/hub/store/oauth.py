"""SQL on programs that act for users: their registrations, codes, refresh tokens, and jobs elsewhere."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

from lilong.ground.db import Row, Tx


@dataclass(frozen=True, slots=True)
class Client:
    id: str
    title: str
    secret_hash: str | None
    redirects: tuple[str, ...]
    created_by: str
    created_at: str


@dataclass(frozen=True, slots=True)
class Device:
    code_hash: str
    client: str
    words: str
    state: str
    user: str | None
    created_at: str
    expires_at: str


@dataclass(frozen=True, slots=True)
class Code:
    code_hash: str
    client: str
    redirect: str
    challenge: str
    nonce: str
    words: str
    user: str
    created_at: str
    expires_at: str
    family: str | None


@dataclass(frozen=True, slots=True)
class Refresh:
    hash: str
    family: str
    client: str
    words: str
    user: str
    token: str
    expires_at: str
    used_at: str | None
    revoked_at: str | None


@dataclass(frozen=True, slots=True)
class Publisher:
    """A job elsewhere, known by its issuer and claims."""

    id: str
    resource: str
    issuer: str
    claims: Mapping[str, str]
    user: str
    created_at: str


def client(tx: Tx, identity: str) -> Client | None:
    row = tx.row("SELECT * FROM hub_oauth_clients WHERE id = :id", id=identity)
    return None if row is None else _client(row)


def clients(tx: Tx) -> list[Client]:
    return [_client(row) for row in tx.rows("SELECT * FROM hub_oauth_clients ORDER BY created_at, id")]


def _client(row: Row) -> Client:
    return Client(row["id"], row["title"], row["secret_hash"], tuple(row["redirects"].split("\n")), row["created_by"], row["created_at"])


def add_client(tx: Tx, made: Client) -> None:
    tx.run(
        "INSERT INTO hub_oauth_clients (id, title, secret_hash, redirects, created_by, created_at) VALUES (:id, :title, :hash, :redirects, :by, :at)",
        id=made.id, title=made.title, hash=made.secret_hash, redirects="\n".join(made.redirects), by=made.created_by, at=made.created_at,
    )  # fmt: skip


def delete_client(tx: Tx, identity: str) -> bool:
    tx.run("DELETE FROM hub_oauth_codes WHERE client = :id", id=identity)
    return bool(tx.run("DELETE FROM hub_oauth_clients WHERE id = :id", id=identity))


def add_device(tx: Tx, device: Device, user_code_hash: str) -> None:
    tx.run("DELETE FROM hub_oauth_devices WHERE expires_at < :today", today=device.created_at[:10])
    tx.run(
        "INSERT INTO hub_oauth_devices (code_hash, user_code_hash, client, words, state, created_at, expires_at) "
        "VALUES (:hash, :user_code, :client, :words, 'waiting', :at, :expires)",
        hash=device.code_hash, user_code=user_code_hash, client=device.client, words=device.words, at=device.created_at, expires=device.expires_at,
    )  # fmt: skip


def devices_waiting(tx: Tx, now: str) -> int:
    return int(tx.value("SELECT COUNT(*) FROM hub_oauth_devices WHERE expires_at >= :now", now=now))


def device(tx: Tx, code_hash: str) -> Device | None:
    return _device(tx.row("SELECT * FROM hub_oauth_devices WHERE code_hash = :hash", hash=code_hash))


def device_by_user_code(tx: Tx, user_code_hash: str) -> Device | None:
    return _device(tx.row("SELECT * FROM hub_oauth_devices WHERE user_code_hash = :hash", hash=user_code_hash))


def _device(row: Row | None) -> Device | None:
    if row is None:
        return None
    return Device(row["code_hash"], row["client"], row["words"], row["state"], row["user_name"], row["created_at"], row["expires_at"])


def set_device(tx: Tx, code_hash: str, was: str, state: str, user: str | None) -> bool:
    """Whether it was in the state `was`; one answer and one token for each code."""
    return bool(
        tx.run(
            "UPDATE hub_oauth_devices SET state = :state, user_name = :user WHERE code_hash = :hash AND state = :was",
            state=state, user=user, hash=code_hash, was=was,
        )
    )  # fmt: skip


def add_code(tx: Tx, code: Code) -> None:
    tx.run("DELETE FROM hub_oauth_codes WHERE created_at < :before", before=code.created_at[:10])
    tx.run(
        "INSERT INTO hub_oauth_codes (code_hash, client, redirect, challenge, nonce, words, user_name, created_at, expires_at) "
        "VALUES (:hash, :client, :redirect, :challenge, :nonce, :words, :user, :at, :expires)",
        hash=code.code_hash, client=code.client, redirect=code.redirect, challenge=code.challenge, nonce=code.nonce, words=code.words,
        user=code.user, at=code.created_at, expires=code.expires_at,
    )  # fmt: skip


def code(tx: Tx, code_hash: str) -> Code | None:
    row = tx.row("SELECT * FROM hub_oauth_codes WHERE code_hash = :hash", hash=code_hash)
    if row is None:
        return None
    return Code(
        *(
            row[c]
            for c in ("code_hash", "client", "redirect", "challenge", "nonce", "words", "user_name", "created_at", "expires_at", "family")
        )
    )


def spend_code(tx: Tx, code_hash: str, family: str) -> bool:
    return bool(
        tx.run("UPDATE hub_oauth_codes SET family = :family WHERE code_hash = :hash AND family IS NULL", family=family, hash=code_hash)
    )


def add_refresh(tx: Tx, made: Refresh, now: str) -> None:
    tx.run(
        "INSERT INTO hub_oauth_refreshes (hash, family, client, words, user_name, token, created_at, expires_at) "
        "VALUES (:hash, :family, :client, :words, :user, :token, :now, :expires)",
        hash=made.hash, family=made.family, client=made.client, words=made.words, user=made.user, token=made.token, now=now, expires=made.expires_at,
    )  # fmt: skip


def refresh(tx: Tx, hashed: str) -> Refresh | None:
    row = tx.row("SELECT * FROM hub_oauth_refreshes WHERE hash = :hash", hash=hashed)
    if row is None:
        return None
    return Refresh(*(row[c] for c in ("hash", "family", "client", "words", "user_name", "token", "expires_at", "used_at", "revoked_at")))


def use_refresh(tx: Tx, hashed: str, now: str) -> None:
    tx.run("UPDATE hub_oauth_refreshes SET used_at = :now WHERE hash = :hash AND used_at IS NULL", now=now, hash=hashed)


def end_family(tx: Tx, family: str, now: str) -> list[str]:
    """Revoke all refresh tokens of one consent; the access tokens that came with them."""
    tx.run("UPDATE hub_oauth_refreshes SET revoked_at = :now WHERE family = :family AND revoked_at IS NULL", now=now, family=family)
    return [row["token"] for row in tx.rows("SELECT token FROM hub_oauth_refreshes WHERE family = :family", family=family)]


def words_of_token(tx: Tx, token: str) -> str | None:
    """The OAuth scopes that a token was given; None for one that no program was given."""
    found = tx.value("SELECT words FROM hub_oauth_refreshes WHERE token = :token", token=token)
    return None if found is None else str(found)


def add_publisher(tx: Tx, made: Publisher) -> None:
    tx.run(
        "INSERT INTO hub_publishers (id, resource, issuer, claims, user_name, created_at) VALUES (:id, :resource, :issuer, :claims, :user, :at)",
        id=made.id, resource=made.resource, issuer=made.issuer, claims=json.dumps(dict(made.claims), sort_keys=True), user=made.user, at=made.created_at,
    )  # fmt: skip


def publishers(tx: Tx, *, resource: str | None = None, user: str | None = None) -> list[Publisher]:
    rows = tx.rows(
        "SELECT * FROM hub_publishers WHERE (CAST(:resource AS TEXT) IS NULL OR resource = :resource) "
        "AND (CAST(:user AS TEXT) IS NULL OR user_name = :user) ORDER BY created_at, id",
        resource=resource, user=user,
    )  # fmt: skip
    return [
        Publisher(row["id"], row["resource"], row["issuer"], json.loads(row["claims"]), row["user_name"], row["created_at"]) for row in rows
    ]


def delete_publisher(tx: Tx, identity: str) -> None:
    tx.run("DELETE FROM hub_publishers WHERE id = :id", id=identity)
