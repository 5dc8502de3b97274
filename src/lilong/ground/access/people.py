"""Users, organisations, and who has which role in them."""

from __future__ import annotations

from lilong.ground import intake
from lilong.ground.db import Row, Tx
from lilong.ground.errors import BadInput, Conflict, NotFound

from .decisions import Decisions
from .records import SYSTEM, Actor, Organisation, OrganisationAdded, PasswordSet, RoleGranted, TokenTooNarrow, User, UserAdded, UserDisabled
from .secrets import hash_password
from .table import HOUSE, PATHS, ROLES


class People(Decisions):
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
            "SELECT expires_at FROM ground_grants WHERE user_name = :user AND role = :role AND scope = :scope",
            user=user,
            role=role,
            scope=scope,
        )
        if held is not None and held["expires_at"] == expires_at:
            return
        tx.run(
            "INSERT INTO ground_grants (user_name, role, scope, granted_by, expires_at, created_at) VALUES (:user, :role, :scope, :by, :expires, :now) "
            "ON CONFLICT (user_name, role, scope) DO UPDATE SET expires_at = excluded.expires_at, granted_by = excluded.granted_by",
            user=user, role=role, scope=scope, by=actor.user, expires=expires_at, now=self._now(),
        )  # fmt: skip
        self._events.append(tx, actor, RoleGranted(user, role, scope, expires_at))

    def add_user(self, tx: Tx, actor: Actor, name: str, title: str = "", password: str | None = None, email: str | None = None) -> User:
        """Raises Conflict where the name is taken."""
        self.require(tx, actor, "house.manage")
        intake.name(name, "user")
        if name == SYSTEM.user or tx.row("SELECT 1 FROM ground_users WHERE lower(name) = :name", name=name.lower()):
            raise Conflict(problem=f"There is a user '{name}' already.")
        if tx.row("SELECT 1 FROM ground_organisations WHERE lower(name) = :name", name=name.lower()):
            raise Conflict(problem=f"There is an organisation '{name}' already, and one name means one of them.")
        tx.run(
            "INSERT INTO ground_users (name, title, email, password_hash, created_at) VALUES (:name, :title, :email, :hash, :now)",
            name=name, title=title or name, email=email, hash=hash_password(password) if password else None, now=self._now(),
        )  # fmt: skip
        self._events.append(tx, actor, UserAdded(name))
        return self.user(tx, name)

    def user(self, tx: Tx, name: str) -> User:
        row = tx.row("SELECT name, title, disabled_at, created_at, email FROM ground_users WHERE name = :name", name=name)
        if row is None:
            raise NotFound(kind="user", name=name)
        return _user(row)

    def users(self, tx: Tx) -> list[User]:
        return [_user(row) for row in tx.rows("SELECT name, title, disabled_at, created_at, email FROM ground_users ORDER BY name")]

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
        elif not actor.whole:
            raise TokenTooNarrow(permission="*")  # a password opens all that the user may do
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
        if tx.row("SELECT 1 FROM ground_organisations WHERE lower(name) = :name", name=name.lower()):
            raise Conflict(problem=f"There is an organisation '{name}' already.")
        if tx.row("SELECT 1 FROM ground_users WHERE lower(name) = :name", name=name.lower()):
            raise Conflict(problem=f"There is a user '{name}' already, and one name means one of them.")
        return self._add_organisation(tx, actor, name, title, controlled_by)

    def personal(self, tx: Tx, name: str) -> Organisation:
        """The user's own namespace: an organisation of the same name, made when it is first needed. Raises NotFound, BadInput."""
        row = tx.row("SELECT personal FROM ground_organisations WHERE name = :name", name=name)
        if row is not None and row["personal"]:
            return self.organisation(tx, name)
        user = self.user(tx, name)
        if row is not None:
            raise Conflict(problem=f"The organisation '{name}' is not the namespace of the user '{name}'.")
        made = self._add_organisation(tx, Actor(name), name, user.title, None, personal=True)
        tx.run(
            "INSERT INTO ground_grants (user_name, role, scope, granted_by, expires_at, created_at) VALUES (:user, 'keeper', :scope, :by, NULL, :now)",
            user=name, scope=f"@{name}", by=SYSTEM.user, now=self._now(),
        )  # fmt: skip
        self._events.append(tx, SYSTEM, RoleGranted(name, "keeper", f"@{name}", None))
        return made

    def _add_organisation(
        self, tx: Tx, actor: Actor, name: str, title: str, controlled_by: str | None, *, personal: bool = False
    ) -> Organisation:
        if name.lower() in PATHS:
            raise BadInput(field="organisation", problem=f"{name!r} begins addresses of the house itself", way_out="Take another name.")
        tx.run(
            "INSERT INTO ground_organisations (name, title, controlled_by, personal, created_at) VALUES (:name, :title, :by, :personal, :now)",
            name=name, title=title or name, by=controlled_by, personal=int(personal), now=self._now(),
        )  # fmt: skip
        tx.run(
            "INSERT INTO ground_projects (organisation, name, title, created_at) VALUES (:name, 'default', 'Default project', :now)",
            name=name, now=self._now(),
        )  # fmt: skip
        self._events.append(tx, actor, OrganisationAdded(name, controlled_by))
        return self.organisation(tx, name)

    def organisation(self, tx: Tx, name: str) -> Organisation:
        row = tx.row("SELECT name, title, controlled_by, created_at, personal FROM ground_organisations WHERE name = :name", name=name)
        if row is None:
            raise NotFound(kind="organisation", name=name)
        return _organisation(row)

    def organisations(self, tx: Tx, actor: Actor) -> list[Organisation]:
        condition, parameters = self.visible(actor, "organisations.read", "name")
        rows = tx.rows(
            f"SELECT name, title, controlled_by, created_at, personal FROM ground_organisations WHERE {condition} ORDER BY name",
            **parameters,
        )
        return [_organisation(row) for row in rows]

    def organisations_of(self, tx: Tx, user: str) -> list[tuple[str, str]]:
        """(organisation, role) pairs that the user has been granted directly."""
        rows = tx.rows("SELECT scope, role FROM ground_grants WHERE user_name = :user AND scope <> 'house' ORDER BY scope, role", user=user)
        return [(row["scope"][1:], row["role"]) for row in rows]


def _user(row: Row) -> User:
    return User(row["name"], row["title"], row["disabled_at"] is not None, row["created_at"], row["email"])


def _organisation(row: Row) -> Organisation:
    return Organisation(row["name"], row["title"], row["controlled_by"], row["created_at"], bool(row["personal"]))
