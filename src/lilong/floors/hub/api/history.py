"""Commits: what a client asks before one, the commit itself, and the line of those that were."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Iterable, Iterator
from html import escape
from typing import Any

from fastapi import Request, Response
from starlette.responses import JSONResponse

from lilong.floors.hub import service
from lilong.floors.hub.contract import Kind
from lilong.floors.hub.git import attributes, ignore
from lilong.floors.hub.git.trees import Entry
from lilong.floors.hub.rules import files, names, taking
from lilong.floors.hub.service import pull_requests, pulls, quotas, reading, transfer
from lilong.floors.hub.service.commits import Ask, Put, keep
from lilong.floors.hub.store import Commit
from lilong.ground import intake
from lilong.ground.access import PUBLIC, SIGNED_IN, Actor
from lilong.ground.errors import BadInput, TooLarge
from lilong.ground.house import House

from . import shapes
from .door import (
    NotAsked,
    actor_of,
    flag_of,
    here,
    house_of,
    json_body,
    next_link,
    number_of,
    place,
    prefix,
    pulled,
    routes,
    split_rest,
    take,
    text_of,
    work,
)

_IGNORE = ".gitignore"
_PAGE = 50
_ASKED = 1000  # files in one question; clients send 256


class BadLine(BadInput):
    """Line {number} of the commit cannot be used: {problem}."""

    status = 400


@routes.both("POST", "/api/{kinds}/{organisation}/{name}/preupload/{revision:path}", allow=SIGNED_IN)
async def preupload(request: Request) -> Response:
    kind, name, rest = place(request)
    body = await json_body(request)
    proposes = flag_of(request, "create_pr")
    shown = await work(_modes, house_of(request), actor_of(request), kind, name, split_rest(rest)[0], body, proposes=proposes)
    return JSONResponse({"files": shown})


def _check(house: House, actor: Actor, kind: Kind, name: str, revision: str, *, proposes: bool) -> None:
    """Whether the actor may commit there, or propose to. Raises RepositoryNotFound, Forbidden."""
    if proposes:
        pull_requests.check_may_open(house, actor, kind, name)
    else:
        house.db.read(lambda tx: pulls.opened_for_commit(house, tx, actor, kind, name, names.branch_ref(revision)))


def _modes(
    house: House, actor: Actor, kind: Kind, name: str, revision: str, body: dict[str, Any], *, proposes: bool
) -> list[dict[str, Any]]:
    asked = body.get("files")
    if not isinstance(asked, list) or len(asked) > _ASKED or not all(isinstance(file, dict) for file in asked):
        raise NotAsked(field="files", problem=f"it must be a list of at most {_ASKED} objects")
    _check(house, actor, kind, name, revision, proposes=proposes)
    held, commit = reading.pinned(house, actor, kind, name, revision)
    paths = [intake.path(text_of(file, "path")) for file in asked]
    present = dict(reading.entries_at(house, commit, [*paths, attributes.PATH, _IGNORE]))
    rules = attributes.parse(_text(house, present.get(attributes.PATH)))
    given = body.get("gitIgnore")
    left_out = ignore.parse(given if isinstance(given, str) else _text(house, present.get(_IGNORE)))
    shown = []
    larges = []
    for path, file in zip(paths, asked, strict=True):
        size = file.get("size")
        if not isinstance(size, int) or size < 0:
            raise NotAsked(field="size", problem=f"{path} needs its size in bytes")
        intake.check_size(path, size, house.settings.max_file_mib << 20)
        ignored = left_out.ignores(path)
        if not ignored:
            taking.check_sample(kind, path, _sample(file), size)
        mode = "lfs" if path != attributes.PATH and files.large(path, size, rules) else "regular"
        if mode == "lfs" and not ignored:
            larges.append(size)
        shown.append({"path": path, "uploadMode": mode, "shouldIgnore": ignored, "oid": _known_as(present.get(path))})
    house.db.read(lambda tx: quotas.check_sizes(house, tx, held.organisation, held.id, larges))
    return shown


def _text(house: House, entry: Entry | None) -> str:
    if entry is None or entry.folder or entry.size > attributes.LIMIT:
        return ""
    return house.blobs.read(entry.digest).decode(errors="replace")


def _sample(file: dict[str, Any]) -> bytes:
    try:
        return base64.b64decode(str(file.get("sample") or ""), validate=True)
    except binascii.Error:
        raise NotAsked(field="sample", problem="it is not base64") from None


def _known_as(entry: Entry | None) -> str | None:
    if entry is None or entry.folder:
        return None
    return entry.digest.removeprefix("sha256:") if entry.large else entry.id


@routes.both("POST", "/api/{kinds}/{organisation}/{name}/commit/{revision:path}", allow=SIGNED_IN)
async def commit(request: Request) -> Response:
    kind, name, rest = place(request)
    house, actor, branch = house_of(request), actor_of(request), split_rest(rest)[0]
    proposes = flag_of(request, "create_pr")

    def run() -> tuple[int | None, Commit]:
        _check(house, actor, kind, name, branch, proposes=proposes)  # before the body is taken
        lines = _lines(pulled(request, house.settings.max_file_mib << 20), house.settings.max_body_mib << 20)
        ask = _ask(house, actor, kind, lines)
        if proposes:
            return pull_requests.commit_new(house, actor, kind, name, branch, ask)
        return None, service.commit(house, actor, kind, name, branch, ask)

    number, made = await take(request, run)
    place_of = f"{here(request)}/{prefix(kind)}{name}"
    shown = {"success": True, "commitOid": made.id, "commitUrl": f"{place_of}/commit/{made.id}", "hookOutput": ""}
    if number is not None:
        shown["pullRequestUrl"] = f"{place_of}/discussions/{number}"
    return JSONResponse(shown)


def _lines(chunks: Iterable[bytes], limit: int) -> Iterator[bytes]:
    """The lines of a body that comes in pieces; each at most `limit` bytes. Raises TooLarge."""
    rest = bytearray()
    for chunk in chunks:
        *whole, tail = chunk.split(b"\n")
        for line in whole:
            yield bytes(rest) + line
            rest.clear()
        rest += tail
        if len(rest) > limit:
            raise TooLarge(what="A line of the commit", size=f"more than {limit}", limit=limit)
    if rest:
        yield bytes(rest)


def _ask(house: House, actor: Actor, kind: Kind, lines: Iterable[bytes]) -> Ask:
    """Read a commit's lines; small files go into the house as they come, large ones must be there already."""
    head: dict[str, Any] = {}
    puts: dict[str, Put] = {}
    waiting: list[tuple[str, bytes]] = []
    weight = 0
    large: dict[str, tuple[str, int | None]] = {}
    removed: dict[str, set[str]] = {"deletedFile": set(), "deletedFolder": set()}
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        key, value = _parsed(number, line)
        if key == "header":
            head = value
            continue
        path = value.get("path")
        if not isinstance(path, str):
            raise BadLine(number=number, problem="it has no path")
        path = intake.path(path.rstrip("/"))
        if key == "file":
            files.check_name(kind, path)
            waiting.append((path, _content(number, value)))
            weight += len(waiting[-1][1])
            large.pop(path, None)
            if len(waiting) >= _TOGETHER or weight >= _TOGETHER_BYTES:
                puts |= _kept(house, waiting)
                waiting, weight = [], 0
        elif key == "lfsFile":
            size = value.get("size")
            large[path] = (_digest(number, value), size if isinstance(size, int) else None)
            puts |= _kept(house, waiting)
            waiting, weight = [], 0
            puts.pop(path, None)
        else:
            removed[key].add(path)
    puts |= _kept(house, waiting)
    sizes = transfer.sizes_of(house, actor, {digest for digest, _ in large.values()})
    for path, (digest, said) in large.items():
        if said is not None and said != sizes[digest]:
            raise BadInput(field=path, problem=f"it has {sizes[digest]} bytes, not {said}", way_out="Upload it again.")
        puts[path] = Put(digest, sizes[digest], large=True)
    parent = head.get("parentCommit")
    if parent is not None and not (isinstance(parent, str) and 7 <= len(parent) <= 40 and set(parent) <= set("0123456789abcdef")):
        raise BadLine(number=1, problem="parentCommit is not the id of a commit")
    summary, description = str(head.get("summary") or ""), str(head.get("description") or "")
    message = f"{summary}\n\n{description}" if description else summary
    message = message.replace("\0", "").encode(errors="replace").decode()
    return Ask(puts, message[:65536], removed["deletedFile"], removed["deletedFolder"], parent)


