"""What people say to each other in a repository, and what they propose there."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from lilong.floors.hub.contract import DiscussionChanged, DiscussionCommented, Kind
from lilong.floors.hub.rules import names
from lilong.floors.hub.rules.diff import Diff
from lilong.floors.hub.rules.talk import BadText, text_of, title_of
from lilong.floors.hub.store import Commit, Held, community
from lilong.floors.hub.store.community import Discussion, Edit, Filter, Happening
from lilong.ground.access import Actor
from lilong.ground.db import Tx
from lilong.ground.errors import Conflict, Forbidden, NotFound
from lilong.ground.house import House
from lilong.ground.seams import stamp

from . import merging, pull_requests, pulls, reading
from .pull_requests import open_for_commit
from .pulls import may_commit

__all__ = [
    "BadText", "Details", "Discussion", "Edit", "Filter", "Happening", "May", "Page", "change_status", "comment", "edit_comment", "hide_comment",
    "listed", "may_commit", "open_for_commit", "open_new", "rename", "shown",
]  # fmt: skip


class CommentNotFound(NotFound):
    """There is no comment {comment} in #{number} of {repository}."""


class NotYours(Forbidden):
    """Only {who} may do this."""


class StatusFixed(Conflict):
    """#{number} of {repository} is {status} already."""


# --- reading ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Page:
    discussions: tuple[Discussion, ...]
    count: int  # of all pages
    start: int  # of this one
    open: int  # of the same kind, whatever status was asked for
    closed: int


@dataclass(frozen=True, slots=True)
class May:
    """What the one who looks may do here. A comment is edited by its author, and hidden also by who may write in the repository."""

    comment: bool
    edit: bool  # title and status
    merge: bool  # if nothing stands against it
    commit: bool  # to the ref of the pull request


@dataclass(frozen=True, slots=True)
class Details:
    discussion: Discussion
    events: tuple[Happening, ...]
    may: May
    head: Commit | None = None  # of a pull request
    conflicts: tuple[str, ...] = ()  # paths; of a pull request that is open
    diff: Diff | None = None  # of a pull request, if it was asked for


def listed(house: House, actor: Actor, kind: Kind, name: str, wanted: Filter, *, page: int = 0, limit: int = 50) -> Page:
    """Raises RepositoryNotFound, GatedRepository."""

    def read(tx: Tx) -> Page:
        held = reading.opened(house, tx, actor, kind, name)
        reading.readable(house, tx, actor, held)
        start = page * limit
        found, live, closed = community.discussions(tx, held, wanted, start, limit)
        count = {"open": live, "closed": closed}.get(wanted.status, live + closed)
        return Page(tuple(found), count, start, live, closed)

    return house.db.read(read)


def shown(house: House, actor: Actor, kind: Kind, name: str, number: int, *, diff: bool = False) -> Details:
    """Raises RepositoryNotFound, GatedRepository, DiscussionNotFound."""

    def read(tx: Tx) -> tuple[Discussion, list[Happening], May, tuple[Commit | None, Commit | None, Commit] | None]:
        held = reading.opened(house, tx, actor, kind, name)
        reading.readable(house, tx, actor, held)
        found = pull_requests.discussion(tx, held, number)
        events = community.happenings(tx, held, number)
        if not found.pull_request:
            return found, events, _may(house, tx, actor, held, found), None
        ends = fork, _, head = pull_requests.sides(tx, held, found)
        events += [_committed(commit) for commit in pull_requests.own_commits(tx, held, found, fork, head)]
        return found, sorted(events, key=lambda event: event.at), _may(house, tx, actor, held, found), ends

    found, events, may, ends = house.db.read(read)
    if ends is None:
        return Details(found, tuple(events), may)
    fork, base, head = ends
    conflicts = merging.merged(house, fork, base, head).conflicts if found.live and base is not None else ()
    changes = merging.compared(house, fork, head) if diff else None
    return Details(found, tuple(events), may, head, conflicts, changes)


def _committed(commit: Commit) -> Happening:
    return Happening(commit.id, "commit", commit.author, commit.at, commit.title, commit.id)


def _may(house: House, tx: Tx, actor: Actor, held: Held, found: Discussion) -> May:
    writes = house.access.allowed(tx, actor, "hub.write", held.organisation, held.short)
    covered = bool(actor.user) and actor.covers("hub.discuss", held.organisation, held.short)
    speaks = covered and (not held.repository.private or house.access.allowed(tx, actor, "hub.discuss", held.organisation, held.short))
    own = speaks and found.author == actor.user
    return May(speaks, writes or own, writes and found.status == "open", found.pull_request and found.live and (writes or own))


# --- speaking -----------------------------------------------------------------------------------------------------------


def open_new(house: House, actor: Actor, kind: Kind, name: str, title: str, text: str, *, pull_request: bool = False) -> Discussion:
    """A pull request begins as a draft on `main`, without commits. Raises RepositoryNotFound, GatedRepository, Forbidden, BadText."""
    title, text = title_of(title), text_of(text, least=0)

    def write(tx: Tx) -> Discussion:
        held = pulls.opened_to_discuss(house, tx, actor, kind, name)
        ref, start = pull_requests.branch_of(tx, held, names.MAIN) if pull_request else (None, None)
        asked = Discussion(0, title, "draft" if pull_request else "open", pull_request, "", "", "", base=ref)
        return pull_requests.opened(house, tx, actor, held, asked, text, start)

    return house.db.write(write)


