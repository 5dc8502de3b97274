"""`lilong corpus …` against a house: texts in, versions out."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from lilong.cli_kit import common, show
from lilong.floors.corpus.commands.interrupting import SENT, interrupted
from lilong.floors.corpus.commands.telling import finished, key_of, plain, waiting

if TYPE_CHECKING:
    from lilong.client import Client

_PATH = click.Path(path_type=Path, exists=True, dir_okay=False)
_FOLDER = click.Path(path_type=Path, exists=True, file_okay=False)
_SETS = (
    ("SOURCE SET", "id"),
    ("ORGANISATION", "organisation"),
    ("CONTRIBUTOR", "contributor"),
    ("TERMS", "terms"),
    ("STATE", "state"),
    ("SOURCES", "names"),
    ("AT", "created_at"),
)
_SOURCES = (("SOURCE", "name"), ("LICENCE", "licence"), ("EVIDENCE", "evidence"), ("BYTES", "bytes"), ("DIGEST", "digest"))
_SET = ("id", "organisation", "contributor", "terms", "purposes", "attribution", "note", "state", "error", "job", "requested_by", "created_at", "finished_at")
_VERSION = ("id", "repository", "state", "commit", "terms", "contributors", "job", "error")

_terms = click.option(
    "--terms", type=click.Choice(["private", "alliance", "public"]), default="private", show_default=True, help="Who may use it."
)
_purposes = click.option(
    "--purpose", "purposes", multiple=True, type=click.Choice(["training", "evaluation"]), help="For what (default: anything)."
)
_attribution = click.option("--attribution", default="", help="Who is to be named by those who use it.")


# --- source sets -----------------------------------------------------------------------------------------------------------


@click.group()
def sources() -> None:
    """Source sets: texts with who gives them, on which terms, and under which licence."""


@sources.command()
@click.argument("folder", type=_FOLDER, metavar="FOLDER")
@click.option("--organisation", required=True, help="Whose source set it is.")
@click.option("--contributor", default="", help="The organisation that gives the texts (default: the same).")
@_terms
@_purposes
@_attribution
@click.option("--note", default="", help="What else those who use it are to know.")
@click.option("--name", default="", help="What the source is called (default: the folder's name).")
@click.option("--licence", default="", help="SPDX expression (default: what is recognised in the evidence).")
@click.option("--evidence", type=_PATH, help="The text that says the licence (default: LICENSE, COPYING or copyright in the folder).")
@click.option("--statement", default="", help="The same, in a sentence: who holds the rights, and gives the texts under this licence.")
@click.option("--key", help="Names this request; the same key is the same source set (default: from the files and what is said of them).")
@waiting
@common
def add(
    client: Client, as_json: bool, folder: Path, organisation: str, contributor: str, terms: str, purposes: tuple[str, ...], attribution: str,
    note: str, name: str, licence: str, evidence: Path | None, statement: str, key: str | None, wait: bool,
) -> None:  # fmt: skip
    """Give the texts in FOLDER as a source set.

    Of files it takes .txt, .md, .rst, .html, and manual pages in man1, man2 …. A licences.toml in the folder names several sources with their licences; then
    --name, --licence, --evidence and --statement are not for you. Given twice, it is one source set.
    """
    from lilong.client import corpus as door

    said = statement or (evidence.read_text(encoding="utf-8", errors="replace") if evidence else "")
    with interrupted(SENT):
        kept = door.keep_folder(client, organisation, folder, door.declaration(folder, name=name, licence=licence, statement=said))
    conditions = {"purposes": list(purposes), "attribution": attribution, "note": note}
    texts = [f"{path} {digest}" for path, digest in sorted(kept.items())]
    made = door.fetch(
        client, organisation=organisation, key=key or key_of(contributor, terms, str(conditions), *texts), texts=kept,
        contributor=contributor, terms=terms, conditions=conditions,
    )  # fmt: skip
    _show_set(plain(finished(client, made, wait)), as_json)


@sources.command("list")
@common
def list_(client: Client, as_json: bool) -> None:
    """Source sets that you may build from, newest first."""
    from lilong.client import corpus as door

    found = plain(door.source_sets(client))
    show(found if as_json else [{**one, "names": [source["name"] for source in one["sources"]]} for one in found], as_json, _SETS)


@sources.command("show")
@click.argument("name", metavar="ID")
@common
def show_set(client: Client, as_json: bool, name: str) -> None:
    """One source set with its sources."""
    from lilong.client import corpus as door

    _show_set(plain(door.source_set(client, name)), as_json)


def _show_set(found: dict[str, Any], as_json: bool) -> None:
    if as_json:
        show(found, True)
        return
    told = found | {"purposes": found["conditions"]["purposes"] or None} | {name: found["conditions"][name] or None for name in ("attribution", "note")}
    show({name: told[name] for name in _SET if told[name] is not None}, False)
    if found["sources"]:
        click.echo()
        show(found["sources"], False, _SOURCES)
    if unknown := [source["name"] for source in found["sources"] if source["licence"] is None]:
        way_out = "Add the texts again with --licence, or name it in the recipe of a version"
        click.echo(f"\nThe evidence of {', '.join(unknown)} names no licence that is known here. {way_out}.", err=True)


# --- versions --------------------------------------------------------------------------------------------------------------


@click.command()
@click.argument("repository")
@click.argument("sets", metavar="SOURCE_SET...", nargs=-1, required=True)
@click.option("--recipe", "file", type=_PATH, help="A recipe in TOML: the keys that differ from the shipped one.")
@click.option("--organisation", help="Who builds it (default: the repository's organisation).")
@click.option("--key", help="Names this request; the same key is the same version (default: from what is asked).")
@waiting
@common
def build(
    client: Client, as_json: bool, repository: str, sets: tuple[str, ...], file: Path | None, organisation: str | None, key: str | None, wait: bool
) -> None:
    """Make a version of source sets, in the dataset repository REPOSITORY (organisation/name).

    A set is named by its id, as `lilong corpus sources list` tells it; sets of others as far as their terms allow it.
    """
    from lilong.client import corpus as door

    owner = organisation or repository.partition("/")[0]
    recipe = door.read_recipe(file) if file else {}
    made = door.build(
        client, organisation=owner, key=key or key_of(repository, *sets, repr(recipe)), sources=sets, repository=repository, recipe=recipe
    )
    _show_version(plain(finished(client, made, wait)), as_json)



@click.command()
@click.argument("folder", type=click.Path(path_type=Path, exists=True, file_okay=False), metavar="DIR")
@click.option("--repository", required=True, help="organisation/name of the dataset repository.")
@click.option("--organisation", help="Who builds it (default: the repository's organisation).")
@_terms
@_purposes
@_attribution
@click.option("--licence", default="", help="SPDX expression for documents that name no licence.")
@click.option("--evidence", type=_PATH, help="The text that says so.")
@click.option("--held-out", type=click.FloatRange(0, 1), default=0.0, help="Share of families that is held out of training.")
@click.option("--key", help="Names this request; the same key is the same version (default: from the files).")
@waiting
@common
def publish(
    client: Client, as_json: bool, folder: Path, repository: str, organisation: str | None, terms: str, purposes: tuple[str, ...],
    attribution: str, licence: str, evidence: Path | None, held_out: float, key: str | None, wait: bool,
) -> None:  # fmt: skip
    """Make a version of the finished curation run in DIR.

    Interrupted, the same command goes on where it was. The house counts the tables itself.
    """
    from lilong.client import alliance as door
    from lilong.floors.corpus import rules
    from lilong.ground.errors import BadInput

    owner = organisation or rules.organisation_of(repository)
    if licence and evidence is None:  # the house says so too, once all is sent
        raise BadInput(field="licence", problem="nothing says so", way_out="Give the text that does: --evidence FILE.")
    with interrupted(SENT):
        files = door.keep_run(client, owner, folder, evidence)
    digests = [digest for each in files.values() for digest in each]
    made = door.publish(
        client, organisation=owner, key=key or key_of(repository, terms, *purposes, attribution, licence, str(held_out), *digests),
        repository=repository, files=files, licence=licence, terms=terms, purposes=purposes, attribution=attribution, held_out=held_out,
    )  # fmt: skip
    _show_version(plain(finished(client, made, wait)), as_json)


def _show_version(found: dict[str, Any], as_json: bool) -> None:
    show(found if as_json else {name: found[name] for name in _VERSION if found[name] is not None}, as_json)
