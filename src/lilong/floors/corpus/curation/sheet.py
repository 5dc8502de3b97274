"""What a corpus says of itself: figures, the dataset card with its datasheet, and Croissant metadata."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from lilong.floors.corpus.curation.pipeline import Corpus, reasons
from lilong.floors.corpus.curation.profile import PROFILE
from lilong.floors.corpus.curation.recipe import Recipe

SAMPLES_PER_REASON = 5
SAMPLES_KEPT = 8
_SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"), (1 << 62, "1M<n<10M"))
_HUB_LICENCES = frozenset({"apache-2.0", "mit", "bsd-2-clause", "bsd-3-clause", "cc0-1.0", "cc-by-4.0", "cc-by-sa-3.0", "cc-by-sa-4.0",
                           "cc-by-nc-4.0", "gpl-2.0", "gpl-3.0", "mpl-2.0", "isc", "postgresql", "unlicense"})  # fmt: skip


@dataclass(frozen=True, slots=True)
class Wording:
    """What names the corpus and where its sources came from."""

    name: str
    kind: str
    note: str


@dataclass(frozen=True, slots=True)
class FileEntry:
    """A file of the version for Croissant: path, sha256 in hex, bytes."""

    path: str
    sha256: str
    size: int


def figures(corpus: Corpus) -> dict[str, Any]:
    """Counts of a corpus: documents and bytes kept, held out and dropped, by reason, source, licence and language."""
    kept = pa.concat_tables([corpus.train, corpus.held_out])
    sizes = [len(text.encode()) for text in kept.column("text").to_pylist()]
    size_of = _Sums(kept, sizes)
    held = [len(text.encode()) for text in corpus.held_out.column("text").to_pylist()]
    return {
        "documents": {
            "seen": corpus.files_seen, "kept": kept.num_rows, "train": corpus.train.num_rows, "held_out": corpus.held_out.num_rows,
            "dropped": corpus.dropped.num_rows,
        },
        "bytes": {"kept": sum(sizes), "train": sum(sizes) - sum(held), "held_out": sum(held)},
        "families": {"train": len(set(corpus.train.column("family").to_pylist())), "held_out": len(set(corpus.held_out.column("family").to_pylist()))},
        "dropped": dict(reasons(corpus.dropped)),
        "languages": size_of.by("language"),
        "licences": size_of.by("licence"),
        "sources": corpus.sources.to_pylist(),
        "files_skipped": corpus.files_skipped,
    }  # fmt: skip


class _Sums:
    def __init__(self, kept: pa.Table, sizes: Sequence[int]) -> None:
        self.kept, self.sizes = kept, sizes

    def by(self, column: str) -> dict[str, dict[str, int]]:
        """value -> documents and bytes, largest first."""
        documents: Counter[str] = Counter()
        amount: Counter[str] = Counter()
        for value, size in zip(self.kept.column(column).to_pylist(), self.sizes, strict=True):
            documents[value] += 1
            amount[value] += size
        ordered = sorted(amount, key=lambda value: (-amount[value], value))
        return {value: {"documents": documents[value], "bytes": amount[value]} for value in ordered}


def samples(corpus: Corpus) -> dict[str, list[dict[str, Any]]]:
    """A few kept documents, and a few dropped ones for every reason, with their beginnings: for people to look at."""
    kept = corpus.train.slice(0, SAMPLES_KEPT).to_pylist()
    shown: dict[str, list[dict[str, Any]]] = {
        "kept": [
            {**{key: row[key] for key in ("id", "source", "uri", "language", "licence")}, "excerpt": row["text"][:600]} for row in kept
        ]
    }
    dropped: list[dict[str, Any]] = []
    taken: Counter[str] = Counter()
    for row in sorted(corpus.dropped.to_pylist(), key=lambda row: (row["reason"], row["id"] or "", row["uri"])):
        if taken[row["reason"]] < SAMPLES_PER_REASON:
            taken[row["reason"]] += 1
            dropped.append({key: row[key] for key in ("id", "source", "uri", "language", "reason", "detail", "excerpt")})
    shown["dropped"] = dropped
    return shown


def card(wording: Wording, recipe: Recipe, counted: Mapping[str, Any]) -> str:
    """README.md: front matter that the Hugging Face libraries understand, then the datasheet."""
    return _front_matter(wording, counted) + "\n" + _datasheet(wording, recipe, counted)


def _front_matter(wording: Wording, counted: Mapping[str, Any]) -> str:
    licences = list(counted["licences"])
    single = licences[0].lower() if len(licences) == 1 else ""
    count = counted["documents"]["kept"]
    lines = ["---", f"pretty_name: {json.dumps(wording.name, ensure_ascii=False)}", "language:"]
    lines += [f"- {language}" for language in counted["languages"]]
    if single in _HUB_LICENCES:
        lines.append(f"license: {single}")
    else:
        lines += ["license: other", f"license_name: {json.dumps(' and '.join(licences))}", "license_link: licences"]
    lines += ["task_categories:", "- text-generation", "size_categories:", "- " + next(name for limit, name in _SIZES if count < limit)]
    lines += ["configs:", "- config_name: default", "  data_files:"]
    for split, present in (("train", counted["documents"]["train"]), ("heldout", counted["documents"]["held_out"])):
        if present:
            lines += [f"  - split: {split}", f"    path: data/{split}-*.parquet"]
    return "\n".join([*lines, "---", ""])


def _datasheet(wording: Wording, recipe: Recipe, counted: Mapping[str, Any]) -> str:
    documents, size, near = counted["documents"], counted["bytes"], recipe.near
    sources = [
        (one["name"], one["version"], one["licence"], f"[evidence]({one['evidence']})" if one["evidence"] else "none",
         one["documents"], one["bytes"], one["dropped"]) for one in counted["sources"]
    ]  # fmt: skip
    namesakes = (
        ", or from being called alike in folders called alike (other formats and translations of a page)" if recipe.namesakes else ""
    )
    sections = [
        f"# {wording.name}",
        f"{documents['kept']:,} documents, {size['kept']:,} bytes of text, kept from {documents['seen']:,} files. "
        f"Held out: {documents['held_out']:,} documents ({size['held_out']:,} bytes). Recipe `{recipe.name}` {recipe.version}, `{recipe.digest()}`.",
        "## Where it comes from",
        wording.note + ".",
        _table(("source", "version", "licence", "licence evidence", "documents", "bytes", "dropped"), sources),
        "A document's own licence is in its `licence` column: the tag in the file itself where it has one, else what the source's "
        "copyright file says of it. Recognition of licences is automatic; the evidence files are the authority.",
        "## Licences",
        _table(("licence", "documents", "bytes"), [(name, one["documents"], one["bytes"]) for name, one in counted["licences"].items()]),
        "## Languages",
        _table(("language", "documents", "bytes"), [(name, one["documents"], one["bytes"]) for name, one in counted["languages"].items()]),
        "## What was dropped, and why",
        _table(("reason", "documents"), list(counted["dropped"].items())),
        "Every dropped document is in `tables/dropped.parquet` with its reason and the comparison that failed.",
        "## How it was made",
        f"Text was taken from HTML, reStructuredText, manual pages and plain files. Signals: profile `{PROFILE}` "
        f"(`tables/signals.parquet`). Policy: `{recipe.policy.name}` {recipe.policy.version}, {len(recipe.policy.rules)} rules. "
        f"Near duplicates: MinHash, {near.bands} x {near.rows}, shingles of {recipe.words} words ({recipe.characters} characters in "
        f"Chinese and Japanese), joined from an estimated similarity of {near.similarity}; a pair with Jaccard index 0.8 is compared with "
        f"probability {near.caught(0.8):.3f}, one with 0.5 with {near.caught(0.5):.3f}. Clusters: `tables/clusters.parquet`.",
        f"Held-out documents were chosen by whole *families*: documents joined from a similarity of {recipe.family.similarity} "
        f"({recipe.family.bands} x {recipe.family.rows}){namesakes}, so that no close relative of a held-out document is in the training split.",
        "## Known limits",
        "- Extraction keeps words and drops layout; mathematics, pictures and wide tables suffer.\n"
        "- Language identification looks at the first 1,000 characters; mixed documents get one label.\n"
        "- Passages copied between otherwise different documents are not found; only whole documents are compared.\n"
        "- No personal data was looked for: the sources are published documentation, in which authors' names and addresses occur.\n"
        "- Translations of one text are seen as related only by their files' names.",
        "",
    ]
    return "\n\n".join(sections)


def _table(head: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    def shown(value: Any) -> str:
        return f"{value:,}" if isinstance(value, int) else str(value).replace("|", "\\|")

    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    return "\n".join(lines + ["| " + " | ".join(map(shown, row)) + " |" for row in rows])


_CONTEXT = {
    "@language": "en", "@vocab": "https://schema.org/", "citeAs": "cr:citeAs", "column": "cr:column", "conformsTo": "dct:conformsTo",
    "cr": "http://mlcommons.org/croissant/", "rai": "http://mlcommons.org/croissant/RAI/", "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"}, "dct": "http://purl.org/dc/terms/",
    "examples": {"@id": "cr:examples", "@type": "@json"}, "extract": "cr:extract", "field": "cr:field", "fileProperty": "cr:fileProperty",
    "fileObject": "cr:fileObject", "fileSet": "cr:fileSet", "format": "cr:format", "includes": "cr:includes", "isLiveDataset": "cr:isLiveDataset",
    "jsonPath": "cr:jsonPath", "key": "cr:key", "md5": "cr:md5", "parentField": "cr:parentField", "path": "cr:path", "recordSet": "cr:recordSet",
    "references": "cr:references", "regex": "cr:regex", "repeated": "cr:repeated", "replace": "cr:replace", "samplingRate": "cr:samplingRate",
    "sc": "https://schema.org/", "separator": "cr:separator", "source": "cr:source", "subField": "cr:subField", "transform": "cr:transform",
}  # fmt: skip
_COLUMNS = {
    "id": "sha256 of the text", "text": "the document", "source": "name of its source", "uri": "path inside the source's archive",
    "language": "ISO 639 code", "licence": "SPDX expression", "format": "what it was extracted from",
    "cluster": "near-duplicate cluster, named by its smallest id", "family": "unit of the split, named by its smallest id",
}  # fmt: skip


def croissant(wording: Wording, recipe: Recipe, counted: Mapping[str, Any], files: Sequence[FileEntry]) -> dict[str, Any]:
    """Croissant 1.0 (mlcommons.org/croissant) of the version; `files` are its Parquet files with documents."""
    objects = [
        {
            "@type": "cr:FileObject", "@id": file.path, "name": file.path, "contentUrl": file.path, "contentSize": f"{file.size} B",
            "encodingFormat": "application/x-parquet", "sha256": file.sha256,
        }
        for file in files
    ]  # fmt: skip
    record_sets = [
        {
            "@type": "cr:RecordSet", "@id": _split(file), "name": _split(file), "description": f"The documents in {file.path}.",
            "field": [
                {
                    "@type": "cr:Field", "@id": f"{_split(file)}/{name}", "name": name, "description": meaning, "dataType": "sc:Text",
                    "source": {"fileObject": {"@id": file.path}, "extract": {"column": name}},
                }
                for name, meaning in _COLUMNS.items()
            ],
        }
        for file in files
    ]  # fmt: skip
    documents = counted["documents"]
    return {
        "@context": _CONTEXT,
        "@type": "sc:Dataset",
        "name": wording.name,
        "description": f"{documents['kept']} documents made by the recipe {recipe.name}, {recipe.digest()}. {wording.note}.",
        "conformsTo": ["http://mlcommons.org/croissant/1.0", "http://mlcommons.org/croissant/RAI/1.0"],
        "license": list(counted["licences"]),
        "inLanguage": list(counted["languages"]),
        "version": recipe.version,
        "rai:dataCollection": wording.note,
        "rai:dataPreprocessingProtocol": [f"{number} documents dropped: {reason}" for reason, number in counted["dropped"].items()],
        "distribution": objects,
        "recordSet": record_sets,
    }


def _split(file: FileEntry) -> str:
    return file.path.removeprefix("data/").removesuffix(".parquet")
