"""A recipe: everything that decides which bytes a corpus version has, besides its sources and this code."""

from __future__ import annotations

import hashlib
import json
import re
import tomllib
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from importlib import resources
from typing import TYPE_CHECKING, Any

from lilong.floors.corpus.contract import BadRecipe
from lilong.floors.corpus.curation.dedup.banding import Banding
from lilong.floors.corpus.curation.licences import spdx
from lilong.ground.errors import BadInput

if TYPE_CHECKING:
    from lilong.floors.corpus.curation.policies.policy import Policy
    from lilong.floors.corpus.curation.runs.profiles import Setup

DEFAULT = "documentation"
_LIMITS = ("max_documents", "max_bytes")
_NEAR = ("bands", "rows", "words", "characters", "family_bands", "family_rows", "family_similarity", "namesakes")
_IN_NEAR = "near_duplicates."
_PERSONAL = ("mask", "drop")
_NAMED = 20  # sources in a message


@dataclass(frozen=True, slots=True)
class Recipe:
    """How a corpus version is made. Limits count per source; 0 means none. An empty `languages` or `allow_licences` allows all.

    `near` finds near duplicates; `family`, from the estimated Jaccard index `family_similarity` on, what the split must not part.
    `mask` and `drop` are kinds of personal data; what is in neither is only counted."""

    name: str
    version: str
    profile: str
    languages: tuple[str, ...]
    seed: int
    held_out: float
    require_licence: bool
    allow_licences: tuple[str, ...]
    licences: tuple[tuple[str, str], ...]  # source -> SPDX expression, where a person has read the evidence
    exclude: tuple[str, ...]
    max_documents: int
    max_bytes: int
    near: Banding
    characters: int
    family: Banding
    family_similarity: float
    namesakes: bool
    mask: tuple[str, ...]
    drop: tuple[str, ...]
    tokenise: str  # organisation/model@revision whose tokenizer makes token shards of the training split, or ''
    own_policy: Policy | None  # the profile's own where it is None

    def canonical(self) -> bytes:
        """The recipe as JSON with sorted keys: what its digest is of."""
        value = {**asdict(replace(self, own_policy=None)), "own_policy": self.own_policy.as_json() if self.own_policy else None}
        return json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":")).encode()

    def digest(self) -> str:
        return f"sha256:{hashlib.sha256(self.canonical()).hexdigest()}"

    def setup(self) -> Setup:
        """What the engine is to measure."""
        from lilong.floors.corpus.curation.runs.profiles import Setup

        return Setup(self.profile, mask=self.mask, near=self.near, characters=self.characters)

    def policy(self) -> Policy:
        """The whole policy: the languages that are wanted, the personal data that is not, then the recipe's or the profile's own rules."""
        from lilong.floors.corpus.curation import personal
        from lilong.floors.corpus.curation.policies.policy import parse_policy
        from lilong.floors.corpus.curation.runs.profiles import profile

        measured = profile(self.setup())
        base = self.own_policy or measured.policy()
        first: list[dict[str, str]] = []
        if self.languages:
            first.append({"step": "language", "reason": "language", "drop": f"language not in {json.dumps(self.languages)}"})
        first += personal.rules(self.drop)
        added = parse_policy({**base.as_json(), "rules": first, "prefer": []}, measured.columns)
        return replace(base, rules=(*added.rules, *base.rules))


def shipped() -> tuple[str, ...]:
    """The names of the recipes that come with the house."""
    folder = resources.files(__package__) / "recipes"
    return tuple(sorted(entry.name.removesuffix(".toml") for entry in folder.iterdir() if entry.name.endswith(".toml")))


def parse(value: Mapping[str, Any]) -> Recipe:
    """A recipe from its TOML or JSON form. `base` names a shipped recipe (documentation if absent) whose keys are replaced by the
    given ones, inside its tables key by key. Raises BadRecipe for a key or value that means nothing."""
    given = dict(value)
    base_name = str(given.pop("base", DEFAULT))
    if base_name not in shipped():
        raise BadRecipe(field="base", problem=f"there is no recipe '{base_name}'", way_out=f"Use one of: {', '.join(shipped())}.")
    base = tomllib.loads((resources.files(__package__) / "recipes" / f"{base_name}.toml").read_text(encoding="utf-8"))
    for table, keys in (("limits", _LIMITS), ("near_duplicates", _NEAR), ("personal", _PERSONAL)):
        inner = given.pop(table, {})
        if not isinstance(inner, Mapping):
            raise BadRecipe(field=table, problem=f"{inner!r} is not a table", way_out=f"It has the keys {', '.join(keys)}.")
        _known(inner, keys, f"{table}.")
        base[table] |= inner
    _known(given, (*base, "policy"), "")
    base |= given
    limits, near, profile = base["limits"], base["near_duplicates"], _profile(base["profile"])
    words, characters = _whole(near, "words", 1, _IN_NEAR), _whole(near, "characters", 1, _IN_NEAR)
    return Recipe(
        name=str(base["name"]),
        version=str(base["version"]),
        profile=profile,
        languages=_strings(base, "languages"),
        seed=_whole(base, "seed", 0),
        held_out=_share(base, "held_out"),
        require_licence=bool(base["require_licence"]),
        allow_licences=_strings(base, "allow_licences"),
        licences=_licences(base["licences"]),
        exclude=_strings(base, "exclude"),
        max_documents=_whole(limits, "max_documents", 0, "limits."),
        max_bytes=_whole(limits, "max_bytes", 0, "limits."),
        near=_banding(words, _whole(near, "bands", 1, _IN_NEAR), _whole(near, "rows", 1, _IN_NEAR)),
        characters=characters,
        family=_banding(words, _whole(near, "family_bands", 1, _IN_NEAR), _whole(near, "family_rows", 1, _IN_NEAR)),
        family_similarity=_share(near, "family_similarity", _IN_NEAR),
        namesakes=bool(near["namesakes"]),
        mask=_kinds(base["personal"], "mask"),
        drop=_kinds(base["personal"], "drop"),
        tokenise=_model(base["tokenise"]),
        own_policy=_policy(base["policy"], profile) if "policy" in base else None,
    )


