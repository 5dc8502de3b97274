"""Who may: from the grants of a user and the scopes of the token in hand."""

from __future__ import annotations

from typing import Any

from lilong.ground.db import Tx
from lilong.ground.errors import Forbidden, NotFound
from lilong.ground.events import Events
from lilong.ground.seams import Clock, Ids, stamp

from .records import SYSTEM, Actor, TokenTooNarrow
from .scopes import parse
from .table import HOUSE, PERMISSIONS, ROLES


class Decisions:
    """All functions take the transaction they run in."""

    def __init__(self, clock: Clock, ids: Ids, events: Events) -> None:
        self._clock = clock
        self._ids = ids
        self._events = events

    def _now(self) -> str:
        return stamp(self._clock.now())

    def roles(self, tx: Tx, user: str, organisation: str | None) -> set[str]:
        rows = tx.rows(
            "SELECT role FROM ground_grants WHERE user_name = :user AND scope IN (:house, :scope) AND (expires_at IS NULL OR expires_at > :now)",
            user=user, house=HOUSE, scope=f"@{organisation}", now=self._now(),
        )  # fmt: skip
        return {row["role"] for row in rows}

    def allowed(self, tx: Tx, actor: Actor, permission: str, organisation: str | None = None, name: str | None = None) -> bool:
        """May the actor do this within the organisation (None: in the whole house), on its repository `name` (None: on all it has)?"""
        if permission not in PERMISSIONS:
            raise RuntimeError(f"no role has the permission {permission!r}: add it to the table")
        if actor.user == SYSTEM.user and actor.token is None:
            return True
        if not actor.covers(permission, organisation, name):
            return False
        return any(permission in ROLES.get(role, ()) for role in self.roles(tx, actor.user, organisation))

    def anywhere(self, tx: Tx, actor: Actor, permission: str) -> bool:
        """May the actor do this in at least one scope? The question a route asks before its service asks the exact one."""
        if actor.user == SYSTEM.user and actor.token is None:
            return True
        scopes = [scope for scope in map(parse, actor.scopes) if scope.matches(permission)]
        if not scopes:
            return False
        rows = tx.rows(
            "SELECT DISTINCT role, scope FROM ground_grants WHERE user_name = :user AND (expires_at IS NULL OR expires_at > :now)",
            user=actor.user, now=self._now(),
        )  # fmt: skip
        among = {row["scope"] for row in rows if permission in ROLES.get(row["role"], ())}
        return any(scope.organisation is None or HOUSE in among or f"@{scope.organisation}" in among for scope in scopes) and bool(among)

    def require(
        self,
        tx: Tx,
        actor: Actor,
        permission: str,
        organisation: str | None = None,
        *,
        name: str | None = None,
        hidden: NotFound | None = None,
    ) -> None:
        """Raises Forbidden; or `hidden`, the error for something that is not there, where the actor may not even read it."""
        if self.allowed(tx, actor, permission, organisation, name):
            return
        read = permission.split(".", maxsplit=1)[0] + ".read"
        if hidden is not None and not (read in PERMISSIONS and self.allowed(tx, actor, read, organisation, name)):
            raise hidden
        if not actor.covers(permission, organisation, name):
            raise TokenTooNarrow(permission=permission)
        raise Forbidden(permission=permission, actor=actor.user, scope=organisation or "the house")

    def visible(self, actor: Actor, permission: str, column: str, name_column: str | None = None) -> tuple[str, dict[str, Any]]:
        """An SQL condition that holds where `column` names an organisation in which the actor has the permission, and its parameters.

        `name_column`: the short name of a repository, where a token may be for one of them only.
        """
        if actor.user == SYSTEM.user and actor.token is None:
            return "1 = 1", {}
        scopes = sorted({scope for scope in map(parse, actor.scopes) if scope.matches(permission)}, key=repr)
        if not scopes:
            return "1 = 0", {}
        roles = sorted(role for role, permissions in ROLES.items() if permission in permissions)
        names = ", ".join(f":access_role_{i}" for i in range(len(roles)))
        condition = (
            f"EXISTS (SELECT 1 FROM ground_grants access_grant WHERE access_grant.user_name = :access_user AND access_grant.role IN ({names}) "
            f"AND (access_grant.scope = 'house' OR access_grant.scope = '@' || {column}) "
            "AND (access_grant.expires_at IS NULL OR access_grant.expires_at > :access_now))"
        )
        parameters: dict[str, Any] = {
            "access_user": actor.user,
            "access_now": self._now(),
            **{f"access_role_{i}": role for i, role in enumerate(roles)},
        }
        if all(scope.organisation is not None for scope in scopes):
            targets = ["1 = 0"]
            for i, scope in enumerate(scopes):
                if scope.name is None:
                    targets.append(f"{column} = :access_in_{i}")
                elif name_column is not None:
                    targets.append(f"({column} = :access_in_{i} AND {name_column} = :access_name_{i})")
                    parameters[f"access_name_{i}"] = scope.name
                else:
                    continue
                parameters[f"access_in_{i}"] = scope.organisation
            condition = f"({condition} AND ({' OR '.join(targets)}))"
        return condition, parameters
