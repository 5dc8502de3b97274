"""Pull requests: opened, with their first commit or without; and merged."""

from __future__ import annotations

from lilong.floors.hub import store
from lilong.floors.hub.contract import DiscussionChanged, DiscussionOpened, Kind, RefMoved, RevisionNotFound
from lilong.floors.hub.git.objects import blob_id
from lilong.floors.hub.git.trees import Entry
from lilong.floors.hub.rules import names
from lilong.floors.hub.rules.talk import text_of
from lilong.floors.hub.store import Commit, Held, community
from lilong.floors.hub.store.community import Discussion, Happening
from lilong.ground.access import Actor
from lilong.ground.db import Tx
from lilong.ground.errors import BadInput, Conflict, NotFound
from lilong.ground.house import House
from lilong.ground.seams import stamp

from . import commits, merging, pulls, reading, turns
from .commits import Ask, Draft
from .merging import Outcome

_ATTEMPTS = 8  # against others who move the same branch
_TITLE = 200  # characters
_LISTED = 50  # commits in the message of a merge


class DiscussionNotFound(NotFound):
    """There is no discussion or pull request #{number} in {repository}."""


class NotAPullRequest(BadInput):
    """#{number} of {repository} is a discussion, not a pull request."""

    status = 400


class MergeConflict(Conflict):
    """The pull request #{number} cannot be merged: {base} has changed the same in {files}. Bring these files in line and commit them to {ref}."""


class NotMergeable(Conflict):
    """The pull request #{number} cannot be merged: {problem}."""


# --- opening ------------------------------------------------------------------------------------------------------------


def check_may_open(house: House, actor: Actor, kind: Kind, name: str) -> None:
    """Raises RepositoryNotFound, GatedRepository, Forbidden."""
    house.db.read(lambda tx: pulls.opened_to_discuss(house, tx, actor, kind, name))


def opened(house: House, tx: Tx, actor: Actor, held: Held, asked: Discussion, text: str, start: Commit | None = None) -> Discussion:
    """Write a new discussion, or with `start` a pull request whose ref begins there; in the caller's transaction."""
    now = stamp(house.clock.now())
    number = store.next_number(tx, held)
    made = Discussion(
        number, asked.title, asked.status, start is not None, actor.user, now, now, int(bool(text)), asked.base, start.id if start else None
    )
    community.add_discussion(tx, held, made)
    if start is not None and made.ref is not None:
        store.move_ref(tx, held, made.ref, None, start.id, now)
    if text:
        community.add_happening(tx, held, number, Happening(house.ids.new("comment"), "comment", actor.user, now, text))
    happened = DiscussionOpened(held.name, held.organisation, held.kind.value, number, made.title, made.pull_request)
    house.events.append(tx, actor, happened)
    return made


def branch_of(tx: Tx, held: Held, word: str) -> tuple[str, Commit]:
    """A branch by its short or full name, and its head. Raises RevisionNotFound."""
    ref = word if word.startswith(names.HEADS) else names.HEADS + word
    target = store.ref(tx, held, ref)
    head = store.commit(tx, held, target) if target else None
    if head is None:
        raise RevisionNotFound(repository=held.name, name=word[:100])
    return ref, head


def open_for_commit(
    house: House, actor: Actor, kind: Kind, name: str, base_ref: str, title: str, description: str, *, start: str | None = None
) -> tuple[int, str]:
    """A pull request without commits yet, on the base's head or on the commit `start`; its number and ref.

    Raises RepositoryNotFound, GatedRepository, Forbidden, RevisionNotFound.
    """

    def write(tx: Tx) -> tuple[int, str]:
        held = pulls.opened_to_discuss(house, tx, actor, kind, name)
        ref, head = branch_of(tx, held, base_ref)
        first = head if start is None else store.at(tx, held, start)
        made = opened(house, tx, actor, held, _asked(title, ref), description, first)
        return made.number, f"{community.PULLS}{made.number}"

    return house.db.write(write)


