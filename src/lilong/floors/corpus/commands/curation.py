"""`lilong corpus …`: curation of local files, without a server."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from lilong.cli_kit import harmless, show
from lilong.floors.corpus.commands.interrupting import Interruptible, interrupted
from lilong.floors.corpus.curation.runs.progress import size
from lilong.ground.errors import BadInput, Corrupt, Unavailable

if TYPE_CHECKING:
    from lilong.floors.corpus.curation.runs.progress import Progress

_PATH = click.Path(path_type=Path)
_REASONS = (("STEP", "step"), ("REASON", "reason"), ("DOCUMENTS", "documents"))
_SOURCES = (("SOURCE", "source"), ("DOCUMENTS", "documents"), ("KEPT", "kept"), ("PASS RATE", "pass_rate"), ("TEXT", "bytes"), ("KEPT TEXT", "kept_bytes"), ("MOST DROPPED FOR", "most"))  # fmt: skip
_RULES = (("STEP", "step"), ("REASON", "reason"), ("VALUE", "value"), ("DROPPED IF", "drop"), ("WHEN", "when"), ("DROPS IT", "drops"))
_READINGS = (("SOURCE", "source"), ("URI", "uri"), ("KEPT", "keep"), ("STEP", "step"), ("REASON", "reason"), ("DETAIL", "detail"))
_CHANGES = (("BEFORE", "before"), ("AFTER", "after"), ("DOCUMENTS", "documents"), ("FOR EXAMPLE", "example"))
_BY_SOURCE = (("SOURCE", "source"), ("DOCUMENTS", "documents"), ("KEPT BEFORE", "kept_before"), ("KEPT AFTER", "kept_after"))
_NAMED = 10  # problems that are told one by one
_LIMITS = (("LIMIT", "limit"), ("THE RULE ALONE DROPS", "caught"), ("THE POLICY KEEPS", "kept"))


class LostFiles(Corrupt):
    """{lost} of the files could not be read, or not to their end. The first one, {first}, {problem}. All else is curated; {report} names every one."""


class NothingRead(BadInput):
    """Not one document was read{example}. Give files with texts: JSON lines with a field `text`, Parquet with such a column, or pages."""


class DiskFull(Unavailable):
    """There is no room left in {folder}. What stands there under its own name is whole: make room and give the same command again."""


def as_json(command: Callable[..., Any]) -> Callable[..., Any]:
    return click.option("--json", "as_json", is_flag=True, help="Answer in JSON.")(command)


def of_run(command: Callable[..., Any]) -> Callable[..., Any]:
    return click.option("--run", "folder", type=_PATH, default=Path(), help="The --out folder of a finished run (default: this one).")(
        command
    )


def no_file_in_its_way(_: Any, option: click.Parameter, out: Path | None) -> Path | None:
    """A folder can be where nothing is, or a folder."""
    there = next((one for one in (out, *out.parents) if os.path.lexists(one)), None) if out else None
    if there is not None and not there.is_dir():
        raise BadInput(field=option.opts[0], problem=f"{there} is a file", way_out="Name a folder.")
    return out


def to_folder(help: str, required: bool = False) -> Callable[..., Any]:
    """The option --out of a command that writes a folder."""
    return click.option("--out", type=_PATH, required=required, callback=no_file_in_its_way, help=help)


@contextmanager
def working(folder: Path | None) -> Iterator[Progress]:
    """Progress of a command that writes into a folder, or nothing. Raises DiskFull."""
    from lilong.floors.corpus.curation.runs import progress

    try:
        with progress.shown() as told:
            yield told
    except OSError as problem:
        if folder is None or problem.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise
        raise DiskFull(folder=folder) from None


@contextmanager
def resumed(folder: Path) -> Iterator[Progress]:
    """Progress of a command that goes on where it was interrupted. Raises DiskFull."""
    with interrupted(f"What is done is kept in {folder}: the same command goes on where it was."), working(folder) as told:
        yield told


@click.group(cls=Interruptible)
def corpus() -> None:
    """Corpora: curation of local files, and versions that organisations make and share."""


@corpus.command()
@click.argument("inputs", nargs=-1, required=True, metavar="INPUT…")
@click.option("--profile", required=True, help="What is measured: fineweb, gopher-zh, docs or code.")
@to_folder("Folder for the result; new, or of the same run that was interrupted.", required=True)
@click.option("--policy", type=_PATH, help="A policy file (default: the profile's own).")
@click.option(
    "--classifier", "classifiers", multiple=True, metavar="NAME=FILE", help="Also score with a fastText model; its labels become signals."
)
@click.option(
    "--mask", multiple=True, metavar="KIND", help="Mask this kind of personal data in what is kept (email, phone …); may be repeated."
)
@click.option("--workers", type=click.IntRange(1, 1024), help="Processes (default: one per processor). The result does not depend on it.")
@click.option(
    "--on",
    type=click.Choice(["here", "ray"]),
    default="here",
    show_default=True,
    help="Where: in processes of this machine, or on Ray. The result does not depend on it.",
)
@click.option("--ray-address", metavar="HOST:PORT", help="The head of a Ray cluster (default: a Ray of --workers that is started here).")
@click.option("--table-files", type=click.IntRange(1, 65_536), help="On Ray: write each table as a folder of so many files, side by side.")
@click.option(
    "--review", is_flag=True, help="Also write the texts of what is dropped (dropped.parquet), for the pages of a version that is published."
)
@as_json
def curate(
    inputs: tuple[str, ...], profile: str, out: Path, policy: Path | None, classifiers: tuple[str, ...], mask: tuple[str, ...],
    workers: int | None, on: str, ray_address: str | None, table_files: int | None, review: bool, as_json: bool,
) -> None:  # fmt: skip
    """Measure the documents in files and folders, decide about each, find duplicates, and write the tables.

    INPUT is a file, a folder, or NAME=PATH; NAME is then the documents' source. Interrupted, the same command goes on where it was.
    """
    from lilong.floors.corpus.curation.runs import lean

    if on != "ray":
        lean.start()
    from lilong.floors.corpus.curation.runs import engine, profiles

    setup = profiles.Setup(profile, tuple(map(_classifier, classifiers)), tuple(sorted(set(mask))))
    ask = engine.Ask(inputs, setup, out, policy, workers or len(os.sched_getaffinity(0)), review)
    if on != "ray" and (ray_address or table_files):
        raise BadInput(field="--ray-address" if ray_address else "--table-files", problem="the run is not on Ray", way_out="Add --on ray.")
    with resumed(out) as told:
        report = _on_ray(ask, ray_address, table_files, told) if on == "ray" else engine.curate(ask, told)
    if as_json:
        show(report, True)
    else:
        _show_report(report, out)
    problems, named = report["problems"], out / "problems.parquet"
    first = problems["named"][0] if problems["named"] else {}
    if problems["lost"]:
        raise LostFiles(lost=f"{problems['lost']:,}", first=first["uri"], problem=first["problem"].rstrip("."), report=named)
    if not report["documents"]["read"]:
        raise NothingRead(example=f": {first['uri']} {first['problem']}".rstrip(".") if first else "")


def _on_ray(ask: Any, address: str | None, table_files: int | None, told: Any) -> dict[str, Any]:
    from lilong.floors.corpus.curation.runs.ray_data import run

    return run.curate(ask, run.Spread(address, table_files=table_files), told)


def _most(dropped: dict[str, int]) -> str:
    first = sorted(dropped.items(), key=lambda item: (-item[1], item[0]))[:3]
    return ", ".join(f"{reason} {number:,}" for reason, number in first)


def _classifier(given: str) -> tuple[str, Path]:
    name, equals, file = given.partition("=")
    if not equals or not name.isidentifier():
        raise BadInput(field="--classifier", problem=f"{given!r} is not NAME=FILE", way_out="Write --classifier quality=model.ftz.")
    return name, Path(file)


def _show_report(report: dict[str, Any], out: Path) -> None:
    documents, problems = report["documents"], report["problems"]
    for rows, columns in (([one for one in report["dropped"] if one["documents"]], _REASONS), (list(map(_source, report["sources"])), _SOURCES)):
        if rows:
            show(rows, False, columns)
            click.echo()
    for one in problems["named"][:_NAMED]:
        click.echo(harmless(f"{one['source']}: {one['uri']} {one['problem']}"), err=True)
    told = {
        "broken records": problems["broken"],
        "damaged files": problems["lost"],
        "files and records that are no documents": problems["skipped"],
    }
    counted = ", ".join(f"{name}: {number:,}" for name, number in told.items() if number)
    if counted:
        click.echo(f"Not read: {counted}. All are named in {out / 'problems.parquet'}.")
    if documents["read"]:
        click.echo(f"{documents['kept']:,} of {documents['read']:,} documents kept, {size(report['bytes']['kept'])} of {size(report['bytes']['read'])}.")
        click.echo(f"The tables are in {out}; why a document was kept or dropped: lilong corpus explain ID --run {out}")


def _source(one: dict[str, Any]) -> dict[str, Any]:
    """A source's counts as people read them."""
    share = "-" if one["pass_rate"] is None else f"{one['pass_rate']:.1%}"
    return {**one, "pass_rate": share, "bytes": size(one["bytes"]), "kept_bytes": size(one["kept_bytes"]), "most": _most(one["dropped"])}


