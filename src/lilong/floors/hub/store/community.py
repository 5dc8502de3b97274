"""SQL on discussions and pull requests, access requests and likes."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lilong.floors.hub.contract import Kind
from lilong.ground.db import Row, Tx

from .repositories import Held

PULLS = "refs/pr/"

# --- discussions and pull requests --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Discussion:
    """A discussion, or a pull request, which has a ref of its own and a branch that it is meant for."""

    number: int
    title: str
    status: str  # draft | open | closed | merged
    pull_request: bool
    author: str
    created_at: str
    updated_at: str
    comments: int = 0
    base: str | None = None  # refs/heads/…
    start: str | None = None  # the commit on which it was opened
    merge_commit: str | None = None
    merged_from: str | None = None  # the common ancestor at the merge
    merged_head: str | None = None  # the head of the ref at the merge

    @property
    def ref(self) -> str | None:
        return f"{PULLS}{self.number}" if self.pull_request else None

    @property
    def live(self) -> bool:
        return self.status in ("draft", "open")


_DISCUSSION = (
    "number, title, status, pull_request, author, created_at, updated_at, comments, base, start, merge_commit, merged_from, merged_head"
)


def _discussion(row: Row) -> Discussion:
    found = {key: row[key] for key in _DISCUSSION.split(", ")}
    return Discussion(**{**found, "pull_request": bool(row["pull_request"])})


def add_discussion(tx: Tx, held: Held, made: Discussion) -> None:
    tx.run(
        "INSERT INTO hub_discussions (repository, number, title, status, pull_request, author, created_at, updated_at, base, start) "
        "VALUES (:repository, :number, :title, :status, :pull_request, :author, :at, :at, :base, :start)",
        repository=held.id, number=made.number, title=made.title, status=made.status, pull_request=int(made.pull_request),
        author=made.author, at=made.created_at, base=made.base, start=made.start,
    )  # fmt: skip


def discussion(tx: Tx, held: Held, number: int) -> Discussion | None:
    row = tx.row(f"SELECT {_DISCUSSION} FROM hub_discussions WHERE repository = :r AND number = :number", r=held.id, number=number)
    return None if row is None else _discussion(row)


def number_of(ref: str) -> int | None:
    """Of the pull request whose ref this is."""
    digits = ref.removeprefix(PULLS)
    return int(digits) if ref.startswith(PULLS) and digits.isascii() and digits.isdigit() and len(digits) < 10 else None


@dataclass(frozen=True, slots=True)
class Filter:
    """Which discussions a list shows. As on the public Hub a draft counts as open, and what was merged as closed."""

    kind: str = "all"  # all | discussion | pull_request
    status: str = "all"  # all | open | closed
    author: str | None = None
    search: str | None = None  # words of the title


_LIVE = "status IN ('draft', 'open')"


def discussions(tx: Tx, held: Held, wanted: Filter, start: int, limit: int) -> tuple[list[Discussion], int, int]:
    """The newest first; and how many of the same kind are open and closed, whatever status is asked for."""
    where, given = ["repository = :r"], {"r": held.id}
    if wanted.kind != "all":
        where.append(f"pull_request = {int(wanted.kind == 'pull_request')}")
    if wanted.author is not None:
        where.append("author = :author")
        given["author"] = wanted.author
    if wanted.search:
        where.append("lower(title) LIKE :search ESCAPE '!'")
        given["search"] = f"%{_literal(wanted.search.lower())}%"
    counts = tx.row(
        f"SELECT COALESCE(SUM(CASE WHEN {_LIVE} THEN 1 ELSE 0 END), 0) AS live, COUNT(*) AS n FROM hub_discussions WHERE {' AND '.join(where)}",
        **given,
    )
    assert counts is not None
    if wanted.status != "all":
        where.append(_LIVE if wanted.status == "open" else f"NOT {_LIVE}")
    rows = tx.rows(
        f"SELECT {_DISCUSSION} FROM hub_discussions WHERE {' AND '.join(where)} ORDER BY number DESC LIMIT :limit OFFSET :start",
        limit=limit, start=start, **given,
    )  # fmt: skip
    return [_discussion(row) for row in rows], int(counts["live"]), int(counts["n"] - counts["live"])


def _literal(words: str) -> str:
    for sign in "!%_":
        words = words.replace(sign, "!" + sign)
    return words


def set_title(tx: Tx, held: Held, number: int, title: str, now: str) -> None:
    _change(tx, held, number, "title = :title", now, title=title)


def set_status(tx: Tx, held: Held, number: int, status: str, now: str) -> None:
    _change(tx, held, number, "status = :status", now, status=status)


def set_merged(tx: Tx, held: Held, number: int, commit: str, base: str | None, head: str, now: str) -> None:
    changed = "status = 'merged', merge_commit = :commit, merged_from = :base, merged_head = :head"
    _change(tx, held, number, changed, now, commit=commit, base=base, head=head)


def _change(tx: Tx, held: Held, number: int, changed: str, now: str, **given: Any) -> None:
    tx.run(
        f"UPDATE hub_discussions SET {changed}, updated_at = :now WHERE repository = :r AND number = :n",
        now=now,
        r=held.id,
        n=number,
        **given,
    )


# --- what happened in them ----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Edit:
    """What a comment said at a time."""

    author: str
    at: str
    text: str


@dataclass(frozen=True, slots=True)
class Happening:
    """One thing in a discussion. `text`: a comment's Markdown, the new status or title, or a commit's title."""

    id: str
    kind: str  # comment | status-change | title-change | commit
    author: str
    at: str
    text: str
    old: str = ""  # the title before, or the id of the commit
    edited_at: str | None = None
    edited_by: str | None = None
    hidden_at: str | None = None
    hidden_by: str | None = None
    history: tuple[Edit, ...] = ()  # of an edited comment, the oldest first; the last one is what it says now

    @property
    def hidden(self) -> bool:
        return self.hidden_at is not None


def _happening(row: Row, history: Sequence[Edit] = ()) -> Happening:
    return Happening(
        row["id"], row["kind"], row["author"], row["at"], row["new"], row["old"], row["edited_at"], row["edited_by"], row["hidden_at"],
        row["hidden_by"], tuple(history),
    )  # fmt: skip


def add_happening(tx: Tx, held: Held, number: int, made: Happening) -> None:
    last = tx.value("SELECT MAX(position) FROM hub_discussion_events WHERE repository = :r AND number = :n", r=held.id, n=number)
    tx.run(
        "INSERT INTO hub_discussion_events (id, repository, number, position, kind, author, at, old, new) "
        "VALUES (:id, :r, :n, :position, :kind, :author, :at, :old, :new)",
        id=made.id, r=held.id, n=number, position=0 if last is None else last + 1, kind=made.kind, author=made.author, at=made.at,
        old=made.old, new=made.text,
    )  # fmt: skip
    _change(tx, held, number, "comments = comments + :more", made.at, more=int(made.kind == "comment"))


def happenings(tx: Tx, held: Held, number: int) -> list[Happening]:
    """In the order in which they happened; commits stand in the pull request's ref, not here."""
    edits: dict[str, list[Edit]] = {}
    for row in tx.rows(
        "SELECT d.* FROM hub_comment_edits d JOIN hub_discussion_events e ON e.id = d.event WHERE e.repository = :r AND e.number = :n ORDER BY d.event, d.position",
        r=held.id, n=number,
    ):  # fmt: skip
        edits.setdefault(row["event"], []).append(Edit(row["author"], row["at"], row["content"]))
    rows = tx.rows("SELECT * FROM hub_discussion_events WHERE repository = :r AND number = :n ORDER BY position", r=held.id, n=number)
    return [_happening(row, edits.get(row["id"], ())) for row in rows]


