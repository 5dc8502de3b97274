"""Who may do what: users, organisations, scoped role grants, hashed tokens, and one table of permissions.

No entry means refused. Lists are filtered by the same SQL as single objects (`visible`), and what one may not see is answered
exactly like what does not exist.
"""

from __future__ import annotations

import fnmatch
import hashlib
import threading
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, ClassVar

from . import intake
from .db import Row, Tx
from .errors import BadInput, Conflict, Forbidden, NotFound, Unauthenticated
from .events import Events
from .seams import Clock, Ids, parse_stamp, stamp

HOUSE = "house"  # the scope that covers every organisation
PUBLIC = "public"  # a route that needs no sign-in
SIGNED_IN = "signed-in"  # a route that any user may call; what it shows is filtered

# Roles, and what each may do within its scope. A permission is floor.verb; reading is a permission like any other.
_READ = frozenset({"jobs.read", "hub.read", "corpus.read", "training.read", "evaluation.read", "compat.read", "serving.read", "governance.read", "evidence.read", "chain.read", "organisations.read"})  # fmt: skip
_WORK = _READ | {"jobs.submit", "jobs.cancel", "hub.write", "corpus.build", "training.run", "evaluation.run", "compat.run", "serving.deploy", "serving.use", "governance.request", "evidence.export", "chain.run"}  # fmt: skip
ROLES: dict[str, frozenset[str]] = {
    "reader": _READ | {"serving.use"},
    "member": _WORK,
    "owner": _WORK | {"organisations.manage", "hub.manage", "jobs.network"},
    "reviewer": _READ | {"governance.review"},
    "operator": _WORK | {"organisations.manage", "hub.manage", "jobs.network", "house.manage", "house.read", "governance.revoke", "evidence.revoke"},
}
_PATHS = {"api", "v1", "static", "models", "datasets", "spaces", "chains", "jobs", "reports", "evidence", "sign-in", "sign-out", "preferences", "healthz", "readyz", "metrics", "house"}
PERMISSIONS = frozenset().union(*ROLES.values())


@dataclass(frozen=True, slots=True)
class Actor:
    """Who asks: a user, by a session or a token whose scopes may be narrower than what the user may do."""

    user: str
    scopes: frozenset[str] = frozenset({"*"})
    token: str | None = None

    def covers(self, permission: str) -> bool:
        return any(fnmatch.fnmatchcase(permission, scope) for scope in self.scopes)


SYSTEM = Actor("house")  # the house itself: chores and subscriptions; may do everything and owns nothing


@dataclass(frozen=True, slots=True)
class User:
    name: str
    title: str
    disabled: bool
    created_at: str


@dataclass(frozen=True, slots=True)
class Organisation:
    name: str
    title: str
    controlled_by: str | None
    created_at: str


@dataclass(frozen=True, slots=True)
class Token:
    """A token without its secret; the secret is shown once, when it is made."""

    id: str
    user: str
    title: str
    scopes: tuple[str, ...]
    kind: str
    expires_at: str | None
    revoked_at: str | None
    created_at: str


class TokenNotUsable(Unauthenticated):
    """This token is unknown, expired or revoked. Make a new one with `lilong token create`."""


class TokenTooNarrow(Forbidden):
    """The token in use does not cover the permission '{permission}'. Make one with that scope: `lilong token create --scope {permission}`."""


@dataclass(frozen=True, slots=True)
class UserAdded:
    kind: ClassVar[str] = "access.user-added"
    subject: str


@dataclass(frozen=True, slots=True)
class UserDisabled:
    kind: ClassVar[str] = "access.user-disabled"
    subject: str


@dataclass(frozen=True, slots=True)
class PasswordSet:
    kind: ClassVar[str] = "access.password-set"
    subject: str


@dataclass(frozen=True, slots=True)
class OrganisationAdded:
    kind: ClassVar[str] = "access.organisation-added"
    subject: str
    controlled_by: str | None


@dataclass(frozen=True, slots=True)
class RoleGranted:
    kind: ClassVar[str] = "access.role-granted"
    subject: str  # the user
    role: str
    scope: str
    expires_at: str | None