def comment(house: House, actor: Actor, kind: Kind, name: str, number: int, text: str) -> Happening:
    """Raises RepositoryNotFound, GatedRepository, Forbidden, DiscussionNotFound, BadText."""
    text = text_of(text)

    def write(tx: Tx) -> Happening:
        held = pulls.opened_to_discuss(house, tx, actor, kind, name)
        return _said(house, tx, actor, held, pull_requests.discussion(tx, held, number), text)

    return house.db.write(write)


def _said(house: House, tx: Tx, actor: Actor, held: Held, found: Discussion, text: str) -> Happening:
    made = Happening(house.ids.new("comment"), "comment", actor.user, stamp(house.clock.now()), text)
    community.add_happening(tx, held, found.number, made)
    _tell_comment(house, tx, actor, held, found.number, made.id, "created")
    return made


def _tell_comment(house: House, tx: Tx, actor: Actor, held: Held, number: int, comment: str, action: str) -> None:
    house.events.append(tx, actor, DiscussionCommented(held.name, held.organisation, held.kind.value, number, comment, action))


def edit_comment(house: House, actor: Actor, kind: Kind, name: str, number: int, comment_id: str, text: str) -> Happening:
    """Raises CommentNotFound; NotYours for whoever did not write it, and what `comment` raises."""
    text = text_of(text)

    def check(held: Held, found: Happening, _writes: bool) -> None:
        if found.author != actor.user:
            raise NotYours(who="its author")
        if found.hidden:
            raise BadText(field="comment", problem="it is hidden")

    def change(tx: Tx, found: Happening, now: str) -> None:
        community.edit_comment(tx, found, actor.user, text, now)

    return _changed(house, actor, (kind, name, number, comment_id), check, change, "edited")


def hide_comment(house: House, actor: Actor, kind: Kind, name: str, number: int, comment_id: str) -> Happening:
    """For good: its words are deleted. Raises CommentNotFound, NotYours."""

    def check(held: Held, found: Happening, writes: bool) -> None:
        if found.author != actor.user and not writes:
            raise NotYours(who=f"its author, and who may write in {held.name},")

    def change(tx: Tx, found: Happening, now: str) -> None:
        if not found.hidden:
            community.hide_comment(tx, found.id, actor.user, now)

    return _changed(house, actor, (kind, name, number, comment_id), check, change, "hidden")


def _changed(
    house: House,
    actor: Actor,
    place: tuple[Kind, str, int, str],
    check: Callable[[Held, Happening, bool], None],
    change: Callable[[Tx, Happening, str], None],
    action: str,
) -> Happening:
    kind, name, number, identity = place
    missing = CommentNotFound(comment=identity[:100], number=number, repository=name)

    def write(tx: Tx) -> Happening:
        held = pulls.opened_to_discuss(house, tx, actor, kind, name)
        pull_requests.discussion(tx, held, number)
        found = community.comment(tx, held, number, identity)
        if found is None:
            raise missing
        check(held, found, house.access.allowed(tx, actor, "hub.write", held.organisation, held.short))
        change(tx, found, stamp(house.clock.now()))
        after = community.comment(tx, held, number, identity)
        if after is None:
            raise missing
        _tell_comment(house, tx, actor, held, number, identity, action)
        return after

    return house.db.write(write)


# --- title and status ---------------------------------------------------------------------------------------------------


def rename(house: House, actor: Actor, kind: Kind, name: str, number: int, title: str) -> Happening:
    """For its author, and who may write in the repository. Raises NotYours, BadText, and what `comment` raises."""
    title = title_of(title)

    def write(tx: Tx) -> Happening:
        held, found = _own(house, tx, actor, kind, name, number)
        made = Happening(house.ids.new("change"), "title-change", actor.user, stamp(house.clock.now()), title, found.title)
        community.add_happening(tx, held, number, made)
        community.set_title(tx, held, number, title, made.at)
        _tell(house, tx, actor, held, found, title, found.status)
        return made

    return house.db.write(write)


def change_status(house: House, actor: Actor, kind: Kind, name: str, number: int, status: str, text: str = "") -> Happening:
    """Close, reopen, or make a draft ready (open). Raises NotYours, StatusFixed, BadText, and what `comment` raises."""
    if status not in ("open", "closed"):
        raise BadText(field="status", problem="it must be open or closed")
    text = text_of(text, least=0)

    def write(tx: Tx) -> Happening:
        held, found = _own(house, tx, actor, kind, name, number)
        if found.status in (status, "merged"):
            raise StatusFixed(number=number, repository=name, status=found.status)
        if text:
            _said(house, tx, actor, held, found, text)
        made = Happening(house.ids.new("change"), "status-change", actor.user, stamp(house.clock.now()), status, found.status)
        community.add_happening(tx, held, number, made)
        community.set_status(tx, held, number, status, made.at)
        _tell(house, tx, actor, held, found, found.title, status)
        return made

    return house.db.write(write)


def _own(house: House, tx: Tx, actor: Actor, kind: Kind, name: str, number: int) -> tuple[Held, Discussion]:
    held = pulls.opened_to_discuss(house, tx, actor, kind, name)
    found = pull_requests.discussion(tx, held, number)
    if found.author != actor.user and not house.access.allowed(tx, actor, "hub.write", held.organisation, held.short):
        raise NotYours(who=f"its author, and who may write in {held.name},")
    return held, found


def _tell(house: House, tx: Tx, actor: Actor, held: Held, found: Discussion, title: str, status: str) -> None:
    happened = DiscussionChanged(held.name, held.organisation, held.kind.value, found.number, title, status, found.pull_request, "")
    house.events.append(tx, actor, happened)
