"""`lilong corpus …` against a house: the alliance, takedowns, data-rights requests, and what versions' tables tell."""

from __future__ import annotations

import secrets
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from lilong.cli_kit import common, show, where
from lilong.floors.corpus.commands import comparing
from lilong.floors.corpus.commands.curation import of_run
from lilong.floors.corpus.commands.telling import key_of, plain

if TYPE_CHECKING:
    from lilong.client import Client
    from lilong.floors.corpus.alliance.shapes import Contained

_MEMBERS = (
    ("ORGANISATION", "organisation"),
    ("STATE", "state"),
    ("ASKED BY", "asked_by"),
    ("ADMITTED BY", "admitted_by"),
    ("SINCE", "admitted_at"),
)
_TAKEDOWNS = (
    ("TAKEDOWN", "id"),
    ("OF", "repository"),
    ("WHAT", "thing"),
    ("REASON", "reason"),
    ("STATE", "state"),
    ("AT", "created_at"),
)
_VERSIONS = (
    ("VERSION", "id"),
    ("REPOSITORY", "repository"),
    ("COMMIT", "commit"),
    ("DOCUMENTS", "documents"),
    ("OUT OF USE", "superseded"),
    ("FOLLOWED BY", "next"),
)
_JOBS = (("JOB", "id"), ("KIND", "kind"), ("FOR", "title"), ("STATE", "state"))
_THINGS = (("KIND", "kind"), ("MADE FROM IT", "name"), ("STEPS AWAY", "depth"), ("DIGEST", "digest"))
_REQUESTS = (
    ("REQUEST", "id"),
    ("KIND", "kind"),
    ("STATE", "state"),
    ("SUBJECT", "subject"),
    ("RECEIVED", "received_at"),
    ("DUE", "due_at"),
    ("OVERDUE", "overdue"),
)
_GIVEN = (("CONTRIBUTOR", "contributor"), ("OFFERED", "offered_documents"), ("BYTES", "offered_bytes"), ("KEPT", "kept_documents"), ("KEPT BYTES", "kept_bytes"), ("OWN COPIES", "own_copies"), ("OTHERS'", "others_copies"), ("UNIQUE BYTES", "unique_bytes"))  # fmt: skip
_CARD = (("SOURCE", "name"), ("CONTRIBUTOR", "contributor"), ("LICENCE", "licence"), ("READ", "read"), ("KEPT", "documents"), ("PASS RATE", "pass_rate"), ("EXACT", "exact_duplicate_share"), ("NEAR", "near_duplicate_share"), ("PERSONAL/MB", "personal_per_mb"))  # fmt: skip
_DRIFTS = (("SIGNAL", "signal"), ("PSI", "psi"), ("DIVERGENCE", "divergence"), ("MEAN BEFORE", "mean_before"), ("MEAN AFTER", "mean_after"))
_SHARES = (("NAME", "name"), ("BEFORE", "before"), ("AFTER", "after"))
_FOUND = (("DOCUMENT", "document"), ("SHARE OF THE TEXT", "share"))
_SHOWN = 20


# --- members ---------------------------------------------------------------------------------------------------------------


@click.group()
def alliance() -> None:
    """The data corpus alliance: whose texts are shared among whom."""


@alliance.command("list")
@common
def list_members(client: Client, as_json: bool) -> None:
    """The members, and those that ask to be let in."""
    from lilong.client import alliance as door

    show(plain(door.members(client)), as_json, _MEMBERS)


@alliance.command()
@click.argument("organisation")
@common
def join(client: Client, as_json: bool, organisation: str) -> None:
    """Ask for ORGANISATION to be let in; a steward of the house admits."""
    from lilong.client import alliance as door

    _show_member(plain(door.join(client, organisation)), as_json)


@alliance.command()
@click.argument("organisation")
@common
def admit(client: Client, as_json: bool, organisation: str) -> None:
    """Let ORGANISATION in, for stewards of the house."""
    from lilong.client import alliance as door

    _show_member(plain(door.admit(client, organisation)), as_json)


@alliance.command()
@click.argument("organisation")
@common
def leave(client: Client, as_json: bool, organisation: str) -> None:
    """Take ORGANISATION out."""
    from lilong.client import alliance as door

    _show_member(plain(door.leave(client, organisation)), as_json)


def _show_member(found: dict[str, Any], as_json: bool) -> None:
    show(found if as_json else {name: value for name, value in found.items() if value is not None}, as_json)
    if found["state"] == "asked":
        click.echo(f"\nA steward of the house lets it in: lilong corpus alliance admit {found['organisation']}", err=True)


# --- takedowns -------------------------------------------------------------------------------------------------------------


