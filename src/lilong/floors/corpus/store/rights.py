"""Data-rights requests. Of the person, only `subject` and `note` speak; both are gone once they are forgotten."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lilong.floors.corpus.alliance.shapes import RightsAnswer, RightsKind, RightsRequest, RightsState
from lilong.ground.db import Row, Tx


def add(tx: Tx, row: RightsRequest, salt: str, digest: str) -> None:
    tx.run(
        "INSERT INTO corpus_rights_requests (id, organisation, request_key, asked_digest, kind, state, subject, note, salt, received_at,"
        " due_at, logged_by) VALUES (:id, :organisation, :key, :digest, :kind, :state, :subject, :note, :salt, :received_at, :due_at, :logged_by)",
        id=row.id, organisation=row.organisation, key=row.key, digest=digest, kind=row.kind.value, state=row.state.value, subject=row.subject,
        note=row.note, salt=salt, received_at=row.received_at, due_at=row.due_at, logged_by=row.logged_by,
    )  # fmt: skip


def by_key(tx: Tx, organisation: str, key: str) -> tuple[RightsRequest, str, str | None] | None:
    """The request, the digest of what was asked, and the salt in it (None once it is forgotten)."""
    row = tx.row(
        "SELECT * FROM corpus_rights_requests WHERE organisation = :organisation AND request_key = :key", organisation=organisation, key=key
    )
    return (_request(row), row["asked_digest"], row["salt"]) if row else None


def request(tx: Tx, identity: str) -> RightsRequest | None:
    row = tx.row("SELECT * FROM corpus_rights_requests WHERE id = :id", id=identity)
    return _request(row) if row else None


def requests(tx: Tx, condition: str, parameters: Mapping[str, Any], limit: int) -> list[RightsRequest]:
    """Open ones first, those that are due next before others; then the newest."""
    rows = tx.rows(
        f"SELECT * FROM corpus_rights_requests WHERE {condition} ORDER BY CASE state WHEN 'open' THEN 0 ELSE 1 END,"
        " CASE state WHEN 'open' THEN due_at END, received_at DESC, id DESC LIMIT :limit",
        limit=limit, **parameters,
    )  # fmt: skip
    return [_request(row) for row in rows]


def answer(tx: Tx, identity: str, given: RightsAnswer, by: str, at: str) -> bool:
    """False where it was answered before."""
    return bool(
        tx.run(
            "UPDATE corpus_rights_requests SET state = :state, answer = :answer, answered_by = :by, answered_at = :at, takedown = :takedown"
            " WHERE id = :id AND state = 'open'",
            id=identity, state=given.state.value, answer=given.answer, by=by, at=at, takedown=given.takedown or None,
        )
    )  # fmt: skip


def forget(tx: Tx, identity: str) -> bool:
    """False where it was forgotten before."""
    return bool(
        tx.run(
            "UPDATE corpus_rights_requests SET subject = NULL, note = NULL, salt = NULL WHERE id = :id AND salt IS NOT NULL", id=identity
        )
    )


def _request(row: Row) -> RightsRequest:
    return RightsRequest(
        row["id"], row["organisation"], row["request_key"], RightsKind(row["kind"]), RightsState(row["state"]), row["subject"], row["note"],
        row["received_at"], row["due_at"], row["logged_by"], row["answer"], row["answered_by"], row["answered_at"], row["takedown"],
    )  # fmt: skip
