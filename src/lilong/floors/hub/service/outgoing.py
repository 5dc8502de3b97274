"""HTTP to addresses that a user has named: never to the house's own network, unless its operator has said so.

A name is resolved once, all addresses that it stands for are judged, and the connection goes to one of the judged addresses, so that
a name cannot mean something else a moment later. Redirects are followed here and judged anew; another host does not get the token.
"""

from __future__ import annotations

import contextlib
import http.client
import ipaddress
import socket
import ssl
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from urllib.parse import urljoin, urlsplit

from lilong.ground.errors import BadInput, Forbidden, Unavailable
from lilong.ground.house import House

_REDIRECTS = {301, 302, 303, 307, 308}
_MOST_REDIRECTS = 6
_SECRETS = {"authorization", "cookie"}


class BadAddress(BadInput):
    """The address {url} cannot be used: {problem}. Give it as https://host/…, without a user name in it."""


class AddressRefused(Forbidden):
    """The address {url} leads into a private network ({address}). The operator can allow its host with the setting `import_hosts`."""


class SourceAway(Unavailable):
    """{host} cannot be reached: {problem}. Try again when it is back."""


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer whose body is read piece by piece. `url`: where the last redirect led."""

    status: int
    headers: Mapping[str, str]  # names in lower case
    url: str
    _response: http.client.HTTPResponse

    def read(self, size: int) -> bytes:
        """Up to `size` bytes; empty at the end. Raises SourceAway where the body breaks off."""
        try:
            piece = self._response.read(size)
            if not piece and self._response.length:
                raise http.client.IncompleteRead(b"", self._response.length)
        except (OSError, http.client.HTTPException) as problem:
            raise SourceAway(host=_host(self.url), problem=f"its answer broke off ({type(problem).__name__})") from problem
        return piece

    def all(self, limit: int) -> bytes:
        """The whole body. Raises SourceAway for one of more than `limit` bytes, or one that breaks off."""
        pieces, size = [], 0
        while piece := self.read(1 << 16):
            pieces.append(piece)
            size += len(piece)
            if size > limit:
                raise SourceAway(host=_host(self.url), problem=f"its answer has more than {limit} bytes")
        return b"".join(pieces)


def allowed_hosts(house: House) -> frozenset[str]:
    """What the operator has allowed: names, `name:port`, addresses or networks (10.0.0.0/8)."""
    return frozenset(word.strip().lower() for word in house.settings.import_hosts.split(",") if word.strip())


def check_url(url: str) -> str:
    """The address without fragment, user name and a slash at its end. Raises BadAddress."""
    try:
        parts = urlsplit(url.strip())
        port = parts.port
    except ValueError as problem:
        raise BadAddress(url=url[:200], problem=str(problem)) from problem
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise BadAddress(url=url[:200], problem="it is not an http or https address")
    if parts.username or parts.password:
        raise BadAddress(url=f"{parts.scheme}://{parts.hostname}", problem="it has a user name or a password in it")
    if any(c <= " " or c == "\x7f" for c in url.strip()):
        raise BadAddress(url=parts.hostname, problem="it has a space or a control character")
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    return f"{parts.scheme}://{host}{f':{port}' if port else ''}{parts.path.rstrip('/')}{f'?{parts.query}' if parts.query else ''}"


def _host(url: str) -> str:
    return urlsplit(url).netloc


def addresses(url: str, allowed: frozenset[str]) -> list[str]:
    """The addresses behind a URL, every one of them judged. Raises AddressRefused, SourceAway."""
    parts = urlsplit(url)
    host, port = (parts.hostname or "").lower(), parts.port or (443 if parts.scheme == "https" else 80)
    try:
        found = list(dict.fromkeys(str(info[4][0]) for info in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)))
    except (OSError, UnicodeError) as problem:
        raise SourceAway(host=host, problem=f"its name cannot be resolved ({problem})") from problem
    if host not in allowed and f"{host}:{port}" not in allowed:
        for address in found:
            if not _may_reach(address, allowed):
                raise AddressRefused(url=f"{parts.scheme}://{parts.netloc}", address=address)
    return found


def _may_reach(address: str, allowed: frozenset[str]) -> bool:
    found = ipaddress.ip_address(address.partition("%")[0])
    inner = getattr(found, "ipv4_mapped", None) or getattr(found, "sixtofour", None)
    if inner is None and found.version == 6 and found in ipaddress.ip_network("64:ff9b::/96"):
        inner = ipaddress.ip_address(int(found) & 0xFFFFFFFF)
    judged = inner or found
    networks = []
    for word in allowed:
        with contextlib.suppress(ValueError):
            networks.append(ipaddress.ip_network(word, strict=False))
    if any(judged.version == network.version and judged in network for network in networks):
        return True
    return judged.is_global and not judged.is_multicast


class _Pinned(http.client.HTTPConnection):
    """A connection to an address that was judged, under the name that was asked for."""

    def __init__(self, host: str, port: int, address: str, timeout: float, context: ssl.SSLContext | None) -> None:
        super().__init__(host, port, timeout=timeout)
        self._address, self._context = address, context

    def connect(self) -> None:
        plain = socket.create_connection((self._address, self.port), self.timeout)
        self.sock = self._context.wrap_socket(plain, server_hostname=self.host) if self._context else plain


@contextlib.contextmanager
def request(
    method: str, url: str, *, headers: Mapping[str, str] | None = None, body: bytes | None = None, allowed: frozenset[str] = frozenset(),
    timeout: float = 30.0, redirects: bool = True,
) -> Iterator[Reply]:  # fmt: skip
    """One request, its redirects included (to GET and HEAD only). Raises BadAddress, AddressRefused, SourceAway."""
    sent = {"user-agent": "lilong", "accept-encoding": "identity", **(headers or {})}
    for _ in range(_MOST_REDIRECTS):
        connection, response = _ask(method, url, sent, body, allowed, timeout)
        try:
            answered = {name.lower(): value for name, value in response.getheaders()}
            if redirects and method in ("GET", "HEAD") and response.status in _REDIRECTS and "location" in answered:
                onward = check_url(urljoin(url, answered["location"]))
                if urlsplit(url).scheme == "https" and urlsplit(onward).scheme != "https":
                    raise BadAddress(url=onward, problem="a redirect leads from https to http")
                if (_host(onward), urlsplit(onward).scheme) != (_host(url), urlsplit(url).scheme):
                    sent = {name: value for name, value in sent.items() if name.lower() not in _SECRETS}
                url = onward
                continue
            yield Reply(response.status, answered, url, response)
            return
        finally:
            connection.close()
    raise SourceAway(host=_host(url), problem="it redirects too often")


def _ask(
    method: str, url: str, headers: Mapping[str, str], body: bytes | None, allowed: frozenset[str], timeout: float
) -> tuple[http.client.HTTPConnection, http.client.HTTPResponse]:
    parts = urlsplit(url)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    context = ssl.create_default_context() if parts.scheme == "https" else None
    failure: Exception | None = None
    for address in addresses(url, allowed):
        connection = _Pinned(parts.hostname or "", port, address, timeout, context)
        try:
            connection.connect()
        except OSError as problem:  # only what was not sent yet is tried at the next address
            connection.close()
            failure = problem
            continue
        try:
            connection.request(method, (parts.path or "/") + (f"?{parts.query}" if parts.query else ""), body, dict(headers))
            return connection, connection.getresponse()
        except (OSError, http.client.HTTPException, UnicodeError) as problem:
            connection.close()
            failure = problem
            break
    raise SourceAway(host=parts.netloc, problem=getattr(failure, "strerror", None) or str(failure) or type(failure).__name__) from failure
