"""Another hub, as one that speaks the Hugging Face API: what a revision is, which files it has, and their bytes, checked."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urljoin, urlsplit

from lilong.floors.hub.rules.sources import Source
from lilong.floors.hub.store.imports import File
from lilong.ground import intake
from lilong.ground.blobs import writing
from lilong.ground.errors import BadInput, Corrupt, Forbidden, NotFound, Refused
from lilong.ground.house import House

from . import outgoing
from .outgoing import Reply, SourceAway

_ANSWER = 64 << 20  # bytes of a JSON answer
_PIECE = 1 << 20
_TOLD_EVERY = 8 << 20  # bytes between two notes of how far a file has come
_MOST_FILES = 1_000_000
_COMMIT = re.compile(r"[0-9a-f]{40}")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_NEXT = re.compile(r'<([^>]*)>\s*;\s*rel="?next"?')


class SourceLacks(NotFound):
    """{host} has no {what} that may be read{with_token}."""


class SourceRefuses(Forbidden):
    """{host} does not let us read {what} (status {status}). Give a token of that hub that may."""


class SourceOdd(Refused):
    """{host} does not answer as a Hugging Face hub does: {problem}. {way_out}"""


class NotTheFile(Corrupt):
    """The file '{path}' from {host} is not what that hub says it is: {problem}. It was not kept."""

    status = 422


class Stopped(Exception):
    """The house is closing, or the import was cancelled."""


@dataclass(frozen=True, slots=True)
class Remote:
    """A source and how it is spoken to. The token goes to the source's own host and nowhere else."""

    source: Source
    token: str = field(repr=False)
    allowed: frozenset[str]

    @property
    def host(self) -> str:
        return urlsplit(self.source.endpoint).netloc

    def headers(self, url: str) -> dict[str, str]:
        home = urlsplit(self.source.endpoint)
        there = urlsplit(url)
        mine = self.token and (there.scheme, there.netloc) == (home.scheme, home.netloc)
        return {"authorization": f"Bearer {self.token}"} if mine else {}

    def check(self, reply: Reply, what: str) -> None:
        """Raises SourceLacks, SourceRefuses, SourceAway, SourceOdd for an answer that is not one."""
        if reply.status in (200, 206):
            return
        if reply.status in (401, 403):
            raise SourceRefuses(host=self.host, what=what, status=reply.status)
        if reply.status == 404:
            raise SourceLacks(host=self.host, what=what, with_token="" if self.token else " without a token")
        if reply.status in (408, 425, 429) or reply.status >= 500:
            raise SourceAway(host=self.host, problem=f"it answers {reply.status} for {what}")
        raise SourceOdd(host=self.host, problem=f"it answers {reply.status} for {what}", way_out="Look at the address.")

    def json(self, url: str, what: str) -> tuple[Any, str]:
        """The value, and the address of the next page ("" for none)."""
        with outgoing.request("GET", url, headers={**self.headers(url), "accept": "application/json"}, allowed=self.allowed) as reply:
            self.check(reply, what)
            try:
                value = json.loads(reply.all(_ANSWER))
            except (ValueError, RecursionError):
                raise SourceOdd(host=self.host, problem=f"{what} is not JSON", way_out="Look at the address.") from None
            onward = _NEXT.search(reply.headers.get("link", ""))
            return value, urljoin(url, onward[1]) if onward else ""


def of(house: House, source: Source, token: str) -> Remote:
    return Remote(source, token, outgoing.allowed_hosts(house))


def pinned(remote: Remote) -> str:
    """The commit that the wanted revision is now."""
    source = remote.source
    what = f"revision {source.revision} of {source.name}"
    value, _ = remote.json(source.api("revision", source.revision), what)
    commit = value.get("sha") if isinstance(value, dict) else None
    if not isinstance(commit, str) or not _COMMIT.fullmatch(commit):
        raise SourceOdd(host=remote.host, problem=f"{what} has no commit", way_out="Look at the address.")
    return commit


def files(remote: Remote, commit: str) -> Iterator[File]:
    """All files of a commit. Raises SourceOdd, BadInput for a path that no repository takes."""
    url, count = remote.source.api("tree", commit) + "?recursive=true", 0
    while url:
        page, onward = remote.json(url, f"the files of {remote.source.name}")
        if not isinstance(page, list):
            raise SourceOdd(host=remote.host, problem="a list of files is no list", way_out="Look at the address.")
        for item in page:
            if isinstance(item, dict) and item.get("type") == "file":
                yield _file(remote, item)
                count += 1
        if onward == url or count > _MOST_FILES:
            raise SourceOdd(host=remote.host, problem="its list of files has no end", way_out="Leave it alone.")
        url = onward


