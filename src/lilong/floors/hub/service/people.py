"""Users, organisations and tokens brought over from another hub."""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

from lilong.floors.hub.rules.people import OrganisationLine, UserLine, parse
from lilong.ground.access import Actor
from lilong.ground.db import Tx
from lilong.ground.errors import Conflict, LilongError
from lilong.ground.house import House

from . import namespaces


@dataclass(frozen=True, slots=True)
class Problem:
    line: int
    problem: str


@dataclass(slots=True)
class Report:
    """What an import has added; what was there already is not counted, so that a second import adds nothing."""

    organisations: int = 0
    users: int = 0
    roles: int = 0
    tokens: int = 0
    problems: list[Problem] = field(default_factory=list)
    notes: list[Problem] = field(default_factory=list)


class _Undone(Exception):
    """A trial run is over."""


def bring_over(
    house: House, actor: Actor, lines: Sequence[tuple[int, str]], *, dry_run: bool = False, assumed: Collection[str] = ()
) -> Report:
    """One batch of numbered lines in one transaction; a line that is not taken leaves nothing behind and is named.

    `assumed`: organisations that other batches of the same file make, for a trial run. Raises Forbidden.
    """
    report = Report()
    parsed: list[tuple[int, OrganisationLine | UserLine]] = []
    for number, text in lines:
        try:
            parsed.append((number, parse(text)))
        except LilongError as problem:
            report.problems.append(Problem(number, str(problem)))

    def write(tx: Tx) -> None:
        house.access.require(tx, actor, "house.manage")
        if dry_run:
            _assume(house, tx, actor, parsed, assumed)
        for number, line in parsed:
            _one(house, tx, actor, number, line, report)
        if dry_run:
            raise _Undone

    with contextlib.suppress(_Undone):
        house.db.write(write)
    report.problems.sort(key=lambda each: each.line)
    return report


def _assume(
    house: House, tx: Tx, actor: Actor, parsed: Sequence[tuple[int, OrganisationLine | UserLine]], assumed: Collection[str]
) -> None:
    asked = {name for _, line in parsed if isinstance(line, UserLine) for name, _ in line.organisations}
    here = {line.name for _, line in parsed if isinstance(line, OrganisationLine)}
    for name in sorted(asked & set(assumed) - here):
        if tx.row("SELECT 1 FROM ground_organisations WHERE lower(name) = :name", name=name.lower()) is None:
            house.access.add_organisation(tx, actor, name)


def _one(house: House, tx: Tx, actor: Actor, number: int, line: OrganisationLine | UserLine, report: Report) -> None:
    counted = Report()
    savepoint = tx.connection.begin_nested()
    try:
        if isinstance(line, OrganisationLine):
            _organisation(house, tx, actor, line, counted)
        else:
            _user(house, tx, actor, number, line, counted)
    except LilongError as problem:
        savepoint.rollback()
        report.problems.append(Problem(number, str(problem)))
        return
    savepoint.commit()
    for name in ("organisations", "users", "roles", "tokens"):
        setattr(report, name, getattr(report, name) + getattr(counted, name))
    report.problems += counted.problems
    report.notes += counted.notes


def _organisation(house: House, tx: Tx, actor: Actor, line: OrganisationLine, counted: Report) -> None:
    there = tx.row("SELECT personal FROM ground_organisations WHERE name = :name", name=line.name)
    if there is None:
        house.access.add_organisation(tx, actor, line.name, line.title)
        counted.organisations += 1
    elif there["personal"]:
        raise Conflict(problem=f"'{line.name}' is the name of a user here.")
    if line.private is not None and line.private != namespaces.private_by_default(tx, line.name):
        quota = tx.value("SELECT quota_bytes FROM hub_namespaces WHERE organisation = :o", o=line.name)
        namespaces.put(tx, line.name, line.private, quota)


def _user(house: House, tx: Tx, actor: Actor, number: int, line: UserLine, counted: Report) -> None:
    access = house.access
    there = tx.row("SELECT email FROM ground_users WHERE name = :name", name=line.name)
    if there is None:
        access.add_user(tx, actor, line.name, line.title, email=line.email)
        counted.users += 1
    elif tx.row("SELECT 1 FROM ground_grants WHERE user_name = :name AND scope = 'house'", name=line.name) is not None:
        raise Conflict(problem=f"'{line.name}' has a role in this whole house already: give their tokens by hand.")
    elif line.email and not there["email"]:
        tx.run("UPDATE ground_users SET email = :email WHERE name = :name", email=line.email, name=line.name)
    try:
        access.personal(tx, line.name)
    except LilongError as problem:
        counted.notes.append(Problem(number, f"'{line.name}' gets no namespace of their own: {problem}"))
    for organisation, role in line.organisations:
        held = tx.row(
            "SELECT 1 FROM ground_grants WHERE user_name = :user AND role = :role AND scope = :scope",
            user=line.name,
            role=role,
            scope=f"@{organisation}",
        )
        if held is None:
            access.grant(tx, actor, line.name, role, organisation)
            counted.roles += 1
    for token in line.tokens:
        try:
            made = access.adopt_token(tx, actor, line.name, token.title, token.scopes, token.secret)
        except LilongError as problem:
            counted.problems.append(Problem(number, f"The token '{token.title}' was not taken: {problem}"))
            continue
        if made is not None:
            counted.tokens += 1
            if token.said:
                counted.notes.append(Problem(number, token.said))