def commit_new(house: House, actor: Actor, kind: Kind, name: str, base: str, ask: Ask) -> tuple[int, Commit]:
    """A pull request with its first commit, both or neither: what a commit with `create_pr=1` asks for.

    Raises RepositoryNotFound, GatedRepository, Forbidden, RevisionNotFound, EntryNotFound, UnsafeFile, BadInput.
    """
    if not ask.paths():
        raise BadInput(field="operations", problem="there are none", way_out="Add or delete at least one file.")

    def read(tx: Tx) -> tuple[Held, str, Commit]:
        held = pulls.opened_to_discuss(house, tx, actor, kind, name)
        ref, head = branch_of(tx, held, base)
        return held, ref, head if ask.parent is None else store.at(tx, held, ask.parent)

    held, ref, start = house.db.read(read)
    made = commits.draft(house, kind, start, ask.puts, commits.paths_to_remove(house, held, start, ask))
    title, _, description = ask.message.partition("\n")

    def write(tx: Tx) -> tuple[int, Commit]:
        again = pulls.opened_to_discuss(house, tx, actor, kind, name)
        discussion = opened(house, tx, actor, again, _asked(title, ref), description.strip(), start)
        if made.changes_nothing:
            return discussion.number, start
        return discussion.number, commits.record(house, tx, actor, again, f"{community.PULLS}{discussion.number}", made, ask.message)

    return house.db.write(write)


def _asked(title: str, base: str) -> Discussion:
    return Discussion(0, " ".join(title.split())[:_TITLE] or "Change files", "open", True, "", "", "", base=base)


# --- merging ------------------------------------------------------------------------------------------------------------


def sides(tx: Tx, held: Held, found: Discussion) -> tuple[Commit | None, Commit | None, Commit]:
    """Of a pull request: the common ancestor, the base's head (None where the branch is gone), and its own head; once merged, as they
    were then. Raises RevisionNotFound."""
    if found.status == "merged":
        head = store.commit(tx, held, found.merged_head or "")
        fork = store.commit(tx, held, found.merged_from) if found.merged_from else None
        base = store.commit(tx, held, found.merge_commit or "")
    else:
        head = store.commit(tx, held, store.ref(tx, held, found.ref or "") or "")
        base = store.commit(tx, held, store.ref(tx, held, found.base or "") or "")
        fork = merging.common(tx, held, base, head) if base is not None and head is not None else None
        if fork is None:  # the base has lost its history since: it was squashed, or is gone
            fork = store.commit(tx, held, found.start or "")
    if head is None:
        raise RevisionNotFound(repository=held.name, name=found.ref or "")
    return fork, base, head


def discussion(tx: Tx, held: Held, number: int) -> Discussion:
    """Raises DiscussionNotFound."""
    found = community.discussion(tx, held, number)
    if found is None:
        raise DiscussionNotFound(number=number, repository=held.name)
    return found


def merge(house: House, actor: Actor, kind: Kind, name: str, number: int, text: str = "") -> str:
    """Put what the pull request changes on top of its base, as one commit; that commit's id. Merging what is merged changes nothing.

    Raises RepositoryNotFound, Forbidden, DiscussionNotFound, NotMergeable, MergeConflict, BadText.
    """
    text = text_of(text, least=0)
    base = house.db.read(lambda tx: str(discussion(tx, reading.opened(house, tx, actor, kind, name, "hub.write"), number).base))
    for attempt in range(1, _ATTEMPTS + 1):
        try:
            with turns.of_branch(house, kind, name, base):
                return _merge(house, actor, kind, name, number, text)
        except RefMoved:
            if attempt == _ATTEMPTS:
                raise
    raise AssertionError("unreachable")


