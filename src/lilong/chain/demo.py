"""`lilong demo`: opens a house, furnishes it with fictional residents, carries out the first chain, and tells what came of it."""

from __future__ import annotations

import json
import os
import re
import socket
import sys
import time
from collections.abc import Mapping
from contextlib import ExitStack
from importlib import resources
from pathlib import Path
from typing import Any

import click

from lilong.client import Client, opened
from lilong.client.corpus import keep_folder
from lilong.ground.blobs import write_durably
from lilong.ground.errors import BadInput
from lilong.operations.commands import start_detached, stop

from . import rules
from .reporters import best_for
from .round_trip import RoundTrip, round_trip
from .run import carry_out

_ORGANISATIONS = {"lantern-works": "Lantern Works (fictional)", "plum-lane": "Plum Lane Review Board (fictional)"}
_PEOPLE = {
    "mei": ("Mei, engineer at Lantern Works", (("owner", "lantern-works"),)),
    "tomas": ("Tomas, of the Plum Lane Review Board", (("member", "plum-lane"), ("reviewer", None))),
}


@click.command()
@click.option(
    "--house", type=click.Path(path_type=Path), default=Path("demo-house"), show_default=True, help="The folder to open the house in."
)
@click.option("--texts", type=click.Path(path_type=Path), help="Learn from the texts in this folder instead of Debian's documentation.")
@click.option("--chain", "file", type=click.Path(path_type=Path, exists=True, dir_okay=False), help="Another chain file.")
@click.option("--port", type=int, help="Port of the server.")
def demo(house: Path, texts: Path | None, file: Path | None, port: int | None) -> None:
    """From raw text to a served, registered, verifiable model, with progress and a summary."""
    if texts is not None and not texts.is_dir():
        raise BadInput(field="texts", problem=f"{texts} is not a folder", way_out="Name a folder with text files and their LICENSE.")
    began = time.monotonic()
    url = start_detached(house, {"port": port if port is not None else _port()})
    try:
        with ExitStack() as stack:
            operator = stack.enter_context(opened(house, None, None))
            furnish(operator, house)
            mei = stack.enter_context(opened(None, url, house / "run" / "mei.token"))
            tomas = stack.enter_context(opened(None, url, house / "run" / "tomas.token"))
            source = file.read_text(encoding="utf-8") if file else first_chain()
            if texts is not None:
                source = with_texts(source, mei, texts)
            with best_for() as reporter:
                outputs = carry_out(rules.parse(source), {"": mei, "reviewer": tomas}, reporter)
            model = f"{outputs['training']['repository']}@{outputs['training']['commit']}"
            click.echo("Fetching the model, sending it to a namespace of Mei's and fetching it from there, with the Hugging Face client")
            there_and_back = round_trip(mei, url, house / "run" / "mei.token", house, model)
            tell(operator, house, outputs, there_and_back, time.monotonic() - began)
            link = operator.post("/api/house/sign-in-links", {"user": "mei"})["url"]
            click.echo(f"\nThe console (this link signs Mei in, once, within a day): {link}")
            if _stays():
                click.echo(f"The server runs on. Stop it with: lilong down --house {house}")
            else:
                click.echo(
                    f"The server stops now. Start it again with: lilong up --house {house} --port {link.split(':')[2].split('/')[0]}"
                )
    finally:
        if not _stays():
            stop(house)


def _stays() -> bool:
    """On a person's terminal the server is left running."""
    return sys.stdout.isatty() and not os.environ.get("CI")


def _port() -> int:
    """The usual port, so that the link stays good for the next server; any free one where that is taken."""
    usual = 8900
    with socket.socket() as probe:
        return usual if probe.connect_ex(("127.0.0.1", usual)) else 0


def first_chain() -> str:
    """The chain file that ships with the package; `examples/first-chain.toml` in a checkout."""
    return (resources.files("lilong.chain") / "first-chain.toml").read_text(encoding="utf-8")


def furnish(operator: Client, house: Path) -> None:
    """Fictional organisations and people, each with a token file; what is there already stays."""
    there = {organisation["name"] for organisation in operator.get("/api/house/organisations")}
    for name, title in _ORGANISATIONS.items():
        if name not in there:
            operator.post("/api/house/organisations", {"name": name, "title": title})
    people = {user["name"] for user in operator.get("/api/house/users")}
    for name, (title, grants) in _PEOPLE.items():
        if name not in people:
            operator.post("/api/house/users", {"name": name, "title": title})
        for role, organisation in grants:
            operator.post("/api/house/grants", {"user": name, "role": role, "organisation": organisation})
        file = house / "run" / f"{name}.token"
        if not file.exists():
            made = operator.post("/api/house/tokens", {"title": "demo", "user": name})
            write_durably(file, made["secret"].encode() + b"\n", 0o600)  # whole or not at all: a demo may be killed at any moment


