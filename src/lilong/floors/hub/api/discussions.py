"""Discussions and pull requests in the JSON of the public Hub."""

from __future__ import annotations

from html import escape
from typing import Any

from fastapi import Request, Response
from starlette.responses import JSONResponse

from lilong.floors.hub.contract import Kind
from lilong.floors.hub.rules import diff
from lilong.floors.hub.service import discussions, pull_requests
from lilong.floors.hub.service.discussions import Details, Discussion, Filter, Happening, Page
from lilong.floors.hub.service.pull_requests import DiscussionNotFound, MergeConflict
from lilong.ground.access import PUBLIC, SIGNED_IN

from . import shapes
from .door import NotAsked, actor_of, failure, flag_of, here, house_of, json_body, number_of, place, prefix, routes, text_of, work

_PAGE = 50
_HERE = "/api/{kinds}/{organisation}/{name}/discussions"
_HIDDEN = "This comment has been hidden"


def _which(request: Request) -> tuple[Kind, str, int]:
    """Kind and name of the repository, and the number. Raises DiscussionNotFound."""
    kind, name, _ = place(request)
    word = request.path_params["number"]
    if not word.isascii() or not word.isdigit() or len(word) > 9:
        raise DiscussionNotFound(number=word[:50], repository=name)
    return kind, name, int(word)


def author(name: str) -> dict[str, Any]:
    return {"_id": name, "name": name, "fullname": name, "type": "user", "isPro": False, "isHf": False, "avatarUrl": f"/api/avatars/{name}"}


def _brief(kind: Kind, name: str, found: Discussion) -> dict[str, Any]:
    return {
        "num": found.number, "author": author(found.author), "repo": {"name": name, "type": kind.value}, "title": found.title,
        "status": found.status, "createdAt": shapes.time(found.created_at), "isPullRequest": found.pull_request,
        "numComments": found.comments, "numReactionUsers": 0, "topReactions": [], "pinned": False,
    }  # fmt: skip


def event(found: Happening) -> dict[str, Any]:
    shown: dict[str, Any] = {"id": found.id, "type": found.kind, "author": author(found.author), "createdAt": shapes.time(found.at)}
    if found.kind == "comment":
        shown["data"] = _comment(found)
    elif found.kind == "status-change":
        shown["data"] = {"status": found.text}
    elif found.kind == "title-change":
        shown["data"] = {"from": found.old, "to": found.text}
    else:
        shown["data"] = {"subject": found.text, "oid": found.old}
    return shown


def _comment(found: Happening) -> dict[str, Any]:
    def version(writer: str, at: str, raw: str) -> dict[str, Any]:
        return {"raw": raw, "html": f"<p>{escape(raw)}</p>", "updatedAt": shapes.time(at), "author": author(writer)}

    text = _HIDDEN if found.hidden else found.text
    shown = {
        "edited": found.edited_at is not None,
        "hidden": found.hidden,
        "latest": version(found.edited_by or found.author, found.edited_at or found.at, text),
        "history": [version(edit.author, edit.at, edit.text) for edit in found.history],
        "numEdits": max(len(found.history) - 1, 0),
        "reactions": [],
    }
    return shown | ({"hiddenBy": found.hidden_by} if found.hidden else {})


def _whole(request: Request, kind: Kind, name: str, details: Details) -> dict[str, Any]:
    found = details.discussion
    shown = _brief(kind, name, found)
    shown["url"] = f"{here(request)}/{prefix(kind)}{name}/discussions/{found.number}"
    shown["events"] = [event(happening) for happening in details.events]
    if found.pull_request:
        shown["changes"] = {"base": found.base, **({"mergeCommitId": found.merge_commit} if found.merge_commit else {})}
        shown["filesWithConflicts"] = list(details.conflicts)
        if details.diff is not None:
            shown["diff"] = diff.text(details.diff)
    return shown