@corpus.command()
@click.argument("name", metavar="ID")
@of_run
@as_json
def explain(name: str, folder: Path, as_json: bool) -> None:
    """Why a document was kept or dropped. ID is its id, the first digits of it, its uri, or SOURCE/URI."""
    from lilong.floors.corpus.curation.runs.results import Results

    found = Results.open(folder).explain(name)
    if as_json:
        show(found, True)
        return
    click.echo(f"{found['id']}\n")
    show(found["readings"], False, _READINGS)
    click.echo()
    show([{**one, "when": " and ".join(one.get("when", ()))} for one in found["rules"]], False, _RULES)
    if found["cluster"]:
        click.echo(
            f"\nIt is one of {found['cluster']['documents']} copies and near duplicates; {found['cluster']['representative']} stands for them."
        )
    if found["excerpt"]:
        click.echo(harmless(f"\n{found['excerpt']}"))
    else:
        click.echo("\nIts text is not here: it was dropped, and what the run read is no longer where it was.")


@corpus.group()
def policy() -> None:
    """Policies: which signals' values drop a document."""


@policy.command("show")
@click.argument("profile")
def show_policy(profile: str) -> None:
    """The policy that comes with a profile, as a file to start one's own from."""
    from lilong.floors.corpus.curation.runs import profiles

    click.echo(profiles.profile(profiles.Setup(profile)).policy_file.read_text(encoding="utf-8"), nl=False)


