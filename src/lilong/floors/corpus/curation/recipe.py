"""A recipe: everything that decides which bytes a corpus version has, besides its sources and this code."""

from __future__ import annotations

import hashlib
import json
import tomllib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from importlib import resources
from typing import Any

from lilong.floors.corpus.contract import BadRecipe
from lilong.floors.corpus.curation.policy import Policy, parse_policy

DEFAULT = "documentation"
_LIMITS = ("max_documents", "max_bytes")
_NEAR = ("bands", "rows", "words", "characters", "similarity", "family_bands", "family_rows", "family_similarity", "namesakes")


@dataclass(frozen=True, slots=True)
class Banding:
    """`bands` x `rows` of a signature; pairs equal in a whole band are compared and joined from `similarity` on (share of equal
    entries, an estimate of the Jaccard index). A pair of Jaccard index s becomes a candidate with 1 - (1 - s^rows)^bands."""

    bands: int
    rows: int
    similarity: float

    def caught(self, jaccard: float) -> float:
        """Probability that a pair with this Jaccard index is compared at all (the S-curve)."""
        return 1.0 - (1.0 - jaccard**self.rows) ** self.bands


@dataclass(frozen=True, slots=True)
class Recipe:
    """How a corpus version is made. Limits count per source; 0 means none. An empty `languages` or `allow_licences` allows all."""

    name: str
    version: str
    languages: tuple[str, ...]
    seed: int
    held_out: float
    require_licence: bool
    allow_licences: tuple[str, ...]
    licences: tuple[tuple[str, str], ...]  # source -> SPDX expression, where a person has read the evidence
    exclude: tuple[str, ...]
    max_documents: int
    max_bytes: int
    words: int
    characters: int
    near: Banding
    family: Banding
    namesakes: bool
    policy: Policy

    @property
    def permutations(self) -> int:
        return max(self.near.bands * self.near.rows, self.family.bands * self.family.rows)

    def canonical(self) -> bytes:
        """The recipe as JSON with sorted keys: what its digest is of."""
        return json.dumps(asdict(self), sort_keys=True, ensure_ascii=False, separators=(",", ":")).encode()

    def digest(self) -> str:
        return f"sha256:{hashlib.sha256(self.canonical()).hexdigest()}"


def shipped() -> tuple[str, ...]:
    """The names of the recipes that come with the house."""
    folder = resources.files(__package__) / "recipes"
    return tuple(sorted(entry.name.removesuffix(".toml") for entry in folder.iterdir() if entry.name.endswith(".toml")))


def parse(value: Mapping[str, Any]) -> Recipe:
    """A recipe from its TOML or JSON form. `base` names a shipped recipe (documentation if absent) whose keys are replaced by the
    given ones, inside [limits] and [near_duplicates] key by key. Raises BadRecipe for a key or value that means nothing."""
    given = dict(value)
    base_name = str(given.pop("base", DEFAULT))
    if base_name not in shipped():
        raise BadRecipe(field="base", problem=f"there is no recipe '{base_name}'", way_out=f"Use one of: {', '.join(shipped())}.")
    base = tomllib.loads((resources.files(__package__) / "recipes" / f"{base_name}.toml").read_text(encoding="utf-8"))
    for table, keys in (("limits", _LIMITS), ("near_duplicates", _NEAR)):
        inner = given.pop(table, {})
        _known(inner, keys, f"{table}.")
        base[table] |= inner
    _known(given, tuple(base), "")
    base |= given
    limits, near = base["limits"], base["near_duplicates"]
    return Recipe(
        name=str(base["name"]),
        version=str(base["version"]),
        languages=_strings(base, "languages"),
        seed=_whole(base, "seed", 0),
        held_out=_share(base, "held_out"),
        require_licence=bool(base["require_licence"]),
        allow_licences=_strings(base, "allow_licences"),
        licences=_licences(base["licences"]),
        exclude=_strings(base, "exclude"),
        max_documents=_whole(limits, "max_documents", 0),
        max_bytes=_whole(limits, "max_bytes", 0),
        words=_whole(near, "words", 1),
        characters=_whole(near, "characters", 1),
        near=Banding(_whole(near, "bands", 1), _whole(near, "rows", 1), _share(near, "similarity")),
        family=Banding(_whole(near, "family_bands", 1), _whole(near, "family_rows", 1), _share(near, "family_similarity")),
        namesakes=bool(near["namesakes"]),
        policy=parse_policy(base["policy"]),
    )


def _known(given: Mapping[str, Any], keys: tuple[str, ...], prefix: str) -> None:
    for key in given:
        if key not in keys:
            raise BadRecipe(field=f"{prefix}{key}", problem="a recipe has no such key", way_out=f"It has: {', '.join(keys)}.")


def _strings(table: Mapping[str, Any], key: str) -> tuple[str, ...]:
    value = table[key]
    if not isinstance(value, list | tuple) or not all(isinstance(one, str) for one in value):
        raise BadRecipe(field=key, problem=f"{value!r} is not a list of texts", way_out='Write it as ["one", "two"].')
    return tuple(value)


def _licences(value: Any) -> tuple[tuple[str, str], ...]:
    if not isinstance(value, dict) or not all(isinstance(one, str) for one in value.values()):
        raise BadRecipe(
            field="licences", problem=f"{value!r} is not a table of texts", way_out='Write it as { source = "SPDX expression" }.'
        )
    return tuple(sorted(value.items()))


def _whole(table: Mapping[str, Any], key: str, least: int) -> int:
    value = table[key]
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise BadRecipe(field=key, problem=f"{value!r} is not a whole number from {least}", way_out="Give such a number.")
    return value


def _share(table: Mapping[str, Any], key: str) -> float:
    value = table[key]
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
        raise BadRecipe(field=key, problem=f"{value!r} is not a share", way_out="Give a number from 0 to 1.")
    return float(value)
