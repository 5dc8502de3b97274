"""Two houses, one of which is another hub to the other; and sources that misbehave."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

import httpx

from lilong.client import Client, HttpTransport
from lilong.ground.config import load
from lilong.ground.house import House

from .conftest import answering, hub_alone, hub_house, tokens_of


@dataclass
class Hub:
    house: House
    url: str
    tokens: dict[str, str]
    clients: list[Client] = field(default_factory=list)

    def client(self, who: str = "mei") -> Client:
        made = Client(HttpTransport(self.url), self.tokens[who])
        self.clients.append(made)
        return made

    @property
    def host(self) -> str:
        return urlsplit(self.url).netloc


@contextlib.contextmanager
def serving(folder: Path, *, database: str = "", **settings: str) -> Iterator[Hub]:
    """A hub on a socket; nothing runs in its background."""
    house = hub_house(folder, database)
    if settings:
        house.settings = load(folder, settings, environment={})
    try:
        with answering(hub_alone(house)) as url:
            hub = Hub(house, url, tokens_of(house))
            yield hub
            for client in hub.clients:
                client.close()
    finally:
        house.close()


@dataclass
class Between:
    """Stands before a hub, and may change or break what it says."""

    url: str
    asked: list[tuple[str, str]] = field(default_factory=list)  # (path, Range)
    break_after: int | None = None  # bytes of a file's body
    change: Callable[[str, bytes], bytes] | None = None
    status: int | None = None
    hold: threading.Event | None = None  # after `break_after` bytes, until this is set


class _Quiet(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """Clients that are killed go without a word."""


@contextlib.contextmanager
def between(hub: Hub) -> Iterator[Between]:
    state = Between("")

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            state.asked.append((self.path, self.headers.get("range", "")))
            if state.status is not None:
                self.send_response(state.status)
                self.send_header("content-length", "0")
                self.end_headers()
                return
            headers = {name: value for name, value in self.headers.items() if name.lower() in ("authorization", "range", "accept")}
            answer = httpx.get(hub.url + self.path, headers=headers, timeout=20)
            body = answer.content
            if state.change is not None:
                body = state.change(self.path, body)
            self.send_response(answer.status_code)
            for name in ("content-range", "content-type", "etag"):
                if name in answer.headers:
                    self.send_header(name, answer.headers[name])
            if "link" in answer.headers:
                self.send_header("link", answer.headers["link"].replace(hub.url, state.url))
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            if state.break_after is not None and "/resolve/" in self.path and len(body) > state.break_after:
                self.wfile.write(body[: state.break_after])
                self.wfile.flush()
                if state.hold is not None:
                    state.hold.wait(60)
                self.close_connection = True
                self.connection.shutdown(socket.SHUT_RDWR)
                return
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = _Quiet(("127.0.0.1", 0), Handler)
    state.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield state
    finally:
        server.shutdown()
        server.server_close()


def some_bytes(count: int) -> bytes:
    return os.urandom(count)