@dataclass(frozen=True, slots=True)
class TokenCreated:
    kind: ClassVar[str] = "access.token-created"
    subject: str  # the token's id
    user: str
    token_kind: str
    scopes: tuple[str, ...]
    expires_at: str | None


@dataclass(frozen=True, slots=True)
class TokenRevoked:
    kind: ClassVar[str] = "access.token-revoked"
    subject: str


class Access:
    """All functions take the transaction they run in."""

    def __init__(self, clock: Clock, ids: Ids, events: Events) -> None:
        self._clock = clock
        self._ids = ids
        self._events = events

    def _now(self) -> str:
        return stamp(self._clock.now())

    # --- who may ---------------------------------------------------------------------------------------------------------

    def roles(self, tx: Tx, user: str, organisation: str | None) -> set[str]:
        rows = tx.rows(
            "SELECT role FROM ground_grants WHERE user_name = :user AND scope IN (:house, :scope) AND (expires_at IS NULL OR expires_at > :now)",
            user=user, house=HOUSE, scope=f"@{organisation}", now=self._now(),
        )  # fmt: skip
        return {row["role"] for row in rows}

    def allowed(self, tx: Tx, actor: Actor, permission: str, organisation: str | None = None) -> bool:
        """May the actor do this within the organisation (None: in the whole house)?"""
        if permission not in PERMISSIONS:
            raise RuntimeError(f"no role has the permission {permission!r}: add it to the table")
        if actor.user == SYSTEM.user and actor.token is None:
            return True
        return actor.covers(permission) and any(permission in ROLES.get(role, ()) for role in self.roles(tx, actor.user, organisation))

    def anywhere(self, tx: Tx, actor: Actor, permission: str) -> bool:
        """May the actor do this in at least one scope? The question a route asks before its service asks the exact one."""
        if actor.user == SYSTEM.user and actor.token is None:
            return True
        rows = tx.rows(
            "SELECT DISTINCT role FROM ground_grants WHERE user_name = :user AND (expires_at IS NULL OR expires_at > :now)",
            user=actor.user, now=self._now(),
        )  # fmt: skip
        return actor.covers(permission) and any(permission in ROLES.get(row["role"], ()) for row in rows)

    def require(self, tx: Tx, actor: Actor, permission: str, organisation: str | None = None, *, hidden: NotFound | None = None) -> None:
        """Raises Forbidden; or `hidden`, the error for something that is not there, where the actor may not even read it."""
        if self.allowed(tx, actor, permission, organisation):
            return
        read = permission.split(".", maxsplit=1)[0] + ".read"
        if hidden is not None and not (read in PERMISSIONS and self.allowed(tx, actor, read, organisation)):
            raise hidden
        if not actor.covers(permission):
            raise TokenTooNarrow(permission=permission)
        raise Forbidden(permission=permission, actor=actor.user, scope=organisation or "the house")

    def visible(self, actor: Actor, permission: str, column: str) -> tuple[str, dict[str, Any]]:
        """An SQL condition that holds where `column` names an organisation in which the actor has the permission, and its parameters."""
        if actor.user == SYSTEM.user and actor.token is None:
            return "1 = 1", {}
        if not actor.covers(permission):
            return "1 = 0", {}
        roles = sorted(role for role, permissions in ROLES.items() if permission in permissions)
        names = ", ".join(f":access_role_{i}" for i in range(len(roles)))
        condition = (
            f"EXISTS (SELECT 1 FROM ground_grants access_grant WHERE access_grant.user_name = :access_user AND access_grant.role IN ({names}) "
            f"AND (access_grant.scope = 'house' OR access_grant.scope = '@' || {column}) "
            "AND (access_grant.expires_at IS NULL OR access_grant.expires_at > :access_now))"
        )
        return condition, {"access_user": actor.user, "access_now": self._now(), **{f"access_role_{i}": role for i, role in enumerate(roles)}}

    def grant(self, tx: Tx, actor: Actor, user: str, role: str, organisation: str | None, expires_at: str | None = None) -> None:
        """Give a role within an organisation, or within the whole house (None)."""
        if role not in ROLES:
            raise BadInput(field="role", problem=f"{role!r} is not a role", way_out=f"Roles: {', '.join(ROLES)}.")
        self.require(tx, actor, "organisations.manage" if organisation else "house.manage", organisation)
        if role == "operator" and organisation is not None:
            raise BadInput(field="role", problem="an operator serves the whole house", way_out="Give 'owner' within an organisation.")
        if organisation is not None:
            self.organisation(tx, organisation)
        self.user(tx, user)
        scope = f"@{organisation}" if organisation else HOUSE
        held = tx.row(
            "SELECT expires_at FROM ground_grants WHERE user_name = :user AND role = :role AND scope = :scope", user=user, role=role, scope=scope
        )
        if held is not None and held["expires_at"] == expires_at:
            return
        tx.run(
            "INSERT INTO ground_grants (user_name, role, scope, granted_by, expires_at, created_at) VALUES (:user, :role, :scope, :by, :expires, :now) "
            "ON CONFLICT (user_name, role, scope) DO UPDATE SET expires_at = excluded.expires_at, granted_by = excluded.granted_by",
            user=user, role=role, scope=scope, by=actor.user, expires=expires_at, now=self._now(),
        )  # fmt: skip
        self._events.append(tx, actor, RoleGranted(user, role, scope, expires_at))

    # --- users, organisations, projects ---------------------------------------------------------------------------------

    def add_user(self, tx: Tx, actor: Actor, name: str, title: str = "", password: str | None = None) -> User:
        """Raises Conflict where the name is taken."""
        self.require(tx, actor, "house.manage")
        intake.name(name, "user")
        if name == SYSTEM.user or tx.row("SELECT 1 FROM ground_users WHERE name = :name", name=name):
            raise Conflict(problem=f"There is a user '{name}' already.")
        tx.run(
            "INSERT INTO ground_users (name, title, password_hash, created_at) VALUES (:name, :title, :hash, :now)",
            name=name, title=title or name, hash=hash_password(password) if password else None, now=self._now(),
        )  # fmt: skip
        self._events.append(tx, actor, UserAdded(name))
        return self.user(tx, name)

    def user(self, tx: Tx, name: str) -> User:
        row = tx.row("SELECT name, title, disabled_at, created_at FROM ground_users WHERE name = :name", name=name)
        if row is None:
            raise NotFound(kind="user", name=name)
        return User(row["name"], row["title"], row["disabled_at"] is not None, row["created_at"])

    def users(self, tx: Tx) -> list[User]:
        rows = tx.rows("SELECT name, title, disabled_at, created_at FROM ground_users ORDER BY name")
        return [User(row["name"], row["title"], row["disabled_at"] is not None, row["created_at"]) for row in rows]

    def disable_user(self, tx: Tx, actor: Actor, name: str) -> None:
        self.require(tx, actor, "house.manage")
        if not tx.run("UPDATE ground_users SET disabled_at = :now WHERE name = :name AND disabled_at IS NULL", name=name, now=self._now()):
            self.user(tx, name)
            return
        self._events.append(tx, actor, UserDisabled(name))

    def set_password(self, tx: Tx, actor: Actor, name: str, password_hash: str) -> None:
        """One's own, or anyone's for an operator; sessions and links that the user has are ended."""
        if actor.user != name:
            self.require(tx, actor, "house.manage")
        self.user(tx, name)
        tx.run("UPDATE ground_users SET password_hash = :hash WHERE name = :name", hash=password_hash, name=name)
        tx.run(
            "UPDATE ground_tokens SET revoked_at = :now WHERE user_name = :name AND kind <> 'api' AND revoked_at IS NULL AND id <> :own",
            now=self._now(), name=name, own=actor.token or "",
        )  # fmt: skip
        self._events.append(tx, actor, PasswordSet(name))

    def password_of(self, tx: Tx, name: str) -> str | None:
        """What `signed_in` compares with; None for users without a password, disabled ones and unknown ones alike."""
        row = tx.row("SELECT password_hash, disabled_at FROM ground_users WHERE name = :name", name=name)
        return row["password_hash"] if row is not None and row["disabled_at"] is None else None

    def add_organisation(self, tx: Tx, actor: Actor, name: str, title: str = "", controlled_by: str | None = None) -> Organisation:
        self.require(tx, actor, "house.manage")
        intake.name(name, "organisation")
        if name.lower() in _PATHS:
            raise BadInput(field="organisation", problem=f"{name!r} begins addresses of the house itself", way_out="Take another name.")
        if tx.row("SELECT 1 FROM ground_organisations WHERE name = :name", name=name):
            raise Conflict(problem=f"There is an organisation '{name}' already.")
        tx.run(
            "INSERT INTO ground_organisations (name, title, controlled_by, created_at) VALUES (:name, :title, :by, :now)",
            name=name, title=title or name, by=controlled_by, now=self._now(),
        )  # fmt: skip
        tx.run(
            "INSERT INTO ground_projects (organisation, name, title, created_at) VALUES (:name, 'default', 'Default project', :now)",
            name=name, now=self._now(),
        )  # fmt: skip
        self._events.append(tx, actor, OrganisationAdded(name, controlled_by))
        return self.organisation(tx, name)

    def organisation(self, tx: Tx, name: str) -> Organisation:
        row = tx.row("SELECT name, title, controlled_by, created_at FROM ground_organisations WHERE name = :name", name=name)
        if row is None:
            raise NotFound(kind="organisation", name=name)
        return Organisation(row["name"], row["title"], row["controlled_by"], row["created_at"])

    def organisations(self, tx: Tx, actor: Actor) -> list[Organisation]:
        condition, parameters = self.visible(actor, "organisations.read", "name")
        rows = tx.rows(f"SELECT name, title, controlled_by, created_at FROM ground_organisations WHERE {condition} ORDER BY name", **parameters)
        return [Organisation(row["name"], row["title"], row["controlled_by"], row["created_at"]) for row in rows]

    def organisations_of(self, tx: Tx, user: str) -> list[tuple[str, str]]:
        """(organisation, role) pairs that the user has been granted directly."""
        rows = tx.rows("SELECT scope, role FROM ground_grants WHERE user_name = :user AND scope <> 'house' ORDER BY scope, role", user=user)
        return [(row["scope"][1:], row["role"]) for row in rows]

    # --- tokens -----------------------------------------------------------------------------------------------------------

    def add_token(self, tx: Tx, actor: Actor, user: str, title: str, scopes: tuple[str, ...] = ("*",), *, kind: str = "api", lives: timedelta | None = None) -> tuple[Token, str]:  # fmt: skip
        """A new token and its secret. One may make tokens for oneself, never wider than the token in hand; operators for anyone."""
        if actor.user != user:
            self.require(tx, actor, "house.manage")
        wanted = {permission for permission in PERMISSIONS if any(fnmatch.fnmatchcase(permission, scope) for scope in scopes)}
        wider = not all(actor.covers(permission) for permission in wanted) or ("*" in scopes and "*" not in actor.scopes)
        if actor.token is not None and wider:
            raise Forbidden(permission=" ".join(scopes), actor=f"the token of {actor.user}", scope="this token")
        for scope in scopes:
            if not any(fnmatch.fnmatchcase(permission, scope) for permission in PERMISSIONS):
                raise BadInput(field="scopes", problem=f"{scope!r} matches no permission", way_out=f"Permissions: {', '.join(sorted(PERMISSIONS))}; '*' stands for any text.")
        self.user(tx, user)
        secret = f"ll_{self._ids.secret()}"
        now = self._clock.now()
        # A token made with one that ends does not outlive it.
        ends = [stamp(now + lives)] if lives else []
        if actor.token is not None and kind == "api" and (own := tx.value("SELECT expires_at FROM ground_tokens WHERE id = :id", id=actor.token)):
            ends.append(own)
        token = Token(self._ids.new("token"), user, title, scopes, kind, min(ends, default=None), None, stamp(now))
        tx.run(
            "INSERT INTO ground_tokens (id, secret_hash, user_name, title, scopes, kind, expires_at, created_at) "
            "VALUES (:id, :hash, :user, :title, :scopes, :kind, :expires, :created)",
            id=token.id, hash=hash_secret(secret), user=user, title=title, scopes=" ".join(scopes), kind=kind, expires=token.expires_at, created=token.created_at,
        )  # fmt: skip
        self._events.append(tx, actor, TokenCreated(token.id, user, kind, scopes, token.expires_at))
        return token, secret

    def authenticate(self, tx: Tx, secret: str, *, kinds: tuple[str, ...] = ("api", "session")) -> Actor:
        """The actor behind a token's secret. Raises TokenNotUsable."""
        row = tx.row(
            "SELECT t.id, t.user_name, t.scopes, t.kind, t.expires_at, t.revoked_at, u.disabled_at FROM ground_tokens t "
            "JOIN ground_users u ON u.name = t.user_name WHERE t.secret_hash = :hash",
            hash=hash_secret(secret),
        )
        if row is None or row["kind"] not in kinds or row["revoked_at"] or row["disabled_at"] or self._expired(row["expires_at"]):
            raise TokenNotUsable()
        return Actor(row["user_name"], frozenset(row["scopes"].split()), row["id"])

    def use_link(self, tx: Tx, secret: str) -> Actor:
        """Turn a one-time sign-in link into its user; the link is spent. Raises TokenNotUsable."""
        actor = self.authenticate(tx, secret, kinds=("link",))
        tx.run("UPDATE ground_tokens SET revoked_at = :now WHERE id = :id", now=self._now(), id=actor.token)
        return Actor(actor.user)

    def tokens(self, tx: Tx, actor: Actor, user: str | None = None) -> list[Token]:
        """The API tokens of one user (oneself, or anyone's for an operator); with None and an operator, everybody's."""
        if user != actor.user:
            self.require(tx, actor, "house.manage")
        rows = tx.rows("SELECT * FROM ground_tokens WHERE kind = 'api' AND (CAST(:user AS TEXT) IS NULL OR user_name = :user) ORDER BY created_at", user=user)
        return [_token(row) for row in rows]

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
        if tx.run("UPDATE ground_tokens SET revoked_at = :now WHERE id = :id AND revoked_at IS NULL", now=self._now(), id=token):
            self._events.append(tx, actor, TokenRevoked(token))

    def _expired(self, expires_at: str | None) -> bool:
        return expires_at is not None and parse_stamp(expires_at) <= self._clock.now()