@click.command()
@click.option(
    "--version", required=True, help="What holds it: a version (organisation/name, with @commit, or an id), or the id of a source set that you gave."
)
@click.option("--document", default="", help="A document's id.")
@click.option("--source", default="", help="A source's name.")
@click.option("--contributor", default="", help="An organisation: all that it gave.")
@click.option("--reason", default="", help="Why; it stands in the signed statement.")
@click.option("--preview", "only_look", is_flag=True, help="Only tell what it would reach.")
@click.option("--key", help="Names this request; the same key is the same takedown (default: from what is asked).")
@common
def takedown(
    client: Client, as_json: bool, version: str, document: str, source: str, contributor: str, reason: str, only_look: bool, key: str | None
) -> None:
    """Take a document, a source or a contributor's texts down.

    The next version is built without it, versions that hold it are put out of use, and what was made from them is listed.
    """
    from lilong.client import alliance as door

    what = {"document": document, "source": source, "contributor": contributor}
    if only_look:
        reach = plain(door.preview(client, version=version, **what))
        show(reach, True) if as_json else _show_reach(reach)
        return
    made = door.takedown(client, version=version, key=key or key_of(version, *what.values(), reason), reason=reason, **what)
    found = plain(door.takedown_shown(client, made.id))
    if as_json:
        show(found, True)
        return
    _show_takedown(found)


@click.command()
@click.argument("name", required=False, metavar="[ID]")
@common
def takedowns(client: Client, as_json: bool, name: str | None) -> None:
    """Takedowns, or one of them with all that it reached."""
    from lilong.client import alliance as door

    if name is None:
        rows = [{**one, "thing": _thing(one["what"]), "repository": one["repository"] or one["version"] or one["organisation"]} for one in plain(door.takedowns(client))]
        show(rows, as_json, _TAKEDOWNS)
        return
    found = plain(door.takedown_shown(client, name))
    if as_json:
        show(found, True)
        return
    _show_takedown(found)


def _show_takedown(found: Mapping[str, Any]) -> None:
    one = found["takedown"]
    told = {name: value for name, value in one.items() if value not in (None, "") and name not in ("what", "key", "next")}
    show({"id": told.pop("id"), "what": _thing(one["what"]), **told}, False)
    _show_reach(found["reach"])
    if one["state"] in ("requested", "running"):
        click.echo(f"\nThe next versions are being built. How far they are: lilong corpus takedowns {one['id']}", err=True)


def _thing(what: Mapping[str, list[str]]) -> str:
    return ", ".join(f"{kind.removesuffix('s')} {name}" for kind, names in what.items() for name in names)


def _show_reach(reach: Mapping[str, Any]) -> None:
    for rows, columns in ((reach["versions"], _VERSIONS), (reach["jobs"], _JOBS), (reach["things"], _THINGS)):
        if rows:
            click.echo()
            show(rows, False, columns)
    if reach["hidden"]:
        click.echo("\nNot named here: " + ", ".join(_counted(number, kind) for kind, number in reach["hidden"].items()) + ".")


def _counted(number: int, kind: str) -> str:
    return f"{number:,} {kind if number == 1 else 'corpora' if kind == 'corpus' else f'{kind}s'}"


# --- data-rights requests --------------------------------------------------------------------------------------------------


@click.group()
def rights() -> None:
    """Data-rights requests: logged, answered in time, forgotten."""


@rights.command("log")
@click.option("--organisation", required=True)
@click.option("--kind", type=click.Choice(["access", "correction", "erasure", "objection"]), required=True)
@click.option("--subject", required=True, help="By which the person can be found again; erased by `forget`.")
@click.option("--note", default="")
@click.option("--received", default="", help="A day or a time (default: now).")
@click.option("--due", default="", help="A day or a time (default: 30 days after it was received).")
@click.option("--key", help="Names this request; the same key is the same request (default: a new one each time).")
@common
def log_request(
    client: Client, as_json: bool, organisation: str, kind: str, subject: str, note: str, received: str, due: str, key: str | None
) -> None:
    """Log a request that has reached an organisation."""
    from lilong.client import alliance as door

    made = door.log_request(
        client, organisation=organisation, key=key or secrets.token_hex(16), kind=kind, subject=subject, note=note,
        received_at=received, due_at=due,
    )  # fmt: skip
    _show_request(plain(made), as_json)


@rights.command("list")
@common
def list_requests(client: Client, as_json: bool) -> None:
    """Requests: those that are due next, then the newest."""
    from lilong.client import alliance as door

    show(plain(door.rights_requests(client)), as_json, _REQUESTS)


