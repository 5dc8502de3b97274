"""The files of a curation run on their way into the house: which there are, and that what its report says is what its tables hold."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from lilong.floors.corpus.alliance.shapes import RunNotUsable
from lilong.floors.corpus.contract import BadRecipe, PublishAsk
from lilong.floors.corpus.curation.licences import spdx
from lilong.ground.errors import BadInput

if TYPE_CHECKING:
    from lilong.floors.corpus.curation.recipe import Recipe

NEEDED = ("decisions.parquet", "signals.parquet", "clusters.parquet", "documents.parquet", "problems.parquet", "report.json")
EVIDENCE = "LICENCE.txt"
"""The text that says the licence of documents that name none."""
DROPPED = "dropped.parquet"
"""The texts that were dropped, for readers of the organisation; `lilong corpus curate --review` writes them."""
OPTIONAL = (EVIDENCE, "vocabulary.arrow", DROPPED)
PART_BYTES = 32 << 20
"""A file is sent in parts of this size: less than the house takes in one request."""
MOST_PARTS = 100_000
MOST_NAMES = 10_000
"""Different sources, licences, languages or reasons in one version: they stand in its row."""
LONGEST = 16 << 10
"""Bytes of any text in a table but the documents' own."""
MOST_SIGNALS = 500
REPORT_BYTES = 16 << 20
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_SOURCE = re.compile(r"[^/\\\x00-\x1f\x7f]+")


def check_ask(ask: PublishAsk) -> None:
    """Raises BadInput, RunNotUsable."""
    missing = [name for name in NEEDED if not ask.files.get(name)]
    if missing:
        raise RunNotUsable(problem=f"it has no {', '.join(missing)}")
    unknown = [name for name in ask.files if name not in (*NEEDED, *OPTIONAL)]
    if unknown:
        raise BadInput(
            field="files", problem=f"{unknown[0][:80]!r} is no file of a run", way_out=f"Give {', '.join((*NEEDED, *OPTIONAL))}."
        )
    digests = [digest for each in ask.files.values() for digest in each]
    if len(digests) > MOST_PARTS or not all(_DIGEST.fullmatch(digest) for digest in digests):
        raise BadInput(
            field="files", problem="a digest is not sha256:<64 hex digits>, or there are too many", way_out="Use `lilong corpus publish`."
        )
    if ask.licence and EVIDENCE not in ask.files:
        way_out = f"Give the text too: --evidence FILE (over HTTP: as {EVIDENCE})."
        raise BadInput(field="licence", problem="a licence is named without the text that says so", way_out=way_out)
    if ask.licence and spdx(ask.licence) is None:
        raise BadInput(
            field="licence",
            problem=f"{ask.licence[:80]!r} is not an SPDX expression",
            way_out="Use one such as CC-BY-4.0, or LicenseRef-<name>.",
        )


def check_recipe(recipe: Recipe) -> None:
    """Raises BadRecipe for what has no effect on documents that are curated already."""
    if recipe.licences:
        way_out = "Name it where the run was curated; documents that name no licence get the one of --licence."
        raise BadRecipe(field=f"licences.{recipe.licences[0][0]}", problem="a run's documents name their licences themselves", way_out=way_out)


def canonical(licences: Iterable[str | None]) -> dict[str, str | None]:
    """Of different licences the SPDX expression that each stands for; None where it is none."""
    return {one: spdx(one) for one in licences if one is not None}


def parts(files: Mapping[str, list[str]]) -> dict[str, str]:
    """A job's input: path of each part -> digest. Parts sort by name in their order."""
    return {f"{name}/{number:06d}": digest for name, digests in files.items() for number, digest in enumerate(digests)}


def check_said(report: Mapping[str, Any]) -> None:
    """What goes from a report into the version as it is: names of files, and what the house keeps in its rows and signs. Raises RunNotUsable."""
    names = [one.get("source") for one in report["sources"] if isinstance(one, Mapping)]
    if len(names) != len(report["sources"]) or len(names) > MOST_NAMES or len(set(map(str, names))) < len(names):
        raise RunNotUsable(problem=f"its sources are named twice, or are more than {MOST_NAMES:,}")
    for name in names:
        if not isinstance(name, str) or not _SOURCE.fullmatch(name) or len(name.encode()) > 200:  # it becomes a file's
            raise RunNotUsable(problem=f"{str(name)[:80]!r} is no name of a source")
    inputs, software = report["run"]["inputs"], report["software"]
    words = [inputs["digest"], report["run"]["code"], *software, *software.values()]
    if type(inputs["files"]) is not int or len(words) > 200 or not all(isinstance(one, str) and len(one) <= 200 for one in words):
        raise RunNotUsable(problem="what its report says of inputs, code and software is not what a run writes")


def disagreements(report: Mapping[str, Any], counted: Mapping[str, int]) -> list[str]:
    """Where a run's report says another number than its tables hold. `counted`: by the names used here."""
    said = {
        "documents kept": report["documents"]["kept"], "documents read": report["documents"]["read"], "bytes kept": report["bytes"]["kept"],
        "different texts": report["documents"]["distinct"], "problems": sum(report["problems"][kind] for kind in ("broken", "lost", "skipped")),
    }  # fmt: skip
    return [
        f"the report says {said[name]:,} {name}, its tables hold {number:,}" for name, number in counted.items() if said[name] != number
    ]
