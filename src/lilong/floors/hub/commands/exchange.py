"""`lilong hub import`, `mirror`, `export` and `import-bundle`: repositories from elsewhere and to elsewhere."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import click

from lilong.cli_kit import common, show

_KIND = click.option("--kind", type=click.Choice(["model", "dataset"]), default="model", show_default=True, help="Kind of the repository.")
_PAUSE = 0.5  # seconds between two looks at an import
_OVER = ("done", "failed", "cancelled")
_COLUMNS = (
    ("ID", "id"), ("REPOSITORY", "repository"), ("MODE", "mode"), ("STATE", "state"), ("FILES", "files_done"), ("OF", "files"), ("BYTES", "bytes_done"),
    ("OF", "bytes"), ("SOURCE", "source"), ("ERROR", "error"),
)  # fmt: skip


def _secret(source_token: str | None) -> str:
    """The other hub's token, from a file of mode 0600 or from standard input (-)."""
    from lilong.client import read_secret

    if source_token is None:
        return ""
    if source_token == "-":  # noqa: S105 - the sign for stdin
        return sys.stdin.readline().strip()
    return read_secret(
        Path(source_token), field="source-token", way_out="Give a file that holds the other hub's token, or - for standard input."
    )


@click.command("import")
@click.argument("source", metavar="[URL]", required=False)
@click.option("--as", "name", default="", help="organisation/name here (default: your own namespace and the source's name).")
@click.option("--revision", help="Branch, tag or commit (default: main).")
@click.option("--exclude", multiple=True, help="Pattern of paths to leave out, such as '*.bin'; may be given again.")
@click.option("--public", is_flag=True, help="Let everyone who reaches the server read it.")
@click.option("--source-token", metavar="FILE", help="File with the other hub's token (mode 0600), or - for standard input.")
@click.option("--no-wait", is_flag=True, help="Begin it and do not wait for its end.")
@click.option("--list", "listed", is_flag=True, help="Show all imports instead.")
@click.option("--follow", metavar="ID", help="Watch one that runs already.")
@click.option("--cancel", metavar="ID", help="Stop one, and throw away what has come of it.")
@click.option("--retry", metavar="ID", help="Take up a failed one where it stopped.")
@common
def import_(
    client: Any, as_json: bool, source: str | None, name: str, revision: str | None, exclude: tuple[str, ...], public: bool, source_token: str | None,
    no_wait: bool, listed: bool, follow: str | None, cancel: str | None, retry: str | None,
) -> None:  # fmt: skip
    """Bring a repository over from another hub: URL as in a browser, https://host/organisation/name.

    The server does it, and goes on after a restart; every file is checked against the digest that the other hub tells.
    """
    if listed:
        show(client.get("/api/hub/imports"), as_json, _COLUMNS)
    elif cancel:
        show(client.post(f"/api/hub/imports/{cancel}/cancel"), as_json)
    elif follow or retry:
        found = client.post(f"/api/hub/imports/{retry}/retry") if retry else client.get(f"/api/hub/imports/{follow}")
        _finish(client, found, as_json, no_wait)
    elif source:
        asked = {
            "url": source,
            "name": name,
            "revision": revision,
            "exclude": list(exclude),
            "private": not public,
            "token": _secret(source_token),
        }
        _finish(client, client.post("/api/hub/imports", asked), as_json, no_wait)
    else:
        raise click.UsageError("Give the address of a repository, or one of --list, --follow, --cancel, --retry.")


@click.command()
@click.argument("source", metavar="[URL]", required=False)
@click.option("--as", "name", default="", help="organisation/name here; with --refresh or --status, the mirror that is meant.")
@click.option("--revision", help="Branch, tag or commit that it is pinned to (default: main).")
@click.option("--exclude", multiple=True, help="Pattern of paths to leave out; may be given again.")
@click.option("--public", is_flag=True, help="Let everyone who reaches the server read it.")
@click.option("--source-token", metavar="FILE", help="File with the other hub's token (mode 0600), or - for standard input.")
@click.option("--refresh", is_flag=True, help="Move the pin to where the revision is at the source now.")
@click.option("--status", is_flag=True, help="Show the pin, and how much has not come yet.")
@_KIND
@click.option("--no-wait", is_flag=True, help="Begin it and do not wait for its end.")
@common
def mirror(
    client: Any, as_json: bool, source: str | None, name: str, revision: str | None, exclude: tuple[str, ...], public: bool, source_token: str | None,
    refresh: bool, status: bool, kind: str, no_wait: bool,
) -> None:  # fmt: skip
    """Show another hub's repository here: small files come at once, large ones with their first reader, and stay."""
    if (refresh or status) and not name:
        raise click.UsageError("Say which mirror: --as organisation/name.")
    if status:
        show(client.get("/api/hub/mirrors", kind=kind, name=name), as_json)
    elif refresh:
        _finish(client, client.post("/api/hub/mirrors/refresh", {"kind": kind, "name": name, "revision": revision}), as_json, no_wait)
    elif source:
        asked = {
            "url": source, "name": name, "revision": revision, "exclude": list(exclude), "private": not public, "mode": "mirror",
            "token": _secret(source_token),
        }  # fmt: skip
        _finish(client, client.post("/api/hub/imports", asked), as_json, no_wait)
    else:
        raise click.UsageError("Give the address of a repository, or --refresh or --status with --as.")


