"""`lilong corpus dedup | index | contains | decontaminate`: questions to the documents of finished runs."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from lilong.cli_kit import harmless, show
from lilong.floors.corpus.commands.curation import as_json, of_run
from lilong.ground.errors import BadInput

_PATH = click.Path(path_type=Path)
_FOUND = (("DOCUMENT", "document"), ("SHARE OF THE TEXT", "share"))
_ITEMS = (("ITEM", "item"), ("DOCUMENT", "id"), ("METHOD", "method"), ("FOUND", "found"), ("OF", "windows"))
_SHOWN = 20


@click.command()
@click.argument("runs", nargs=-1, required=True, type=_PATH, metavar="RUN…")
@click.option("--standing", type=_PATH, help="Compare with the standing corpus in this folder instead.")
@click.option("--add", is_flag=True, help="Also add the documents to the standing corpus.")
@click.option("--out", type=_PATH, help="Folder for the table of clusters.")
@as_json
def dedup(runs: tuple[Path, ...], standing: Path | None, add: bool, out: Path | None, as_json: bool) -> None:
    """Exact and near duplicates over the documents of several runs, or between them and a standing corpus."""
    from lilong.floors.corpus.curation.runs import comparing

    if standing is None:
        if add:
            raise BadInput(field="--add", problem="there is nothing to add to", way_out="Name a folder with --standing.")
        show(comparing.dedup(runs, out), as_json)
        return
    found = comparing.contribute(runs, standing, add)
    if as_json:
        show({**asdict(found), "share": found.share, "new_bytes": found.new_bytes, "added": add}, True)
    else:
        click.echo(found.sentence())


@click.command("index")
@of_run
@as_json
def make_index(folder: Path, as_json: bool) -> None:
    """Make a run's membership index, for `lilong corpus contains`."""
    from lilong.floors.corpus.curation.runs import comparing

    show({"index": str(folder / comparing.INDEX), "digest": comparing.index(folder)}, as_json)


@click.command()
@click.argument("text", metavar="TEXT|FILE")
@of_run
@as_json
def contains(text: str, folder: Path, as_json: bool) -> None:
    """Whether a text stands in a run's documents, whole or in part, and in which."""
    from lilong.floors.corpus.curation.runs import comparing

    asked = _text(text)
    found = comparing.contains(folder, asked)
    told: dict[str, Any] = {**asdict(found), "share": round(found.share, 4), "documents": [_document(one) for one in found.documents]}
    if as_json:
        show(told, True)
        return
    if not found.asked and not found.copies:
        click.echo("No document is this text, and it is too short to be found as a part of one.")
        return
    click.echo(f"{found.share:.0%} of the text stands in this corpus; {len(found.copies)} documents are the same letter by letter.")
    if found.documents:
        show(told["documents"], False, _FOUND)


@click.command()
@click.option("--against", type=_PATH, required=True, help="The evaluation set: JSON lines, Parquet, or text files.")
@of_run
@click.option("--out", type=_PATH, help="Folder for the documents without those that match, and the table of matches.")
@as_json
def decontaminate(against: Path, folder: Path, out: Path | None, as_json: bool) -> None:
    """Which items of an evaluation set stand in a run's documents."""
    from lilong.floors.corpus.curation.runs import comparing

    found = comparing.decontaminate(folder, against, out)
    if as_json:
        show(found, True)
        return
    click.echo(
        f"{found['items_found']:,} of {found['items']:,} items stand in {found['contaminated']:,} of {found['documents']:,} documents."
    )
    if found["matches"]:
        show(found["matches"][:_SHOWN], False, _ITEMS)
    if len(found["matches"]) > _SHOWN:
        click.echo(harmless(f"… and {len(found['matches']) - _SHOWN:,} more; --out writes them all."))


def _document(one: tuple[str, float]) -> dict[str, Any]:
    return {"document": one[0], "share": round(one[1], 4)}


def _text(given: str) -> str:
    try:
        return Path(given).read_bytes().decode("utf-8-sig") if Path(given).is_file() else given
    except UnicodeDecodeError:
        raise BadInput(field="FILE", problem=f"{given} is not UTF-8", way_out="Give a text file in UTF-8.") from None
    except (OSError, ValueError):  # no name of a file: too long, or with a NUL in it
        return given
