"""The alliance: its members, what was taken down, and which jobs have read which version."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import msgspec

from lilong.floors.corpus.alliance.shapes import Member, Membership, Takedown, TakedownAsk
from lilong.floors.corpus.contract import State, Without
from lilong.ground.db import Row, Tx

from .common import as_json


@dataclass(frozen=True, slots=True)
class Index:
    """By which a version answers whether a text is in it. `files`: name -> digest."""

    version: str
    job: str
    state: State
    files: Mapping[str, str] = field(default_factory=dict)
    error: str | None = None


# --- members ---------------------------------------------------------------------------------------------------------------


def members(tx: Tx) -> list[str]:
    rows = tx.rows("SELECT organisation FROM corpus_members WHERE state = 'member' ORDER BY organisation")
    return [row["organisation"] for row in rows]


def member(tx: Tx, organisation: str) -> Member | None:
    row = tx.row("SELECT * FROM corpus_members WHERE organisation = :organisation", organisation=organisation)
    return _member(row) if row else None


def all_members(tx: Tx, condition: str, parameters: Mapping[str, Any]) -> list[Member]:
    rows = tx.rows(f"SELECT * FROM corpus_members m WHERE m.state = 'member' OR {condition} ORDER BY m.organisation", **parameters)
    return [_member(row) for row in rows]


def put_member(tx: Tx, one: Member) -> None:
    tx.run(
        "INSERT INTO corpus_members (organisation, state, asked_by, asked_at, admitted_by, admitted_at, left_at)"
        " VALUES (:organisation, :state, :asked_by, :asked_at, :admitted_by, :admitted_at, :left_at)"
        " ON CONFLICT (organisation) DO UPDATE SET state = excluded.state, asked_by = excluded.asked_by, asked_at = excluded.asked_at,"
        " admitted_by = excluded.admitted_by, admitted_at = excluded.admitted_at, left_at = excluded.left_at",
        **(asdict(one) | {"state": one.state.value}),
    )


def _member(row: Row) -> Member:
    return Member(
        row["organisation"],
        Membership(row["state"]),
        row["asked_by"],
        row["asked_at"],
        row["admitted_by"],
        row["admitted_at"],
        row["left_at"],
    )


# --- takedowns -------------------------------------------------------------------------------------------------------------

_FOREIGN = "foreign-document"
"""A document that another organisation gave: it stays out of what the one who took it down builds."""


def add_takedown(
    tx: Tx, row: Takedown, ask: TakedownAsk, exclusions: Mapping[str, Without], reached: Mapping[str, int | None],
    builds_only: Iterable[str] = (),
) -> None:  # fmt: skip
    """`exclusions`: by organisation, see alliance.takedowns; those who are in `builds_only` did not give the document, so it stays out of
    what they build and no further. `reached`: id of each version that held it -> how many documents, as far as one knows."""
    tx.run(
        "INSERT INTO corpus_takedowns (id, organisation, request_key, asked, state, version, repository, commit_id, reason, requested_by,"
        " created_at, statement, reached, finished_at) VALUES (:id, :organisation, :key, :asked, :state, :version, :repository, :commit_id,"
        " :reason, :requested_by, :created_at, :statement, :reached, :finished_at)",
        id=row.id, organisation=row.organisation, key=row.key, asked=as_json(asdict(ask)), state=row.state.value, version=row.version,
        repository=row.repository, commit_id=row.commit, reason=row.reason, requested_by=row.requested_by, created_at=row.created_at,
        statement=row.statement, reached=as_json(dict(reached)), finished_at=row.finished_at,
    )  # fmt: skip
    for organisation, what in sorted(exclusions.items()):
        for kind, value in ((kind, value) for kind, values in _kinds(what).items() for value in values):
            foreign = kind == "document" and organisation in builds_only
            tx.run(
                "INSERT INTO corpus_exclusions (organisation, kind, value, takedown) VALUES (:organisation, :kind, :value, :takedown)"
                " ON CONFLICT (organisation, kind, value) DO NOTHING",
                organisation=organisation, kind=_FOREIGN if foreign else kind, value=value, takedown=row.id,
            )  # fmt: skip


def _kinds(what: Without) -> dict[str, list[str]]:
    return {"document": what.documents, "source": what.sources, "contributor": what.contributors}


_ROW = "SELECT t.*, v.successor AS next FROM corpus_takedowns t LEFT JOIN corpus_versions v ON v.id = t.version"


def takedown_by_key(tx: Tx, organisation: str, key: str) -> tuple[Takedown, TakedownAsk] | None:
    row = tx.row(f"{_ROW} WHERE t.organisation = :organisation AND t.request_key = :key", organisation=organisation, key=key)
    return (_takedown(row), _asked(row)) if row else None


def takedown(tx: Tx, identity: str) -> Takedown | None:
    row = tx.row(f"{_ROW} WHERE t.id = :id", id=identity)
    return _takedown(row) if row else None


def takedowns(tx: Tx, condition: str, parameters: Mapping[str, Any], limit: int) -> list[Takedown]:
    """Newest first. The condition speaks of columns of `t`."""
    rows = tx.rows(f"{_ROW} WHERE {condition} ORDER BY t.created_at DESC, t.id DESC LIMIT :limit", limit=limit, **parameters)
    return [_takedown(row) for row in rows]


def reached(tx: Tx, takedown: str) -> dict[str, int | None]:
    """id of each version that held what was taken down -> how many documents, as far as one knows."""
    found: dict[str, int | None] = json.loads(tx.value("SELECT reached FROM corpus_takedowns WHERE id = :id", id=takedown) or "{}")
    return found


def reached_organisations(tx: Tx, takedown: str) -> list[str]:
    """Whose versions it put out of use."""
    rows = tx.rows("SELECT DISTINCT organisation FROM corpus_versions WHERE takedown = :id ORDER BY organisation", id=takedown)
    return [row["organisation"] for row in rows]


def waiting_for(tx: Tx, version: str) -> list[str]:
    """The takedowns that put a version out of use in whose place this one is built."""
    rows = tx.rows("SELECT DISTINCT takedown FROM corpus_versions WHERE successor = :version AND takedown IS NOT NULL", version=version)
    return [row["takedown"] for row in rows]


def unfinished_successors(tx: Tx, takedown: str) -> int:
    """How many of the versions that it put out of use have no published one in their place, though one is being built."""
    found = tx.value(
        "SELECT COUNT(*) FROM corpus_versions v JOIN corpus_versions n ON n.id = v.successor WHERE v.takedown = :takedown AND n.state <> 'done'",
        takedown=takedown,
    )  # fmt: skip
    return int(found)


def set_takedown_state(tx: Tx, identity: str, state: State, at: str | None, error: str | None = None) -> bool:
    """False where it was so before."""
    return bool(
        tx.run(
            "UPDATE corpus_takedowns SET state = :state, finished_at = :at, error = :error WHERE id = :id AND state <> :state",
            id=identity, state=state.value, at=at, error=error,
        )
    )  # fmt: skip


def supersede(tx: Tx, version: str, takedown: str) -> None:
    """Put a version out of use; one that was so before stays with the takedown that did it."""
    tx.run("UPDATE corpus_versions SET takedown = :takedown WHERE id = :id AND takedown IS NULL", takedown=takedown, id=version)


def succeed(tx: Tx, version: str, successor: str) -> None:
    """What is built in a version's place; also in the place of those that were waiting for that version."""
    tx.run("UPDATE corpus_versions SET successor = :successor WHERE id = :id OR successor = :id", successor=successor, id=version)


