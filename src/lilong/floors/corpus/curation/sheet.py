"""What a corpus says of itself: figures, the dataset card with its datasheet, and Croissant metadata."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from lilong.floors.corpus.curation.policies.policy import Policy
from lilong.floors.corpus.curation.recipe import Recipe
from lilong.floors.corpus.curation.versions.documents import DOCUMENT
from lilong.floors.corpus.curation.versions.making import Made

_SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"), (1 << 62, "1M<n<10M"))
_HUB_LICENCES = frozenset({"apache-2.0", "mit", "bsd-2-clause", "bsd-3-clause", "cc0-1.0", "cc-by-4.0", "cc-by-sa-3.0", "cc-by-sa-4.0",
                           "cc-by-nc-4.0", "gpl-2.0", "gpl-3.0", "mpl-2.0", "isc", "postgresql", "unlicense"})  # fmt: skip


@dataclass(frozen=True, slots=True)
class Wording:
    """What names the corpus and where its sources came from."""

    name: str
    kind: str
    note: str
    terms: str = "private"
    conditions: Mapping[str, Any] = field(default_factory=dict)  # purposes (None: any), attributions, notes


@dataclass(frozen=True, slots=True)
class FileEntry:
    """A file of the version for Croissant: path, sha256 in hex, bytes."""

    path: str
    sha256: str
    size: int


def figures(made: Made, skipped: Mapping[str, int]) -> dict[str, Any]:
    """Counts of a version: documents and bytes kept, held out and dropped, by reason, source, contributor, licence and language."""
    accounts, train, held = made.accounts, made.written.splits["train"], made.written.splits["heldout"]
    dropped = accounts.dropped()
    kept = train["documents"] + held["documents"]
    return {
        "documents": {
            "seen": kept + dropped.total(), "read": accounts.decisions.total(), "kept": kept, "train": train["documents"], "held_out": held["documents"],
            "dropped": dropped.total(),
        },
        "bytes": {"kept": train["bytes"] + held["bytes"], "train": train["bytes"], "held_out": held["bytes"]},
        "families": {"train": train["families"], "held_out": held["families"]},
        "dropped": dict(sorted(dropped.items(), key=lambda one: (-one[1], one[0]))),
        "languages": _counted(made, "language"),
        "licences": _counted(made, "licence"),
        "sources": accounts.table().to_pylist(),
        "contributions": made.contributions.to_pylist(),
        "personal": made.personal,
        "files_skipped": dict(sorted(skipped.items())),
    }  # fmt: skip


def _counted(made: Made, column: str) -> dict[str, dict[str, int]]:
    """value -> documents and bytes, largest first."""
    sizes = {value: size for (name, value), size in made.written.sizes.items() if name == column}
    ordered = sorted(sizes, key=lambda value: (-sizes[value], value))
    return {value: {"documents": made.written.counts[column, value], "bytes": sizes[value]} for value in ordered}


def card(wording: Wording, recipe: Recipe, policy: Policy, counted: Mapping[str, Any]) -> str:
    """README.md: front matter that the Hugging Face libraries understand, then the datasheet."""
    return (
        _front_matter(wording, counted) + "\n" + "\n\n".join([*_contents(wording, recipe, counted), *_making(recipe, policy, counted), ""])
    )


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


def _contents(wording: Wording, recipe: Recipe, counted: Mapping[str, Any]) -> list[str]:
    documents, size = counted["documents"], counted["bytes"]
    sources = [
        (one["name"], one["version"], one["contributor"], one["licence"], _evidence(one), (one["retrieved_at"] or "")[:10], one["documents"], one["bytes"],
         one["dropped"]) for one in counted["sources"]
    ]  # fmt: skip
    cards = [
        (one["name"], one["read"], _percent(one["pass_rate"]), _percent(one["exact_duplicate_share"]), _percent(one["near_duplicate_share"]),
         one["personal_per_mb"], ", ".join(f"{spoken['language']} {spoken['texts']:,}" for spoken in one["languages"]),
         " / ".join(f"{one[f'bytes_p{q}']:,}" for q in (10, 50, 90) if one[f"bytes_p{q}"] is not None)) for one in counted["sources"]
    ]  # fmt: skip
    given = [tuple(one.values()) for one in counted["contributions"]]
    return [
        f"# {wording.name}",
        f"{documents['kept']:,} documents, {size['kept']:,} bytes of text, kept from {documents['seen']:,} files. "
        f"Held out: {documents['held_out']:,} documents ({size['held_out']:,} bytes). Recipe `{recipe.name}` {recipe.version}, `{recipe.digest()}`.",
        "## Where it comes from",
        wording.note + ".",
        _table(("source", "version", "contributor", "licence", "licence evidence", "retrieved", "documents", "bytes", "dropped"), sources),
        "A document's own licence is in its `licence` column: the tag in the file itself where it has one, else what the source's "
        "copyright file says of it. Recognition of licences is automatic; the evidence files are the authority, and `tables/sources.parquet` names "
        "the characters in them that were recognised.",
        *_use(wording),
        "## Licences",
        _table(("licence", "documents", "bytes"), [(name, one["documents"], one["bytes"]) for name, one in counted["licences"].items()]),
        "## Languages",
        _table(("language", "documents", "bytes"), [(name, one["documents"], one["bytes"]) for name, one in counted["languages"].items()]),
        "## Quality by source",
        _table(
            (
                "source",
                "read (n)",
                "kept",
                "exact copies",
                "near duplicates",
                "personal data per MB",
                "languages (texts)",
                "bytes p10 / p50 / p90",
            ),
            cards,
        ),
        "Shares are of the documents that were read (n); lengths are of those that were kept; the other columns are of the different texts.",
        "## Who contributed",
        _table(
            (
                "contributor",
                "sources",
                "documents read",
                "bytes read",
                "kept",
                "bytes kept",
                "copies of own",
                "copies of others'",
                "unique",
                "bytes unique",
            ),
            given,
        ),
    ]


def _making(recipe: Recipe, policy: Policy, counted: Mapping[str, Any]) -> list[str]:
    near, family = recipe.near, recipe.family
    namesakes = (
        ", or from being called alike in folders called alike (other formats and translations of a page)" if recipe.namesakes else ""
    )
    return [
        "## What was dropped, and why",
        _table(("reason", "documents"), list(counted["dropped"].items())),
        "Every file and document is in `tables/decisions.parquet`, a dropped one with its reason and the comparison that failed.",
        "## Personal data",
        _table(("kind", "finds in kept documents"), list(counted["personal"].items())),
        f"Looked for by patterns and checksums in every text, and counted. Masked: {', '.join(recipe.mask) or 'nothing'}. "
        f"A reason to drop a document: {', '.join(recipe.drop) or 'none'}. Names of people are not looked for.",
        "## How it was made",
        f"Text was taken from HTML, Mallard, reStructuredText, manual pages and plain files; a document's `transforms` says how. Signals: profile "
        f"`{recipe.profile}` (`tables/signals.parquet`). Policy: `{policy.name}` {policy.version}, {len(policy.rules)} rules (`policy.toml`). "
        f"Near duplicates: MinHash, {near.bands} x {near.rows}, shingles of {near.words} words ({recipe.characters} characters in "
        f"Chinese and Japanese); a pair with Jaccard index 0.8 is joined with "
        f"probability {near.meeting(0.8):.3f}, one with 0.5 with {near.meeting(0.5):.3f}. Clusters: `tables/clusters.parquet`.",
        f"Held-out documents were chosen by whole *families*: documents joined from an estimated similarity of {recipe.family_similarity} "
        f"({family.bands} x {family.rows}; compared at all with probability {family.meeting(recipe.family_similarity):.2f} there, "
        f"{family.meeting(0.5):.2f} at 0.5){namesakes}, so that no close relative of a held-out document is in the training split.",
        "## Known limits",
        "- Extraction keeps words and drops layout; mathematics, pictures and wide tables suffer.\n"
        "- A document has one language, its main one.\n"
        "- Passages copied between otherwise different documents are not found; only whole documents are compared.\n"
        "- Translations of one text are seen as related only by their files' names.",
    ]


def _evidence(source: Mapping[str, Any]) -> str:
    return f"[evidence]({source['evidence']})" if source["evidence"] else "none"


def _percent(share: float | None) -> str:
    return "" if share is None else f"{100 * share:.1f} %"


def _use(wording: Wording) -> list[str]:
    """Under which conditions it may be used, where there are any."""
    use = wording.conditions
    lines = (
        [f"- for: {', '.join(use['purposes']) or 'nothing (the purposes of the sources exclude each other)'}"]
        if use.get("purposes") is not None
        else []
    )
    lines += [f"- name: {one}" for one in use.get("attributions", ())] + [f"- {one}" for one in use.get("notes", ())]
    return ["## Conditions of use", "\n".join(lines)] if lines else []


def _table(head: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    def shown(value: Any) -> str:
        return f"{value:,}" if isinstance(value, int) else "" if value is None else str(value).replace("|", "\\|")

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
    "contributor": "organisation that gave it", "retrieved_at": "when its source was fetched, RFC 3339", "transforms": "what was done to its bytes, in order",
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
                for name, meaning in ((name, _COLUMNS[name]) for name in DOCUMENT)
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
        "creator": [{"@type": "sc:Organization", "name": one["contributor"]} for one in counted["contributions"]],
        "rai:personalSensitiveInformation": [f"{kind}: {number} finds in kept documents" for kind, number in counted["personal"].items()],
        "rai:dataPreprocessingProtocol": [f"{number} documents dropped: {reason}" for reason, number in counted["dropped"].items()],
        "distribution": objects,
        "recordSet": record_sets,
    }


def _split(file: FileEntry) -> str:
    return file.path.removeprefix("data/").removesuffix(".parquet")
