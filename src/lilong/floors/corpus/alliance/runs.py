"""The files of a curation run on their way into the house: which there are, and that what its report says is what its tables hold."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from lilong.floors.corpus.alliance.shapes import RunNotUsable
from lilong.floors.corpus.contract import PublishAsk
from lilong.ground.errors import BadInput

NEEDED = ("decisions.parquet", "signals.parquet", "clusters.parquet", "documents.parquet", "problems.parquet", "report.json")
EVIDENCE = "LICENCE.txt"
"""The text that says the licence of documents that name none."""
OPTIONAL = (EVIDENCE, "vocabulary.arrow")
PART_BYTES = 32 << 20
"""A file is sent in parts of this size: less than the house takes in one request."""
MOST_PARTS = 100_000
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")


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
        raise BadInput(
            field="licence", problem="a licence is named without the text that says so", way_out=f"Give the text too, as {EVIDENCE}."
        )


def parts(files: Mapping[str, list[str]]) -> dict[str, str]:
    """A job's input: path of each part -> digest. Parts sort by name in their order."""
    return {f"{name}/{number:06d}": digest for name, digests in files.items() for number, digest in enumerate(digests)}


def disagreements(report: Mapping[str, Any], counted: Mapping[str, int]) -> list[str]:
    """Where a run's report says another number than its tables hold. `counted`: by the names used here."""
    said = {
        "documents kept": report["documents"]["kept"], "documents read": report["documents"]["read"], "bytes kept": report["bytes"]["kept"],
        "different texts": report["documents"]["distinct"], "problems": sum(report["problems"][kind] for kind in ("broken", "lost", "skipped")),
    }  # fmt: skip
    return [
        f"the report says {said[name]:,} {name}, its tables hold {number:,}" for name, number in counted.items() if said[name] != number
    ]
