"""The composition root: settings → ground → floors → ASGI. The only module that names every floor."""

from __future__ import annotations

import time
from importlib.util import find_spec

import anyio.to_thread
import prometheus_client
from fastapi import FastAPI, Request, Response
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from . import __version__
from .floors import declared as floors
from .ground import pages, web
from .ground.access import PUBLIC, SYSTEM
from .ground.blobs import write_durably
from .ground.config import Settings
from .ground.db import Database, Tx
from .ground.floor import load
from .ground.house import House, open_house
from .ground.migrations import migrate
from .ground.seams import Clock, SystemClock

ROOF = (
    "lilong.operations.api:routes",
    "lilong.operations.evidence_api:routes",
    "lilong.chain.api:routes",
    "lilong.console.pages:routes",
    "lilong.console.tokens:routes",
)
OPERATOR = "operator"


def open_house_with_floors(settings: Settings, *, background: bool = False) -> House:
    """Open the house, bring its tables up to date, and start every floor. With `background`, jobs and chores are about to run."""
    house = open_house(settings)
    try:
        house.background = background
        migrate_house(house.db, house.clock)
        _first_operator(house)
        for floor in floors():
            if floor.start:
                load(floor.start)(house)
        for start in house.starting:
            start()
    except BaseException:
        house.close()
        raise
    return house


def migrate_house(db: Database, clock: Clock | None = None) -> int:
    """Bring the tables of the ground, the roof and every floor up to date; how many migrations ran."""
    owners = [("ground", "lilong.ground"), ("chain", "lilong.chain")]
    owners += [(floor.name, f"lilong.floors.{floor.name}") for floor in floors()]
    return migrate(db, owners, clock or SystemClock())


def _first_operator(house: House) -> None:
    """A new house has one user, whose token lies in a file that only the house's owner can read."""
    file = house.settings.keys / "operator.token"

    def make(tx: Tx) -> str | None:
        new = tx.row("SELECT 1 FROM ground_users WHERE name = :name", name=OPERATOR) is None
        if new:
            house.access.add_user(tx, SYSTEM, OPERATOR, "Operator of the house")
            house.access.grant(tx, SYSTEM, OPERATOR, "operator", None)
        # A token file that is left from another database opens nothing in this one.
        return house.access.add_token(tx, SYSTEM, OPERATOR, "the house's own command line")[1] if new or not file.exists() else None

    secret = house.db.write(make)
    if secret is not None:
        write_durably(file, secret.encode() + b"\n", 0o600)


def build(house: House) -> ASGIApp:
    """The whole house as one ASGI app: raw mounts first, then the managed routes."""
    app = FastAPI(title="Lilong", version=__version__, docs_url=None, redoc_url=None, openapi_url="/api/openapi.json")
    app.state.house = house
    app.state.rules = []
    templates = [("lilong.console", "templates"), *((f"lilong.floors.{floor.name}", "templates") for floor in floors())]
    folders = [folder for package, name in templates if (folder := pages.folder_of(package, name)).is_dir()]
    app.state.shell = pages.shell(folders, pages.folder_of("lilong.console", "words"))
    web.install_errors(app)
    declared: list[web.Routes] = [load(place) for place in ROOF if find_spec(place.split(":")[0])]
    declared += [load(door) for floor in floors() for door in (floor.pages, floor.api) if door]
    for routes in (_own_routes(house), *declared):
        app.include_router(routes.router)
        app.state.rules += routes.rules
    mounts = [(prefix, load(place)(house)) for floor in floors() for prefix, place in floor.mounts]
    return _Front(house, app, mounts)


class _Front:
    """Sends each request to the raw mount that owns its path, or to the managed routes in their envelope."""

    def __init__(self, house: House, app: FastAPI, mounts: list[tuple[str, ASGIApp]]) -> None:
        self.app = app
        self._mounts = mounts
        self._managed = web.Envelope(app, house, _observe)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            for prefix, mount in self._mounts:
                if scope["path"].startswith(prefix):
                    await mount(scope, receive, send)
                    return
        await self._managed(scope, receive, send)


_REQUESTS = prometheus_client.Counter("lilong_requests_total", "Requests answered by the managed routes.", ["method", "status"])
_SECONDS = prometheus_client.Histogram("lilong_request_seconds", "Seconds from request to answer on the managed routes.")
_STARTED = time.time()


def _observe(method: str, status: int, seconds: float) -> None:
    _REQUESTS.labels(method, str(status)).inc()
    _SECONDS.observe(seconds)


def _own_routes(house: House) -> web.Routes:
    routes = web.Routes(in_schema=False)

    @routes.get("/healthz", allow=PUBLIC)
    async def healthz() -> Response:
        return PlainTextResponse("ok\n")

    @routes.get("/readyz", allow=PUBLIC)
    async def readyz(request: Request) -> Response:
        try:
            await anyio.to_thread.run_sync(lambda: house.db.read(lambda tx: tx.value("SELECT 1")))
        except Exception as problem:
            return PlainTextResponse(f"the database does not answer: {type(problem).__name__}\n", 503)
        return PlainTextResponse("ready\n")

    @routes.get("/metrics", allow="house.read")
    async def metrics() -> Response:
        own = prometheus_client.generate_latest().decode()
        of_floors = await anyio.to_thread.run_sync(lambda: "".join(of_floor() for of_floor in house.metrics))
        return PlainTextResponse(own + of_floors, media_type="text/plain; version=0.0.4")

    return routes