def _merge(house: House, actor: Actor, kind: Kind, name: str, number: int, text: str) -> str:
    def read(tx: Tx) -> tuple[Discussion, Commit | None, Commit | None, Commit, str]:
        held = reading.opened(house, tx, actor, kind, name, "hub.write")
        found = discussion(tx, held, number)
        if not found.pull_request:
            raise NotAPullRequest(number=number, repository=name)
        fork, base, head = sides(tx, held, found)
        return found, fork, base, head, _message(tx, held, found, fork, head)

    found, fork, base, head, message = house.db.read(read)
    if found.status == "merged":
        return found.merge_commit or ""
    if base is None or found.base is None:
        raise NotMergeable(number=number, problem=f"its branch {found.base} is gone")
    if found.status != "open":
        problem = "it is a draft; open it first" if found.status == "draft" else "it is closed; reopen it first"
        raise NotMergeable(number=number, problem=problem)
    if fork is not None and fork.id == head.id:
        raise NotMergeable(number=number, problem="it has no commits of its own")
    outcome = merging.merged(house, fork, base, head)
    if outcome.conflicts:
        raise MergeConflict(number=number, base=found.base, ref=found.ref, files=_some(outcome.conflicts), paths=outcome.conflicts)
    made = _drafted(house, base, outcome)

    def write(tx: Tx) -> str:
        again = reading.opened(house, tx, actor, kind, name, "hub.write")
        now = discussion(tx, again, number)
        if now.status != "open" or store.ref(tx, again, now.ref or "") != head.id or store.ref(tx, again, str(now.base)) != base.id:
            raise RefMoved(ref=now.ref, repository=name, found="elsewhere", expected=head.id)  # looked at anew from the start
        commit = base if made.changes_nothing else commits.record(house, tx, actor, again, str(now.base), made, message)
        _close(house, tx, actor, again, now, (commit, fork, head), text)
        return commit.id

    return house.db.write(write)


def _close(
    house: House, tx: Tx, actor: Actor, held: Held, found: Discussion, ends: tuple[Commit, Commit | None, Commit], text: str
) -> None:
    commit, fork, head = ends
    now = stamp(house.clock.now())
    if text:
        community.add_happening(tx, held, found.number, Happening(house.ids.new("comment"), "comment", actor.user, now, text))
    community.add_happening(tx, held, found.number, Happening(house.ids.new("change"), "status-change", actor.user, now, "merged"))
    community.set_merged(tx, held, found.number, commit.id, fork.id if fork else None, head.id, now)
    happened = DiscussionChanged(held.name, held.organisation, held.kind.value, found.number, found.title, "merged", True, commit.id)
    house.events.append(tx, actor, happened)


def _drafted(house: House, base: Commit, outcome: Outcome) -> Draft:
    changes: dict[str, Entry | None] = dict(outcome.changes)
    puts = commits.keep(house, [content for content, _ in outcome.texts.values()]) if outcome.texts else []
    for (path, (_, mode)), put in zip(outcome.texts.items(), puts, strict=True):
        with house.blobs.open(put.digest) as file:
            changes[path] = Entry(blob_id(file, put.size), mode, put.digest, put.size)
    return house.db.read(lambda tx: commits.drafted(reading.loader(tx), base, changes))


def _message(tx: Tx, held: Held, found: Discussion, fork: Commit | None, head: Commit) -> str:
    """The title with the number, then the commits that went into it, and whose work it is."""
    own = own_commits(tx, held, found, fork, head)
    listed = [f"- {commit.title} ({commit.id})" for commit in own[:_LISTED]]
    if len(own) > _LISTED:
        listed.append(f"- and {len(own) - _LISTED} more")
    authors = sorted({found.author, *(commit.author for commit in own)})
    credits = [f"Co-authored-by: {author} <{author}@users.invalid>" for author in authors]
    return "\n".join([f"{found.title} (#{found.number})", "", *listed, "", *credits])


def own_commits(tx: Tx, held: Held, found: Discussion, fork: Commit | None, head: Commit, limit: int = 250) -> list[Commit]:
    """The commits of a pull request, the oldest first."""
    stops = {found.start, fork.id if fork else None}
    own = []
    for commit in store.history(tx, held, head.id, limit):
        if commit.id in stops:
            break
        own.append(commit)
    return own[::-1]


def _some(paths: tuple[str, ...]) -> str:
    return ", ".join(paths[:5]) + (f" and {len(paths) - 5} more" if len(paths) > 5 else "")
