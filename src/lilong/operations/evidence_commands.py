"""CLI: verify, export, trace."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from lilong.cli_kit import common, show
from lilong.client import Client
from lilong.ground.errors import Corrupt

_HEX = 12  # digits of a digest that people are shown


class NotSound(Corrupt):
    """{summary}."""


@click.command()
@click.argument("folder", required=False, type=click.Path(path_type=Path))
@click.option("--key", "trusted", help="The house's key (name+hash+key) that must have signed the bundle; default: the bundle's own.")
@click.option("--house", type=click.Path(path_type=Path), envvar="LILONG_HOUSE", help="The house's folder (default: ./house).")
@click.option("--url", help="A server's address instead of a folder (also LILONG_URL).")
@click.option("--token-file", type=click.Path(path_type=Path), envvar="LILONG_TOKEN_FILE", help="File with your API token (mode 0600).")
@click.option("--json", "as_json", is_flag=True, help="Answer in JSON.")
def verify(folder: Path | None, trusted: str | None, house: Path | None, url: str | None, token_file: Path | None, as_json: bool) -> None:
    """Check the bundle in FOLDER, offline; without FOLDER, check the whole house."""
    found = _of_folder(folder, trusted) if folder else _of_house(house, url, token_file)
    if as_json:
        show(found, True)
    else:
        for problem in found["problems"]:
            click.echo(f"{problem['place']}: {problem['what']}")
        click.echo(f"{found['files']} files, {found['bytes']:,} bytes and {found['events']} events checked; signed by {found['key'] or 'nobody known'}")
        click.echo(found["summary"])
    if found["problems"]:
        sys.exit(NotSound.exit_code)


def _of_folder(folder: Path, trusted: str | None) -> dict[str, Any]:
    from lilong.operations.bundles.check import verify as check
    from lilong.operations.bundles.findings import plain

    if not folder.is_dir():
        raise click.BadParameter(f"there is no folder {folder}", param_hint="FOLDER")
    return plain(check(folder, trusted=trusted, progress=_told))


def _of_house(house: Path | None, url: str | None, token_file: Path | None) -> dict[str, Any]:
    from lilong.client import opened

    with opened(house, url, token_file) as client:
        return checked(client)


def checked(client: Client) -> dict[str, Any]:
    """The findings of a check of the whole house, with progress on a terminal. Raises NotSound where the check itself fails."""
    from lilong.client import evidence

    found: dict[str, Any] = {}
    for line in _lines(evidence.verification(client)):
        told = json.loads(line)
        if "findings" in told:
            found = told["findings"]
        elif "error" in told:
            raise NotSound(summary=told["error"])
        else:
            _told(told["doing"], told["done"], told["of"])
    if sys.stderr.isatty():
        click.echo("\r\033[K", err=True, nl=False)
    if not found:
        raise NotSound(summary="the check ended before it was done")
    return found


def _lines(chunks: Iterator[bytes]) -> Iterator[bytes]:
    held = b""
    for chunk in chunks:
        *whole, held = (held + chunk).split(b"\n")
        yield from whole
    if held:
        yield held


def _told(doing: str, done: int, of: int) -> None:
    if sys.stderr.isatty():
        share = f"{done / of:4.0%} " if of else ""
        click.echo(f"\r\033[K{share}{doing[-100:]}", err=True, nl=False)
        if done == of:
            click.echo("\r\033[K", err=True, nl=False)


@click.command()
@click.argument("of")
@click.option("--out", required=True, type=click.Path(path_type=Path), help="The folder to make; an earlier bundle there is replaced.")
@click.option("--files", type=click.Choice(["subject", "all", "none"]), default="subject", show_default=True, help="Whose files go along.")
@common
def export(client: Client, as_json: bool, of: str, out: Path, files: str) -> None:
    """Write the evidence OF a receipt, organisation/name@revision or registration number as a bundle that anyone can check."""
    from lilong.client import evidence
    from lilong.operations.bundles.export import unpack

    unpack(evidence.bundle(client, of, files), out, _told)
    index = json.loads((out / "bundle.json").read_text())
    size = sum(file["size"] for file in index["files"].values())
    shown = {"folder": str(out), "subject": index["subject"]["name"], "statements": _count(index, "statements/"), "files": len(index["files"]), "bytes": size}
    show(shown, as_json)


def _count(index: dict[str, Any], folder: str) -> int:
    return sum(1 for name in index["files"] if name.startswith(folder))


@click.command()
@click.argument("of")
@click.option("--down", "direction", flag_value="down", default="down", help="To what it was made from (the default).")
@click.option("--up", "direction", flag_value="up", help="To all that it touched.")
@common
def trace(client: Client, as_json: bool, of: str, direction: str) -> None:
    """Walk from a receipt, organisation/name@revision, registration number, source, deployment or digest to its sources, or to all it touched."""
    from lilong.client import evidence

    found = evidence.trace(client, of, direction)
    if as_json:
        show(found, True)
        return
    for line in _tree(found):
        click.echo(line)


def _tree(found: dict[str, Any]) -> Iterator[str]:
    """The walk as an outline: each thing under the first that led to it, each statement once, above what it leads to."""
    artifacts = {artifact["digest"]: artifact for artifact in found["artifacts"]} | {found["start"]["digest"]: found["start"]}
    down = found["direction"] == "down"
    onward: dict[str, list[tuple[dict[str, Any], list[str]]]] = {}
    for step in found["statements"]:
        enter, leave = (step["subjects"], step["materials"]) if down else (step["materials"], [*step["subjects"], step["id"]])
        for digest in [*enter, step["id"]]:
            onward.setdefault(digest, []).append((step, leave))
    met: set[str] = set()

    def walk(digest: str, depth: int) -> Iterator[str]:
        met.add(digest)
        if digest in artifacts:
            yield f"{'  ' * depth}{artifacts[digest]['kind']} {artifacts[digest]['name']}  {digest[: 7 + _HEX]}"
        for step, leave in onward.get(digest, []):
            if step["id"] in met and step["id"] != digest:
                continue
            met.add(step["id"])
            short = "/".join(step["predicate_type"].split("/")[-2:])
            revoked = ", REVOKED" if step["revoked_by"] else ""
            yield f"{'  ' * depth}  {'from' if down else 'in'} {short}, {step['at'][:19]}Z, {step['id'][: 7 + _HEX]}{revoked}"
            for line in step.get("told", ()):
                yield f"{'  ' * depth}    · {line}"
            for other in leave:
                if other not in met:
                    yield from walk(other, depth + 2)

    yield from walk(found["start"]["digest"], 0)
