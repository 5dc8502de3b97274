"""What the corpus floor decides without looking anything up."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from lilong.floors.corpus.contract import Counted, Datasheet, DropReason, Sample, SourceShown, Tree, Version
from lilong.ground import intake
from lilong.ground.errors import BadInput
from lilong.ground.evidence import Artifact

MOST_PACKAGES = 200
MOST_TEXTS = 50_000
_PACKAGE = re.compile(r"[a-z0-9][a-z0-9+.-]{1,100}")
_FIGURES = (
    "documents",
    "bytes",
    "families",
    "dropped",
    "languages",
    "licences",
    "sources",
    "contributions",
    "contributors",
    "terms",
    "conditions",
    "personal",
    "kind",
    "note",
    "profile",
    "policy",
    "policy_digest",
    "recipe_digest",
    "seed",
    "code",
    "vocabulary",
)
_NOT_PUBLISHED = ("result.json", "vocabulary.arrow", "review/")


def check_packages(packages: list[str]) -> None:
    """Raises BadInput. Names go to apt's command line, so nothing but a Debian package name passes."""
    if len(packages) > MOST_PACKAGES:
        raise BadInput(field="packages", problem=f"there are {len(packages)}", way_out=f"Ask for {MOST_PACKAGES} at the most.")
    for package in packages:
        if not _PACKAGE.fullmatch(package):
            raise BadInput(
                field="packages", problem=f"{package[:100]!r} is not the name of a Debian package", way_out="Write it as apt does."
            )


def check_texts(texts: Tree) -> None:
    """Raises BadInput for paths that lead anywhere but into the folder."""
    if not 0 < len(texts) <= MOST_TEXTS:
        raise BadInput(field="texts", problem=f"there are {len(texts)} files", way_out=f"Give 1 to {MOST_TEXTS}.")
    for path in texts:
        intake.path(path)


def check_key(key: str) -> None:
    if not 0 < len(key) <= 200:
        raise BadInput(field="key", problem="it is empty or longer than 200 characters", way_out="Give a text that names this request.")


def build_memory_mib(archive_bytes: int) -> int:
    """What a build is given. Measured: 776 MiB for 24 MiB of packages, 825 MiB for 146 MiB of them (29,000 documents). What grows is ids,
    places in clusters and names: some 200 bytes for each document, of which there is rarely more than one for 4 kB of an archive."""
    return 2048 + -(-archive_bytes // (16 << 20))


def organisation_of(repository: str) -> str:
    """The organisation of `organisation/name`. Raises BadInput."""
    organisation, slash, name = repository.partition("/")
    if not slash:
        raise BadInput(field="repository", problem=f"{repository[:100]!r} is not organisation/name", way_out="Write it as harbour-lab/tides.")
    intake.name(organisation, "repository")
    intake.name(name, "repository")
    return organisation


def reason(said: str) -> str:
    """Why a job of this floor has failed, without how its process ended: its programs write `code: message`."""
    return re.sub(r"\Ait ended with status \d+: (?=[a-z][a-z-]*: )", "", said)


def published(outputs: Tree) -> dict[str, str]:
    """The files of a version's revision, out of what the job left. What quotes dropped documents is not among them: the job's result with its
    samples, and review/."""
    return {path: digest for path, digest in outputs.items() if not path.startswith(_NOT_PUBLISHED)}


def figures(result: Mapping[str, Any]) -> dict[str, Any]:
    """The part of a build's result that a version's row keeps."""
    return {key: result[key] for key in _FIGURES}


def materials(result: Mapping[str, Any], outputs: Tree) -> list[Artifact]:
    """What a version was made from: archives, licence evidence, recipe, policy, code, vocabulary. Raises KeyError for evidence that is not
    there."""
    found = [Artifact(one["name"], one["digest"], "source") for one in result["materials"]]
    found += [
        Artifact(f"{one['licence']}: licence of {one['name']}", outputs[one["evidence"]], "licence")
        for one in result["materials"]
        if one["evidence"]
    ]
    found.append(Artifact("recipe", result["recipe_digest"], "recipe"))
    found.append(Artifact(f"policy {result['policy']}", result["policy_digest"], "policy"))
    found.append(Artifact("corpus engine", result["code"], "code"))
    found.append(Artifact("vocabulary english", result["vocabulary"], "vocabulary"))
    if "tokens" in result:
        found.append(Artifact(f"tokenizer of {result['tokens']['model']}", result["tokens"]["tokenizer"], "vocabulary"))
    return list({artifact.digest: artifact for artifact in found}.values())


def predicate(result: Mapping[str, Any], repository: str, commit: str, job: Mapping[str, Any]) -> dict[str, Any]:
    """What the statement says of a version."""
    told = {key: result[key] for key in (*_FIGURES, "environment")}
    return {"repository": repository, "commit": commit, **told, "job": dict(job)}


def datasheet(version: Version, samples: Mapping[str, Any]) -> Datasheet:
    """A version's figures in the order in which people look at them."""
    figures = version.figures
    return Datasheet(
        version=version,
        note=str(figures.get("note", "")),
        sources=[SourceShown(**{name: one[name] for name in SourceShown.__slots__}) for one in figures.get("sources", [])],
        licences=[Counted(name, **counted) for name, counted in _largest_first(figures.get("licences", {}))],
        languages=[Counted(name, **counted) for name, counted in _largest_first(figures.get("languages", {}))],
        dropped=[
            DropReason(reason, count) for reason, count in sorted(figures.get("dropped", {}).items(), key=lambda item: (-item[1], item[0]))
        ],
        kept=[Sample(**one) for one in samples.get("kept", [])],
        lost=[Sample(**one) for one in samples.get("dropped", [])],
    )


def _largest_first(counted: Mapping[str, Mapping[str, int]]) -> list[tuple[str, Mapping[str, int]]]:
    return sorted(counted.items(), key=lambda item: (-item[1]["bytes"], item[0]))