@policy.command("try")
@click.argument("file", type=_PATH)
@of_run
@click.option("--limits", multiple=True, metavar="REASON=A,B,…", help="Also try other limits of the rule with this reason.")
@as_json
def try_policy(file: Path, folder: Path, limits: tuple[str, ...], as_json: bool) -> None:
    """What the policy in FILE would change in a finished run. Nothing is measured again, and nothing is written."""
    from dataclasses import asdict

    from lilong.floors.corpus.curation.runs.results import Results

    asked = dict(map(_limits, limits))
    run = Results.open(folder)
    found = run.compare(file).as_json()
    found["limits"] = {reason: [asdict(one) for one in run.explore(reason, values, file)] for reason, values in asked.items()}
    if as_json:
        show(found, True)
        return
    click.echo(f"{found['kept_before']:,} of {found['documents']:,} different texts pass now, {found['kept_after']:,} would: "
               f"{found['newly_kept']:,} more, {found['newly_dropped']:,} fewer.\n")  # fmt: skip
    show([_change(one) for one in found["reasons"]], False, _CHANGES)
    click.echo()
    show(found["sources"], False, _BY_SOURCE)
    for reason, tried in found["limits"].items():
        click.echo(f"\n{reason}")
        show(tried, False, _LIMITS)


def _change(one: dict[str, Any]) -> dict[str, Any]:
    sample = one["samples"][0]
    return {
        **one,
        "before": one["before"] or "kept",
        "after": one["after"] or "kept",
        "example": f"{sample['id'][:12]} {sample['after'] or sample['before']}",
    }


def _limits(given: str) -> tuple[str, list[float]]:
    reason, _, values = given.partition("=")
    try:
        return reason, [float(value) for value in values.split(",")]
    except ValueError:
        raise BadInput(
            field="--limits", problem=f"{given!r} is not REASON=NUMBER,NUMBER,…", way_out="Write --limits words=20,50,100."
        ) from None


