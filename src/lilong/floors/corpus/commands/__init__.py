"""`lilong dataset …` and `lilong corpus …`"""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from lilong.cli_kit import common, show
from lilong.floors.corpus.commands.alliance import alliance, contains, contributions, drift, quality, rights, takedown, takedowns
from lilong.floors.corpus.commands.comparing import decontaminate, dedup, make_index
from lilong.floors.corpus.commands.curation import corpus
from lilong.floors.corpus.commands.interrupting import Interruptible
from lilong.floors.corpus.commands.sources import build, publish, sources

if TYPE_CHECKING:
    from lilong.client import Client

__all__ = ["corpus", "dataset"]

for _command in (
    alliance, build, contains, contributions, decontaminate, dedup, drift, make_index, publish, quality, rights, sources, takedown, takedowns,
):  # fmt: skip
    corpus.add_command(_command)

_COLUMNS = (("DATASET", "repository"), ("COMMIT", "commit"), ("STATE", "state"), ("TERMS", "terms"), ("DOCUMENTS", "figures.documents.kept"),
            ("BYTES", "figures.bytes.kept"), ("HELD OUT", "figures.documents.held_out"), ("DROPPED", "figures.documents.dropped"), ("AT", "created_at"))  # fmt: skip
_CONDITIONS = ("purposes", "attributions", "notes")
_HEAD = (
    "id",
    "repository",
    "commit",
    "manifest",
    "statement",
    "state",
    "terms",
    "contributors",
    *_CONDITIONS,
    "superseded",
    "error",
    "job",
    "requested_by",
    "created_at",
    "finished_at",
)
_TABLES = (
    ("sources", (("SOURCE", "name"), ("VERSION", "version"), ("LICENCE", "licence"), ("DOCUMENTS", "documents"), ("BYTES", "bytes"), ("DROPPED", "dropped"))),
    ("licences", (("LICENCE", "name"), ("DOCUMENTS", "documents"), ("BYTES", "bytes"))),
    ("languages", (("LANGUAGE", "name"), ("DOCUMENTS", "documents"), ("BYTES", "bytes"))),
    ("dropped", (("DROPPED FOR", "reason"), ("DOCUMENTS", "documents"))),
    ("lost", (("FOR EXAMPLE", "uri"), ("WHY", "detail"))),
)  # fmt: skip


@click.group(cls=Interruptible)
def dataset() -> None:
    """Corpus versions: what they are made of, and what was left out."""


@dataset.command("list")
@click.option("--repository", help="Only versions of this repository (organisation/name).")
@click.option("--limit", default=50, show_default=True)
@common
def list_(client: Client, as_json: bool, repository: str | None, limit: int) -> None:
    """Corpus versions, newest first."""
    found = client.get("/api/corpus/versions", repository=repository, limit=limit)
    if not as_json:
        found = [{**one, "state": "out of use" if one["superseded"] else one["state"]} for one in found]
    show(found, as_json, _COLUMNS)


@dataset.command("show")
@click.argument("name")
@common
def show_(client: Client, as_json: bool, name: str) -> None:
    """One version: NAME is its id, organisation/name, or organisation/name@commit."""
    found = client.get(f"/api/corpus/datasheets/{name}")
    if as_json:
        show(found, True)
        return
    version = found["version"]
    version |= {name: version["conditions"][name] or None for name in _CONDITIONS}
    if version["conditions"]["purposes"] == []:
        version["purposes"] = "none that all of its sources allow"
    show({key: version[key] for key in _HEAD if version[key] is not None}, False)
    for part, columns in _TABLES:
        if found[part]:
            click.echo()
            show(found[part], False, columns)
