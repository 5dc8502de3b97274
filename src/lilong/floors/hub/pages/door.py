"""What the hub's pages share: their addresses, who looks, and how a form answers."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, unquote

import anyio.to_thread
from fastapi import Request
from starlette.convertors import StringConvertor, register_url_convertor
from starlette.datastructures import FormData, UploadFile
from starlette.responses import RedirectResponse, Response

from lilong.floors.hub.contract import GatedRepository, Kind
from lilong.floors.hub.service.reading import ANONYMOUS
from lilong.ground.access import SIGNED_IN, Actor
from lilong.ground.access.table import PATHS
from lilong.ground.errors import LilongError, NotFound
from lilong.ground.house import House
from lilong.ground.pages import to_sign_in
from lilong.ground.web import Routes

Handler = Callable[[Request], Awaitable[Response]]
DATASETS = "/datasets"
_HERE = "{organisation:namespace}/{name:repository}"


class _Namespace(StringConvertor):
    """The first part of an address, where it is not one of the house's own."""

    regex = f"(?!(?i:{'|'.join(sorted(PATHS))})(?:/|$))[A-Za-z0-9][A-Za-z0-9._-]*"


class _Repository(StringConvertor):
    regex = r"[A-Za-z0-9][A-Za-z0-9._-]*(?<!\.git)"


register_url_convertor("namespace", _Namespace())
register_url_convertor("repository", _Repository())


class PageRoutes(Routes):
    """Pages of repositories stand beside the house's own addresses; whoever is not signed in and finds nothing may sign in first."""

    def route(self, method: str, path: str, *, allow: str, **options: Any) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
        def add(handler: Handler) -> Handler:
            async def endpoint(request: Request) -> Response:
                try:
                    return await handler(request)
                except GatedRepository:
                    if request.method != "GET":
                        raise
                    if getattr(request.state, "actor", None) is None:
                        return to_sign_in(request)
                    return go(f"{address(request).home}/access")
                except NotFound:
                    if getattr(request.state, "actor", None) is None and request.method == "GET":
                        return to_sign_in(request)  # private and missing alike
                    raise

            super(PageRoutes, self).route(method, path, allow=allow, **options)(endpoint)
            return handler

        return add

    def both(self, method: str, path: str, *, allow: str) -> Callable[[Handler], Handler]:
        """The same page for models and for datasets."""

        def add(handler: Handler) -> Handler:
            for prefix in ("/", DATASETS + "/"):
                self.route(method, f"{prefix}{_HERE}{path}", allow=allow)(handler)
            return handler

        return add

    def form(self, path: str) -> Callable[[Handler], Handler]:
        """Where a form of a repository's page is sent; what it does asks for more than to be signed in."""
        return self.both("POST", path, allow=SIGNED_IN)


routes = PageRoutes(in_schema=False)


def house_of(request: Request) -> House:
    house: House = request.app.state.house
    return house


def viewer(request: Request) -> Actor:
    return request.state.actor or ANONYMOUS


async def work(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    return await anyio.to_thread.run_sync(lambda: function(*args, **kwargs))


async def ask(request: Request, verb: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """Run verb(house, actor, …) in a worker thread."""
    return await work(verb, house_of(request), viewer(request), *args, **kwargs)


# --- addresses ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Address:
    """Where the pages and files of one repository are."""

    kind: Kind
    name: str  # organisation/name

    @property
    def home(self) -> str:
        return f"{DATASETS if self.kind is Kind.DATASET else ''}/{self.name}"

    @property
    def api(self) -> str:
        return f"/api/{self.kind.value}s/{self.name}"

    def at(self, verb: str, revision: str, path: str = "") -> str:
        """`verb` is tree, blob, commits, resolve, upload, edit or viewer."""
        return f"{self.home}/{verb}/{_word(revision)}{'/' + quote(path) if path else ''}"

    def commit(self, identity: str) -> str:
        return f"{self.home}/commit/{identity}"

    def discussion(self, number: int) -> str:
        return f"{self.home}/discussions/{number}"


def _word(revision: str) -> str:
    return quote(revision, safe="")


def address(request: Request) -> Address:
    kind = Kind.DATASET if request.url.path.startswith(DATASETS + "/") else Kind.MODEL
    return Address(kind, f"{request.path_params['organisation']}/{request.path_params['name']}")


def rest(request: Request) -> tuple[str, str]:
    """Revision and path behind the verb; slashes in a revision's name come encoded, except in full names of refs."""
    raw = request.scope.get("raw_path")
    sent = raw.decode("ascii", "replace").split("?")[0] if raw else quote(request.scope["path"])
    parts = sent.split("/")[5 if sent.startswith(DATASETS + "/") else 4 :]
    if parts and parts[0] == "refs" and len(parts) > 2:
        return unquote("/".join(parts[:3])), unquote("/".join(parts[3:])).strip("/")
    return unquote(parts[0]) if parts else "", unquote("/".join(parts[1:])).strip("/")


# --- forms --------------------------------------------------------------------------------------------------------------


def text(form: FormData, field: str, default: str = "", most: int = 65536) -> str:
    """A field's text as browsers send it, with line ends as files have them."""
    value = form.get(field, default)
    if isinstance(value, UploadFile):
        return default
    return value.replace("\r\n", "\n").replace("\0", "").encode(errors="replace").decode()[:most]


def go(target: str) -> Response:
    return RedirectResponse(target, 303)


async def attempt(deed: Awaitable[Any]) -> tuple[Any, LilongError | None]:
    """What a form's deed gave, or the error that its page shows above the form. What is missing stays missing."""
    try:
        return await deed, None
    except NotFound:
        raise
    except LilongError as error:
        if error.status >= 500:
            raise
        return None, error
