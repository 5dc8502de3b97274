"""What happened: typed, append-only, numbered without gaps, written in the same transaction as the state it reports.

Each event is one leaf of the transparency log (see log.py):

    leaf = H(0x00 || JCS({actor, at, body_sha256, kind, seq, subject})),   body_sha256 = SHA-256(salt || JCS(body))

so that a body with personal data can be erased, with its salt, while every proof still holds. `actor` and `subject` stay: they
are ids and names of accounts, never a person's data.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

import rfc8785

from lilong.ground import log
from lilong.ground.errors import NotFound
from lilong.ground.seams import Clock, Ids, stamp
from lilong.ground.signing import Signer

if TYPE_CHECKING:
    from lilong.ground.access import Actor
    from lilong.ground.db import Row, Tx


class Event(Protocol):
    """A frozen dataclass of a floor's contract. Its other fields are the body; they hold plain JSON values, or dataclasses of them."""

    kind: ClassVar[str]  # the floor and what happened, such as compute.job-finished

    @property
    def subject(self) -> str:
        """The id or name of what it happened to."""


@dataclass(frozen=True, slots=True)
class Recorded:
    """An event with its place in the log. `body` and `salt` are None once erased; the body is text, in canonical JSON."""

    seq: int
    at: str  # RFC 3339, UTC
    actor: str
    kind: str
    subject: str
    body_text: str | None
    salt: str | None
    body_sha256: str

    @property
    def body(self) -> dict[str, Any]:
        """Raises NotFound for an erased body."""
        if self.body_text is None:
            raise NotFound(kind="body of event", name=self.seq)
        value: dict[str, Any] = json.loads(self.body_text)
        return value

    @property
    def leaf(self) -> bytes:
        entry: dict[str, str | int] = {
            "seq": self.seq, "at": self.at, "actor": self.actor, "kind": self.kind, "subject": self.subject, "body_sha256": self.body_sha256,
        }  # fmt: skip
        return log.leaf_hash(rfc8785.dumps(entry))

    @property
    def body_fits(self) -> bool:
        """Whether the body is the one that the leaf speaks of; an erased one is."""
        if self.body_text is None or self.salt is None:
            return self.body_text is None and self.salt is None
        return body_hash(self.salt, self.body_text.encode()) == self.body_sha256

    @classmethod
    def from_row(cls, row: Row | Mapping[str, Any]) -> Recorded:
        return cls(*(row[key] for key in ("seq", "at", "actor", "kind", "subject", "body", "salt", "body_sha256")))

    def as_json(self) -> dict[str, Any]:
        return {
            "seq": self.seq, "at": self.at, "actor": self.actor, "kind": self.kind, "subject": self.subject,
            "body": self.body_text, "salt": self.salt, "body_sha256": self.body_sha256,
        }  # fmt: skip


def body_hash(salt: str, body: bytes) -> str:
    return hashlib.sha256(salt.encode() + body).hexdigest()