def names_apart(sources: Sequence[tuple[str, str]]) -> list[str]:
    """What sources (name, id of its set) are called in a version: a name that occurs twice gets the set's id behind it."""
    count = Counter(name for name, _ in sources)
    return [name if count[name] == 1 else f"{name}.{where}" for name, where in sources]


def check_sources(recipe: Recipe, names: Collection[str]) -> None:
    """That whose licence a person has read is among the sources. Raises BadRecipe."""
    for name, _ in recipe.licences:
        if name not in names:
            some = sorted(names)
            listed = ", ".join(some[:_NAMED]) + (f" and {len(some) - _NAMED} more" if len(some) > _NAMED else "")
            raise BadRecipe(field=f"licences.{name}", problem="there is no source of this name", way_out=f"The sources are: {listed}.")


def _known(given: Mapping[str, Any], keys: tuple[str, ...], prefix: str) -> None:
    for key in given:
        if key not in keys:
            raise BadRecipe(field=f"{prefix}{key}", problem="a recipe has no such key", way_out=f"It has: {', '.join(keys)}.")


def _model(value: Any) -> str:
    if value != "" and not re.fullmatch(r"[\w.-]+/[\w.-]+@[\w./-]+", str(value)):
        raise BadRecipe(
            field="tokenise",
            problem=f"{value!r} is not organisation/model@revision",
            way_out="Name the model whose tokenizer is to be used, such as harbour-lab/base@main.",
        )
    return str(value)


def _profile(value: Any) -> str:
    from lilong.floors.corpus.curation.runs.profiles import UnknownProfile, full_name, names

    try:
        return full_name(str(value))
    except UnknownProfile:
        raise BadRecipe(field="profile", problem=f"there is no profile '{value}'", way_out=f"Use one of: {', '.join(names())}.") from None


def _policy(value: Any, profile: str) -> Policy:
    """Its signals are looked up where the engine is installed; a server that only passes recipes on need not have it."""
    from lilong.floors.corpus.curation.policies.policy import BadPolicy, parse_policy
    from lilong.floors.corpus.curation.runs import profiles

    if not isinstance(value, Mapping):
        raise BadRecipe(field="policy", problem=f"{value!r} is not a table", way_out="Give name, version and rules.")
    known: Any
    try:
        known = profiles.profile(profiles.Setup(profile)).columns
    except ModuleNotFoundError:
        known = _Anything()
    try:
        return parse_policy({"profile": profile, **value}, known)
    except BadPolicy as error:
        told = error.details
        raise BadRecipe(field=f"policy.{told['field']}", problem=told["problem"], way_out=told["way_out"]) from None


class _Anything(frozenset[str]):
    def __contains__(self, name: object) -> bool:
        return True


def _banding(words: int, bands: int, rows: int) -> Banding:
    try:
        return Banding(words, bands, rows)
    except BadInput as error:
        told = error.details
        raise BadRecipe(field=f"near_duplicates.{told['field']}", problem=told["problem"], way_out=told["way_out"]) from None


def _kinds(table: Mapping[str, Any], key: str) -> tuple[str, ...]:
    from lilong.floors.corpus.curation.personal.kinds import KINDS

    found = _strings(table, key, "personal.")
    for kind in found:
        if kind not in KINDS:
            raise BadRecipe(field=f"personal.{key}", problem=f"'{kind}' is no kind of personal data", way_out=f"Use: {', '.join(KINDS)}.")
    return tuple(kind for kind in KINDS if kind in found)


def _strings(table: Mapping[str, Any], key: str, prefix: str = "") -> tuple[str, ...]:
    value = table[key]
    if not isinstance(value, list | tuple) or not all(isinstance(one, str) for one in value):
        raise BadRecipe(field=f"{prefix}{key}", problem=f"{value!r} is not a list of texts", way_out='Write it as ["one", "two"].')
    return tuple(value)


def _licences(value: Any) -> tuple[tuple[str, str], ...]:
    if not isinstance(value, dict) or not all(isinstance(one, str) for one in value.values()):
        raise BadRecipe(
            field="licences", problem=f"{value!r} is not a table of texts", way_out='Write it as { source = "SPDX expression" }.'
        )
    for source, named in value.items():
        if spdx(named) is None:
            way_out = "Write one such as CC-BY-4.0, or LicenseRef-<name>."
            raise BadRecipe(field=f"licences.{source}", problem=f"'{named}' is not an SPDX expression", way_out=way_out)
    return tuple(sorted(value.items()))


def _whole(table: Mapping[str, Any], key: str, least: int, prefix: str = "") -> int:
    value = table[key]
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise BadRecipe(field=f"{prefix}{key}", problem=f"{value!r} is not a whole number from {least}", way_out="Give such a number.")
    return value


def _share(table: Mapping[str, Any], key: str, prefix: str = "") -> float:
    value = table[key]
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
        raise BadRecipe(field=f"{prefix}{key}", problem=f"{value!r} is not a share", way_out="Give a number from 0 to 1.")
    return float(value)