_TOGETHER = 1000  # small files made durable in one transaction
_TOGETHER_BYTES = 32 << 20


def _kept(house: House, contents: list[tuple[str, bytes]]) -> dict[str, Put]:
    found = keep(house, [content for _, content in contents]) if contents else []
    return dict(zip((path for path, _ in contents), found, strict=True))


_KEYS = {"header", "file", "lfsFile", "deletedFile", "deletedFolder"}


def _parsed(number: int, line: bytes) -> tuple[str, dict[str, Any]]:
    try:
        item = json.loads(line)
        key, value = item["key"], item["value"]
    except (ValueError, RecursionError, KeyError, TypeError):
        raise BadLine(number=number, problem="it is not JSON with a key and a value") from None
    if key not in _KEYS or not isinstance(value, dict):
        raise BadLine(number=number, problem=f"the key must be one of {', '.join(sorted(_KEYS))}, with an object as its value")
    return key, value


def _content(number: int, value: dict[str, Any]) -> bytes:
    content = value.get("content")
    if not isinstance(content, str):
        raise BadLine(number=number, problem="it has no content")
    if value.get("encoding") == "base64":
        try:
            return base64.b64decode(content, validate=True)
        except (binascii.Error, ValueError):
            raise BadLine(number=number, problem="its content is not base64") from None
    return content.encode(errors="replace")