def _file(remote: Remote, item: dict[str, Any]) -> File:
    path, size, oid = item.get("path"), item.get("size"), item.get("oid")
    if not isinstance(path, str) or not isinstance(size, int) or not 0 <= size < 1 << 62 or not isinstance(oid, str):
        raise SourceOdd(host=remote.host, problem="a file of its list has no path, size or id", way_out="Look at the address.")
    lfs = item.get("lfs")
    sha256 = ""
    if isinstance(lfs, dict):
        sha256 = str(lfs.get("oid") or lfs.get("sha256") or "").removeprefix("sha256:")
        if not _SHA256.fullmatch(sha256) or lfs.get("size", size) != size:
            raise SourceOdd(host=remote.host, problem=f"the large file {path[:200]} has no SHA-256", way_out="Look at the address.")
    elif not _COMMIT.fullmatch(oid):
        raise SourceOdd(host=remote.host, problem=f"the file {path[:200]} has no id", way_out="Look at the address.")
    return File(intake.path(path), size, oid, sha256)


def fetch(remote: Remote, commit: str, file: File, part: Path, told: Callable[[int], None]) -> str:
    """Bring a file into `part`, going on where an earlier attempt broke off; its digest. `told(bytes)` may raise Stopped.

    Raises NotTheFile (with nothing left in `part`), SourceAway (with what has come so far), SourceLacks, SourceRefuses.
    """
    for _ in range(2):
        resumed = _bring(remote, commit, file, part, told)
        try:
            return _checked(remote, file, part)
        except NotTheFile:
            part.unlink(missing_ok=True)
            if not resumed:  # the first half may have been of another time, or the disk's: once more from the start
                raise
    raise AssertionError("unreachable")


def _bring(remote: Remote, commit: str, file: File, part: Path, told: Callable[[int], None]) -> bool:
    """Whether something of the file was here before."""
    have = part.stat().st_size if part.exists() else 0
    if have > file.size:
        part.unlink()
        have = 0
    resumed = have > 0
    if have == file.size and part.exists():
        return resumed
    url = remote.source.file(commit, file.path)
    headers = {**remote.headers(url), **({"range": f"bytes={have}-"} if have else {})}
    with outgoing.request("GET", url, headers=headers, allowed=remote.allowed) as reply:
        if reply.status == 416 and have:
            part.unlink()
            return _bring(remote, commit, file, part, told)
        remote.check(reply, f"the file {file.path} of {remote.source.name}")
        if reply.status == 206 and not reply.headers.get("content-range", "").startswith(f"bytes {have}-"):
            raise SourceOdd(host=remote.host, problem=f"it sends another range of {file.path} than the one asked for", way_out="Try again.")
        if reply.status == 200:
            have = 0
        with part.open("ab" if have else "wb") as out:
            unsaid = 0
            while piece := reply.read(_PIECE):
                have += len(piece)
                if have > file.size:
                    out.close()
                    part.unlink()
                    raise NotTheFile(path=file.path, host=remote.host, problem=f"it has more than {file.size} bytes")
                with writing(part.parent):
                    out.write(piece)
                unsaid += len(piece)
                if unsaid >= _TOLD_EVERY:
                    unsaid = 0
                    told(have)
    if have < file.size:
        raise SourceAway(host=remote.host, problem=f"{file.path} broke off after {have} of {file.size} bytes")
    return resumed


def _checked(remote: Remote, file: File, part: Path) -> str:
    sha256, sha1 = hashlib.sha256(), hashlib.sha1(b"blob %d\0" % file.size, usedforsecurity=False)
    with part.open("rb") as content:
        while piece := content.read(_PIECE):
            sha256.update(piece)
            if not file.sha256:
                sha1.update(piece)
    found, expected = (sha256.hexdigest(), file.sha256) if file.sha256 else (sha1.hexdigest(), file.git_id)
    if found != expected:
        kind = "SHA-256" if file.sha256 else "git id"
        raise NotTheFile(path=file.path, host=remote.host, problem=f"its {kind} is {found}, not {expected}")
    return f"sha256:{sha256.hexdigest()}"


def peek(remote: Remote, commit: str, path: str, start: int, count: int) -> bytes:
    """A piece of a file, unchecked: to judge a format by, never to be passed on. Raises SourceAway and the like."""
    url = remote.source.file(commit, path)
    headers = {**remote.headers(url), "range": f"bytes={start}-{start + count - 1}"}
    with outgoing.request("GET", url, headers=headers, allowed=remote.allowed) as reply:
        remote.check(reply, f"the file {path} of {remote.source.name}")
        if reply.status != 206:
            if start:
                raise SourceOdd(
                    host=remote.host, problem="it serves no ranges, which a mirror needs", way_out="Import the repository instead."
                )
            pieces, taken = [], 0
            while taken < count and (piece := reply.read(count - taken)):
                pieces.append(piece)
                taken += len(piece)
            return b"".join(pieces)
        return reply.all(count)


def check_import(file: File, limit: int) -> None:
    """Raises BadInput for a file that is larger than the house takes."""
    if file.size > limit:
        raise BadInput(field=file.path, problem=f"it has {file.size} bytes; the limit is {limit}", way_out="Leave it out with --exclude.")
