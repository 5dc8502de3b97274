"""`lilong compute simulate` and `compare`: what policies do with the trace of another cluster."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

import click

from lilong.cli_kit import show
from lilong.ground.errors import BadInput

F = TypeVar("F", bound=Callable[..., Any])
_FILE = click.Path(path_type=Path, exists=True, dir_okay=False)
_SILENCE_S = 8.0
_DATE = click.DateTime(["%Y-%m-%d", "%Y-%m-%d %H:%M:%S", "%Y-%m-%dT%H:%M:%S"])
_OPTIONS = (
    click.option("--trace", type=_FILE, required=True, help="The jobs, plain or gzip."),
    click.option("--format", "format_", type=click.Choice(["philly", "openb", "swf"]), required=True, help="How the trace is written."),
    click.option("--vc", help="philly: only these virtual clusters, parted by commas."),
    click.option("--from", "start", type=_DATE, help="philly: jobs submitted from this date on."),
    click.option("--to", "end", type=_DATE, help="philly: to the end of this date."),
    click.option(
        "--nodes-per-vc",
        default="",
        help="philly: `name=N,…`, or numbers alone in the order of the sorted names. [default: 1.3 times the load]",
    ),
    click.option("--gpus-per-node", type=click.IntRange(1, 62), help="philly: devices of each node. [default: 8]"),
    click.option("--nodes", type=_FILE, help="openb: the nodes."),
    click.option(
        "--arrival",
        type=click.FloatRange(0, 10, min_open=True),
        help="openb: let jobs come until they ask for this many times all devices, and none end.",
    ),
    click.option("--procs", type=click.IntRange(1, 10_000_000), help="swf: processors of the machine. [default: MaxProcs of the trace]"),
    click.option(
        "--estimate",
        type=click.Choice(["request", "clairvoyant"]),
        help="swf: plan with the time asked for, or the true one. [default: request]",
    ),
    click.option("--seed", default=0, show_default=True, type=click.IntRange(0), help="Of everything random."),
    click.option("--price", default=1.0, show_default=True, type=click.FloatRange(0), help="Assumed: of a device-hour."),
    click.option("--watts", default=300.0, show_default=True, type=click.FloatRange(0), help="Assumed: of a busy device."),
    click.option("--kgco2", default=0.5, show_default=True, type=click.FloatRange(0), help="Assumed: for a kWh."),
)


def _trace_options(command: F) -> F:
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


@contextmanager
def _compiling() -> Iterator[Callable[[], None]]:
    """Say what takes so long if nothing moves for a while; what is given is to be called when something does."""
    told = "Nothing to see yet: the first run compiles, for a minute or two. Later ones do not."
    timer = threading.Timer(_SILENCE_S, click.echo, (told,), {"err": True})
    timer.daemon = True
    timer.start()
    try:
        yield timer.cancel
    finally:
        timer.cancel()


@click.command("simulate")
@click.option("--policy", required=True, help="By name; a wrong one shows them all.")
@_trace_options
@click.option("--starts", type=click.Path(path_type=Path, dir_okay=False), help="Write job, start, end and nodes to this CSV file.")
@click.option("--json", "as_json", is_flag=True, help="Answer in JSON.")
def simulate(trace: Path, format_: str, policy: str, as_json: bool, **given: Any) -> None:
    """Play a trace of another cluster under a policy. Needs no house. Times are seconds."""
    from lilong.floors.compute.traces.playing import Ask, play

    _check(format_, given)
    if given["starts"] is not None and not given["starts"].parent.is_dir():
        raise BadInput(field="--starts", problem=f"there is no folder {given['starts'].parent}", way_out="Make it first.")
    ask = Ask(trace, format_, policy, **given)
    hidden = as_json or not sys.stderr.isatty()
    with _compiling() as moving, click.progressbar(length=1000, label="Simulating", file=sys.stderr, hidden=hidden) as bar:

        def tell(done: int, of: int) -> None:
            moving()
            bar.update(1000 * done // max(of, 1) - bar.pos)

        told = play(ask, tell)
    _tell_nodes(given["nodes_per_vc"], told)
    for line in told["broken"]:
        click.echo(f"left out: {line}", err=True)
    if told["broken_lines"] > len(told["broken"]):
        click.echo(f"left out: {told['broken_lines'] - len(told['broken'])} more lines that cannot be read", err=True)
    shown = told if as_json else {key: value for key, value in told.items() if not isinstance(value, dict | list)}
    show(shown, as_json)


@click.command("compare")
@click.option("--policies", required=True, help="By name, parted by commas; a wrong one shows them all.")
@_trace_options
@click.option("--pictures", type=click.Path(path_type=Path, file_okay=False), help="Draw what each does into SVG files of this folder.")
@click.option("--json", "as_json", is_flag=True, help="Answer in JSON.")
def compare(trace: Path, format_: str, policies: str, pictures: Path | None, as_json: bool, **given: Any) -> None:
    """Play a trace under several policies and set their figures side by side. Needs no house."""
    from lilong.floors.compute.rules.settings import policies as shipped
    from lilong.floors.compute.traces import comparing
    from lilong.floors.compute.traces.playing import Ask

    _check(format_, given)
    names = [name.strip() for name in policies.split(",") if name.strip()]
    for name in names or [""]:
        if name not in shipped():
            raise BadInput(field="--policies", problem=f"there is no {name!r}", way_out=f"There are {', '.join(shipped())}.")
    tell = None if as_json else lambda name: click.echo(f"playing {name}", err=True)
    with _compiling():
        found = comparing.compare(Ask(trace, format_, "", **given), names, tell)
    _tell_nodes(given["nodes_per_vc"], next(iter(found.values())))
    for file in comparing.draw(found, pictures) if pictures else ():
        click.echo(f"drawn: {file}", err=True)
    rows = [{"policy": name, **told} for name, told in found.items()]
    show(found if as_json else rows, as_json, _COMPARED)


def _tell_nodes(given: str, told: dict[str, Any]) -> None:
    """Bare numbers go by the sorted names, whatever the order of --vc: say who got how many."""
    if given and "=" not in given:
        click.echo(f"nodes: {', '.join(f'{vc}={number}' for vc, number in told['nodes_by_pool'].items())}", err=True)


_COMPARED = (
    ("POLICY", "policy"), ("MEAN COMPLETION s", "mean_completion_s"), ("MEDIAN", "median_completion_s"), ("P99", "p99_completion_s"),
    ("MEAN QUEUE s", "mean_queue_s"), ("P99", "p99_queue_s"), ("SLOWDOWN", "avg_bounded_slowdown"), ("JAIN", "jain"), ("CPU s", "cpu_s"),
)  # fmt: skip
_ONLY = {
    "vc": "philly", "start": "philly", "end": "philly", "nodes_per_vc": "philly", "gpus_per_node": "philly",
    "nodes": "openb", "arrival": "openb", "procs": "swf", "estimate": "swf",
}  # fmt: skip
_FLAGS = {"start": "--from", "end": "--to"}


def _check(format_: str, given: dict[str, Any]) -> None:
    for name, owner in _ONLY.items():
        if given[name] not in (None, "") and owner != format_:
            flag = _FLAGS.get(name, "--" + name.replace("_", "-"))
            raise BadInput(field=flag, problem=f"it is for {owner} traces, and this one is said to be {format_}", way_out="Leave it out.")
    if format_ == "openb" and given["nodes"] is None:
        raise BadInput(field="--nodes", problem="an openb trace has its nodes in a file of their own", way_out="Name it with --nodes.")
    start, end = given["start"], given["end"]
    if isinstance(start, datetime) and isinstance(end, datetime) and end < start:
        raise BadInput(field="--to", problem=f"{end:%Y-%m-%d} is before {start:%Y-%m-%d}", way_out="Give the later date last.")
