"""`lilong job why`, `lilong compute estimates` and `lilong compute what-if`."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import click

from lilong.cli_kit import common, harmless, show, where
from lilong.ground.errors import BadInput

if TYPE_CHECKING:
    from lilong.client import Client

_FILE = click.Path(path_type=Path, exists=True, dir_okay=False)
_NAMED = 3  # jobs ahead that are named
_SHOWN = (
    "jobs", "mean_completion_s", "median_completion_s", "p99_completion_s", "mean_queue_s", "p99_queue_s", "avg_bounded_slowdown",
    "utilisation", "jain", "device_hours", "cost", "kwh", "kgco2", "energy_cost", "finished", "refused", "devices",
)  # fmt: skip
_FIGURES = (("FIGURE", "figure"), ("BEFORE", "before"), ("AFTER", "after"), ("CHANGE %", "change"))
_TENANTS = (
    ("TENANT", "tenant"), ("", "verdict"), ("CHANGE %", "change_pct"), ("COMPLETION BEFORE", "before.mean_completion_s"),
    ("AFTER", "after.mean_completion_s"), ("QUEUE BEFORE", "before.mean_queue_s"), ("AFTER", "after.mean_queue_s"),
)  # fmt: skip
_REFUSED = (("REFUSED BEFORE", "before.refused"), ("AFTER", "after.refused"))


@click.command("why")
@click.argument("job_id")
@common
def why(client: Client, as_json: bool, job_id: str) -> None:
    """Why a job waits, and what would make it start now."""
    of_one(job_id)
    found = client.get(f"/api/compute/jobs/{quote(job_id, safe='')}/why")
    if as_json:
        show(found, as_json)
        return
    click.echo(f"{found['job']} is {found['state']}{' (' + found['code'] + ')' if found['code'] else ''} as of {_time(found['as_of'])}.")
    click.echo(harmless(found["says"]))
    for quota in found["quotas"]:
        bound = "no bound of its own" if quota["nominal"] is None else f"of {quota['nominal']:g}"
        click.echo(f"Quota: {quota['tenant']} holds {quota['held']:g} {quota['kind'] or 'cores'}, {bound}.")
    if (ahead := found["ahead"]) and ahead["count"]:
        own = f", yours: {', '.join(ahead['own'])}" if ahead["own"] else ""
        click.echo(
            f"Ahead of it: {ahead['count']} job{'' if ahead['count'] == 1 else 's'} that may use {ahead['device_hours']:g} device-hours{own}."
        )
    if found["reserved_start"]:
        click.echo(f"Start reserved: {_time(found['reserved_start'])} at the latest.")
    if start := found["start"]:
        click.echo(
            f"Start estimated: by {_time(start['p50'])} (P50), {_time(start['p90'])} (P90), as of {_time(start['made_at'])};"
            " `lilong compute estimates` tells how well this holds."
        )
    if found["would_start"]:
        click.echo("With one of these changes:")
    for change in found["would_start"]:
        click.echo(f"  • {change['says']}")


def of_one(job_id: str) -> None:
    """Refuse an array where one job is meant. Raises BadInput."""
    if job_id.startswith("array-"):
        raise BadInput(
            field="JOB_ID", problem="it is an array of jobs", way_out=f"Name one of them: `lilong job list --array {job_id[:100]}`."
        )


def _time(text: str) -> str:
    return f"{text[:10]} {text[11:16]} UTC"


@click.command("estimates")
@common
def estimates(client: Client, as_json: bool) -> None:
    """How many jobs started by the time that was said."""
    found = client.get("/api/compute/estimates")
    rows = [{"horizon": name, **part} for name, part in [("all", found["all"]), *found["by_horizon"].items()]]
    for row in rows:
        for name in ("by_p50", "by_p90"):
            part = row[name]
            row[name + "_text"] = (
                f"{100 * part['share']:.0f} % ({100 * part['low']:.0f}–{100 * part['high']:.0f}) of {part['n']}" if part["n"] else "-"
            )
    columns = (
        ("HORIZON", "horizon"), ("ESTIMATES", "n"), ("PENDING", "pending"), ("STARTED BY P50", "by_p50_text"), ("BY P90", "by_p90_text"),
        ("PINBALL P50 s", "pinball_p50_s"), ("P90 s", "pinball_p90_s"),
    )  # fmt: skip
    show(found if as_json else rows, as_json, columns)


@click.command("what-if")
@click.option("--since", default="30d", show_default=True, help="How far back the house's jobs are taken.")
@click.option(
    "--set", "sets", multiple=True, metavar="KEY=VALUE", help="Such as quota.team-a=64, weight.team-a=2, policy=easy, nodes.pudong=12."
)
@click.option("--add-site", "adds", multiple=True, metavar="FILE|name=…", help="A TOML file, or name=lingang,nodes=12,class=h20,devices=8.")
@click.option("--remove-site", "removes", multiple=True, metavar="SITE", help="As if it were not there.")
@click.option("--trace", type=_FILE, help="Play another cluster's trace instead of the house's own jobs. Needs no house.")
@click.option("--format", "format_", type=click.Choice(["philly", "openb", "swf"]), help="How the trace is written.")
@click.option("--policy", default="easy", show_default=True, help="Of the trace's cluster as it is.")
@click.option("--vc", help="philly: only these virtual clusters, parted by commas.")
@click.option("--nodes", type=_FILE, help="openb: the nodes.")
@click.option("--seed", default=0, show_default=True, type=click.IntRange(0), help="Of everything random.")
@where
def what_if(
    since: str, sets: tuple[str, ...], adds: tuple[str, ...], removes: tuple[str, ...], trace: Path | None, format_: str | None,
    policy: str, vc: str | None, nodes: Path | None, seed: int, house: Path | None, url: str | None, token_file: Path | None, as_json: bool,
) -> None:  # fmt: skip
    """The jobs that ran here, under the settings as they are and as they might be: who gains and who loses."""
    sites = [_site(text) for text in adds]
    if trace is not None:
        found = _of_trace(trace, format_, policy, vc, nodes, seed, sets, sites, removes)
    else:
        from lilong.client import opened

        with opened(house, url, token_file) as client:
            asked = {"since": since, "set": sets, "add_sites": sites, "remove_sites": removes}
            found = client.post("/api/compute/what-if", asked)
    if as_json:
        show(found, as_json)
        return
    for reason, many in found["left_out"].items():
        if many:
            click.echo(f"{many} job{'' if many == 1 else 's'}: {reason}", err=True)
    show([{"figure": name, **{side: found[side][name] for side in ("before", "after", "change")}} for name in _SHOWN], as_json, _FIGURES)
    if found["unknown"]:
        lacking = "; ".join(f"{name} (lacks {', '.join(keys)})" for name, keys in found["unknown"].items())
        click.echo(f"Not told, as nobody has said what it costs: {lacking}. Say it with --set KEY=VALUE.", err=True)
    click.echo()
    refused = any(row[side].get("refused") for row in found["tenants"] for side in ("before", "after"))
    show(found["tenants"], as_json, _TENANTS + _REFUSED if refused else _TENANTS)


def _of_trace(
    trace: Path, format_: str | None, policy: str, vc: str | None, nodes: Path | None, seed: int, sets: tuple[str, ...],
    sites: list[dict[str, Any]], removes: tuple[str, ...],
) -> dict[str, Any]:  # fmt: skip
    from lilong.floors.compute.traces.playing import Ask
    from lilong.floors.compute.traces.trying import try_trace

    if format_ is None:
        raise BadInput(field="--format", problem="it is missing", way_out="Say how the trace is written: philly, openb or swf.")
    if format_ == "openb" and nodes is None:
        raise BadInput(field="--nodes", problem="an openb trace has its nodes in a file of their own", way_out="Name it with --nodes.")
    return try_trace(Ask(trace, format_, policy, vc=vc, nodes=nodes, seed=seed), sets, sites, removes)


def _site(text: str) -> dict[str, Any]:
    """From NAME=VALUE pairs, or from a TOML file with the same keys."""
    from lilong.floors.compute.rules.changing import inline

    if "=" in text:
        return inline(text)
    try:
        return tomllib.loads(Path(text).read_text("utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as problem:
        raise BadInput(
            field="--add-site", problem=f"{text[:200]!r} cannot be read: {problem}", way_out="Name a TOML file, or write name=…,nodes=…."
        ) from problem
