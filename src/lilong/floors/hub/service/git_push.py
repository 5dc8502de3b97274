"""Pushes: the pack goes into a quarantine beside the repository, is held against the rules, and is recorded in one transaction."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import structlog

from lilong.floors.hub import store
from lilong.floors.hub.contract import Kind, RefChanged, RefMoved
from lilong.floors.hub.git import packets, packs
from lilong.floors.hub.git.packets import Command
from lilong.floors.hub.rules import names, pushes
from lilong.floors.hub.store import Held
from lilong.floors.hub.store import git as git_store
from lilong.floors.hub.store.git import Shown
from lilong.ground.access import Actor
from lilong.ground.blobs import storage_full, writing
from lilong.ground.db import Tx
from lilong.ground.errors import BadInput, LilongError, TooLarge
from lilong.ground.house import House
from lilong.ground.seams import run, stamp, start

from . import audience, commits, git_fetch, git_program, pulls, quotas, reading
from .git_incoming import Examination
from .git_program import Objects

log = structlog.get_logger("lilong.hub.git")

_UNPACKING = 900.0  # seconds
_PACK = "received.pack"
_OTHERS = "another ref of this push was refused"


class BadPush(BadInput):
    """What was sent is not a push: {problem}."""

    status = 400


class PackRefused(BadInput):
    """the pack was refused: {problem}"""


@dataclass(slots=True)
class _Plan:
    """One command, and what is known of it so far."""

    command: Command
    problem: str = ""
    commit: str = ""  # where the ref shall lead
    commits: list[str] = field(default_factory=list)  # those that are new, parents first
    tag: bytes | None = None  # content of the tag object
    message: str = ""  # of the tag

    @property
    def ref(self) -> str:
        return self.command.ref


def advertised(house: House, actor: Actor, kind: Kind, name: str) -> bytes:
    """The refs, as a pusher is told them first. Raises RepositoryNotFound, GatedRepository, Forbidden."""

    def read(tx: Tx) -> list[Shown]:
        return git_store.shown_refs(tx, _opened(house, tx, actor, kind, name))

    able = ("report-status", "delete-refs", "side-band-64k", "ofs-delta", "atomic", "quiet", "object-format=sha1", "agent=lilong")
    return packets.advertisement("git-receive-pack", [(ref.name, ref.id) for ref in house.db.read(read)], able)


def _opened(house: House, tx: Tx, actor: Actor, kind: Kind, name: str) -> Held:
    """Whether the actor may push to any ref at all. Raises RepositoryNotFound, GatedRepository, Forbidden."""
    held = reading.opened(house, tx, actor, kind, name)
    reading.readable(house, tx, actor, held)
    if _hindrance(house, tx, actor, held, names.MAIN):
        pulls_of_theirs = (ref.name for ref in store.refs(tx, held) if names.is_pull(ref.name))
        if all(_hindrance(house, tx, actor, held, ref) for ref in pulls_of_theirs):
            reading.opened(house, tx, actor, kind, name, "hub.write")
    return held


def _hindrance(house: House, tx: Tx, actor: Actor, held: Held, ref: str) -> str:
    """Why the actor may not push to this ref; "" where they may."""
    try:
        pulls.opened_for_commit(house, tx, actor, held.kind, held.name, ref)
    except LilongError as refused:
        return str(refused)
    return ""


@dataclass(slots=True)
class Push:
    """A push as it was sent: what it asks for, and its pack in a quarantine."""

    held: Held
    plans: list[_Plan]
    capabilities: frozenset[str]
    folder: Path | None = None  # the quarantine; None where nothing of it may be done
    size: int = 0  # bytes of the pack

    @property
    def talkative(self) -> bool:
        """Whether the pusher can be told something before the answer."""
        return "side-band-64k" in self.capabilities

    def report(self, unpacked: str = "ok") -> bytes:
        return packets.report(self.capabilities, unpacked, [(plan.ref, plan.problem.removesuffix(".")) for plan in self.plans])

    def drop(self) -> None:
        if self.folder is not None:
            shutil.rmtree(self.folder, ignore_errors=True)


def take(house: House, actor: Actor, kind: Kind, name: str, pieces: Iterable[bytes]) -> Push | None:
    """Read a push to its end; None for a mere question. Raises RepositoryNotFound, GatedRepository, Forbidden, BadPush, TooLarge."""
    reader = packets.Reader(pieces)
    try:
        request = packets.read_request(reader)
    except packets.BadPacket as problem:
        raise BadPush(problem=str(problem)) from problem
    if not request.commands:
        return None  # git asks whether it may, before it sends a large pack
    held = house.db.read(lambda tx: _opened(house, tx, actor, kind, name))
    plans = house.db.read(lambda tx: [_Plan(command, _hindrance(house, tx, actor, held, command.ref)) for command in request.commands])
    push = Push(held, plans, request.capabilities)
    if all(plan.problem for plan in plans):
        for _ in reader.rest():  # git listens only once it has sent everything
            pass
        return push
    push.folder = git_fetch.scratch(house)
    try:
        with writing(push.folder):
            git_program.lay_out(push.folder)
            push.size = _keep(push.folder / _PACK, reader.rest(), pushes.PACK_LIMIT)
    except BaseException:
        push.drop()
        raise
    return push


def carry_out(house: House, actor: Actor, push: Push) -> bytes:
    """Do what a push asks for, as far as it may be done: git's answer, with the fate of each ref. What fails is told in it."""
    if push.folder is None:
        return push.report()
    try:
        _lay_open(house, push, push.folder)
        with Objects(push.folder) as objects:
            examination = Examination(house, actor, push.held, objects)
            for plan in push.plans:
                if not plan.problem:
                    _examine(house, actor, push.held, plan, examination, push.folder)
        _record(house, actor, push.held, push.plans, examination, atomic="atomic" in push.capabilities)
    except Exception as problem:
        problem = storage_full(problem, push.folder) or problem
        if not isinstance(problem, LilongError):
            log.error("push failed", repository=push.held.name, error=repr(problem), exc_info=problem)
        for plan in push.plans:
            plan.problem = plan.problem or "nothing was taken"
        return push.report(str(problem) if isinstance(problem, LilongError) else "something went wrong inside the house")
    finally:
        push.drop()
    return push.report()


