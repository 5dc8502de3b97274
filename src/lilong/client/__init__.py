"""The SDK: a small typed client of a house, by URL, or by the folder of a house whose server is not running.

Standard library only on the way to a server, so that a command starts quickly.
"""

from __future__ import annotations

import http.client
import json
import os
import selectors
import ssl
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, Protocol, TypeVar, overload
from urllib.parse import quote, urlencode, urlsplit

from lilong.ground.errors import BadInput, LilongError, Unavailable

T = TypeVar("T")

_EXIT_CODES = {401: 3, 403: 3, 404: 4, 409: 5, 413: 2, 422: 2, 503: 7, 507: 7}
_ANONYMOUS = "No token was given. Give --token-file FILE or set LILONG_TOKEN_FILE; `lilong token create TITLE --out FILE` writes such a file."
_OF_A_PATH = "/%:@!$&'()*+,;=~"  # RFC 3986, 3.3, with the escapes that are there already: a name in it neither ends it nor begins a query


class ServerError(LilongError):
    """The server answered with an error."""

    def __init__(self, status: int, body: Mapping[str, Any]) -> None:
        error = body.get("error")
        said = error.get("message") if isinstance(error, Mapping) else error  # the gateway speaks as OpenAI's API does
        super().__init__(str(body.get("detail") or said or f"The server answered {status}."))
        self.status_code = status
        self.body = body
        self.details = dict(body.get("details") or {})

    @property
    def said(self) -> str:
        return str(self.body.get("code", "http"))


class NoServer(Unavailable):
    """No server answers at {url}: {problem}. Start one with `lilong up`, or give another --url."""


class Transport(Protocol):
    @property
    def url(self) -> str | None:
        """None: no server, the house is open in this process."""

    def request(self, method: str, path: str, headers: Mapping[str, str], body: bytes | IO[bytes] | None) -> tuple[int, Mapping[str, str], Iterator[bytes]]: ...

    def close(self) -> None: ...


class HttpTransport:
    def __init__(self, url: str, timeout: float = 120.0) -> None:
        try:
            parts = urlsplit(url)
            host, port = parts.hostname, parts.port
        except ValueError:  # a port that is no number
            host = port = None
        if not host or parts.scheme not in ("http", "https"):
            raise BadInput(field="url", problem=f"{url!r} is not an http or https address", way_out="Give it as http://host:port.")
        self._url = url
        self._prefix = parts.path.rstrip("/")
        self._connection: http.client.HTTPConnection = (
            http.client.HTTPSConnection(host, port, timeout=timeout, context=ssl.create_default_context())
            if parts.scheme == "https"
            else http.client.HTTPConnection(host, port, timeout=timeout)
        )

    @property
    def url(self) -> str:
        return self._url

    def request(self, method: str, path: str, headers: Mapping[str, str], body: bytes | IO[bytes] | None) -> tuple[int, Mapping[str, str], Iterator[bytes]]:
        self._leave_if_closed()
        for again in (True, False):
            try:
                self._connection.request(method, self._prefix + path, body, dict(headers))
                response = self._connection.getresponse()
                break
            except (http.client.RemoteDisconnected, BrokenPipeError, ConnectionResetError) as problem:
                self._connection.close()
                # A kept-alive connection may have been closed in this very moment; only what changes nothing is asked a second time.
                if not (again and method == "GET"):
                    raise NoServer(url=self._url, problem=str(problem)) from problem
            except OSError as problem:
                self._connection.close()
                raise NoServer(url=self._url, problem=problem.strerror or str(problem)) from problem
        return response.status, {name.lower(): value for name, value in response.getheaders()}, self._pieces(response)

    def _leave_if_closed(self) -> None:
        """A server closes a connection on which nothing was asked for a while, and what is written to it then is lost. Nothing else than that
        can there be to read before anything was asked."""
        if self._connection.sock is None:
            return
        with selectors.DefaultSelector() as selector:
            selector.register(self._connection.sock, selectors.EVENT_READ)
            if selector.select(0):
                self._connection.close()

    def _pieces(self, response: http.client.HTTPResponse) -> Iterator[bytes]:
        try:
            while piece := response.read(1 << 18):
                yield piece
            if response.length:  # the standard library takes a body that is too short for a whole one when it is read in pieces
                raise http.client.IncompleteRead(b"", response.length)
        except (OSError, http.client.HTTPException) as problem:  # such as a server that ends in the middle of its answer
            self._connection.close()
            raise NoServer(url=self._url, problem=f"its answer broke off ({type(problem).__name__})") from problem

    def close(self) -> None:
        self._connection.close()


