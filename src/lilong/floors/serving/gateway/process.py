"""The gateway as a process of its own: `python -m lilong.floors.serving.gateway.process --folder … --snapshot … --port …`."""

from __future__ import annotations

import argparse
import asyncio
import ctypes
import logging
import os
import resource
import signal
import socket
import sys
from pathlib import Path

import uvicorn
import uvloop

from lilong.floors.serving.gateway.app import Gateway
from lilong.floors.serving.gateway.meter import Meter
from lilong.floors.serving.gateway.snapshots import Watched
from lilong.floors.serving.gateway.upstream import Upstreams
from lilong.ground.errors import LilongError

POLL_SECONDS = 0.2  # a revoked token works for no longer than this after the snapshot was replaced


async def tend(gateway: Gateway, watched: Watched) -> None:
    """Keep the snapshot fresh for as long as the gateway runs."""
    while True:
        fresh = watched.poll()
        if fresh is not None:
            gateway.swap(fresh)
        await asyncio.sleep(POLL_SECONDS)


async def serve(gateway: Gateway, listener: socket.socket, watched: Watched, grace_seconds: float = 5.0) -> None:
    """Serve until SIGTERM or SIGINT; open streams get `grace_seconds` to end."""
    config = uvicorn.Config(
        gateway,
        http="httptools",
        ws="none",
        lifespan="off",
        access_log=False,
        log_config=None,
        proxy_headers=False,
        server_header=False,
        date_header=False,
        timeout_graceful_shutdown=max(1, round(grace_seconds)),
    )
    tending = asyncio.ensure_future(tend(gateway, watched))
    try:
        await uvicorn.Server(config).serve(sockets=[listener])
    finally:
        tending.cancel()
        gateway.upstreams.close()
        gateway.meter.close()


def listen(address: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind((address, port))
    listener.listen(2048)
    listener.setblocking(False)
    return listener


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="lilong-gateway", description="Serve the models of a snapshot and meter every answer.")
    parser.add_argument("--folder", type=Path, required=True, help="where the meter keeps its segments")
    parser.add_argument("--snapshot", type=Path, required=True, help="the file of keys and deployments")
    parser.add_argument("--address", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0, help="0 picks a free one; the port is printed")
    parser.add_argument("--gateway", default="g0", help="this gateway's name, of letters and digits")
    parser.add_argument("--follow-parent", action="store_true", help="stop when the process that started this one is gone")
    asked = parser.parse_args(argv)
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    if asked.follow_parent:
        _die_with_parent()
    allow_many_files()
    try:
        meter = Meter(asked.folder, asked.gateway)
        listener = listen(asked.address, asked.port)
    except LilongError as e:
        print(f"{e.code()}: {e}", file=sys.stderr)
        raise SystemExit(e.exit_code) from e
    except OSError as e:
        print(f"The gateway cannot listen on {asked.address}:{asked.port}: {e.strerror}.", file=sys.stderr)
        raise SystemExit(7) from e
    recovered = meter.recovery
    if recovered.interrupted or recovered.torn_bytes or recovered.damaged:
        logging.getLogger("lilong.gateway").warning("recovered: %s", recovered)
    watched = Watched(asked.snapshot)
    gateway = Gateway(meter, Upstreams(), watched.poll())
    print(f"ready {listener.getsockname()[1]}", flush=True)
    uvloop.run(serve(gateway, listener, watched))


def allow_many_files() -> None:
    """Raise this process's limit on open files to what it may be: every stream takes two."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _die_with_parent() -> None:
    """Linux: SIGTERM when the parent ends, however it ends."""
    parent = os.getppid()
    ctypes.CDLL(None, use_errno=True).prctl(1, signal.SIGTERM)  # PR_SET_PDEATHSIG
    if os.getppid() != parent:
        raise SystemExit(0)


if __name__ == "__main__":
    main()
