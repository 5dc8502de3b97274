"""The server process of a house: one event loop, the chores beside it, ended by SIGTERM or Ctrl-C."""

from __future__ import annotations

import asyncio
import errno
import gc
import json
import signal
import socket
from collections.abc import Callable

import structlog
import uvicorn
import uvloop
from sqlalchemy import make_url

from lilong.app import build, open_house_with_floors
from lilong.ground import logs
from lilong.ground.blobs import write_durably
from lilong.ground.chores import Background
from lilong.ground.config import Settings, load
from lilong.ground.errors import BadInput, Refused, Unavailable
from lilong.ground.presence import announce


class PortInUse(Unavailable):
    """Port {port} of {host} is in use. Stop what listens there, or take another with --port (0 takes a free one)."""


class OtherDatabase(Refused):
    """The house {house} keeps its data in {known}, not in {asked}. Leave --database away; to move it, `lilong backup` and `lilong restore --database`."""


def remember_database(settings: Settings) -> Callable[[], None]:
    """A new house on a database of its own choice writes that down, so that every later command finds its data.

    Returns what takes the note back, for a house that then could not be opened. Raises OtherDatabase.
    """
    file = settings.house / "lilong.toml"
    known = load(settings.house, environment={}).database_url
    if known == settings.database_url:
        return lambda: None
    if (settings.keys / "operator.token").exists():
        before, asked = make_url(known), make_url(settings.database_url)
        if before.set(password=None) != asked.set(password=None):  # passwords change
            raise OtherDatabase(house=settings.house, known=repr(before), asked=repr(asked))
        return lambda: None
    said = file.read_bytes() if file.exists() else None
    others = [line for line in (said or b"").splitlines(keepends=True) if line.partition(b"=")[0].strip() != b"database"]
    write_durably(file, b"".join([f"database = {json.dumps(settings.database)}\n".encode(), *others]), 0o600)
    return lambda: file.unlink() if said is None else write_durably(file, said, 0o600)


class CannotListen(BadInput):
    """The server cannot listen on {host} port {port}: {problem}. Give another --host or --port (0 takes a free port)."""


def listen(settings: Settings) -> socket.socket:
    """A listening socket. Raises PortInUse, CannotListen before anything else is touched."""
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((settings.host, settings.port))
        # Two servers that both set SO_REUSEADDR may bind on some systems; only one can listen.
        listening.listen(1024)
    except (OSError, OverflowError) as problem:
        listening.close()
        if isinstance(problem, OSError) and problem.errno == errno.EADDRINUSE:
            raise PortInUse(port=settings.port, host=settings.host) from problem
        said = problem.strerror if isinstance(problem, OSError) else "a port is a number from 0 to 65535"
        raise CannotListen(field="port", host=settings.host, port=settings.port, problem=said or str(problem)) from problem
    listening.set_inheritable(False)
    return listening


def check_folder(settings: Settings) -> None:
    """A house is not made among other people's files. Raises BadInput."""
    folder = settings.house
    known = {"keys", "lilong.toml", "profiles", "run"}
    if folder.is_dir() and (found := {file.name for file in folder.iterdir()}) and not found & known:
        raise BadInput(field="house", problem=f"{folder} is not the folder of a house, and not empty", way_out="Give a new folder, or that of a house.")
    if folder.exists() and not folder.is_dir():
        raise BadInput(field="house", problem=f"{folder} is not a folder", way_out="Give a new folder, or that of a house.")


def settle_memory() -> None:
    """What is loaded stays: the collector need not walk through it again at each turn, which costs a busy house a tenth of its CPU time."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 20, 50)


def serve(settings: Settings, ready: Callable[[str], None] = lambda url: None) -> None:
    """Run until SIGTERM or SIGINT; `ready` is called with the address once requests are taken. Raises PortInUse, HouseInUse."""
    check_folder(settings)
    logs.configure(settings.log_level)
    listening = listen(settings)
    forget = remember_database(settings)
    try:
        house = open_house_with_floors(settings, background=True)
    except BaseException:
        forget()
        raise
    background = Background(house)
    try:
        host = f"[{settings.host}]" if ":" in settings.host else settings.host
        url = f"http://{host}:{listening.getsockname()[1]}"
        app = build(house)
        config = uvicorn.Config(app, loop="uvloop", http="httptools", lifespan="off", log_config=None, access_log=False, server_header=False, timeout_graceful_shutdown=10)  # fmt: skip
        server = uvicorn.Server(config)

        async def run() -> None:
            loop = asyncio.get_running_loop()
            for number in (signal.SIGTERM, signal.SIGINT):
                loop.add_signal_handler(number, lambda: setattr(server, "should_exit", True))
            background.start()
            settle_memory()
            announce(settings, url)
            structlog.get_logger("lilong").info("ready", url=url, house=str(settings.house))
            ready(url)
            await server.serve(sockets=[listening])

        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(run())
    finally:
        background.stop()
        (settings.run / "server.json").unlink(missing_ok=True)
        house.close()
