"""All files of a version but its licences and code: data, tables, card, metadata, recipe, policy and report."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lilong.floors.corpus.curation import sheet
from lilong.floors.corpus.curation.policies.policy import Policy
from lilong.floors.corpus.curation.versions.making import Ask, make


def publish(ask: Ask, wording: sheet.Wording, skipped: Mapping[str, int]) -> dict[str, Any]:
    """Write them into `ask.out`; answers the figures, samples, and digests of recipe and policy. `skipped`: files that are no texts, by ending.

    The same run, sources and recipe give the same bytes. Raises EmptyCorpus.
    """
    made = make(ask)
    counted = sheet.figures(made, skipped)
    recipe, policy = ask.recipe, ask.policy
    (ask.out / "README.md").write_text(sheet.card(wording, recipe, policy, counted), encoding="utf-8")
    metadata = sheet.croissant(wording, recipe, counted, [_entry(ask.out, path) for path in sorted((ask.out / "data").glob("*.parquet"))])
    (ask.out / "croissant.json").write_text(json.dumps(metadata, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    (ask.out / "recipe.json").write_bytes(recipe.canonical())  # its sha256 is the recipe's digest
    said = toml(policy).encode()
    (ask.out / "policy.toml").write_bytes(said)
    told = {
        **counted, "kind": wording.kind, "note": wording.note, "profile": recipe.profile, "policy": f"{policy.name} {policy.version}",
        "policy_digest": f"sha256:{hashlib.sha256(said).hexdigest()}", "recipe_digest": recipe.digest(), "seed": recipe.seed,
        "terms": wording.terms, "conditions": dict(wording.conditions), "contributors": [one["contributor"] for one in counted["contributions"]],
    }  # fmt: skip
    text = json.dumps(told, indent=1, sort_keys=True, ensure_ascii=False)
    (ask.out / "figures.json").write_text(text + "\n", encoding="utf-8")
    return {**told, "samples": made.samples}


def toml(policy: Policy) -> str:
    """A policy as its file."""
    said = policy.as_json()
    lines = [f"{key} = {_text(said[key])}" for key in ("name", "version", "profile")]
    if said["prefer"]:
        lines.append(f"prefer = [{', '.join(map(_inline, said['prefer']))}]")
    for rule in said["rules"]:
        lines += ["", "[[rules]]", *(f"{key} = {_text(value)}" for key, value in rule.items())]
    return "\n".join(lines) + "\n"


def _inline(value: Mapping[str, Any]) -> str:
    return "{ " + ", ".join(f"{key} = {_text(one)}" for key, one in value.items()) + " }"


def _text(value: Any) -> str:
    """A text or a list of texts; a basic string of TOML is one of JSON, but for U+007F."""
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007F")


def _entry(out: Path, path: Path) -> sheet.FileEntry:
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return sheet.FileEntry(path.relative_to(out).as_posix(), digest, path.stat().st_size)
