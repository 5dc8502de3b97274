"""The job that makes a version of a curation run that came from outside.

Nothing of what the run's report says is believed: the tables must have the digests that it names, and hold the numbers that it tells; the
version's figures are then counted from the tables, by the same code that counts those of a build.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lilong.floors.corpus.alliance import runs
from lilong.floors.corpus.alliance.shapes import RunNotUsable
from lilong.floors.corpus.contract import NoLicence
from lilong.ground.work import Workspace, carry_out

if TYPE_CHECKING:
    from lilong.floors.corpus.curation.versions.sources import Source

_COLUMNS = {
    "documents": ("id", "text", "source", "uri", "licence", "retrieved_at", "format", "transforms", "language", "cluster"),
    "decisions": ("id", "source", "keep", "step", "reason", "detail", "uri"),
    "clusters": ("id", "source", "uri", "cluster", "size", "representative", "kept", "why", "bands"),
    "problems": ("source", "uri", "reason", "problem", "lost", "skipped"),
    "signals": ("id", "language"),
}


def publish(work: Workspace) -> None:
    os.environ.setdefault("NUMBA_CACHE_DIR", str(work.state / "numba"))
    from lilong.floors.corpus.backends.source_set import file_digest
    from lilong.floors.corpus.curation import recipe
    from lilong.floors.corpus.curation.runs.results import Results
    from lilong.floors.corpus.curation.sheet import Wording
    from lilong.floors.corpus.curation.versions import making, publishing
    from lilong.floors.corpus.work import VOCABULARY, code_listing

    spec = work.spec
    work.progress(0, 3, "putting the run together")
    folder = _together(work.input("run"), work.state / "run")
    report = _report(folder)
    work.progress(1, 3, "counting")
    check(folder, report)
    results = Results.open(folder)
    profile = report["run"]["profile"]
    how = recipe.parse({"profile": profile, "languages": [], "exclude": [], "held_out": 0.0, **spec["recipe"]})
    sources = _sources(folder, report, spec)
    gone = [*spec["without"]["documents"], *_of_sources(folder, sources, spec)]
    work.progress(2, 3, "splitting and writing")
    inputs, code = report["run"]["inputs"], report["run"]["code"]
    note = (
        f"Curated outside this house by the profile {profile} ({inputs['files']:,} {'file' if inputs['files'] == 1 else 'files'} with the digest {inputs['digest']}, code {code})"
    )
    wording = Wording(spec["name"], "run", note, spec["terms"], spec["conditions"])
    work.out.mkdir(parents=True, exist_ok=True)
    counted = publishing.publish(making.Ask(folder, work.out, work.state, sources, how, results.policy, gone), wording, {})
    for source in sources:
        if source.evidence:
            (work.out / "licences").mkdir(exist_ok=True)
            (work.out / f"licences/{source.name}.txt").write_text(source.evidence, encoding="utf-8")
    (work.out / "code.txt").write_bytes(code_listing())
    shutil.copyfile(Path(__file__).parents[1] / "curation/words/english.arrow", work.out / VOCABULARY)
    first = sources[0]
    work.finish({
        **counted, "kind": "run", "note": note, "code": f"sha256:{hashlib.sha256(code_listing()).hexdigest()}",
        "vocabulary": file_digest(work.out / VOCABULARY), "environment": report["software"],
        "materials": [{
            "name": f"curation run of {spec['contributor']}", "digest": first.digest, "licence": first.licence or "NOASSERTION",
            "evidence": f"licences/{first.name}.txt" if first.evidence else "",
        }],
    })  # fmt: skip
    work.progress(3, 3, "done", documents=counted["documents"]["kept"])


def _together(parts: Path, folder: Path) -> Path:
    """The files of a run from their parts, in the order of their names."""
    folder.mkdir(parents=True, exist_ok=True)
    for each in sorted(parts.iterdir()):
        with (folder / each.name).open("wb") as out:
            for part in sorted(each.iterdir()):
                with part.open("rb") as file:
                    shutil.copyfileobj(file, out, 1 << 20)
    return folder


def _report(folder: Path) -> dict[str, Any]:
    if (folder / "report.json").stat().st_size > runs.REPORT_BYTES:
        raise RunNotUsable(problem=f"its report.json has more than {runs.REPORT_BYTES:,} bytes")
    try:
        report = json.loads((folder / "report.json").read_bytes())
        (
            report["run"]["policy"],
            report["run"]["profile"],
            report["run"]["inputs"]["files"],
            report["tables"],
            report["sources"][0]["source"],
        )
        runs.check_said(report)
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as problem:
        raise RunNotUsable(problem=f"its report.json is none that a finished run writes ({type(problem).__name__})") from None
    found: dict[str, Any] = report
    return found


def check(folder: Path, report: dict[str, Any]) -> None:
    """That the tables are those that the report names, and hold what it tells. Raises RunNotUsable."""
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    for name, columns in _COLUMNS.items():
        path = folder / f"{name}.parquet"
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        try:
            present = pq.read_schema(path).names
        except pa.ArrowInvalid:
            raise RunNotUsable(problem=f"{name}.parquet is no Parquet file") from None
        if digest != report["tables"].get(name, {}).get("sha256"):
            raise RunNotUsable(problem=f"{name}.parquet is not the one of which its report speaks")
        missing = [column for column in columns if column not in present]
        if missing:
            raise RunNotUsable(problem=f"{name}.parquet has no column {missing[0]}")
        _check_table(path)
    decisions = pq.read_table(folder / "decisions.parquet", columns=["id", "keep", "reason"])
    kept = decisions.filter(decisions.column("keep")).column("id")
    if (folder / runs.DROPPED).exists():
        _check_dropped(folder / runs.DROPPED, decisions.filter(pc.invert(decisions.column("keep"))).column("id"))
    documents, size = _documents(folder)
    if not pc.unique(kept).sort().equals(documents.sort()):
        raise RunNotUsable(problem="documents.parquet does not hold the documents that decisions.parquet keeps, each once")
    counted = {
        "documents kept": len(documents), "documents read": decisions.num_rows, "bytes kept": size,
        "different texts": pq.read_metadata(folder / "signals.parquet").num_rows,
        "problems": pq.read_metadata(folder / "problems.parquet").num_rows,
    }  # fmt: skip
    if wrong := runs.disagreements(report, counted):
        raise RunNotUsable(problem="; ".join(wrong))


def _check_table(path: Path) -> None:
    """That the house can read it in parts, and no few bytes stand for many: it opens what is published in its own process."""
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    from lilong.floors.corpus.curation.writing.tables import ROWS

    with pq.ParquetFile(path) as file:
        schema, metadata = file.schema_arrow, file.metadata
        kinds = (pa.types.is_string, pa.types.is_large_string, pa.types.is_integer, pa.types.is_floating, pa.types.is_boolean)
        strange = [field.name for field in schema if not any(kind(field.type) for kind in kinds)]
        if strange or len(schema) > runs.MOST_SIGNALS or len(set(schema.names)) < len(schema):
            raise RunNotUsable(problem=f"{path.name} has columns that no run writes{f', such as {strange[0][:80]}' if strange else ''}")
        if any(metadata.row_group(group).num_rows > ROWS for group in range(metadata.num_row_groups)):
            raise RunNotUsable(problem=f"{path.name} has row groups of more than {ROWS:,} rows")
        words = [field.name for field in schema if field.name != "text" and any(kind(field.type) for kind in kinds[:2])]
        seen: dict[str, set[str]] = {name: set() for name in ("source", "licence", "language", "step", "reason") if name in words}
        for batch in file.iter_batches(1_024, columns=words, use_threads=False):
            for name in batch.schema.names:
                if (pc.max(pc.binary_length(batch.column(name))).as_py() or 0) > runs.LONGEST:
                    raise RunNotUsable(problem=f"in {path.name} a {name} is longer than {runs.LONGEST:,} bytes")
                if name in seen:
                    seen[name].update(one for one in pc.unique(batch.column(name)).to_pylist() if one)
                    if len(seen[name]) > runs.MOST_NAMES:
                        raise RunNotUsable(problem=f"{path.name} has more than {runs.MOST_NAMES:,} different texts in the column {name}")


def _check_dropped(path: Path, dropped: Any) -> None:
    """That the texts of what was dropped are of such documents, each once."""
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            names = file.schema_arrow.names
    except pa.ArrowInvalid:
        raise RunNotUsable(problem=f"{path.name} is no Parquet file") from None
    if names != ["id", "text"]:
        raise RunNotUsable(problem=f"{path.name} has other columns than id and text")
    _check_table(path)
    seen = []
    with pq.ParquetFile(path) as file:
        for batch in file.iter_batches(2_048, use_threads=False):
            if batch.column("id").null_count or batch.column("text").null_count:
                raise RunNotUsable(problem=f"{path.name} has rows without an id or a text")
            seen.append(batch.column("id").cast(pa.string()))
    ids = pa.chunked_array(seen, pa.string())
    if len(pc.unique(ids)) != len(ids) or not pc.all(pc.is_in(ids, value_set=pc.unique(dropped.cast(pa.string())))).as_py():
        raise RunNotUsable(problem=f"{path.name} holds texts that decisions.parquet does not drop, or one of them twice")


def _documents(folder: Path) -> tuple[Any, int]:
    """The ids of documents.parquet, and the bytes of their texts."""
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    ids, size = [pa.array([], pa.string())], 0
    with pq.ParquetFile(folder / "documents.parquet") as file:
        for batch in file.iter_batches(2_048, columns=["id", "text"], use_threads=False):
            ids.append(batch.column("id").cast(pa.string()))
            size += pc.sum(pc.binary_length(batch.column("text"))).as_py() or 0
    return pa.concat_arrays(ids), size


def _sources(folder: Path, report: dict[str, Any], spec: dict[str, Any]) -> list[Source]:
    """One for each source of the run. Documents that name no licence get the one that was declared; the others' are written as SPDX does.

    Raises NoLicence, RunNotUsable."""
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    from lilong.floors.corpus.curation.versions.sources import Source

    path = folder / "documents.parquet"
    table = pq.read_table(path, columns=["source", "licence"])
    named = runs.canonical(pc.unique(table.column("licence").cast(pa.string())).to_pylist())
    _check_licences(path, {name for name, meant in named.items() if meant is None})
    bare = table.filter(pc.is_null(table.column("licence")))
    if bare.num_rows and not spec["licence"]:
        way_out = "Name it: lilong corpus publish DIR --licence SPDX --evidence FILE."
        raise NoLicence(source=bare.column("source")[0].as_py(), documents=bare.num_rows, way_out=way_out)
    if bare.num_rows or any(name != meant for name, meant in named.items()):
        _license(path, {name: meant for name, meant in named.items() if meant}, spec["licence"])
    evidence = folder / runs.EVIDENCE
    text = evidence.read_text(encoding="utf-8", errors="replace") if evidence.exists() else ""
    digest = f"sha256:{hashlib.sha256((folder / 'report.json').read_bytes()).hexdigest()}"
    declared = spec["licence"] or None
    return [
        Source(
            one["source"], one["source"], "", "report.json", digest, f"a curation run of {spec['contributor']}", declared, text if declared else "",
            0 if declared else None, len(text) if declared else None, spec["contributor"], None, spec["terms"], "run",
        )
        for one in report["sources"]
    ]  # fmt: skip


def _check_licences(path: Path, strange: set[str]) -> None:
    """Raises RunNotUsable for the first document that names one of these."""
    import pyarrow.parquet as pq

    if not strange:
        return
    with pq.ParquetFile(path) as file:
        for batch in file.iter_batches(2_048, columns=["id", "source", "uri", "licence"], use_threads=False):
            for one in batch.to_pylist():
                if str(one["licence"]) in strange:
                    problem = f"its document {one['id']} ({one['source']}, {one['uri']}) names the licence '{str(one['licence'])[:200]}'"
                    raise RunNotUsable(problem=f"{problem}, which is not an SPDX expression such as CC-BY-4.0 or LicenseRef-<name>")


def _license(path: Path, named: dict[str, str], licence: str) -> None:
    """Write licences as `named` says, and the declared one into documents that name none."""
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    given, meant = pa.array(list(named), pa.string()), pa.array(list(named.values()), pa.string())
    partial = path.with_suffix(".partial")
    with pq.ParquetFile(path) as file, pq.ParquetWriter(partial, file.schema_arrow, compression="zstd") as out:
        at = file.schema_arrow.names.index("licence")
        for batch in file.iter_batches(2_048, use_threads=False):
            filled = pc.fill_null(meant.take(pc.index_in(batch.column("licence").cast(pa.string()), given)), licence)
            filled = filled.cast(file.schema_arrow.field(at).type)
            out.write_batch(
                pa.RecordBatch.from_arrays([filled if n == at else column for n, column in enumerate(batch.columns)], schema=batch.schema)
            )
    partial.replace(path)


def _of_sources(folder: Path, sources: list[Source], spec: dict[str, Any]) -> list[str]:
    """Ids of the documents of sources, or of a contributor, that were taken down."""
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    names = set(spec["without"]["sources"])
    if spec["contributor"] in spec["without"]["contributors"]:
        names = {one.name for one in sources}
    table = pq.read_table(folder / "documents.parquet", columns=["id", "source"])
    found: list[str] = (
        table.filter(pc.is_in(table.column("source"), value_set=pa.array(sorted(names), pa.string()))).column("id").to_pylist()
    )
    return found


if __name__ == "__main__":
    raise SystemExit(carry_out(publish))