def comment(tx: Tx, held: Held, number: int, identity: str) -> Happening | None:
    row = tx.row(
        "SELECT * FROM hub_discussion_events WHERE id = :id AND repository = :r AND number = :n AND kind = 'comment'",
        id=identity,
        r=held.id,
        n=number,
    )
    if row is None:
        return None
    edits = tx.rows("SELECT * FROM hub_comment_edits WHERE event = :id ORDER BY position", id=identity)
    return _happening(row, [Edit(edit["author"], edit["at"], edit["content"]) for edit in edits])


def edit_comment(tx: Tx, before: Happening, author: str, text: str, now: str) -> None:
    if not before.history:
        _add_edit(tx, before.id, 0, Edit(before.author, before.at, before.text))
    _add_edit(tx, before.id, max(len(before.history), 1), Edit(author, now, text))
    tx.run(
        "UPDATE hub_discussion_events SET new = :text, edited_at = :now, edited_by = :by WHERE id = :id",
        text=text,
        now=now,
        by=author,
        id=before.id,
    )


def _add_edit(tx: Tx, event: str, position: int, edit: Edit) -> None:
    tx.run(
        "INSERT INTO hub_comment_edits (event, position, author, at, content) VALUES (:event, :position, :author, :at, :content)",
        event=event, position=position, author=edit.author, at=edit.at, content=edit.text,
    )  # fmt: skip


