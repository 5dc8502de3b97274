"""JSON over HTTP to an engine at an address that the operator has declared: no redirects, no proxies, a credential read from a file.

An engine that cannot be reached, or that turns the house's credential away, is SiteDown: that says nothing about any attempt.
"""

from __future__ import annotations

import http.client
import json
import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from lilong.floors.compute.contract import SiteDown
from lilong.ground.errors import BadInput

_TIMEOUT_S = 20.0
_LARGEST = 256 << 20  # bytes of an answer
_BUSY = {429, 502, 503, 504}


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    body: bytes

    @property
    def ok(self) -> bool:
        return 200 <= self.status < 300

    def json(self) -> Any:
        return json.loads(self.body) if self.body else None

    def said(self) -> str:
        """The last line of what it says: of a traceback, the error itself."""
        lines = [line.strip() for line in self.body.decode("utf-8", errors="replace").strip().splitlines() if line.strip(" .")]
        return lines[-1][:500] if lines else f"HTTP {self.status}"


class Rest:
    """`credential` gives the value of the Authorization header, or "", anew for each request: token files are rotated."""

    def __init__(
        self,
        site: str,
        url: str,
        *,
        credential: Callable[[], str] = lambda: "",
        tls: Callable[[], ssl.SSLContext] = ssl.create_default_context,
        timeout: float = _TIMEOUT_S,
        way_out: str,
    ) -> None:
        self.site = site
        if problem := unfit(url):
            raise BadInput(field=f"sites.{site}.options.url", problem=problem, way_out="Give http://host:port.")
        parts = urlsplit(url)
        self._host, self._port, self._prefix = parts.hostname or "", parts.port, parts.path.rstrip("/")
        self._tls = tls() if parts.scheme == "https" else None
        self._credential = credential
        self._timeout = timeout
        self._way_out = way_out

    def ask(self, method: str, path: str, body: Any = None, *, kind: str = "application/json") -> Answer:
        """One request. Raises SiteDown; any answer of the engine itself, errors too, is for the caller to read."""
        with self._sent(method, path, body, kind, self._timeout) as response:
            read = response.read(_LARGEST + 1)
            if len(read) > _LARGEST:
                raise self._down(f"its answer to {path.partition('?')[0]} has more than {_LARGEST >> 20} MiB")
            return Answer(response.status, read)

    def lines(self, path: str, seconds: float) -> Iterator[bytes]:
        """The lines of an answer that the engine ends by itself within `seconds`."""
        with self._sent("GET", path, None, "", seconds + self._timeout) as response:
            if response.status != http.client.OK:
                yield response.read(1 << 16)
                return
            while line := response.readline():
                yield line

    @contextmanager
    def _sent(self, method: str, path: str, body: Any, kind: str, timeout: float) -> Iterator[http.client.HTTPResponse]:
        headers = {"accept": "application/json", "user-agent": "lilong", "connection": "close"}
        if body is not None:
            headers["content-type"] = kind
        if credential := self._credential():
            headers["authorization"] = credential
        if self._tls is not None:
            connection: http.client.HTTPConnection = http.client.HTTPSConnection(self._host, self._port, timeout=timeout, context=self._tls)
        else:
            connection = http.client.HTTPConnection(self._host, self._port, timeout=timeout)
        try:
            connection.request(method, self._prefix + path, None if body is None else json.dumps(body).encode(), headers)
            response = connection.getresponse()
            if response.status in (401, 403):
                raise self._down(
                    f"it does not accept the house's credential for {method} {path.partition('?')[0]} (HTTP {response.status})"
                )
            if response.status in _BUSY:
                raise self._down(f"it answers with HTTP {response.status}")
            yield response
        except (OSError, http.client.HTTPException) as problem:
            raise self._down(f"{type(problem).__name__}: {problem}") from problem
        finally:
            connection.close()

    def _down(self, problem: str) -> SiteDown:
        return SiteDown(site=self.site, problem=problem[:300], way_out=self._way_out)


def unfit(url: str) -> str | None:
    """What is wrong with an engine's address, never repeating what may be secret in it; None if nothing is."""
    try:
        parts = urlsplit(url)
        if "@" in url or parts.query:
            return "it holds a name, a password or a token, and settings are kept and shown as they are"
        return None if parts.scheme in ("http", "https") and parts.hostname and parts.port != 0 else f"{url[:100]!r} is not an address"
    except ValueError:
        return "it is not an address"


def check_private(field: str, path: Path) -> None:
    """That nobody but its owner may read a file with a credential. Raises BadInput."""
    mode = path.stat().st_mode & 0o777
    if mode & 0o077:
        problem = f"others than its owner may use {path} (its mode is {mode:o}), and there is a credential in it"
        raise BadInput(field=field, problem=problem, way_out=f"Run `chmod 600 {path}`.")


def bearer(path: Path | None) -> Callable[[], str]:
    """The Authorization header from a file with a token in it; read anew each time, for such files are rotated."""

    def read() -> str:
        return f"Bearer {path.read_text().strip()}" if path is not None else ""

    return read