# --- quarantine ---------------------------------------------------------------------------------------------------------


def _lay_open(house: House, push: Push, folder: Path) -> None:
    """Make the quarantine a repository with what was pushed, which sees what the hub has. Raises PackRefused, QuotaExceeded."""
    known = git_fetch.ready(house, push.held)
    (folder / "objects/info/alternates").write_text(f"{known.absolute() / 'objects'}\n")
    if push.size and any(not plan.command.deletes for plan in push.plans):
        house.db.read(lambda tx: quotas.check(house, tx, push.held.organisation, push.size))
        _unpack(folder, folder / _PACK)


def _keep(pack: Path, pieces: Iterable[bytes], limit: int) -> int:
    size = 0
    with pack.open("wb") as file:
        for piece in pieces:
            size += len(piece)
            if size > limit:
                raise TooLarge(what="The push", size=f"more than {limit}", limit=limit)
            file.write(piece)
    return size


def _unpack(folder: Path, pack: Path) -> None:
    """Raises PackRefused."""
    with pack.open("rb") as file:
        try:
            if not packs.measure(file, pushes.OBJECT_LIMIT, pushes.TOTAL_LIMIT, pushes.COUNT_LIMIT):
                return
        except packs.BadPack as bad:
            raise PackRefused(problem=str(bad)) from bad
        file.seek(0)
        argv = [
            "git",
            "-c",
            "core.bigFileThreshold=1m",
            "index-pack",
            "--stdin",
            "--strict",
            "--fix-thin",
            f"--max-input-size={pushes.PACK_LIMIT}",
        ]
        process = start(argv, cwd=folder, env=git_program.environment(), stdin=file, stderr=subprocess.STDOUT)
        try:
            said, _ = process.communicate(timeout=_UNPACKING)
        except subprocess.TimeoutExpired as late:
            raise PackRefused(problem="it took too long to unpack") from late
        finally:
            git_program.stop(process)
    pack.unlink()
    if process.returncode != 0:
        lines = [line.removeprefix("fatal: ") for line in said.decode("utf-8", "replace").splitlines() if line.strip()]
        raise PackRefused(problem="; ".join(lines[-3:]) or f"git index-pack ended with {process.returncode}")


# --- what each command means --------------------------------------------------------------------------------------------


def _examine(house: House, actor: Actor, held: Held, plan: _Plan, examination: Examination, quarantine: Path) -> None:
    """Find out whether a command can be carried out; why not stands in its plan then."""
    command = plan.command
    try:
        pushes.check_ref(command.ref)
        if command.deletes:
            if command.ref == names.MAIN or names.is_pull(command.ref):
                raise pushes.RefRefused(problem=f"Cannot delete {command.ref}")
            return
        if names.is_pull(command.ref) and command.creates:
            raise pushes.RefRefused(problem="there is no such pull request; open it first")
        _resolve(plan, examination.objects)
        plan.commits = examination.bring(plan.commit)
        if command.ref == names.MAIN and not command.creates and not _may_rewrite(house, actor, held):
            _check_forward(command.old, plan.commit, quarantine)
    except (BadInput, commits.FolderTooFull) as refused:
        plan.problem = str(refused)


def _resolve(plan: _Plan, objects: Objects) -> None:
    """The commit that the new id means, by way of an annotated tag too. Raises RefRefused."""
    found = objects.get(plan.command.new)
    if found is None:
        raise pushes.RefRefused(problem="the object is missing")
    kind, content = found
    if kind == "commit":
        plan.commit = plan.command.new
        return
    if kind != "tag" or not plan.ref.startswith(names.TAGS):
        raise pushes.RefRefused(problem=f"it would lead to a {kind}, not to a commit")
    tag = pushes.tag_of(content)
    if tag.kind != "commit":
        raise pushes.RefRefused(problem=f"a tag of a {tag.kind} is not taken, only of commits")
    plan.commit, plan.tag, plan.message = tag.target, content, tag.message


