"""Lists of repositories with search and facets, the pages of organisations and users, and a new repository."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import urlencode

from fastapi import Request
from starlette.responses import Response

from lilong.floors.hub import service, store
from lilong.floors.hub.contract import Kind
from lilong.floors.hub.service import buckets, namespaces, quotas, reading, users
from lilong.floors.hub.store import Held, Wanted, overview
from lilong.floors.hub.store.buckets import Bucket
from lilong.ground.access import PUBLIC, SIGNED_IN, Actor
from lilong.ground.db import Tx
from lilong.ground.errors import NotFound
from lilong.ground.house import House
from lilong.ground.pages import page

from . import facets
from .door import Address, ask, attempt, go, routes, text

_PAGE = 30
_FACET = 12
_KEYS = ("search", "author", "task", "library", "license", "tag", "gated", "size", "sort")  # of an address of a list
SORTS = {
    "lastModified": "Newest first",
    "createdAt": "Newly made first",
    "downloads": "Most downloads",
    "likes": "Most likes",
    "trendingScore": "Much used now",
}


@dataclass(frozen=True, slots=True)
class Choice:
    """One word of a facet, with the address of the list once it is chosen, or given up."""

    word: str
    count: int | None
    href: str
    chosen: bool


@dataclass(frozen=True, slots=True)
class Listed:
    held: tuple[tuple[Held, Address], ...]
    facets: tuple[tuple[str, str, tuple[Choice, ...]], ...]  # key, title, words
    next: str
    chosen: tuple[Choice, ...]


@routes.get("/models", allow=PUBLIC)
async def models(request: Request) -> Response:
    return await _list(request, Kind.MODEL)


@routes.get("/datasets", allow=PUBLIC)
async def datasets(request: Request) -> Response:
    return await _list(request, Kind.DATASET)


async def _list(request: Request, kind: Kind) -> Response:
    asked = {key: value.replace("\0", "")[:200] for key in _KEYS if (value := request.query_params.get(key))}
    shown = await ask(request, _listed, kind, asked, request.query_params.get("after", ""))
    sort = asked.get("sort", "lastModified")
    return page(
        request, "hub/list.html", section=f"/{kind.value}s", kind=kind.value, shown=shown, asked=asked, sorts=SORTS,
        sort=sort if sort in SORTS else "lastModified", hidden=[(key, asked[key]) for key in _KEYS if key in asked and key not in ("search", "sort")],
    )  # fmt: skip


def _listed(house: House, actor: Actor, kind: Kind, asked: dict[str, str], after: str) -> Listed:
    tags = [asked[key] for key in ("task", "library", "tag") if key in asked] + (
        [f"license:{asked['license']}"] if "license" in asked else []
    )
    key, _, identity = after.rpartition("~")
    wanted = Wanted(
        asked.get("author"), asked.get("search"), _PAGE + 1, (key, identity) if key else None, tuple(tags), {"yes": True, "no": False}.get(asked.get("gated", "")),
        facets.SIZES.get(asked.get("size", ""), (None, None)), asked["sort"] if asked.get("sort") in store.SORTS else "lastModified",
    )  # fmt: skip
    found = [held for held, _ in reading.listed(house, actor, kind, wanted)]
    seen = house.access.visible(actor, "hub.read", "r.organisation", "r.name")

    def read(tx: Tx) -> tuple[list[tuple[str, int]], list[tuple[str, int]]]:
        return store.tags_in_use(tx, kind, seen), overview.organisations_in_use(tx, kind, seen, _FACET)

    in_use, organisations = house.db.read(read)
    words = facets.sorted_into(in_use, _FACET)
    base = f"/{kind.value}s"
    groups: list[tuple[str, str, Iterable[tuple[str, int | None]]]] = [
        ("task", "Task", words.tasks), ("library", "Library", words.libraries), ("license", "Licence", words.licences), ("author", "Organisation", organisations),
        ("tag", "Tag", words.tags),
    ]  # fmt: skip
    if kind is Kind.MODEL:
        groups.insert(3, ("size", "Parameters", [(size, None) for size in facets.SIZES]))
    groups.append(("gated", "Asks before giving files", [("yes", None), ("no", None)]))
    shown = tuple((key, title, _choices(base, asked, key, lines)) for key, title, lines in groups)
    last = found[_PAGE - 1] if len(found) > _PAGE else None
    mark = _href(base, {**asked, "after": f"{store.sort_key(last, wanted)}~{last.id}"}) if last is not None else ""
    chosen = tuple(
        Choice(value, None, _href(base, {k: v for k, v in asked.items() if k != key}), True)
        for key, value in asked.items()
        if key != "sort"
    )
    return Listed(tuple((held, Address(kind, held.name)) for held in found[:_PAGE]), shown, mark, chosen)


def _choices(base: str, asked: dict[str, str], key: str, lines: Iterable[tuple[str, int | None]]) -> tuple[Choice, ...]:
    found = []
    for word, count in lines:
        chosen = asked.get(key) == word
        others = {k: v for k, v in asked.items() if k != key}
        found.append(Choice(word, count, _href(base, others if chosen else {**others, key: word}), chosen))
    return tuple(found)


def _href(base: str, query: dict[str, str]) -> str:
    return f"{base}?{urlencode(query)}" if query else base


# --- organisations and users --------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Namespace:
    about: users.Overview
    repositories: tuple[tuple[Held, Address], ...]
    buckets: tuple[Bucket, ...]
    members: tuple[str, ...]  # those whom the reader may know
    told: tuple[overview.Told, ...]
    before: int | None
    quota: quotas.Quota | None  # for those who may write there
    may_make: bool


@routes.get("/{organisation:namespace}", allow=PUBLIC)
async def namespace(request: Request) -> Response:
    word = request.query_params.get("before", "")
    before = int(word) if word.isascii() and word.isdigit() and len(word) < 16 else None
    shown = await ask(request, _namespace, request.path_params["organisation"], before)
    return page(request, "hub/namespace.html", section="", shown=shown, url=lambda told: Address(told.held.kind, told.held.name))


def _namespace(house: House, actor: Actor, name: str, before: int | None) -> Namespace:
    """Raises NotFound."""
    try:
        about = users.organisation_overview(house, actor, name)
    except NotFound:
        about = users.user_overview(house, actor, name)
    seen = house.access.visible(actor, "hub.read", "r.organisation", "r.name")
    people = [] if about.personal else users.members(house, actor, name, "", 200)

    kept = tuple(buckets.listed(house, actor, name, "", "", 100))

    def read(tx: Tx) -> Namespace:
        repositories = overview.repositories_of(tx, name, seen, 100)
        shut = {held.id for held in repositories if held.gated and not reading.may_read(house, tx, actor, held)}
        told, mark = overview.activity(tx, repositories, before, 20, shut=shut)
        writes = bool(actor.user) and (house.access.allowed(tx, actor, "hub.write", name) or actor.user == name)
        quota = quotas.of(house, tx, name) if writes else None
        places = tuple((held, Address(held.kind, held.name)) for held in repositories)
        return Namespace(about, places, kept, tuple(person.name for person in people), tuple(told), mark, quota, writes)

    return house.db.read(read)


# --- a new repository ---------------------------------------------------------------------------------------------------


def _where(house: House, actor: Actor) -> list[str]:
    """The namespaces in which the actor may make repositories: their own and those of their organisations."""

    def read(tx: Tx) -> list[str]:
        every = [organisation.name for organisation in house.access.organisations(tx, actor) if not organisation.personal]
        return [*(name for name in every if house.access.allowed(tx, actor, "hub.write", name)), actor.user]

    return house.db.read(read)


@routes.get("/new", allow=SIGNED_IN)
async def new_form(request: Request) -> Response:
    kind = request.query_params.get("kind", "model")
    return page(
        request, "hub/new.html", section="", where=await ask(request, _where), organisation=request.query_params.get("organisation", ""),
        kind=kind if kind == "dataset" else "model", name="", visibility="", error=None,
    )  # fmt: skip


@routes.post("/new", allow=SIGNED_IN)
async def new(request: Request) -> Response:
    form = await request.form()
    kind = Kind.DATASET if form.get("kind") == "dataset" else Kind.MODEL
    organisation, name, visibility = (
        text(form, "organisation", most=100),
        text(form, "name", most=200).strip(),
        text(form, "visibility", most=10),
    )
    made, error = await attempt(ask(request, _create, kind, organisation, name, visibility))
    if error is None:
        return go(Address(kind, made.name).home)
    return page(
        request, "hub/new.html", error.status, section="", where=await ask(request, _where), organisation=organisation, kind=kind.value, name=name,
        visibility=visibility, error=str(error),
    )  # fmt: skip


def _create(house: House, actor: Actor, kind: Kind, organisation: str, name: str, visibility: str) -> Held:
    if organisation == actor.user:
        namespaces.own(house, actor)
    default = house.db.read(lambda tx: namespaces.private_by_default(tx, organisation))
    private = {"private": True, "public": False}.get(visibility, default)
    return service.create(house, actor, kind, f"{organisation}/{name}", private=private)