@corpus.command()
@click.argument("table", type=_PATH, metavar="FILE|FOLDER")
@click.option("--tokenizer", type=_PATH, required=True, help="A model's tokenizer.json, or the folder that holds it.")
@to_folder("Folder for the shards.", required=True)
@click.option("--separator", help="The token that ends each document (default: the tokenizer's end-of-text token).")
@click.option("--workers", type=click.IntRange(1, 1024), default=1, show_default=True)
@as_json
def tokenise(table: Path, tokenizer: Path, out: Path, separator: str | None, workers: int, as_json: bool) -> None:
    """Write texts (a run's folder, a corpus version's, or a Parquet file) as token shards that training maps into memory."""
    from lilong.floors.corpus.curation.writing import tokens

    files = tokens.tables_of(table)
    with resumed(out) as told:
        told.begin("tokenising", tokens.text_bytes(files))
        index = tokens.tokenise(files, tokenizer, out, workers=workers, separator=separator, told=lambda size: told.advance(size, 0))
    shown = {key: index[key] for key in ("documents", "tokens", "dtype", "separator_text", "tokenizer")}
    show(index if as_json else {**shown, "shards": len(index["shards"])}, as_json)


_STAGES = (("STAGE", "stage"), ("CORE-HOURS", "core_hours"), ("READ TB", "read"), ("WRITTEN TB", "written"), ("SHUFFLED TB", "shuffled"), ("COMPUTING H", "computing"), ("MOVING H", "moving"), ("HOURS", "hours"))  # fmt: skip
_SHARE, _ABOVE = click.FloatRange(0, 1), click.FloatRange(0, min_open=True)
_PRICE, _MANY = click.FloatRange(0), click.IntRange(1)


@corpus.command()
@click.option("--bytes", "size", required=True, metavar="SIZE", help="Text to curate, unpacked: 180TB, 2.5GB.")
@click.option("--document-bytes", type=_ABOVE, default=4_000.0, show_default=True, help="Text of a document, on average.")
@click.option("--distinct", type=_SHARE, default=0.7, show_default=True, help="Share of documents that is left without exact copies.")
@click.option("--passes", type=_SHARE, default=0.35, show_default=True, help="Share of these that the policy keeps.")
@click.option("--rate", type=_ABOVE, default=10.0, show_default=True, help="MB of text that a core measures in a second.")
@click.option("--cores", type=_MANY, default=1_024, show_default=True)
@click.option(
    "--gbit", type=_ABOVE, default=25.0, show_default=True, help="Of each node of 64 cores, to the others and to the shared disk."
)
@click.option("--table-files", type=_MANY, default=1_024, show_default=True, help="As for `curate`.")
@click.option("--core-hour", type=_PRICE, default=0.04, show_default=True, help="Price of a core for an hour.")
@click.option("--tb-month", type=_PRICE, default=20.0, show_default=True, help="Price of a TB of shared disk for a month.")
@as_json
def plan(
    size: str, document_bytes: float, distinct: float, passes: float, rate: float, cores: int, gbit: float, table_files: int,
    core_hour: float, tb_month: float, as_json: bool,
) -> None:  # fmt: skip
    """What `curate --on ray` would take: core-hours, hours, disk and money, stage by stage, reckoned from measured rates."""
    from dataclasses import asdict

    from lilong.floors.corpus.curation import scale

    text = scale.Text(_size(size), document_bytes, distinct=distinct, passes=passes)
    cluster = scale.Cluster(cores, node_gbit=gbit, table_files=table_files, core_hour=core_hour, tb_month=tb_month)
    found = scale.plan(text, cluster, scale.Rates(measure_mb_s=rate))
    if as_json:
        show(asdict(found), True)
        return
    show(found.rows(), False, _STAGES)
    click.echo(
        f"\n{found.documents / 1e9:,.1f} billion documents, {found.core_hours:,.0f} core-hours, {found.hours:,.1f} hours on {cores:,} cores.\n"
        f"Shared disk: {found.scratch:,.0f} TB while it runs, {found.result:,.1f} TB of result, besides the input.\n"
        f"Money: {found.compute:,.0f} for cores, {found.storage:,.0f} for the disk."
    )


_UNITS = {"": 1.0, "KB": 1e3, "MB": 1e6, "GB": 1e9, "TB": 1e12, "PB": 1e15}


def _size(given: str) -> float:
    number = given.strip().upper().rstrip("KMGTPB")
    unit = given.strip().upper()[len(number) :]
    try:
        found = float(number) * _UNITS[unit]
    except (ValueError, KeyError):
        found = 0.0
    if not 0 < found < float("inf"):
        raise BadInput(field="--bytes", problem=f"{given!r} is not a size", way_out="Write --bytes 180TB.")
    return found