def _may_rewrite(house: House, actor: Actor, held: Held) -> bool:
    """Whoever may delete a repository may rewrite its main branch as well."""
    if held.created_by == actor.user:
        return True
    return house.db.read(lambda tx: house.access.allowed(tx, actor, "hub.manage", held.organisation, held.short))


def _check_forward(old: str, new: str, quarantine: Path) -> None:
    done = run(["git", "merge-base", "--is-ancestor", old, new], cwd=quarantine, env=git_program.environment())
    if done.returncode != 0:
        raise pushes.RefRefused(problem="not a fast-forward; only who manages the repository may rewrite main")


# --- recording ----------------------------------------------------------------------------------------------------------


def _record(house: House, actor: Actor, held: Held, plans: list[_Plan], examination: Examination, *, atomic: bool) -> None:
    """Carry out what can be carried out, all in one transaction; the rest gets its problem."""

    def write(tx: Tx) -> dict[str, str]:
        problems = {plan.ref: plan.problem for plan in plans if plan.problem}
        present = {ref.name: ref for ref in git_store.shown_refs(tx, held)}
        for plan in plans:
            if plan.ref not in problems:
                problem = _still_possible(house, tx, actor, held, plan, present.get(plan.ref))
                if problem:
                    problems[plan.ref] = problem
        if atomic and problems:
            return {plan.ref: problems.get(plan.ref, _OTHERS) for plan in plans}
        accepted = [plan for plan in plans if plan.ref not in problems]
        if accepted:
            _write(house, tx, actor, held, accepted, examination)
        return problems

    problems = house.db.write(write)
    for plan in plans:
        plan.problem = problems.get(plan.ref, "")


def _still_possible(house: House, tx: Tx, actor: Actor, held: Held, plan: _Plan, present: Shown | None) -> str:
    """Rights and refs may have changed since the push began; what is in the way, if anything."""
    command = plan.command
    if problem := _hindrance(house, tx, actor, held, plan.ref):
        return problem
    found = present.id if present is not None else packets.NOTHING
    if found != command.old:
        return "the ref has moved meanwhile: fetch first" if present is not None else "the ref is gone: fetch first"
    return "there is no such ref" if command.deletes and present is None else ""


def _write(house: House, tx: Tx, actor: Actor, held: Held, accepted: list[_Plan], examination: Examination) -> None:
    now = stamp(house.clock.now())
    store.add_inline(tx, examination.inline, now)
    if any(plan.commits for plan in accepted):
        store.add_folders(tx, examination.folders)
        if git_store.present_trees(tx, examination.kept) != len(examination.kept):
            raise PackRefused(problem="some of it was collected as garbage meanwhile; push again")
    more, named = 0, dict[str, str]()
    for identity in dict.fromkeys(identity for plan in accepted for identity in plan.commits):
        brought = examination.commits[identity]
        placed = store.add_commit(tx, held, brought.commit, brought.content)
        store.add_changes(tx, held, placed, brought.changed)
        more += store.add_contents(tx, held, brought.large)
        named |= brought.named
    audience.check_files(house, tx, held, named)
    if more:
        quotas.check(house, tx, held.organisation, 0)  # counted already
    for plan in accepted:
        _move(house, tx, actor, held, plan, now)
    git_store.touch(tx, held, now)


def _move(house: House, tx: Tx, actor: Actor, held: Held, plan: _Plan, now: str) -> None:
    ref = plan.ref
    expected = store.ref(tx, held, ref)
    if plan.command.deletes:
        store.delete_ref(tx, held, ref)
        house.events.append(tx, actor, RefChanged(held.name, held.organisation, held.kind.value, ref, ""))
        return
    commit = store.commit(tx, held, plan.commit)
    if commit is None:
        raise RefMoved(ref=ref, repository=held.name, found="nothing", expected=plan.commit)
    if ref.startswith(names.TAGS):
        store.move_ref(tx, held, ref, expected, commit.id, now, plan.message[:2000])
        if plan.tag is not None:
            git_store.set_tag(tx, held, Shown(ref, commit.id, plan.command.new), plan.tag, now)
        house.events.append(tx, actor, RefChanged(held.name, held.organisation, held.kind.value, ref, commit.id))
        return
    if plan.command.creates:
        house.events.append(tx, actor, RefChanged(held.name, held.organisation, held.kind.value, ref, commit.id))
    if plan.command.creates and not plan.commits:
        store.move_ref(tx, held, ref, expected, commit.id, now)
    else:
        commits.advance(house, tx, actor, held, ref, expected, commit)