def superseded_by(tx: Tx, takedown: str) -> list[str]:
    return [
        row["id"] for row in tx.rows("SELECT id FROM corpus_versions WHERE takedown = :takedown ORDER BY created_at, id", takedown=takedown)
    ]


def excluded(tx: Tx, organisation: str, builds: bool) -> Without:
    """What an organisation took down, by all takedowns together; sources as `organisation/name`. `builds`: with the documents that only stay
    out of what it builds itself."""
    found: dict[str, set[str]] = {"document": set(), "source": set(), "contributor": set(), _FOREIGN: set()}
    for row in tx.rows("SELECT kind, value FROM corpus_exclusions WHERE organisation = :organisation", organisation=organisation):
        found[row["kind"]].add(row["value"])
    documents = found["document"] | (found[_FOREIGN] if builds else set())
    return Without(sorted(documents), sorted(found["source"]), sorted(found["contributor"]))


def _asked(row: Row) -> TakedownAsk:
    return msgspec.convert(json.loads(row["asked"]), TakedownAsk)


def _takedown(row: Row) -> Takedown:
    return Takedown(
        row["id"], row["organisation"], row["request_key"], State(row["state"]), row["version"], row["repository"], row["commit_id"],
        _asked(row).without, row["reason"], row["requested_by"], row["created_at"], row["statement"], row["next"], row["finished_at"],
        row["error"],
    )  # fmt: skip


# --- uses ------------------------------------------------------------------------------------------------------------------


def add_use(tx: Tx, version: str, job: str, organisation: str, purpose: str, at: str) -> None:
    tx.run(
        "INSERT INTO corpus_uses (version, job, organisation, purpose, at) VALUES (:version, :job, :organisation, :purpose, :at)"
        " ON CONFLICT (version, job) DO NOTHING",
        version=version, job=job, organisation=organisation, purpose=purpose, at=at,
    )  # fmt: skip


def uses(tx: Tx, version: str) -> list[str]:
    """The jobs that were let read a version, in their order."""
    return [row["job"] for row in tx.rows("SELECT job FROM corpus_uses WHERE version = :version ORDER BY at, job", version=version)]


# --- indexes ---------------------------------------------------------------------------------------------------------------


def index(tx: Tx, version: str) -> Index | None:
    row = tx.row("SELECT * FROM corpus_indexes WHERE version = :version", version=version)
    return _index(row) if row else None


def index_of_job(tx: Tx, job: str) -> Index | None:
    row = tx.row("SELECT * FROM corpus_indexes WHERE job = :job", job=job)
    return _index(row) if row else None


def put_index(tx: Tx, one: Index) -> None:
    tx.run(
        "INSERT INTO corpus_indexes (version, job, state, files, error) VALUES (:version, :job, :state, :files, :error)"
        " ON CONFLICT (version) DO UPDATE SET job = excluded.job, state = excluded.state, files = excluded.files, error = excluded.error",
        version=one.version, job=one.job, state=one.state.value, files=as_json(dict(one.files)), error=one.error,
    )  # fmt: skip


def _index(row: Row) -> Index:
    return Index(row["version"], row["job"], State(row["state"]), json.loads(row["files"] or "{}"), row["error"])
