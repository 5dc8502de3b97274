"""`lilong hub gc`, `lilong hub nginx-config`: where the hub's bytes lie and who sends them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from lilong.cli_kit import common, show


@click.command("gc")
@click.option("--dry-run", is_flag=True, help="Only say what would be collected.")
@common
def gc(client: Any, as_json: bool, dry_run: bool) -> None:
    """Collect what no branch, tag, pull request, bucket or recent upload refers to any more.

    The server does the same every night. Nothing goes before the days of grace (setting gc_grace_days).
    """
    found = client.post("/api/hub/collections-of-garbage", {"dry_run": dry_run})
    if as_json:
        show(found, True)
        return
    done = "TO BE COLLECTED" if dry_run else "COLLECTED"
    rows = [{"kind": kind, "unused": count, "done": found["collected"][kind]} for kind, count in found["unreferenced"].items()]
    show(rows, False, (("", "kind"), ("UNREFERENCED", "unused"), (done, "done")))
    show({name: found[name] for name in ("bytes", "repacked", "orphans")}, False)


@click.command("nginx-config")
@click.option("--house", type=click.Path(path_type=Path), envvar="LILONG_HOUSE", default=Path("house"), show_default=True, help="The house's folder.")  # fmt: skip
@click.option("--listen", default="80", show_default=True, help="What nginx listens on: a port, or an address with one.")
@click.option("--name", default="_", help="The server's name, for nginx's server_name; any without it.")
@click.option("--server", help="Where Lilong listens, as host:port (default: its settings).")
def nginx_config(house: Path, listen: str, name: str, server: str | None) -> None:
    """Print what nginx needs to send the files itself, so that their bytes do not pass through the server."""
    from lilong.floors.hub.rules import nginx
    from lilong.ground.config import load
    from lilong.ground.errors import BadInput

    settings = load(house)
    user = settings.house.owner() if settings.house.exists() else "lilong"
    if server is None and settings.port == 0:
        raise BadInput(
            field="server", problem="the house's port is another one each time", way_out="Set `port`, or give --server HOST:PORT."
        )
    host = "127.0.0.1" if settings.host in ("0.0.0.0", "::") else settings.host  # noqa: S104 - it listens there, nothing listens here
    where = server or f"{host}:{settings.port}"
    click.echo(nginx.config(str(settings.house), where, title=settings.name, user=user, listen=listen, name=name), nl=False)