@routes.both("GET", _HERE, allow=PUBLIC)
async def listed(request: Request) -> Response:
    kind, name, _ = place(request)
    query = request.query_params
    wanted = Filter(query.get("type") or "all", query.get("status") or "all", query.get("author"), query.get("search"))
    if wanted.kind not in ("all", "discussion", "pull_request"):
        raise NotAsked(field="type", problem="it must be all, discussion or pull_request")
    if wanted.status not in ("all", "open", "closed"):
        raise NotAsked(field="status", problem="it must be all, open or closed")
    number = query.get("p", "0")
    if not number.isascii() or not number.isdigit() or len(number) > 6:
        raise NotAsked(field="p", problem="it must be the number of a page, from 0 on")
    limit = number_of(request, "limit", _PAGE, 100)
    found: Page = await work(discussions.listed, house_of(request), actor_of(request), kind, name, wanted, page=int(number), limit=limit)
    return JSONResponse({
        "discussions": [_brief(kind, name, one) for one in found.discussions], "count": found.count, "start": found.start,
        "numOpenDiscussions": found.open, "numClosedDiscussions": found.closed,
    })  # fmt: skip


@routes.both("POST", _HERE, allow=SIGNED_IN)
async def create(request: Request) -> Response:
    kind, name, _ = place(request)
    body = await json_body(request)
    house, actor = house_of(request), actor_of(request)
    title, text = text_of(body, "title"), text_of(body, "description", "")
    pull_request = body.get("pullRequest") is True
    made = await work(discussions.open_new, house, actor, kind, name, title, text, pull_request=pull_request)
    return JSONResponse(_whole(request, kind, name, await work(discussions.shown, house, actor, kind, name, made.number)))


@routes.both("GET", _HERE + "/{number}", allow=PUBLIC)
async def shown(request: Request) -> Response:
    kind, name, number = _which(request)
    details = await work(discussions.shown, house_of(request), actor_of(request), kind, name, number, diff=flag_of(request, "diff"))
    return JSONResponse(_whole(request, kind, name, details))


@routes.both("POST", _HERE + "/{number}/comment", allow=SIGNED_IN)
async def comment(request: Request) -> Response:
    text = text_of(await json_body(request), "comment")
    made = await work(discussions.comment, house_of(request), actor_of(request), *_which(request), text)
    return JSONResponse({"newMessage": event(made)})


@routes.both("POST", _HERE + "/{number}/title", allow=SIGNED_IN)
async def title(request: Request) -> Response:
    text = text_of(await json_body(request), "title")
    made = await work(discussions.rename, house_of(request), actor_of(request), *_which(request), text)
    return JSONResponse({"newTitle": event(made)})


@routes.both("POST", _HERE + "/{number}/status", allow=SIGNED_IN)
async def status(request: Request) -> Response:
    body = await json_body(request)
    word, text = text_of(body, "status"), text_of(body, "comment", "")
    made = await work(discussions.change_status, house_of(request), actor_of(request), *_which(request), word, text)
    return JSONResponse({"newStatus": event(made)})


@routes.both("POST", _HERE + "/{number}/merge", allow=SIGNED_IN)
async def merge(request: Request) -> Response:
    text = text_of(await json_body(request), "comment", "")
    try:
        commit = await work(pull_requests.merge, house_of(request), actor_of(request), *_which(request), text)
    except MergeConflict as conflict:
        return failure(409, str(conflict), more={"filesWithConflicts": list(conflict.details["paths"])})
    return JSONResponse({"status": "merged", "mergeCommitId": commit})


@routes.both("POST", _HERE + "/{number}/comment/{comment}/edit", allow=SIGNED_IN)
async def edit(request: Request) -> Response:
    text = text_of(await json_body(request), "content")
    found = await work(discussions.edit_comment, house_of(request), actor_of(request), *_which(request), _comment_id(request), text)
    return JSONResponse({"updatedComment": event(found)})


@routes.both("POST", _HERE + "/{number}/comment/{comment}/hide", allow=SIGNED_IN)
async def hide(request: Request) -> Response:
    found = await work(discussions.hide_comment, house_of(request), actor_of(request), *_which(request), _comment_id(request))
    return JSONResponse({"updatedComment": event(found)})


def _comment_id(request: Request) -> str:
    return str(request.path_params["comment"]).lower()
