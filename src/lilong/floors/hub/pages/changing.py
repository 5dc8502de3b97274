"""Uploading, editing and deleting files in the browser: each a commit to a branch, to a new one, or as a pull request."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO

from fastapi import Request
from starlette.datastructures import FormData, UploadFile
from starlette.responses import Response

from lilong.floors.hub import service, store
from lilong.floors.hub.contract import Kind
from lilong.floors.hub.rules import files
from lilong.floors.hub.service import commits, pull_requests, quotas, reading
from lilong.floors.hub.service.commits import Ask, Put
from lilong.ground import intake
from lilong.ground.access import PUBLIC, SIGNED_IN, Actor
from lilong.ground.db import Tx
from lilong.ground.errors import BadInput, Forbidden, NotFound
from lilong.ground.house import House
from lilong.ground.pages import page

from . import views
from .door import Address, address, ask, attempt, go, rest, routes, text

_FILES = 200  # of one form
_FIELDS = 40
_PIECE = 1 << 20


@dataclass(frozen=True, slots=True)
class Target:
    """Where a commit goes."""

    revision: str  # the branch, or the ref of a pull request, that was looked at
    how: str  # branch | new-branch | pull-request
    branch: str = ""  # the new one


def _target(form: FormData, revision: str) -> Target:
    how = text(form, "target", "branch", 20)
    return Target(revision, how if how in ("new-branch", "pull-request") else "branch", text(form, "branch", most=200).strip())


def _commit(house: House, actor: Actor, at: Address, target: Target, wanted: Ask) -> str:
    """The address of the page that shows what has come of it."""
    if target.how == "pull-request":
        number, _ = pull_requests.commit_new(house, actor, at.kind, at.name, target.revision, wanted)
        return at.discussion(number)
    branch = target.revision
    if target.how == "new-branch":
        service.add_branch(house, actor, at.kind, at.name, target.branch, target.revision)
        branch = target.branch
    made = service.commit(house, actor, at.kind, at.name, branch, wanted)
    return at.discussion(int(pull)) if (pull := branch.removeprefix("refs/pr/")) != branch else at.commit(made.id)


def _head(house: House, actor: Actor, kind: Kind, name: str, word: str) -> views.Head:
    """For those who may write, and for those who may at least propose. Raises Forbidden, RevisionNotFound."""
    head = views.head(house, actor, kind, name, word)
    if not (head.may_write or head.may_discuss):
        raise Forbidden(permission="hub.write", actor=actor.user, scope=head.held.organisation)
    return head


def _context(head: views.Head) -> dict[str, Any]:
    """What the part of a form needs that asks where the commit goes."""
    direct = head.may_write and (head.word in head.branches or head.pull is not None)
    return {
        "section": f"/{head.held.kind.value}s", "tab": "files", "head": head, "at": head.at, "direct": direct,
        "default": "branch" if direct else ("pull-request" if head.word in head.branches else "new-branch"),
    }  # fmt: skip


def _message(form: FormData, otherwise: str) -> str:
    title, more = text(form, "message", most=500).strip() or otherwise, text(form, "description", most=20_000).strip()
    return f"{title}\n\n{more}" if more else title


# --- uploading ----------------------------------------------------------------------------------------------------------


@routes.both("GET", "/upload/{rest:path}", allow=SIGNED_IN)
async def upload_form(request: Request) -> Response:
    at, (word, folder) = address(request), rest(request)
    head = await ask(request, _head, at.kind, at.name, word)
    return page(request, "hub/upload.html", folder=folder, error=None, **_context(head))


@routes.form("/upload/{rest:path}")
async def upload(request: Request) -> Response:
    """For browsers without scripts, and small files; with scripts `upload.js` does the same over the API."""
    at, (word, folder) = address(request), rest(request)
    head = await ask(request, _head, at.kind, at.name, word)
    async with request.form(max_files=_FILES, max_fields=_FIELDS) as form:
        folder = text(form, "folder", folder, 1024).strip("/ ")
        named = [file for file in form.getlist("file") if isinstance(file, UploadFile) and file.filename]
        target, message = (
            _target(form, word),
            _message(form, f"Upload {len(named)} files" if len(named) != 1 else f"Upload {_name(named[0])}"),
        )
        made, error = await attempt(ask(request, _upload, at, target, folder, named, message))
    if error is None:
        return go(made)
    return page(request, "hub/upload.html", error.status, folder=folder, error=str(error), **_context(head))


def _name(file: UploadFile) -> str:
    return str(file.filename).replace("\\", "/").rsplit("/", 1)[-1]


def _upload(house: House, actor: Actor, at: Address, target: Target, folder: str, named: list[UploadFile], message: str) -> str:
    if not named:
        raise BadInput(field="file", problem="there is none", way_out="Choose at least one file.")
    sizes = [_size(file.file) for file in named]
    for size in sizes:
        intake.check_size("The file", size, house.settings.max_file_mib << 20)
    house.db.read(lambda tx: quotas.check(house, tx, at.name.split("/")[0], sum(size for size in sizes if size >= files.LARGE)))
    puts = {}
    for file, size in zip(named, sizes, strict=True):
        path = intake.path(f"{folder}/{_name(file)}" if folder else _name(file))
        puts[path] = _kept(house, file.file, size)
    return _commit(house, actor, at, target, Ask(puts, message))


def _size(file: BinaryIO) -> int:
    size = file.seek(0, 2)
    file.seek(0)
    return size


def _kept(house: House, file: BinaryIO, size: int) -> Put:
    if size < files.LARGE:
        return commits.kept(house, file.read())

    def pieces() -> Iterator[bytes]:
        while piece := file.read(_PIECE):
            yield piece

    blob = house.blobs.put(pieces())
    return Put(blob.digest, blob.size)


# --- editing and deleting -----------------------------------------------------------------------------------------------


@routes.both("GET", "/edit/{rest:path}", allow=SIGNED_IN)
async def edit_form(request: Request) -> Response:
    """Of a text, or of a new file where the path is none yet."""
    at, (word, path) = address(request), rest(request)
    head = await ask(request, _head, at.kind, at.name, word)
    content, new = await ask(request, _content, at, word, path)
    return page(
        request, "hub/edit.html", file_path=path if not new or content is None else "", content=content or "", new=new, parent=head.commit.id, error=None,
        typed=f"{path}/" if new and content is not None and path else path, **_context(head),
    )  # fmt: skip


def _content(house: House, actor: Actor, at: Address, word: str, path: str) -> tuple[str | None, bool]:
    """The text of a file and whether it is yet to be made: ("", True) for a folder, (None, True) for a path that is not there."""
    head = views.head(house, actor, at.kind, at.name, word)
    assert head.commit is not None
    try:
        entry = reading.entry_at(house, head.held, head.commit, path)
    except NotFound:
        return None, True
    if entry.folder:
        return "", True
    shown = views.file(house, actor, at.kind, at.name, word, path)
    if shown.how not in ("text", "card"):
        raise BadInput(field="path", problem="this file is not a text that a page can edit", way_out="Upload it anew.")
    return shown.text, False


@routes.form("/edit/{rest:path}")
async def edit(request: Request) -> Response:
    at, (word, path) = address(request), rest(request)
    head = await ask(request, _head, at.kind, at.name, word)
    form = await request.form(max_fields=_FIELDS, max_part_size=views.TEXT_LIMIT * 4)
    content = text(form, "content", most=views.TEXT_LIMIT)
    typed = text(form, "path", path, 1024).strip().strip("/")
    parent = text(form, "parent", most=40)
    message = _message(form, f"{'Edit' if typed == path else 'Add'} {typed.rsplit('/', 1)[-1]}")
    made, error = await attempt(ask(request, _edit, at, _target(form, word), path, typed, content, parent, message))
    if error is None:
        return go(made)
    return page(
        request,
        "hub/edit.html",
        error.status,
        file_path=path,
        content=content,
        new=not path,
        parent=parent,
        error=str(error),
        typed=typed,
        **_context(head),
    )


def _edit(house: House, actor: Actor, at: Address, target: Target, old: str, path: str, content: str, parent: str, message: str) -> str:
    intake.path(path)
    put = commits.kept(house, content.encode())
    head = views.head(house, actor, at.kind, at.name, target.revision)
    assert head.commit is not None
    before = dict(reading.entries_at(house, head.commit, [old])) if old and old != path else {}
    moved = [old] if old in before and not before[old].folder else []
    expected = parent if target.how == "branch" and len(parent) == 40 and set(parent) <= set("0123456789abcdef") else None
    return _commit(house, actor, at, target, Ask({path: put}, message, moved, parent=expected))


@routes.both("GET", "/delete/{rest:path}", allow=SIGNED_IN)
async def delete_form(request: Request) -> Response:
    at, (word, path) = address(request), rest(request)
    head = await ask(request, _head, at.kind, at.name, word)
    await ask(request, views.file, at.kind, at.name, word, path)
    return page(request, "hub/delete-file.html", file_path=path, error=None, **_context(head))


@routes.form("/delete/{rest:path}")
async def delete(request: Request) -> Response:
    at, (word, path) = address(request), rest(request)
    head = await ask(request, _head, at.kind, at.name, word)
    form = await request.form()
    wanted = Ask({}, _message(form, f"Delete {path.rsplit('/', 1)[-1]}"), [path])
    made, error = await attempt(ask(request, _commit, at, _target(form, word), wanted))
    if error is None:
        return go(made)
    return page(request, "hub/delete-file.html", error.status, file_path=path, error=str(error), **_context(head))


# --- branches and tags --------------------------------------------------------------------------------------------------


@routes.both("GET", "/refs", allow=PUBLIC)
async def refs(request: Request) -> Response:
    return await _refs(request, 200, None)


async def _refs(request: Request, status: int, error: str | None) -> Response:
    at = address(request)
    head, lines = await ask(request, _all_refs, at.kind, at.name)
    return page(
        request, "hub/refs.html", status, section=f"/{at.kind.value}s", tab="files", head=head, at=head.at, lines=lines, error=error
    )


def _all_refs(house: House, actor: Actor, kind: Kind, name: str) -> tuple[views.Head, list[tuple[str, str, str]]]:
    """(branch or tag, short name, commit) of each."""

    def read(tx: Tx) -> tuple[views.Head, list[tuple[str, str, str]]]:
        head = views.head_in(house, tx, actor, kind, name)
        found = store.refs(tx, head.held)
        lines = [("branch", ref.name.removeprefix(views.HEADS), ref.target) for ref in found if ref.name.startswith(views.HEADS)]
        return head, lines + [("tag", ref.name.removeprefix(views.TAGS), ref.target) for ref in found if ref.name.startswith(views.TAGS)]

    return house.db.read(read)


@routes.form("/refs")
async def change_refs(request: Request) -> Response:
    at = address(request)
    form = await request.form()
    kind, name, start = text(form, "kind", most=10), text(form, "name", most=200).strip(), text(form, "start", "main", 200).strip()
    makes = text(form, "do", most=10) != "delete"
    _, error = await attempt(ask(request, _change_ref, at, kind, name, start if makes else None))
    return go(f"{at.home}/refs") if error is None else await _refs(request, error.status, str(error))


def _change_ref(house: House, actor: Actor, at: Address, kind: str, name: str, start: str | None) -> None:
    """Make a branch or a tag at `start`, or with None take it away."""
    if kind == "tag":
        if start is None:
            service.delete_tag(house, actor, at.kind, at.name, name)
        else:
            service.add_tag(house, actor, at.kind, at.name, name, start or "main")
    elif start is None:
        service.delete_branch(house, actor, at.kind, at.name, name)
    else:
        service.add_branch(house, actor, at.kind, at.name, name, start or "main")