def _digest(number: int, value: dict[str, Any]) -> str:
    name = value.get("oid")
    if value.get("algo", "sha256") != "sha256" or not isinstance(name, str) or len(name) != 64 or not set(name) <= set("0123456789abcdef"):
        raise BadLine(number=number, problem="an lfsFile needs the SHA-256 of its content as oid")
    return f"sha256:{name}"


@routes.both("GET", "/api/{kinds}/{organisation}/{name}/commits/{revision:path}", allow=PUBLIC)
async def commits(request: Request) -> Response:
    kind, name, rest = place(request)
    house, actor = house_of(request), actor_of(request)
    limit = number_of(request, "limit", _PAGE, 1000)
    start = request.query_params.get("cursor") or split_rest(rest)[0]
    held, first = await work(reading.pinned, house, actor, kind, name, start)
    found: list[Commit] = await work(reading.history, house, held, first, limit + 1)
    formatted = "formatted" in request.query_params.getlist("expand[]") + request.query_params.getlist("expand")
    shown = [_shown(commit, formatted=formatted) for commit in found[:limit]]
    headers = next_link(request, cursor=found[limit].id) if len(found) > limit else {}
    return JSONResponse(shown, headers=headers)


def _shown(commit: Commit, *, formatted: bool) -> dict[str, Any]:
    shown: dict[str, Any] = {
        "id": commit.id, "title": commit.title, "message": commit.description, "authors": [{"user": commit.author}], "date": shapes.time(commit.at),
    }  # fmt: skip
    if formatted:
        shown["formatted"] = {"title": escape(commit.title), "message": escape(commit.description)}
    return shown
