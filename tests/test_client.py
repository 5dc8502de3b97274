"""The client, against servers that misbehave."""

from __future__ import annotations

import select
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from lilong.client import Client, HttpTransport, NoServer


@contextmanager
def server_that_says(answer: bytes) -> Iterator[str]:
    """Sends these bytes to whoever connects, and closes."""
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            while True:
                try:
                    connection, _ = listening.accept()
                except OSError:
                    return
                with connection:
                    connection.recv(65536)
                    connection.sendall(answer)

        threading.Thread(target=serve, daemon=True).start()
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\n{",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nnot a length\r\n",
    ],
)
def test_a_server_that_ends_in_the_middle_of_its_answer_is_a_server_that_is_away(answer: bytes) -> None:
    with server_that_says(answer) as url:
        client = Client(HttpTransport(url), None)
        with pytest.raises(NoServer, match="broke off"):
            client.get("/api/chains")
        with pytest.raises(NoServer, match="broke off"):  # and the client can still be used
            client.get("/api/chains")
        client.close()


def test_a_connection_that_the_server_closed_meanwhile_loses_no_request() -> None:
    with server_that_says(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}") as url:
        transport = HttpTransport(url)
        client = Client(transport, None)
        for _ in range(3):
            assert client.post("/api/jobs", {}) == {}
            kept = transport._connection.sock
            assert kept is not None and select.select([kept], [], [], 10)[0]  # the server has closed it
        client.close()


@pytest.mark.parametrize(("name", "sent"), [("a?b", "a%3Fb"), ("a#b", "a%23b"), ("a b", "a%20b"), ("é", "%C3%A9"), ("\udcff", "%FF"), ("a%2Fb", "a%2Fb")])
def test_a_name_in_a_path_is_sent_whole(name: str, sent: str) -> None:
    class Heard:
        url, path = None, ""

        def request(self, method: str, path: str, headers: object, body: object) -> tuple[int, dict[str, str], Iterator[bytes]]:
            self.path = path
            return 200, {}, iter([b"{}"])

        def close(self) -> None: ...

    heard = Heard()
    Client(heard, None).get(f"/api/things/{name}", of="x y")
    assert heard.path == f"/api/things/{sent}?of=x+y"
