"""Xorbs in a bucket of an S3 server, by obstore.

One PUT a xorb: the server has it whole or not at all, and nothing is asked of it beyond that (no conditional PUT, no multipart).
"""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote, urlsplit

from lilong.floors.hub.service.xorb_store import Pieces, StoreUnavailable, XorbMissing, hash_of
from lilong.ground.errors import BadInput

T = TypeVar("T")

_PIECE = 4 << 20  # bytes of one GET
_RETRIES = 4
_PATIENCE = timedelta(seconds=15)  # for all tries of one call: clients wait that long without a word


class S3Xorbs:
    """Objects `PREFIX/ab/abcd…` of one bucket."""

    def __init__(self, store: Any, place: str, bucket: _Bucket) -> None:
        self._store = store
        self._place = place
        self._bucket = bucket

    @classmethod
    def of(cls, place: str, endpoint: str, region: str, credentials: Path) -> S3Xorbs:
        """`place`: s3://BUCKET/PREFIX; `credentials`: a file of mode 0600 with access_key_id and secret_access_key. Raises BadInput."""
        try:
            from obstore.store import S3Store
        except ImportError as problem:
            raise BadInput(
                field="xorbs", problem="the package obstore is missing", way_out="Install it: pip install 'lilong[s3]'."
            ) from problem
        address = urlsplit(place)
        if not address.netloc:
            raise BadInput(field="xorbs", problem=f"{place[:100]!r} names no bucket", way_out="Write s3://BUCKET/PREFIX.")
        secrets = _credentials(credentials)
        options: dict[str, Any] = {"endpoint": endpoint} if endpoint else {}
        store = S3Store(
            address.netloc,
            prefix=address.path.strip("/") or None,
            region=region,
            virtual_hosted_style_request=not endpoint,  # what is not Amazon's is asked by path: every server knows that
            client_options={"allow_http": endpoint.startswith("http://"), "timeout": "60s", "connect_timeout": "5s"},
            retry_config={"max_retries": _RETRIES, "retry_timeout": _PATIENCE, "backoff": {
                "init_backoff": timedelta(milliseconds=100), "max_backoff": timedelta(seconds=2), "base": 2}},
            **options,
            **secrets,
        )  # fmt: skip
        prefix = f"/{address.path.strip('/')}".rstrip("/")
        if endpoint:
            bucket = _Bucket(endpoint.rstrip("/"), f"/{address.netloc}{prefix}", region, secrets)
        else:
            bucket = _Bucket(f"https://{address.netloc}.s3.{region}.amazonaws.com", prefix, region, secrets)
        return cls(store, place, bucket)

    def _key(self, hash: str) -> str:
        return f"{hash_of(hash)[:2]}/{hash}"

    def _ask(self, call: Callable[..., T], *args: Any, **more: Any) -> T:
        from obstore.exceptions import BaseError

        try:
            return call(self._store, *args, **more)
        except (FileNotFoundError, NotADirectoryError):
            raise
        except (BaseError, OSError) as problem:
            raise StoreUnavailable(problem=f"{self._place} did not answer as asked ({_short(problem)})") from problem

    def put(self, hash: str, pieces: Pieces) -> int:
        import obstore

        body = pieces if isinstance(pieces, bytes) else b"".join(pieces)
        try:
            self._ask(obstore.put, self._key(hash), body, use_multipart=False)
        except FileNotFoundError as problem:
            raise StoreUnavailable(problem=f"there is no bucket for {self._place}") from problem
        return len(body)

    def adopt(self, hash: str, file: Path) -> int:
        try:
            return self.put(hash, file.read_bytes())
        finally:
            file.unlink(missing_ok=True)

    def read(self, hash: str, start: int, end: int) -> bytes:
        import obstore

        if start >= end:
            return b""
        try:
            return bytes(self._ask(obstore.get_range, self._key(hash), start=start, end=end))
        except FileNotFoundError:
            raise XorbMissing(name=hash) from None

    def open_range(self, hash: str, start: int, end: int) -> Iterator[bytes]:
        first = self.read(hash, start, min(start + _PIECE, end))

        def rest() -> Iterator[bytes]:
            yield first
            for at in range(start + _PIECE, end, _PIECE):
                yield self.read(hash, at, min(at + _PIECE, end))

        return rest()

    def path(self, hash: str) -> Path | None:
        return None

    def size(self, hash: str) -> int | None:
        import obstore

        try:
            return int(self._ask(obstore.head, self._key(hash))["size"])
        except FileNotFoundError:
            return None

    def has(self, hash: str) -> bool:
        return self.size(hash) is not None

    def delete(self, hash: str) -> bool:
        import obstore

        if not self.has(hash):
            return False
        self._ask(obstore.delete, self._key(hash))
        return True

    def hashes(self) -> Iterator[str]:
        import obstore

        pages = iter(self._ask(obstore.list))
        while (page := self._ask(lambda _: next(pages, None))) is not None:
            for found in page:
                name = str(found["path"]).rsplit("/", 1)[-1]
                if len(name) == 64:
                    yield name

    def presign(self, hash: str, seconds: int, start: int, end: int) -> str | None:
        return signed(self._bucket, self._key(hash), seconds, datetime.now(UTC), {"range": f"bytes={start}-{end - 1}"})