class Events:
    """The door to the log. Every function takes the transaction it runs in."""

    def __init__(self, clock: Clock, ids: Ids) -> None:
        self._clock = clock
        self._ids = ids

    def append(self, tx: Tx, actor: Actor, event: Event) -> int:
        """Record that `actor` did this; the event's number in the log."""
        return self.append_all(tx, actor, [event])

    def append_all(self, tx: Tx, actor: Actor, events: Sequence[Event]) -> int:
        """Record several in their order, for the price of little more than one; the number of the first."""
        first = self.size(tx)
        nodes = SqlNodes(tx)
        rows = []
        for seq, event in enumerate(events, first):
            fields: dict[str, Any] = asdict(event)  # type: ignore[call-overload]
            body = rfc8785.dumps({name: value for name, value in fields.items() if name != "subject"})
            salt, at = self._ids.secret(128), stamp(self._clock.now())
            recorded = Recorded(seq, at, actor.user, event.kind, event.subject, body.decode(), salt, body_hash(salt, body))
            rows.append(recorded.as_json())
            log.append(nodes, seq, recorded.leaf)
        tx.many(
            "INSERT INTO ground_events (seq, at, actor, kind, subject, body, salt, body_sha256)"
            " VALUES (:seq, :at, :actor, :kind, :subject, :body, :salt, :body_sha256)",
            rows,
        )
        nodes.write()
        return first

    def size(self, tx: Tx) -> int:
        """How many events there are."""
        last = tx.value("SELECT MAX(seq) FROM ground_events")
        return 0 if last is None else int(last) + 1

    def get(self, tx: Tx, seq: int) -> Recorded:
        """Raises NotFound."""
        row = tx.row("SELECT * FROM ground_events WHERE seq = :seq", seq=seq)
        if row is None:
            raise NotFound(kind="event", name=seq)
        return Recorded.from_row(row)

    def since(self, tx: Tx, first: int, limit: int = 1000) -> list[Recorded]:
        """The events from number `first` on, in order."""
        rows = tx.rows("SELECT * FROM ground_events WHERE seq >= :first ORDER BY seq LIMIT :limit", first=first, limit=limit)
        return [Recorded.from_row(row) for row in rows]

    def about(self, tx: Tx, subject: str, limit: int = 1000) -> list[Recorded]:
        """The events of one subject, oldest first."""
        rows = tx.rows("SELECT * FROM ground_events WHERE subject = :subject ORDER BY seq LIMIT :limit", subject=subject, limit=limit)
        return [Recorded.from_row(row) for row in rows]

    def pending(self, tx: Tx, name: str, kinds: Sequence[str], limit: int = 100) -> list[Recorded]:
        """The next events that the subscriber `name` has not seen, oldest first. Kinds: exact ones, or none for all."""
        first = tx.value("SELECT next FROM ground_cursors WHERE name = :name", name=name) or 0
        given = {f"kind{number}": kind for number, kind in enumerate(kinds)}
        among = f"AND kind IN ({', '.join(':' + key for key in given)})" if given else ""
        rows = tx.rows(f"SELECT * FROM ground_events WHERE seq >= :first {among} ORDER BY seq LIMIT :limit", first=first, limit=limit, **given)
        return [Recorded.from_row(row) for row in rows]

    def advance(self, tx: Tx, name: str, seq: int) -> None:
        """The subscriber `name` is done with everything up to and including event `seq`. Never moves back."""
        tx.run(
            "INSERT INTO ground_cursors (name, next) VALUES (:name, :next)"
            " ON CONFLICT (name) DO UPDATE SET next = excluded.next WHERE ground_cursors.next < excluded.next",
            name=name, next=seq + 1,
        )  # fmt: skip

    def erase(self, tx: Tx, seq: int) -> None:
        """Forget the body of an event, for good; its leaf and every proof over it stay. Raises NotFound."""
        if not tx.run("UPDATE ground_events SET body = NULL, salt = NULL WHERE seq = :seq", seq=seq):
            raise NotFound(kind="event", name=seq)

    def checkpoint(self, tx: Tx, signer: Signer, origin: str) -> str:
        """The signed note over the log as it is now, made and kept if there is none of this size yet. `origin`: see `origin_of`."""
        count = self.size(tx)
        note = tx.value("SELECT note FROM ground_checkpoints WHERE size = :size", size=count)
        if note is None:
            root = log.root(SqlNodes(tx), count)
            note = log.sign_note(log.Checkpoint(origin, count, root).text(), origin, signer.private)
            tx.run(
                "INSERT INTO ground_checkpoints (size, root, note, at) VALUES (:size, :root, :note, :at)",
                size=count, root=root, note=note, at=stamp(self._clock.now()),
            )  # fmt: skip
        return str(note)


def origin_of(house: str) -> str:
    """The name of a house's log, in checkpoints and of the key that signs them, from the house's name."""
    return "lilong/" + (re.sub(r"[^\w.-]+", "-", house.lower()).strip("-") or "house")


class SqlNodes:
    """The log's nodes in their table. What is put is there for those who get; `write` puts it into the table."""

    def __init__(self, tx: Tx) -> None:
        self._tx = tx
        self._new = log.MemoryNodes()

    def get(self, level: int, index: int) -> bytes:
        if (level, index) in self._new:
            return self._new.get(level, index)
        hash_ = self._tx.value("SELECT hash FROM ground_log_nodes WHERE level = :level AND idx = :index", level=level, index=index)
        if hash_ is None:
            raise KeyError((level, index))
        return bytes(hash_)

    def put(self, level: int, index: int, hash_: bytes) -> None:
        self._new.put(level, index, hash_)

    def write(self) -> None:
        self._tx.many(
            "INSERT INTO ground_log_nodes (level, idx, hash) VALUES (:level, :index, :hash)",
            [{"level": level, "index": index, "hash": hash_} for (level, index), hash_ in self._new.items()],
        )
        self._new.clear()