def hide_comment(tx: Tx, identity: str, by: str, now: str) -> None:
    """For good: its words go."""
    tx.run("DELETE FROM hub_comment_edits WHERE event = :id", id=identity)
    tx.run("UPDATE hub_discussion_events SET new = '', hidden_at = :now, hidden_by = :by WHERE id = :id", now=now, by=by, id=identity)


# --- who may have the files of a gated repository -----------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Request:
    """A user's request for the files of a gated repository, and what became of it."""

    id: str
    user: str
    fullname: str
    email: str | None  # of those who have asked themselves
    status: str  # pending | accepted | rejected
    fields: Mapping[str, Any]  # as the form was filled in
    reason: str  # of a rejection
    asked_at: str
    handled_by: str | None
    handled_at: str | None


_REQUEST = "q.id, q.user_name, u.title, u.email, q.granted, q.status, q.fields, q.reason, q.asked_at, q.handled_by, q.handled_at"
_FROM = "FROM hub_access_requests q LEFT JOIN ground_users u ON u.name = q.user_name"


def _request(row: Row) -> Request:
    return Request(
        row["id"], row["user_name"], row["title"] or row["user_name"], None if row["granted"] else row["email"], row["status"],
        json.loads(row["fields"]), row["reason"], row["asked_at"], row["handled_by"], row["handled_at"],
    )  # fmt: skip


def accepted(tx: Tx, repository_id: str, user: str) -> bool:
    """May this user have the files of a gated repository?"""
    return (
        tx.row(
            "SELECT 1 FROM hub_access_requests WHERE repository = :r AND user_name = :user AND status = 'accepted'",
            r=repository_id,
            user=user,
        )
        is not None
    )


def access_request(tx: Tx, held: Held, *, user: str | None = None, identity: str | None = None) -> Request | None:
    where, value = ("q.user_name = :value", user) if user is not None else ("q.id = :value", identity)
    row = tx.row(f"SELECT {_REQUEST} {_FROM} WHERE q.repository = :r AND {where}", r=held.id, value=value)
    return None if row is None else _request(row)


def access_requests(tx: Tx, held: Held, status: str, after: tuple[str, str] | None, limit: int) -> list[Request]:
    """The oldest first, from behind (asked_at, id)."""
    rows = tx.rows(
        f"SELECT {_REQUEST} {_FROM} WHERE q.repository = :r AND q.status = :status AND (q.asked_at > :at OR (q.asked_at = :at AND q.id > :id)) "
        "ORDER BY q.asked_at, q.id LIMIT :limit",
        r=held.id, status=status, at=after[0] if after else "", id=after[1] if after else "", limit=limit,
    )  # fmt: skip
    return [_request(row) for row in rows]


def add_access_request(tx: Tx, held: Held, request: Request, *, granted: bool = False) -> None:
    """`granted`: the user has not asked."""
    tx.run(
        "INSERT INTO hub_access_requests (id, repository, user_name, status, granted, fields, reason, asked_at, handled_by, handled_at) "
        "VALUES (:id, :r, :user, :status, :granted, :fields, '', :asked_at, :handled_by, :handled_at)",
        id=request.id, r=held.id, user=request.user, status=request.status, granted=int(granted),
        fields=json.dumps(dict(request.fields), ensure_ascii=False), asked_at=request.asked_at, handled_by=request.handled_by,
        handled_at=request.handled_at,
    )  # fmt: skip


