"""`lilong corpus dedup | index | contains | decontaminate`: questions to the documents of finished runs."""

from __future__ import annotations

import re
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from lilong.cli_kit import harmless, show
from lilong.floors.corpus.commands.curation import as_json, no_file_in_its_way, of_run, to_folder, working
from lilong.floors.corpus.contract import OVERLAP_CHARACTERS, OVERLAP_LEAST_WORDS
from lilong.floors.corpus.curation.runs.progress import size
from lilong.ground.errors import BadInput, NotFound

_PATH = click.Path(path_type=Path)
_FOUND = (("DOCUMENT", "document"), ("SHARE OF THE TEXT", "share"))
_ITEMS = (("ITEM", "item"), ("DOCUMENT", "id"), ("METHOD", "method"), ("FOUND", "found"), ("OF", "windows"))
_SHOWN = 20
_NAME = re.compile(r"\S{1,200}\.(md|rst|txt|html?)|\.{0,2}/\S{1,200}")
_RUNGS = ("exact", "paragraphs", "lines", "near", "passages", "meaning")
_STEPS = (("STEP", "step"), ("DOCUMENTS", "documents"), ("LEFT", "left"), ("TAKEN OUT (BYTES)", "taken_out"))


class NoSuchFile(NotFound):
    """There is no file '{name}'. Check the path; a text with such a name can be given in a file."""


@click.command()
@click.argument("runs", nargs=-1, required=True, type=_PATH, metavar="RUN…")
@click.option(
    "--by",
    "rungs",
    multiple=True,
    type=click.Choice(_RUNGS),
    help="What to look for; may be repeated (default: near). Exact copies always are.",
)
@click.option(
    "--prefer",
    multiple=True,
    metavar="COLUMN=…",
    help="Which of a cluster stays: COLUMN=most, COLUMN=least, or COLUMN=FIRST,SECOND,…; may be repeated (default: bytes=most).",
)
@click.option(
    "--copies",
    type=click.IntRange(1),
    default=10,
    show_default=True,
    help="lines, paragraphs: one in more documents than this stays in the first only.",
)
@click.option("--passage", type=click.IntRange(2), default=100, show_default=True, help="passages: bytes of the shortest one.")
@click.option("--model", type=_PATH, help="meaning: the folder of a model2vec model.")
@click.option(
    "--cosine", type=click.FloatRange(0, 1, min_open=True), default=0.95, show_default=True, help="meaning: alike from this cosine on."
)
@click.option("--standing", type=_PATH, callback=no_file_in_its_way, help="Compare with the standing corpus in this folder instead.")
@click.option("--add", is_flag=True, help="Also add the documents to the standing corpus.")
@to_folder("Folder for the tables of what was found, and for the documents that are left.")
@as_json
def dedup(
    runs: tuple[Path, ...], rungs: tuple[str, ...], prefer: tuple[str, ...], copies: int, passage: int, model: Path | None, cosine: float,
    standing: Path | None, add: bool, out: Path | None, as_json: bool,
) -> None:  # fmt: skip
    """What the documents of several runs have in common, or what a standing corpus has of them already.

    The rungs are taken in the order exact, paragraphs, lines, near, passages, meaning, each on what the one before it left.
    """
    from lilong.floors.corpus.curation.runs import comparing, ladder

    if standing is None:
        if add:
            raise BadInput(field="--add", problem="there is nothing to add to", way_out="Name a folder with --standing.")
        preferences = tuple(map(_preference, prefer or ("bytes=most",)))
        asked = ladder.Ladder(ladder.rungs(rungs or ("near",)), preferences, copies, passage, model, cosine)
        with working(out) as told:
            found = comparing.dedup(runs, asked, out, told)
        _show_dedup(found, out, as_json)
        return
    if rungs not in ((), ("near",)) or prefer or out:
        problem = "a standing corpus is compared by exact and near copies only, and nothing is written"
        raise BadInput(field="--standing", problem=problem, way_out="Leave --by, --prefer and --out out.")
    with working(standing if add else None) as told:
        there = comparing.contribute(runs, standing, add, told)
    if as_json:
        show({**asdict(there), "share": there.share, "new_bytes": there.new_bytes, "added": add}, True)
    else:
        click.echo(there.sentence() + (f" Added to {standing}." if add else ""))


@click.command("index")
@of_run
@as_json
def make_index(folder: Path, as_json: bool) -> None:
    """Make a run's membership index, for `lilong corpus contains`."""
    from lilong.floors.corpus.curation.runs import comparing

    with working(folder) as told:
        digest = comparing.index(folder, told)
    show({"index": str(folder / comparing.INDEX), "digest": digest}, as_json)


