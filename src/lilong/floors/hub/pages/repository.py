"""A repository's pages for readers: its card, files, history and commits."""

from __future__ import annotations

from fastapi import Request
from starlette.responses import Response

from lilong.floors.hub.contract import Kind
from lilong.floors.hub.rules import card, names
from lilong.floors.hub.service import likes, settings
from lilong.floors.hub.store import overview
from lilong.ground.access import PUBLIC, Actor
from lilong.ground.db import Tx
from lilong.ground.errors import NotFound
from lilong.ground.house import House
from lilong.ground.pages import page

from . import markdown, snippets, views
from .door import Address, address, ask, go, rest, routes, work

_PAGE = 100  # entries of a folder
_COMMITS = 30
_TENSORS = 1000


def here(request: Request) -> str:
    return str(request.base_url).rstrip("/")


@routes.both("GET", "", allow=PUBLIC)
async def home(request: Request) -> Response:
    at = address(request)
    try:
        shown: views.Home = await ask(request, views.home, at.kind, at.name)
    except NotFound:
        moved = await ask(request, settings.moved_to, at.kind, at.name)
        if moved is None or moved == at.name:
            raise
        return go(Address(at.kind, moved).home)
    metadata = {**shown.facts, **shown.card.metadata}
    private = shown.head.private or bool(shown.head.held.gated)
    about = shown.card.text
    rendered = await work(markdown.render, about, shown.head.at) if about.strip() else None
    lines = snippets.of(at.kind, at.name, shown.files, metadata, shown.facts, here(request), private=private)
    return page(
        request, "hub/home.html", section=_section(at.kind), tab="card", head=shown.head, at=shown.head.at, shown=shown, snippets=lines,
        card=rendered, facts=_facts(shown.facts),
    )  # fmt: skip


def _section(kind: Kind) -> str:
    return f"/{kind.value}s"


def _facts(found: dict[str, object]) -> dict[str, object]:
    """Those of the facts that a page shows as figures."""
    weights = found.get("safetensors") or found.get("gguf")
    config = found.get("config")
    return {
        "weights": weights if isinstance(weights, dict) else {},
        "config": config if isinstance(config, dict) else {},
        "security": found.get("securityRepoStatus") or {},
        "licence": found.get("licence") or {},
    }


@routes.both("GET", "/tree/{rest:path}", allow=PUBLIC)
async def tree(request: Request) -> Response:
    at, (word, path) = address(request), rest(request)
    after = request.query_params.get("after", "")[:4096].replace("\0", "")
    shown = await ask(request, views.listing, at.kind, at.name, word, path, after, _PAGE)
    return page(
        request,
        "hub/tree.html",
        section=_section(at.kind),
        tab="files",
        head=shown.head,
        at=shown.head.at,
        shown=shown,
        crumbs=_crumbs(at, word, path),
    )


def _crumbs(at: Address, word: str, path: str) -> list[tuple[str, str]]:
    """(name, address) of each folder on the way."""
    parts = path.split("/") if path else []
    return [(part, at.at("tree", word, "/".join(parts[: i + 1]))) for i, part in enumerate(parts)]


@routes.both("GET", "/blob/{rest:path}", allow=PUBLIC)
async def blob(request: Request) -> Response:
    at, (word, path) = address(request), rest(request)
    shown: views.Shown = await ask(request, views.file, at.kind, at.name, word, path)
    plain = request.query_params.get("plain") == "1"
    folder = path.rpartition("/")[0]
    text, problem = shown.text, ""
    if shown.how == "card" and not plain and path.rsplit("/", 1)[-1] == "README.md":
        about = card.read(shown.text)
        text, problem = about.text, about.problem
    rendered = await work(markdown.render, text, at, word, folder) if shown.how == "card" and not plain else None
    return page(
        request, "hub/blob.html", section=_section(at.kind), tab="files", head=shown.head, at=shown.head.at, shown=shown, crumbs=_crumbs(at, word, path),
        card=rendered, lines=shown.text.split("\n"),
        tensors=shown.tensors[:_TENSORS], more=max(len(shown.tensors) - _TENSORS, 0), problem=problem,
    )  # fmt: skip


@routes.both("GET", "/commits/{rest:path}", allow=PUBLIC)
async def commits(request: Request) -> Response:
    at, (word, path) = address(request), rest(request)
    after = request.query_params.get("after", "")[:60]
    if after and not (names.is_commit(after) or (after.isascii() and after.isdigit())):
        after = ""
    shown = await ask(request, views.history, at.kind, at.name, word, path, after, _COMMITS)
    return page(
        request,
        "hub/commits.html",
        section=_section(at.kind),
        tab="files",
        head=shown.head,
        at=shown.head.at,
        shown=shown,
        crumbs=_crumbs(at, word, path),
    )


@routes.both("GET", "/commit/{id}", allow=PUBLIC)
async def commit(request: Request) -> Response:
    at = address(request)
    shown = await ask(request, views.commit, at.kind, at.name, request.path_params["id"][:100])
    return page(request, "hub/commit.html", section=_section(at.kind), tab="files", head=shown.head, at=shown.head.at, shown=shown)


@routes.both("GET", "/activity", allow=PUBLIC)
async def activity(request: Request) -> Response:
    at = address(request)
    word = request.query_params.get("before", "")
    before = int(word) if word.isascii() and word.isdigit() and len(word) < 16 else None
    head, told, mark = await ask(request, _activity, at.kind, at.name, before)
    return page(
        request,
        "hub/activity.html",
        section=_section(at.kind),
        tab="activity",
        head=head,
        at=head.at,
        told=told,
        before=mark,
        url=lambda _: head.at,
    )


def _activity(house: House, actor: Actor, kind: Kind, name: str, before: int | None) -> tuple[views.Head, list[overview.Told], int | None]:
    def read(tx: Tx) -> tuple[views.Head, list[overview.Told], int | None]:
        head = views.head_in(house, tx, actor, kind, name)
        return head, *overview.activity(tx, [head.held], before, 30, shut=() if head.may_read_files else (head.held.id,))

    return house.db.read(read)


@routes.form("/like")
async def like(request: Request) -> Response:
    at = address(request)
    form = await request.form()
    await ask(request, likes.unlike if form.get("take") == "back" else likes.like, at.kind, at.name)
    return go(at.home)
