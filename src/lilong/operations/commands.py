"""CLI: up, down, status, user, org, token, backup, restore."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any
from urllib.parse import quote

import click

from lilong.cli_kit import common, show
from lilong.client import Client, read_secret
from lilong.ground.errors import BadInput, Unavailable

_HOUSE = click.option("--house", type=click.Path(path_type=Path), envvar="LILONG_HOUSE", default=Path("house"), show_default=True, help="The house's folder.")  # fmt: skip


_PATIENCE_S = 120


class DidNotStart(Unavailable):
    """The server did not start: {problem}. Its log is {log}."""


class DoesNotEnd(Unavailable):
    """The server (process {pid}) has not ended {seconds} s after it was asked to. What it acknowledged is safe: `kill -9 {pid}`."""


@click.command()
@_HOUSE
@click.option("--host", help="Address to listen on.")
@click.option("--port", type=int, help="Port to listen on; 0 takes a free one.")
@click.option("--database", help="SQLAlchemy URL; default: SQLite in the house's folder.")
@click.option("--sandbox", type=click.Choice(["auto", "none", "landlock", "bubblewrap"]), help="Least isolation for jobs.")
@click.option("--detach", is_flag=True, help="Return once the server is ready, and leave it running.")
def up(house: Path, detach: bool, **overrides: Any) -> None:
    """Open the house (or make it) and serve it."""
    from lilong.ground.config import load

    settings = load(house, overrides)
    if detach:
        started = start_detached(house, overrides)
        click.echo(started)
        return
    from lilong.operations.serve import serve

    def ready(url: str) -> None:
        if sys.stdout.isatty():  # elsewhere the log's own line says it
            click.echo(f"Serving {settings.house} at {url} (Ctrl-C ends it). For a sign-in link: lilong user sign-in --house {house}")

    serve(settings, ready)


def start_detached(house: Path, overrides: dict[str, Any]) -> str:
    """Start a server in a session of its own and wait until it is ready; its address. A running one is left as it is."""
    from lilong.ground.presence import running

    if (already := running(house)) is not None:
        return already.url
    if not house.exists():
        house.mkdir(parents=True, mode=0o700)
    (house / "run").mkdir(parents=True, exist_ok=True)
    log = house / "run" / "server.log"
    argv = [sys.executable, "-m", "lilong.cli", "up", "--house", str(house)]
    for key, value in overrides.items():
        if value is not None:
            argv += [f"--{key}", str(value)]
    with log.open("ab") as output:
        start = log.stat().st_size
        process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True)
    while True:
        if (server := running(house)) is not None and server.pid == process.pid:
            return server.url
        if process.poll() is not None:
            said = log.read_bytes()[start:].decode(errors="replace").strip().splitlines()
            problem = said[-1].removeprefix("lilong: ") if said else f"it ended with {process.returncode}"
            raise DidNotStart(problem=problem.rstrip("."), log=log)
        time.sleep(0.05)


@click.command()
@_HOUSE
def down(house: Path) -> None:
    """Stop the server of a house. Jobs that run are stopped too, and begin again with the next server."""
    url = stop(house)
    click.echo(f"Stopped {url}." if url else f"No server has {house} open.")


def stop(house: Path) -> str | None:
    """End the server that has this house open, and wait for its end; its address."""
    from lilong.ground.presence import running

    server = running(house)
    if server is None:
        return None
    os.kill(server.pid, signal.SIGTERM)
    patience = time.monotonic() + _PATIENCE_S
    while running(house) is not None:
        if time.monotonic() > patience:
            raise DoesNotEnd(pid=server.pid, seconds=_PATIENCE_S)
        time.sleep(0.05)
    return server.url


@click.command()
@common
def status(client: Client, as_json: bool) -> None:
    """How the house is doing: events, statements, jobs, isolation, deliveries given up."""
    show(client.get("/api/house/status"), as_json)


@click.group()
def user() -> None:
    """Users and their roles."""


@user.command("list")
@common
def user_list(client: Client, as_json: bool) -> None:
    """All users."""
    show(client.get("/api/house/users"), as_json, [("NAME", "name"), ("TITLE", "title"), ("DISABLED", "disabled"), ("SINCE", "created_at")])


@user.command("add")
@click.argument("name")
@click.option("--title", default="")
@common
def user_add(client: Client, as_json: bool, name: str, title: str) -> None:
    """Add a user. Roles come with `lilong user grant`."""
    show(client.post("/api/house/users", {"name": name, "title": title}), as_json)


@user.command("grant")
@click.argument("name")
@click.argument("role")
@click.option("--org", "organisation", help="Within this organisation; without it, in the whole house.")
@common
def user_grant(client: Client, as_json: bool, name: str, role: str, organisation: str | None) -> None:
    """Give a user a role: reader, keeper, member, owner, steward, reviewer, or operator (whole house)."""
    show(client.post("/api/house/grants", {"user": name, "role": role, "organisation": organisation}), as_json)


@user.command("password")
@click.argument("name")
@click.option("--file", type=click.Path(path_type=Path), help="Read it from this file (mode 0600) instead of asking.")
@common
def user_password(client: Client, as_json: bool, name: str, file: Path | None) -> None:
    """Set the password with which a user signs in to the pages."""
    password = read_secret(file) if file else click.prompt("New password", hide_input=True, confirmation_prompt=True)
    show(client.post("/api/house/passwords", {"user": name, "password": password}), as_json)


@user.command("sign-in")
@click.argument("name", default="operator")
@common
def user_sign_in(client: Client, as_json: bool, name: str) -> None:
    """A link that signs this user in to the pages, once."""
    made = client.post("/api/house/sign-in-links", {"user": name})
    show(made, True) if as_json else click.echo(made["url"])


@click.group()
def org() -> None:
    """Organisations."""


@org.command("list")
@common
def org_list(client: Client, as_json: bool) -> None:
    """The organisations you may see."""
    show(client.get("/api/house/organisations"), as_json, [("NAME", "name"), ("TITLE", "title"), ("CONTROLLED BY", "controlled_by")])


@org.command("add")
@click.argument("name")
@click.option("--title", default="")
@click.option("--controlled-by", help="An organisation that controls it: its people may not review this one's requests.")
@common
def org_add(client: Client, as_json: bool, name: str, title: str, controlled_by: str | None) -> None:
    """Add an organisation."""
    show(client.post("/api/house/organisations", {"name": name, "title": title, "controlled_by": controlled_by}), as_json)


@org.command("settings")
@click.argument("name")
@click.option("--private-by-default/--public-by-default", "private", default=None, help="What a repository is that is made without saying so.")
@click.option("--quota-gib", type=float, help="GiB of large files that it may keep (operators only); -1 for the house's default.")
@common
def org_settings(client: Client, as_json: bool, name: str, private: bool | None, quota_gib: float | None) -> None:
    """Show, or change, what an organisation or a user's own namespace says about its repositories."""
    quota = None if quota_gib is None else (-1 if quota_gib < 0 else int(quota_gib * (1 << 30)))
    path = f"/api/hub/namespaces/{quote(name, safe='')}"
    asked = {"private_by_default": private, "quota_bytes": quota}
    show(client.get(path) if private is None and quota is None else client.put(path, asked), as_json)