@click.command()
@click.argument("text", metavar="TEXT|FILE")
@of_run
@as_json
def contains(text: str, folder: Path, as_json: bool) -> None:
    """Whether a text stands in a run's documents, whole or in part, and in which."""
    from lilong.floors.corpus.curation.runs import comparing

    asked = text_of(text)
    found = comparing.contains(folder, asked)
    told: dict[str, Any] = {**asdict(found), "share": round(found.share, 4), "documents": [_document(one) for one in found.documents]}
    if as_json:
        show(told, True)
        return
    if not found.asked and not found.copies:
        click.echo("No document is this text, and it is too short to be found as a part of one.")
        return
    click.echo(f"{found.share:.0%} of the text stands in this corpus; {same(len(found.copies))}.")
    if found.documents:
        show(told["documents"], False, _FOUND)


@click.command()
@click.option("--against", type=_PATH, required=True, help="The evaluation set: JSON lines, Parquet, or documents.")
@of_run
@to_folder("Folder for the documents without those that match, and the table of matches.")
@as_json
def decontaminate(against: Path, folder: Path, out: Path | None, as_json: bool) -> None:
    """Which items of an evaluation set stand in a run's documents."""
    from lilong.floors.corpus.curation.runs import comparing

    with working(out) as told:
        found = comparing.decontaminate(folder, against, out, told)
    if as_json:
        show(found, True)
        return
    click.echo(
        f"{found['items_found']:,} of {found['items']:,} items stand in {found['contaminated']:,} of {found['documents']:,} documents."
    )
    if found["items_too_short"]:
        count = found["items_too_short"]
        say = "item is" if count == 1 else "items are"
        click.echo(f"{count:,} {say} too short to be looked for, with fewer than {OVERLAP_LEAST_WORDS} words and {OVERLAP_CHARACTERS} letters.")
    if found["matches"]:
        show(found["matches"][:_SHOWN], False, _ITEMS)
    if len(found["matches"]) > _SHOWN:
        click.echo(harmless(f"… and {len(found['matches']) - _SHOWN:,} more; --out writes them all."))


def _show_dedup(found: dict[str, Any], out: Path | None, as_json: bool) -> None:
    if as_json:
        show(found, True)
        return
    show([{**one, "taken_out": found["taken_out_bytes"].get(one["step"], "")} for one in found["steps"]], False, _STEPS)
    click.echo(
        f"\n{found['left']:,} of {found['documents']:,} documents are left; {found['clusters']:,} clusters, "
        f"{size(found['duplicate_bytes'])} of {size(found['bytes'])} in documents that stand there again."
    )
    click.echo(f"The tables are in {out}." if out else "Nothing was written; --out FOLDER writes the documents that are left.")


def _preference(given: str) -> Any:
    from lilong.floors.corpus.curation.dedup.clusters import parse_preferences

    column, equals, how = given.partition("=")
    if not column or not equals or not how:
        raise BadInput(
            field="--prefer", problem=f"{given!r} is not COLUMN=…", way_out="Write --prefer quality=most, or --prefer licence=CC0-1.0,MIT."
        )
    return parse_preferences([{"column": column, **({"best": how} if how in ("least", "most") else {"order": how.split(",")})}])[0]


def _document(one: tuple[str, float]) -> dict[str, Any]:
    return {"document": one[0], "share": round(one[1], 4)}


def same(copies: int) -> str:
    return f"{copies:,} {'document is' if copies == 1 else 'documents are'} the same letter by letter"


def text_of(given: str) -> str:
    try:
        given.encode()
    except UnicodeEncodeError:
        way_out = "Give the text in UTF-8, or a text file."
        raise BadInput(field="TEXT|FILE", problem="it is not UTF-8", way_out=way_out) from None
    if _NAME.fullmatch(given) and not Path(given).exists():  # not a text: the answer `it is nowhere` would mislead
        raise NoSuchFile(name=given)
    if not given.strip():
        raise BadInput(field="TEXT|FILE", problem="it is empty", way_out="Give the text to look for, or a text file.")
    try:
        if Path(given).is_dir():
            raise BadInput(field="TEXT|FILE", problem=f"{given} is a folder", way_out="Give the text to look for, or one text file.")
        return Path(given).read_bytes().decode("utf-8-sig") if Path(given).is_file() else given
    except UnicodeDecodeError:
        raise BadInput(field="FILE", problem=f"{given} is not UTF-8", way_out="Give a text file in UTF-8.") from None
    except (OSError, ValueError):  # no name of a file: too long, or with a NUL in it
        return given