def _token(row: Row) -> Token:
    return Token(row["id"], row["user_name"], row["title"], tuple(row["scopes"].split()), row["kind"], row["expires_at"], row["revoked_at"], row["created_at"])


def hash_secret(secret: str) -> str:
    """sha256, not a slow hash: the secret has 256 random bits, so there is nothing to guess."""
    return hashlib.sha256(secret.encode()).hexdigest()


def hash_password(password: str) -> str:
    """argon2id with the library's recommended cost (RFC 9106, low memory)."""
    from argon2 import PasswordHasher

    if len(password) < 10:
        raise BadInput(field="password", problem="it has fewer than 10 characters", way_out="Take a longer one.")
    return PasswordHasher().hash(password)


_SIGNING_IN = threading.BoundedSemaphore(2)
_NOBODY = "$argon2id$v=19$m=65536,t=3,p=4$pFbJW+ix7wj8GmdUjJSDIQ$GABUeXZEBQiSrGlLVrBQ4+HrtXjVUC/nkQ/QkYiwb1g"  # of a password that nobody has


def signed_in(name: str, known: str | None, password: str) -> Actor:
    """Raises Unauthenticated, after the same work whether the user is unknown or the password is wrong.

    Slow and large on purpose (64 MiB), so it runs outside any transaction, and two at a time.
    """
    with _SIGNING_IN:
        if not verify_password(known, password):
            raise Unauthenticated("The name or the password is not right.")
    return Actor(name)


def verify_password(known: str | None, password: str) -> bool:
    from argon2 import PasswordHasher
    from argon2.exceptions import Argon2Error

    try:
        return PasswordHasher().verify(known or _NOBODY, password) and known is not None
    except (Argon2Error, ValueError):
        return False