@dataclass(frozen=True, slots=True)
class _Bucket:
    """Where a client finds it. `path`: what stands before a key, without a slash at the end."""

    origin: str
    path: str
    region: str
    secrets: dict[str, str] = field(repr=False)


def signed(bucket: _Bucket, key: str, seconds: int, now: datetime, headers: Mapping[str, str]) -> str:
    """AWS Signature Version 4 in the query: a GET with these headers, and with no others of the same names, is answered for so long."""
    day, at = now.strftime("%Y%m%d"), now.strftime("%Y%m%dT%H%M%SZ")
    scope = f"{day}/{bucket.region}/s3/aws4_request"
    named = {"host": urlsplit(bucket.origin).netloc, **headers}
    fields = {
        "X-Amz-Algorithm": "AWS4-HMAC-SHA256",
        "X-Amz-Credential": f"{bucket.secrets['access_key_id']}/{scope}",
        "X-Amz-Date": at,
        "X-Amz-Expires": str(seconds),
        "X-Amz-SignedHeaders": ";".join(sorted(named)),
    }
    if "session_token" in bucket.secrets:
        fields["X-Amz-Security-Token"] = bucket.secrets["session_token"]
    query = "&".join(f"{quote(name, safe='')}={quote(value, safe='')}" for name, value in sorted(fields.items()))
    path = quote(f"{bucket.path}/{key}", safe="/-_.~")
    lines = "".join(f"{name}:{value}\n" for name, value in sorted(named.items()))
    request = f"GET\n{path}\n{query}\n{lines}\n{';'.join(sorted(named))}\nUNSIGNED-PAYLOAD"
    text = f"AWS4-HMAC-SHA256\n{at}\n{scope}\n{hashlib.sha256(request.encode()).hexdigest()}"
    secret = f"AWS4{bucket.secrets['secret_access_key']}".encode()
    for part in (day, bucket.region, "s3", "aws4_request"):
        secret = hmac.new(secret, part.encode(), hashlib.sha256).digest()
    return f"{bucket.origin}{path}?{query}&X-Amz-Signature={hmac.new(secret, text.encode(), hashlib.sha256).hexdigest()}"


def _credentials(file: Path) -> dict[str, Any]:
    """Raises BadInput."""
    mend = f'Write {{"access_key_id": …, "secret_access_key": …}} into {file}, readable by its owner only.'
    try:
        if file.stat().st_mode & 0o077:
            raise BadInput(field="keys/s3.json", problem="others than its owner may read it", way_out=f"Run `chmod 600 {file}`.")
        found = json.loads(file.read_bytes())
    except FileNotFoundError:
        raise BadInput(field="keys/s3.json", problem="it is missing", way_out=mend) from None
    except ValueError:
        raise BadInput(field="keys/s3.json", problem="it is not JSON", way_out=mend) from None
    names = ("access_key_id", "secret_access_key", "session_token")
    secrets = {name: found[name] for name in names if isinstance(found, dict) and isinstance(found.get(name), str)}
    if not {"access_key_id", "secret_access_key"} <= set(secrets):
        raise BadInput(field="keys/s3.json", problem="it has no access_key_id or no secret_access_key", way_out=mend)
    return secrets


def _short(problem: BaseException) -> str:
    """The first line of what obstore says, without its debug output."""
    return " ".join(str(problem).split("Debug source")[0].split())[:300].rstrip(". ")
