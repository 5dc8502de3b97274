"""What `lilong compute` does with the declared side: apply, settings, sites, drain."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from lilong.cli_kit import common, show
from lilong.ground.errors import BadInput

if TYPE_CHECKING:
    from lilong.client import Client

_CHANGES = (("KEY", "key"), ("BEFORE", "before"), ("AFTER", "after"))
_SITES = (("SITE", "name"), ("DRIVER", "driver"), ("NODES", "nodes"), ("CLOSED", "closed"), ("CORES", "cpus"), ("MIB", "memory_mib"), ("DEVICES", "devices"), ("PROBLEM", "problem"))  # fmt: skip
_NODES = (("NODE", "name"), ("CORES", "cpus"), ("MIB", "memory_mib"), ("CLASS", "accelerator"), ("DEVICES", "devices"), ("OPEN", "open"), ("DRAINED", "drained"))  # fmt: skip


@click.command("apply")
@click.argument("file", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option("--dry-run", is_flag=True, help="Only say what would change.")
@common
def apply(client: Client, as_json: bool, file: Path, dry_run: bool) -> None:
    """Put a settings file in force: classes, sites, tenants, policy."""
    try:
        text = file.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise BadInput(field="file", problem=f"{file} is not UTF-8", way_out="Save it as UTF-8.") from None
    told = client.post("/api/compute/settings", {"toml": text, "dry_run": dry_run})
    if as_json:
        show(told, as_json)
        return
    show(told["changes"], as_json, _CHANGES)
    click.echo(f"{'Nothing was applied. ' if dry_run else ''}In force: version {told['version']}.")


@click.command("settings")
@click.option("--version", type=int, help="Another version than the one in force.")
@common
def settings(client: Client, as_json: bool, version: int | None) -> None:
    """The settings file in force, as it was applied."""
    told = client.get("/api/compute/settings", version=version)
    if as_json:
        show(told, as_json)
    elif told["toml"]:
        click.echo(told["toml"], nl=not told["toml"].endswith("\n"))
    else:
        click.echo("None was applied: this machine alone, the policy drf-tree, no quotas.")


@click.command("sites")
@click.option("--nodes", "site", metavar="SITE", help="The nodes of this site.")
@common
def sites(client: Client, as_json: bool, site: str | None) -> None:
    """Where jobs may run, and what is there."""
    if site is not None:
        show(client.get(f"/api/compute/sites/{site}/nodes"), as_json, _NODES)
        return
    show([_line(each, as_json) for each in client.get("/api/compute/sites")], as_json, _SITES)


def _line(site: dict[str, Any], as_json: bool) -> dict[str, Any]:
    devices = ", ".join(f"{many} {name}" for name, many in site["devices"].items())
    return site if as_json else {**site, "devices": devices or None}


@click.command("drain")
@click.argument("site")
@click.argument("node")
@click.option("--undo", is_flag=True, help="Let it take work again.")
@common
def drain(client: Client, as_json: bool, site: str, node: str, undo: bool) -> None:
    """Let a node take no new work; what runs there goes on."""
    path = f"/api/compute/sites/{site}/nodes/{node}/drain"
    told = client.delete(path) if undo else client.put(path)
    show([each for each in told if each["name"] == node] or told, as_json, _NODES)