@rights.command("show")
@click.argument("name", metavar="ID")
@common
def show_request(client: Client, as_json: bool, name: str) -> None:
    """One request."""
    from lilong.client import alliance as door

    _show_request(plain(door.rights_request(client, name)), as_json)


@rights.command()
@click.argument("name", metavar="ID")
@click.option("--refused", is_flag=True, help="It is refused (default: it is fulfilled).")
@click.option("--answer", "text", required=True, help="What was done, or why not.")
@click.option("--takedown", "linked", default="", help="The id of the takedown that carries it out.")
@common
def answer(client: Client, as_json: bool, name: str, refused: bool, text: str, linked: str) -> None:
    """Answer a request."""
    from lilong.client import alliance as door

    state = "refused" if refused else "fulfilled"
    _show_request(plain(door.answer_request(client, name, state=state, answer=text, takedown=linked)), as_json)


@rights.command()
@click.argument("name", metavar="ID")
@common
def forget(client: Client, as_json: bool, name: str) -> None:
    """Erase what tells who an answered request was from."""
    from lilong.client import alliance as door

    _show_request(plain(door.forget_request(client, name)), as_json)


def _show_request(found: dict[str, Any], as_json: bool) -> None:
    show(found if as_json else {name: value for name, value in found.items() if value not in (None, "") and name != "key"}, as_json)


# --- what tables tell ------------------------------------------------------------------------------------------------------


@click.command()
@click.argument("name")
@common
def contributions(client: Client, as_json: bool, name: str) -> None:
    """What each contributor gave to the version NAME."""
    from lilong.client import alliance as door

    found = plain(door.contributions(client, name))
    show(found if as_json else found["contributions"], as_json, _GIVEN)


@click.command()
@click.argument("name")
@common
def quality(client: Client, as_json: bool, name: str) -> None:
    """The score card of each source of the version NAME."""
    from lilong.client import alliance as door

    found = plain(door.quality(client, name))
    show(found if as_json else found["sources"], as_json, _CARD)


@click.command()
@click.argument("before")
@click.argument("after")
@common
def drift(client: Client, as_json: bool, before: str, after: str) -> None:
    """How far the kept documents of two versions lie apart.

    PSI is the population stability index: below 0.1 little has changed, above 0.25 much. Divergence is Jensen-Shannon's, in bits.
    """
    from lilong.client import alliance as door

    found = plain(door.drift(client, before, after))
    if as_json:
        show(found, True)
        return
    click.echo(f"{found['documents_before']:,} documents before, {found['documents_after']:,} after.\n")
    _show_first(found["signals"], _DRIFTS)
    for what in ("languages", "sources"):
        click.echo(f"\n{what}: PSI {found[what]['psi']:.4f}, divergence {found[what]['divergence']:.4f} bits")
        _show_first(found[what]["shares"], _SHARES)


def _show_first(rows: list[dict[str, Any]], columns: tuple[tuple[str, str], ...]) -> None:
    show(rows[:_SHOWN], False, columns)
    if len(rows) > _SHOWN:
        click.echo(f"… and {len(rows) - _SHOWN:,} more; --json tells them all.")


# --- membership ------------------------------------------------------------------------------------------------------------


@click.command()
@click.argument("given", metavar="TEXT|FILE")
@of_run
@click.option("--version", help="A version in a house instead of a run: organisation/name, with @commit, or an id.")
@click.option("--wait", type=click.IntRange(0), default=60, show_default=True, help="Seconds to wait for a version's index to be made.")
@where
def contains(
    given: str, folder: Path, version: str | None, wait: int, house: Path | None, url: str | None, token_file: Path | None, as_json: bool
) -> None:
    """Whether a text stands in the documents of a run, or of a house's version."""
    if version is None:
        callback = comparing.contains.callback
        assert callback is not None
        callback(given, folder, as_json)
        return
    from lilong.client import opened

    with opened(house, url, token_file) as client:
        found = plain(_asked(client, version, comparing.text_of(given), wait))
    if as_json:
        show(found, True)
        return
    if not found["passages"] and not found["copies"]:
        click.echo("No document has this text, and it is too short to be found as a part of one.")
        return
    click.echo(f"{found['share']:.0%} of the text stands in {found['repository']}@{found['commit'][:12]}; {comparing.same(len(found['copies']))}.")  # fmt: skip
    if found["documents"]:
        show(found["documents"], False, _FOUND)


def _asked(client: Client, version: str, text: str, wait: int) -> Contained:
    from lilong.client import ServerError
    from lilong.client import alliance as door

    last = time.monotonic() + wait
    while True:
        try:
            return door.contains(client, version, text)
        except ServerError as problem:
            if problem.said != "no-index" or time.monotonic() >= last:
                raise
            time.sleep(0.5)