class Client:
    """A house's API. `token` is the secret of an API token."""

    def __init__(self, transport: Transport, token: str | None) -> None:
        self._transport = transport
        self.url = transport.url
        self._token = token

    def send(self, method: str, path: str, body: Any = None, query: Mapping[str, Any] | None = None) -> tuple[Mapping[str, str], bytes]:
        headers = {"accept": "application/json"}
        if self._token:
            headers["authorization"] = f"Bearer {self._token}"
        data: bytes | IO[bytes] | None = body if body is None or isinstance(body, bytes) or hasattr(body, "read") else json.dumps(body).encode()
        if data is not None:
            headers["content-type"] = "application/json" if data is not body else "application/octet-stream"
        shown = {key: value for key, value in (query or {}).items() if value is not None}
        path = quote(path, safe=_OF_A_PATH, errors="surrogateescape")
        status, answered, chunks = self._transport.request(method, path + ("?" + urlencode(shown, doseq=True) if shown else ""), headers, data)
        content = b"".join(chunks)
        if status == 401 and not self._token:
            raise _failure(status, json.dumps({"code": "unauthenticated", "detail": _ANONYMOUS}).encode())
        if status >= 400:
            raise _failure(status, content)
        return answered, content

    def _json(self, method: str, path: str, body: Any, type_: Any, query: Mapping[str, Any] | None) -> Any:
        _, content = self.send(method, path, body, query)
        value = json.loads(content) if content else None
        if type_ is None:
            return value
        import msgspec

        return msgspec.convert(value, type_)

    @overload
    def get(self, path: str, type_: None = None, **query: Any) -> Any: ...
    @overload
    def get(self, path: str, type_: type[T], **query: Any) -> T: ...
    def get(self, path: str, type_: Any = None, **query: Any) -> Any:
        return self._json("GET", path, None, type_, query)

    @overload
    def post(self, path: str, body: Any = None, type_: None = None) -> Any: ...
    @overload
    def post(self, path: str, body: Any, type_: type[T]) -> T: ...
    def post(self, path: str, body: Any = None, type_: Any = None) -> Any:
        return self._json("POST", path, body if body is not None else {}, type_, None)

    def put(self, path: str, body: Any = None) -> Any:
        return self._json("PUT", path, body, None, None)

    def delete(self, path: str) -> Any:
        return self._json("DELETE", path, None, None, None)

    def download(self, path: str) -> bytes:
        return self.send("GET", path)[1]

    def close(self) -> None:
        self._transport.close()


def _failure(status: int, content: bytes) -> ServerError:
    try:
        body = json.loads(content)
    except ValueError:
        body = {"detail": content[:500].decode(errors="replace")}
    error = ServerError(status, body if isinstance(body, dict) else {"detail": str(body)})
    error.exit_code = error.body.get("exit_code") or _EXIT_CODES.get(status, 1)  # type: ignore[misc]
    return error


def read_secret(path: Path, field: str = "token-file", way_out: str = "Give the file that `lilong token create --out` wrote.") -> str:
    """A secret from a file that only its owner may read. Raises BadInput."""
    try:
        mode = path.stat().st_mode
        secret = path.read_text(encoding="ascii").strip()
    except UnicodeDecodeError:
        raise BadInput(field=field, problem=f"{path} does not hold a token", way_out=way_out) from None
    except OSError as problem:
        raise BadInput(field=field, problem=f"{path}: {problem.strerror}", way_out=way_out) from problem
    if stat.S_IMODE(mode) & 0o077:
        raise BadInput(field=field, problem=f"others than its owner may read {path}", way_out=f"Run `chmod 600 {path}`.")
    return secret


@contextmanager
def opened(house: Path | None, url: str | None, token_file: Path | None) -> Iterator[Client]:
    """A client of the server at `url`, of the server that has `house` open, or of the house itself when no server runs.

    A house's folder opens with its operator's token, which only the folder's owner can read.
    """
    from lilong.ground.presence import running

    token = read_secret(token_file) if token_file else None
    if url is None and house is None:
        url = os.environ.get("LILONG_URL")
        house = Path(os.environ.get("LILONG_HOUSE", "house")) if url is None else None
    transport: Transport
    if url is None:
        assert house is not None
        if not (house / "keys").is_dir():
            raise BadInput(field="house", problem=f"{house} is not the folder of a house", way_out="Make one with `lilong up --house DIR`, or give --house or --url.")
        token = token or read_secret(house / "keys" / "operator.token")
        server = running(house)
        if server is None:
            from lilong.client.inside import InsideTransport

            transport = InsideTransport(house)
        else:
            transport = HttpTransport(server.url)
    else:
        transport = HttpTransport(url)
    client = Client(transport, token)
    try:
        yield client
    finally:
        client.close()
