"""Tokens: made, recognised, listed and revoked."""

from __future__ import annotations

from datetime import timedelta

from lilong.ground.db import Row, Tx
from lilong.ground.errors import BadInput, Conflict, Forbidden, NotFound
from lilong.ground.events import Events
from lilong.ground.seams import Clock, Ids, parse_stamp, stamp

from . import scopes as scoping
from .people import People
from .records import Actor, Token, TokenCreated, TokenNotUsable, TokenRevoked, TokenTooNarrow
from .secrets import hash_secret

_LEAST, _MOST = 24, 512  # characters of a token's value: shorter ones can be guessed


class Tokens(People):
    def __init__(self, clock: Clock, ids: Ids, events: Events) -> None:
        super().__init__(clock, ids, events)
        self._used: dict[str, str] = {}  # token -> when, until it is written down

    def add_token(self, tx: Tx, actor: Actor, user: str, title: str, scopes: tuple[str, ...] = ("*",), *, kind: str = "api", lives: timedelta | None = None) -> tuple[Token, str]:  # fmt: skip
        """A new token and its secret. One may make tokens for oneself, never wider than the token in hand; operators for anyone."""
        if actor.user != user:
            self.require(tx, actor, "house.manage")
        if actor.token is not None and not scoping.within(actor.scopes, scopes):
            raise Forbidden(permission=" ".join(scopes), actor=f"the token of {actor.user}", scope="this token")
        scoping.check(scopes)
        self.user(tx, user)
        secret = f"ll_{self._ids.secret()}"
        now = self._clock.now()
        # A token made with one that ends does not outlive it.
        ends = [stamp(now + lives)] if lives else []
        own = tx.row("SELECT kind, expires_at FROM ground_tokens WHERE id = :id", id=actor.token) if actor.token is not None else None
        if own is not None and own["expires_at"]:
            if kind == "link" and own["kind"] == "api":  # the session behind a link would live on
                raise Forbidden("A token that ends makes no sign-in links. Sign in with a password, or ask an operator for a link.")
            if kind == "api":
                ends.append(own["expires_at"])
        return self._keep(tx, actor, user, title, scopes, kind, min(ends, default=None), secret), secret

    def adopt_token(self, tx: Tx, actor: Actor, user: str, title: str, scopes: tuple[str, ...], secret: str) -> Token | None:
        """Take over a token that another hub has given out, under its own secret; None where the user has it already. Operators only.

        Raises Conflict for a secret that is somebody else's.
        """
        self.require(tx, actor, "house.manage")
        if not _LEAST <= len(secret) <= _MOST or not secret.isascii() or not secret.isprintable() or " " in secret:
            raise BadInput(
                field="token", problem=f"its value is not {_LEAST} to {_MOST} plain characters", way_out="Let its user make a new one."
            )
        scoping.check(scopes)
        self.user(tx, user)
        there = tx.row("SELECT user_name FROM ground_tokens WHERE secret_hash = :hash", hash=hash_secret(secret))
        if there is not None and there["user_name"] != user:
            raise Conflict(problem="Somebody else has this token already.")
        return None if there is not None else self._keep(tx, actor, user, title, scopes, "api", None, secret)

    def _keep(
        self, tx: Tx, actor: Actor, user: str, title: str, scopes: tuple[str, ...], kind: str, ends: str | None, secret: str
    ) -> Token:
        token = Token(self._ids.new("token"), user, title, scopes, kind, ends, None, self._now())
        tx.run(
            "INSERT INTO ground_tokens (id, secret_hash, user_name, title, scopes, kind, expires_at, created_at) "
            "VALUES (:id, :hash, :user, :title, :scopes, :kind, :expires, :created)",
            id=token.id, hash=hash_secret(secret), user=user, title=title, scopes=" ".join(scopes), kind=kind, expires=ends, created=token.created_at,
        )  # fmt: skip
        self._events.append(tx, actor, TokenCreated(token.id, user, kind, scopes, ends))
        return token

    def authenticate(self, tx: Tx, secret: str, *, kinds: tuple[str, ...] = ("api", "session")) -> Actor:
        """The actor behind a token's secret. Raises TokenNotUsable."""
        row = tx.row(
            "SELECT t.id, t.user_name, t.scopes, t.kind, t.expires_at, t.revoked_at, u.disabled_at FROM ground_tokens t "
            "JOIN ground_users u ON u.name = t.user_name WHERE t.secret_hash = :hash",
            hash=hash_secret(secret),
        )
        if row is None or row["kind"] not in kinds or row["revoked_at"] or row["disabled_at"] or self._expired(row["expires_at"]):
            raise TokenNotUsable()
        self._used[row["id"]] = self._now()
        return Actor(row["user_name"], frozenset(row["scopes"].split()), row["id"])

    def note_uses(self, tx: Tx) -> None:
        """Write down when tokens were last used, as far as this process has seen it: a duty of once a minute, off the way of requests."""
        used = list(self._used.items())
        tx.many(
            "UPDATE ground_tokens SET last_used_at = :at WHERE id = :id AND (last_used_at IS NULL OR last_used_at < :at)",
            [{"id": id, "at": at} for id, at in used],
        )
        for identity, at in used:
            if self._used.get(identity) == at:
                del self._used[identity]

    def use_link(self, tx: Tx, secret: str) -> Actor:
        """Turn a one-time sign-in link into its user; the link is spent. Raises TokenNotUsable."""
        actor = self.authenticate(tx, secret, kinds=("link",))
        tx.run("UPDATE ground_tokens SET revoked_at = :now WHERE id = :id", now=self._now(), id=actor.token)
        return Actor(actor.user)

    def tokens(self, tx: Tx, actor: Actor, user: str | None = None) -> list[Token]:
        """The API tokens of one user (oneself, or anyone's for an operator); with None and an operator, everybody's."""
        if user != actor.user:
            self.require(tx, actor, "house.manage")
        rows = tx.rows(
            "SELECT * FROM ground_tokens WHERE kind = 'api' AND (CAST(:user AS TEXT) IS NULL OR user_name = :user) ORDER BY created_at",
            user=user,
        )
        return [_token(row) for row in rows]

    def token(self, tx: Tx, identity: str) -> Token | None:
        row = tx.row("SELECT * FROM ground_tokens WHERE id = :id", id=identity)
        return None if row is None else _token(row)

    def live_tokens(self, tx: Tx) -> list[tuple[Token, str]]:
        """Every usable API and session token with the hash of its secret: what a gateway keeps in memory."""
        rows = tx.rows(
            "SELECT t.* FROM ground_tokens t JOIN ground_users u ON u.name = t.user_name WHERE t.kind IN ('api', 'session') "
            "AND t.revoked_at IS NULL AND u.disabled_at IS NULL AND (t.expires_at IS NULL OR t.expires_at > :now)",
            now=self._now(),
        )
        return [(_token(row), row["secret_hash"]) for row in rows]

    def revoke_token(self, tx: Tx, actor: Actor, token: str) -> None:
        row = tx.row("SELECT user_name FROM ground_tokens WHERE id = :id", id=token)
        if row is None or (row["user_name"] != actor.user and not self.allowed(tx, actor, "house.manage")):
            raise NotFound(kind="token", name=token)
        if token != actor.token and not actor.whole and not self.allowed(tx, actor, "house.manage"):
            raise TokenTooNarrow(permission="*")
        if tx.run("UPDATE ground_tokens SET revoked_at = :now WHERE id = :id AND revoked_at IS NULL", now=self._now(), id=token):
            self._events.append(tx, actor, TokenRevoked(token))

    def _expired(self, expires_at: str | None) -> bool:
        return expires_at is not None and parse_stamp(expires_at) <= self._clock.now()


def _token(row: Row) -> Token:
    return Token(
        row["id"],
        row["user_name"],
        row["title"],
        tuple(row["scopes"].split()),
        row["kind"],
        row["expires_at"],
        row["revoked_at"],
        row["created_at"],
        row["last_used_at"],
    )