@click.group()
def token() -> None:
    """API tokens."""


@token.command("list")
@common
def token_list(client: Client, as_json: bool) -> None:
    """Your tokens; their secrets were shown once and are not kept."""
    show(client.get("/api/house/tokens"), as_json, [("ID", "id"), ("TITLE", "title"), ("SCOPES", "scopes"), ("EXPIRES", "expires_at"), ("LAST USED", "last_used_at"), ("REVOKED", "revoked_at")])


@token.command("create")
@click.argument("title")
@click.option("--user", "user_name", help="For another user (operators only).")
@click.option("--scope", "scopes", multiple=True, default=("*",), help="Permission or pattern such as hub.*, with @NAMESPACE or @NAMESPACE/REPOSITORY for a part of the hub; or read, discuss, write, admin. Repeat for more.")  # fmt: skip
@click.option("--days", type=int, help="Expires after so many days.")
@click.option("--expires", help="Expires after 12h or 30d, or on a day such as 2027-01-31.")
@click.option("--out", type=click.Path(path_type=Path), help="Write the secret to this new file (mode 0600) instead of showing it.")
@common
def token_create(client: Client, as_json: bool, title: str, user_name: str | None, scopes: tuple[str, ...], days: int | None, expires: str | None, out: Path | None) -> None:  # fmt: skip
    """Make a token. Its secret is shown once, here."""
    if out is not None and out.exists():
        raise BadInput(field="out", problem=f"{out} exists", way_out="Name a new file.")
    made = client.post("/api/house/tokens", {"title": title, "user": user_name, "scopes": list(scopes), "days": days, "expires": expires})
    if out is not None:
        with os.fdopen(os.open(out, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(made["secret"] + "\n")
        made["secret"] = f"in {out}"
    show({**made["token"], "secret": made["secret"]}, as_json)


@token.command("revoke")
@click.argument("token_id")
@common
def token_revoke(client: Client, as_json: bool, token_id: str) -> None:
    """Revoke a token at once."""
    client.delete(f"/api/house/tokens/{token_id}")
    show({"revoked": token_id}, as_json)


@click.command()
@_HOUSE
@click.option("--out", type=click.Path(path_type=Path), required=True, help="The new backup file (.tar).")
@click.option("--json", "as_json", is_flag=True, help="Answer in JSON.")
def backup(house: Path, out: Path, as_json: bool) -> None:
    """Copy the whole house into one file, while it runs.

    The file holds the house's private keys: keep it as safe as the house.
    """
    from lilong.operations.backup import backup as run_backup

    show(run_backup(house, out), as_json)


@click.command()
@click.argument("file", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@_HOUSE
@click.option("--database", default="", envvar="LILONG_DATABASE", help="SQLAlchemy URL of an empty database; default: SQLite in the folder.")
@click.option("--json", "as_json", is_flag=True, help="Answer in JSON.")
def restore(file: Path, house: Path, database: str, as_json: bool) -> None:
    """Make a house from a backup, in a new folder, with the same log.

    Jobs that ran are made again. Serve one of the two houses only: from here on, their logs go different ways.
    """
    from lilong.operations.restore import restore as run_restore

    show(run_restore(file, house, database), as_json)