def _finish(client: Any, found: dict[str, Any], as_json: bool, no_wait: bool) -> None:
    """Watch an import to its end; the process ends with an error where the import does."""
    if client.url is None and found["state"] not in _OVER:
        click.echo("No server runs: the next `lilong up` carries it out.", err=True)
        no_wait = True
    if not no_wait and found["state"] not in _OVER:
        told = f"{found['id']} goes on without this command; `lilong hub import --follow {found['id']}` watches it, `--cancel` ends it."
        click.echo(told, err=True)
        found = _watched(client, found)
    show(found, as_json)
    if found["state"] in ("failed", "cancelled"):
        sys.exit(6)


def _watched(client: Any, found: dict[str, Any]) -> dict[str, Any]:
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

    console = Console(stderr=True, highlight=False)
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal) as bars:
        bar = bars.add_task(found["repository"], total=None)
        while found["state"] not in _OVER:
            time.sleep(_PAUSE)
            found = client.get(f"/api/hub/imports/{found['id']}")
            told = f"{found['stage']} {found['files_done']}/{found['files']}"
            bars.update(bar, description=told, total=found["bytes"] or None, completed=found["bytes_done"])
    return found


@click.command()
@click.argument("name")
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), required=True, help="The new file (.tar).")
@click.option("--pull-requests", is_flag=True, help="Their branches too.")
@_KIND
@common
def export(client: Any, as_json: bool, name: str, out: Path, pull_requests: bool, kind: str) -> None:
    """Write a repository with its history, its large files and what was signed about it into one file.

    NAME is organisation/name, or organisation/name@revision for one revision and what led to it.
    """
    from lilong.client import evidence
    from lilong.ground.errors import BadInput

    if out.exists():
        raise BadInput(field="out", problem=f"{out} exists", way_out="Name a new file.")
    if not out.parent.is_dir():
        raise BadInput(field="out", problem=f"there is no folder {out.parent}", way_out="Make it, or name a file in another.")
    part = out.with_name(f".{out.name}.part")
    size = 0
    try:
        with part.open("wb") as file, _bar("exported") as told:
            for piece in evidence.stream(client, "/api/hub/bundles", kind=kind, name=name, pulls=str(pull_requests).lower()):
                file.write(piece)
                size += len(piece)
                told(size)
            file.flush()
            os.fsync(file.fileno())
        part.replace(out)
    finally:
        part.unlink(missing_ok=True)
    show({"file": str(out), "bytes": size, "repository": name}, as_json)


@click.command("import-bundle")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--as", "name", default="", help="organisation/name here (default: the name in the bundle).")
@click.option("--public", is_flag=True, help="Let everyone who reaches the server read it.")
@click.option("--trusted", metavar="KEY", help="Take it only if this key signed it (as an earlier import has shown it).")
@common
def import_bundle(client: Any, as_json: bool, file: Path, name: str, public: bool, trusted: str | None) -> None:
    """Take in a repository from a file that `lilong hub export` wrote: checked from end to end before anything of it is seen."""
    query = {"name": name, "private": str(not public).lower(), "trusted": trusted}
    with file.open("rb") as content, _bar("sent") as told:
        _, answer = client.send("POST", "/api/hub/bundles", _Told(content, told), query)
    show(json.loads(answer), as_json)


class _Told:
    """A file that tells how far it was read."""

    def __init__(self, file: IO[bytes], told: Callable[[int], None]) -> None:
        self._file, self._told, self._read = file, told, 0

    def read(self, count: int = -1) -> bytes:
        piece = self._file.read(count)
        self._read += len(piece)
        self._told(self._read)
        return piece

    def __iter__(self) -> Iterator[bytes]:
        return iter(lambda: self.read(1 << 18), b"")


@contextmanager
def _bar(word: str) -> Iterator[Callable[[int], None]]:
    """A count of bytes, shown on a terminal."""
    terminal, shown = sys.stderr.isatty(), 0.0

    def tell(size: int) -> None:
        nonlocal shown
        if terminal and time.monotonic() - shown > _PAUSE:
            shown = time.monotonic()
            click.echo(f"\r{size / (1 << 20):.1f} MiB {word}", nl=False, err=True)

    try:
        yield tell
    finally:
        if terminal:
            click.echo("\r\033[K", nl=False, err=True)