def with_texts(source: str, client: Client, folder: Path) -> str:
    """The chain with the files of a folder as its sources; their bytes are given to the house first."""
    digests = keep_folder(client, rules.parse(source).organisation, folder)
    lines = ", ".join(f"{json.dumps(path, ensure_ascii=False)} = {json.dumps(digest)}" for path, digest in sorted(digests.items()))
    changed, count = re.subn(r"packages = \[[^\]]*\]", lambda _: "packages = []\ntexts = { " + lines + " }", source, count=1)
    if not count:
        raise BadInput(
            field="texts",
            problem="the chain fetches no packages that texts could stand in for",
            way_out="Name the texts in the chain file.",
        )
    return changed


def tell(operator: Client, house: Path, outputs: Mapping[str, Mapping[str, Any]], back: RoundTrip | None, seconds: float) -> None:
    """The summary at the end: what the model learned from, whether it is better, where it runs, its number, an answer, the proof."""
    from lilong.operations.evidence_commands import checked

    learned, compared, stacks = outputs["corpus"]["figures"], outputs["evaluation"]["figures"], outputs["compatibility"]["rows"]
    click.echo("\n── What the model learned from")
    documents, size = learned["documents"], learned["bytes"]
    click.echo(
        f"   a corpus of {documents['train']:,} documents, {size['train'] / 1e6:.1f} MB of text; {documents['held_out']:,} held out, {documents['dropped']:,} dropped"
    )
    click.echo(f"   {_read(outputs['training']['figures'])}")
    for licence, counted in sorted(learned["licences"].items(), key=lambda item: -item[1]["bytes"]):
        click.echo(f"   {licence:<28} {counted['documents']:>6,} documents {counted['bytes'] / 1e6:8.1f} MB")
    if learned.get("note"):
        click.echo(f"   {learned['note']}")
    click.echo("── Base against new model")
    for name, task in compared.items():
        models, difference = task["models"], task["difference"]
        click.echo(
            f"   {name}: base {_interval(models['base'])}, new {_interval(models['new'])}, difference {_interval(difference)} {task['unit']}, n = {task['n']}"
        )
        click.echo(f"   {task['verdict']['question']} {task['verdict']['answer']}. {task['verdict']['reason']}")
        click.echo(f"   In the training text: a passage of {task['overlap']['found']} of {task['overlap']['items']} items.")
    click.echo("── Runs correctly on")
    for row in stacks:
        click.echo(f"   {row['stack']:<14} {row['verdict']:<11} {row['reason']}")
    click.echo(f"── Registered as {outputs['review']['number']}")
    answer = outputs["answer"]
    click.echo(
        f"── Asked: {answer['question']}\n   It answered: {' '.join(str(answer['answer']).split())}\n   Receipt: {answer['receipt']}"
    )
    if back is not None:
        same = (
            "all came back as they went, and the digest over them is the signed one" if back.same else "BUT WHAT CAME BACK IS NOT THE SAME"
        )
        click.echo(
            f"── Sent and fetched by the Hugging Face client: {back.files} files, {back.bytes / 1e6:.0f} MB, {back.through_xet} of them through Xet; {same}"
        )
    click.echo(f"── {checked(operator)['summary']}")
    click.echo(f"   Finished in {int(seconds) // 60} min {int(seconds) % 60:02d} s.")
    command = os.path.relpath(sys.argv[0]) if Path(sys.argv[0]).name == "lilong" else "lilong"
    click.echo(f"\nWalk from that answer down to the documents and licences:\n   {command} trace {answer['receipt']} --house {house}")


def _read(figures: Mapping[str, Any]) -> str:
    return f"The training read {figures['tokens']:,} tokens of it, in {figures['passages']:,} passages. The corpus stands under these licences:"


def _interval(estimate: Mapping[str, Any]) -> str:
    low, middle, high = (f"{estimate[key]:.4f}" if estimate[key] is not None else "unbounded" for key in ("low", "estimate", "high"))
    return f"{middle} [{low}, {high}]"