def answer_access_request(tx: Tx, held: Held, identity: str, status: str, reason: str, by: str, now: str) -> None:
    tx.run(
        "UPDATE hub_access_requests SET status = :status, reason = :reason, handled_by = :by, handled_at = :now WHERE id = :id AND repository = :r",
        status=status, reason=reason, by=by, now=now, id=identity, r=held.id,
    )  # fmt: skip


def delete_access_request(tx: Tx, held: Held, user: str) -> bool:
    return bool(tx.run("DELETE FROM hub_access_requests WHERE repository = :r AND user_name = :user", r=held.id, user=user))


# --- likes ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Person:
    name: str
    fullname: str
    at: str  # since when


def like(tx: Tx, held: Held, user: str, now: str) -> bool:
    """Whether it is new."""
    new = tx.run(
        "INSERT INTO hub_likes (repository, user_name, at) VALUES (:r, :user, :now) ON CONFLICT (repository, user_name) DO NOTHING",
        r=held.id, user=user, now=now,
    )  # fmt: skip
    if new:
        tx.run("UPDATE hub_repositories SET likes = likes + 1 WHERE id = :id", id=held.id)
    return bool(new)


def unlike(tx: Tx, held: Held, user: str) -> bool:
    gone = tx.run("DELETE FROM hub_likes WHERE repository = :r AND user_name = :user", r=held.id, user=user)
    if gone:
        tx.run("UPDATE hub_repositories SET likes = likes - 1 WHERE id = :id", id=held.id)
    return bool(gone)


def likes(tx: Tx, held: Held, user: str) -> bool:
    return tx.row("SELECT 1 FROM hub_likes WHERE repository = :r AND user_name = :user", r=held.id, user=user) is not None


def likers(tx: Tx, held: Held, after: str, limit: int) -> list[Person]:
    rows = tx.rows(
        "SELECT l.user_name, l.at, u.title FROM hub_likes l LEFT JOIN ground_users u ON u.name = l.user_name "
        "WHERE l.repository = :r AND l.user_name > :after ORDER BY l.user_name LIMIT :limit",
        r=held.id, after=after, limit=limit,
    )  # fmt: skip
    return [Person(row["user_name"], row["title"] or row["user_name"], row["at"]) for row in rows]


@dataclass(frozen=True, slots=True)
class Liked:
    kind: Kind
    name: str
    at: str


def liked_by(tx: Tx, user: str, seen: tuple[str, Mapping[str, Any]], before: tuple[str, str] | None, limit: int) -> list[Liked]:
    """What a user likes of that which may be seen, the newest first, from behind (at, name)."""
    condition, parameters = seen
    where = "AND (l.at < :at OR (l.at = :at AND r.organisation || '/' || r.name < :name))" if before else ""
    given = {"at": before[0], "name": before[1]} if before else {}
    rows = tx.rows(
        "SELECT r.kind, r.organisation, r.name, l.at FROM hub_likes l JOIN hub_repositories r ON r.id = l.repository "
        f"WHERE l.user_name = :user AND (r.private = 0 OR {condition}) {where} ORDER BY l.at DESC, r.organisation || '/' || r.name DESC LIMIT :limit",
        user=user, limit=limit, **given, **parameters,
    )  # fmt: skip
    return [Liked(Kind(row["kind"]), f"{row['organisation']}/{row['name']}", row["at"]) for row in rows]


# --- attachments --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Attachment:
    id: str
    digest: str
    size: int  # bytes
    media_type: str


def add_attachment(tx: Tx, made: Attachment, user: str, now: str) -> None:
    tx.run(
        "INSERT INTO hub_attachments (id, digest, size, media_type, user_name, at) VALUES (:id, :digest, :size, :media_type, :user, :now)",
        id=made.id, digest=made.digest, size=made.size, media_type=made.media_type, user=user, now=now,
    )  # fmt: skip


def attachment(tx: Tx, identity: str) -> Attachment | None:
    row = tx.row("SELECT id, digest, size, media_type FROM hub_attachments WHERE id = :id", id=identity)
    return None if row is None else Attachment(row["id"], row["digest"], row["size"], row["media_type"])


def attached_since(tx: Tx, user: str, since: str) -> int:
    """Bytes that a user has attached since then."""
    return int(
        tx.value("SELECT COALESCE(SUM(size), 0) FROM hub_attachments WHERE user_name = :user AND at > :since", user=user, since=since)
    )
