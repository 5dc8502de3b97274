"""CLI: admin, what an operator does once in a while."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import click

from lilong.cli_kit import common, show
from lilong.client import Client

_BATCH = 250  # lines
_BATCH_CHARACTERS = 1 << 20
_COUNTS = ("organisations", "users", "roles", "tokens")


@click.group()
def admin() -> None:
    """What an operator does once in a while."""


@admin.command("import-users", short_help="Bring people and their tokens over from another hub.")
@click.argument("file", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option("--dry-run", is_flag=True, help="Say what would be added, and add nothing.")
@common
def import_users(client: Client, as_json: bool, file: Path, dry_run: bool) -> None:
    """Bring users, organisations and their tokens over from another hub.

    FILE has one JSON object a line: {"org", "fullname", "default_visibility"} or {"name", "fullname", "email", "orgs": [{"name", "role"}], "tokens":
    [{"name", "value", "role"}]}. Tokens work at once under the values that their users have; only hashes of them are kept. What is there
    already is left as it is, so the same file can be given again. Lines that cannot be taken are named, and the others are taken.
    """
    lines, organisations, problems = _read(file)
    total: dict[str, Any] = dict.fromkeys(_COUNTS, 0)
    notes: list[Any] = []
    done = 0
    for batch in _batches(lines):
        report = client.post("/api/hub/user-imports", {"lines": batch, "dry_run": dry_run, "assumed": organisations if dry_run else []})
        for name in _COUNTS:
            total[name] += report[name]
        problems += report["problems"]
        notes += report["notes"]
        done += len(batch)
        if sys.stderr.isatty() and not as_json:
            click.echo(f"\r{done:,} of {len(lines):,} lines", nl=done == len(lines), err=True)
    problems.sort(key=lambda each: each["line"])
    shown = {**total, "lines": len(lines), "dry_run": dry_run, "problems": problems, "notes": notes}
    if as_json:
        show(shown, True)
    else:
        for each in [*notes, *problems]:
            click.echo(f"line {each['line']}: {each['problem']}", err=True)
        verb = "would be added" if dry_run else "added"
        click.echo(f"{', '.join(f'{total[name]:,} {name}' for name in _COUNTS)} {verb}; {len(problems)} problems in {len(lines):,} lines")
    if problems:
        sys.exit(2)


@admin.group("programs")
def programs() -> None:
    """Programs that may sign users in through this house (OAuth)."""


@programs.command("list")
@common
def programs_list(client: Client, as_json: bool) -> None:
    """All that are registered."""
    show(
        client.get("/api/hub/oauth-clients"),
        as_json,
        [("ID", "id"), ("NAME", "title"), ("SENDS BACK TO", "redirects"), ("SINCE", "created_at")],
    )


@programs.command("add")
@click.argument("name")
@click.option("--redirect", "redirects", multiple=True, required=True, help="Address to which a browser is sent back; repeat for more.")
@click.option("--public", is_flag=True, help="It can keep no secret: a program on users' machines or in their browsers.")
@common
def programs_add(client: Client, as_json: bool, name: str, redirects: tuple[str, ...], public: bool) -> None:
    """Register a program. Its secret is shown once, here."""
    show(client.post("/api/hub/oauth-clients", {"name": name, "redirect_uris": list(redirects), "public": public}), as_json)


@programs.command("delete")
@click.argument("program")
@common
def programs_delete(client: Client, as_json: bool, program: str) -> None:
    """Take a program's registration away; what it holds ends within hours."""
    client.delete(f"/api/hub/oauth-clients/{quote(program, safe='')}")
    show({"deleted": program}, as_json)


def _read(file: Path) -> tuple[list[tuple[int, str]], list[str], list[dict[str, Any]]]:
    """The lines with their numbers, organisations first since users refer to them; their names; lines that are not text."""
    first: list[tuple[int, str]] = []
    then: list[tuple[int, str]] = []
    names: list[str] = []
    problems: list[dict[str, Any]] = []
    with file.open("rb") as opened:
        for number, raw in enumerate(opened, 1):
            try:
                text = raw.decode("utf-8-sig" if number == 1 else "utf-8").strip()
            except UnicodeDecodeError:
                problems.append({"line": number, "problem": "It is not UTF-8."})
                continue
            if not text:
                continue
            name = _organisation(text)
            (then if name is None else first).append((number, text))
            if name:
                names.append(name)
    return first + then, names, problems


def _organisation(text: str) -> str | None:
    """The name in a line that is about an organisation."""
    if '"org"' not in text:
        return None
    try:
        line = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return str(line["org"]) if isinstance(line, dict) and "org" in line else None


def _batches(lines: list[tuple[int, str]]) -> Iterator[list[tuple[int, str]]]:
    batch: list[tuple[int, str]] = []
    size = 0
    for line in lines:
        if batch and (len(batch) == _BATCH or size + len(line[1]) > _BATCH_CHARACTERS):
            yield batch
            batch, size = [], 0
        batch.append(line)
        size += len(line[1])
    if batch:
        yield batch
