"""Reads profiles: TOML files, shipped here or laid in the house's folder `profiles/`."""

from __future__ import annotations

import tomllib
from datetime import date
from importlib import resources
from pathlib import Path
from typing import Any

from lilong.floors.governance.contract import BadProfile, Profile, Requirement, UnknownProfile
from lilong.floors.governance.rules import TESTS
from lilong.ground.blobs import digest_of

_LANGUAGES = {"en", "zh"}
_REQUIREMENT = {"id", "text", "predicate", "of", "role", "test", "fresh", "max_age_days", "file"}


def sources(own: Path | None = None) -> dict[str, bytes]:
    """Every profile's file by its name; the house's own go before the shipped ones."""
    found = {file.name.removesuffix(".toml"): file.read_bytes() for file in resources.files(__name__).iterdir() if file.name.endswith(".toml")}
    if own is not None and own.is_dir():
        found.update({file.stem: file.read_bytes() for file in own.glob("*.toml")})
    return dict(sorted(found.items()))


def load(name: str, own: Path | None = None) -> Profile:
    """Raises UnknownProfile, BadProfile."""
    known = sources(own)
    if name not in known:
        raise UnknownProfile(field="profile", name=name, known=", ".join(known))
    return parse(known[name], name)


def parse(source: bytes, name: str) -> Profile:
    """Raises BadProfile."""
    try:
        value = tomllib.loads(source.decode())
        profile = Profile(
            name=str(value["name"]), version=int(value["version"]), title=_texts(value["title"], name), source=str(value["source"]),
            owner=str(value["owner"]), dated=_date(value["dated"]), review_by=_date(value["review_by"]),
            requirements=tuple(_requirement(each, name) for each in value["requirements"]), digest=digest_of(source),
        )  # fmt: skip
    except KeyError as missing:
        raise BadProfile(field="profile", place=name, problem=f"it has no {missing}", way_out="Add it.") from missing
    except (ValueError, TypeError, UnicodeDecodeError) as problem:
        raise BadProfile(field="profile", place=name, problem=str(problem), way_out="Mend the file.") from problem
    if profile.name != name or not profile.requirements or len({each.id for each in profile.requirements}) != len(profile.requirements):
        way_out = "Name it as its file, and give each requirement an id of its own."
        raise BadProfile(field="profile", place=name, problem="its name or the ids of its requirements are not right", way_out=way_out)
    return profile


def _requirement(value: dict[str, Any], name: str) -> Requirement:
    if unknown := set(value) - _REQUIREMENT:
        raise BadProfile(field="profile", place=name, problem=f"nobody knows {', '.join(sorted(unknown))}", way_out=f"Known: {', '.join(sorted(_REQUIREMENT))}.")
    requirement = Requirement(**{**value, "text": _texts(value["text"], name)})
    if bool(requirement.predicate) == bool(requirement.file) or requirement.of not in ("model", "corpus") or requirement.role not in ("subject", "judged"):
        raise BadProfile(field="profile", place=f"{name}, {requirement.id}", problem="it asks for a predicate or a file", way_out="Give one of them.")
    if requirement.test not in TESTS:
        raise BadProfile(field="profile", place=f"{name}, {requirement.id}", problem=f"there is no test {requirement.test!r}", way_out=f"Tests: {', '.join(filter(None, TESTS))}.")
    return requirement


def _texts(value: dict[str, str], name: str) -> dict[str, str]:
    if not isinstance(value, dict) or set(value) != _LANGUAGES:
        raise BadProfile(field="profile", place=name, problem="a text is not given in each language", way_out=f"Give {' and '.join(sorted(_LANGUAGES))}.")
    return value


def _date(value: object) -> date:
    if not isinstance(value, date):
        raise TypeError(f"{value!r} is not a date")
    return value
