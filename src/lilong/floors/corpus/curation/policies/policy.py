"""A policy file: ordered rules over signals, in TOML.

    name = "documentation"
    version = "1"
    profile = "lilong-text-1"          # whose signals it speaks of

    [[rules]]
    step = "length"                    # groups rules in reports
    reason = "too_few_words"
    drop = "words < 50"                # a signal, an operator, a limit
    when = "language in ['en', 'de']"  # optional; one comparison or a list of them, all of which must hold

    prefer = [{ column = "bytes", best = "most" }, { column = "licence", order = ["CC0-1.0", "MIT"] }]

The first rule that holds drops the document. A comparison with a signal that has no value (null, NaN) never holds. `prefer` says which of
several near duplicates is kept: by signals, bytes, source, uri, licence, retrieved_at and format, the weightiest first (in TOML it stands before the rules).
"""

from __future__ import annotations

import difflib
import hashlib
import json
import math
import re
import tomllib
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lilong.floors.corpus.curation.dedup.clusters import Preference, parse_preferences
from lilong.ground.errors import BadInput

READING = ("bytes", "source", "uri", "licence", "retrieved_at", "format")
"""What `prefer` may name besides signals."""
PREFER = (Preference("bytes", "most"),)
"""The longest text speaks for its cluster unless a policy says otherwise."""
ENGINE_REASONS = ("exact_duplicate", "near_duplicate")
"""What copies are dropped for, by no rule: tables are read by these words."""
OPERATORS = ("<", "<=", ">", ">=", "==", "!=", "in", "not in")
Limit = float | str | tuple[str, ...]
_COMPARISON = re.compile(r"\s*(?P<signal>[A-Za-z_][\w.]*)\s*(?P<operator>[<>=!]+|not\s+in\b|in\b)\s*(?P<limit>\S.*)", re.DOTALL)
_KEYS = ("name", "version", "profile", "rules", "prefer")
_RULE_KEYS = ("step", "reason", "drop", "when")


class BadPolicy(BadInput):
    """The policy's '{field}' cannot be used: {problem}. {way_out}"""


@dataclass(frozen=True, slots=True)
class Comparison:
    """`signal operator limit`; a tuple of texts is the limit of `in` and `not in`."""

    signal: str
    operator: str
    limit: Limit

    def __str__(self) -> str:
        """As a policy file says it."""
        limit = shown(self.limit) if isinstance(self.limit, float) else json.dumps(self.limit, ensure_ascii=False)
        return f"{self.signal} {self.operator} {limit}"


@dataclass(frozen=True, slots=True)
class Rule:
    """Drop for `reason` where `drop` holds and all of `when` do."""

    step: str
    reason: str
    drop: Comparison
    when: tuple[Comparison, ...] = ()


@dataclass(frozen=True, slots=True)
class Policy:
    name: str
    version: str
    profile: str
    rules: tuple[Rule, ...]
    prefer: tuple[Preference, ...] = PREFER

    def signals(self) -> tuple[str, ...]:
        """The signals that it looks at, sorted."""
        return tuple(sorted({one.signal for rule in self.rules for one in (rule.drop, *rule.when)}))

    def as_json(self) -> dict[str, Any]:
        """What `parse_policy` makes the same policy of."""
        rules = [
            {
                "step": one.step,
                "reason": one.reason,
                "drop": str(one.drop),
                **({"when": [str(other) for other in one.when]} if one.when else {}),
            }
            for one in self.rules
        ]
        prefer = [{"column": one.column, **({"order": list(one.order)} if one.order else {"best": one.best})} for one in self.prefer]
        return {"name": self.name, "version": self.version, "profile": self.profile, "rules": rules, "prefer": prefer}

    def canonical(self) -> bytes:
        """The policy as JSON with sorted keys: what its digest is of."""
        return json.dumps(self.as_json(), sort_keys=True, ensure_ascii=False, separators=(",", ":")).encode()

    def digest(self) -> str:
        return f"sha256:{hashlib.sha256(self.canonical()).hexdigest()}"


def read_policy(path: Path, known: Collection[str]) -> Policy:
    """The policy in a file. Raises BadPolicy."""
    if not path.is_file():
        raise BadPolicy(field=str(path), problem="there is no such file", way_out="Give the path of a policy file (TOML).")
    try:
        value = tomllib.loads(path.read_bytes().decode("utf-8-sig"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise BadPolicy(field=str(path), problem=f"it is not TOML ({error})", way_out="Correct the file.") from None
    return parse_policy(value, known)


def parse_policy(value: Mapping[str, Any], known: Collection[str]) -> Policy:
    """A policy from its TOML form; `known` are the names of the profile's signals. Raises BadPolicy."""
    _check_keys("", value, _KEYS)
    rules = value.get("rules", [])
    if not isinstance(rules, list) or not all(isinstance(rule, Mapping) for rule in rules):
        raise BadPolicy(field="rules", problem="it is not a list of tables", way_out="Write each rule as a [[rules]] table.")
    names = {key: _word("", value, key) for key in ("name", "version", "profile")}
    prefer = parse_preferences(value["prefer"]) if "prefer" in value else PREFER
    for one in prefer:
        if one.column not in known and one.column not in READING:
            way_out = f"Use one of: {', '.join([*READING, *sorted(known)])}."
            raise BadPolicy(field="prefer", problem=f"'{one.column}' is not known of a document", way_out=way_out)
    return Policy(**names, prefer=prefer, rules=tuple(_rule(f"rules[{number}]", rule, known) for number, rule in enumerate(rules)))


def parse_comparison(field: str, value: Any, known: Collection[str]) -> Comparison:
    """A comparison from its text, such as `words < 50`. Raises BadPolicy that names `field`."""
    found = _COMPARISON.fullmatch(value) if isinstance(value, str) else None
    if found is None:
        way_out = "Write `signal operator limit`, such as `words < 50`."
        raise BadPolicy(field=field, problem=f"{value!r} is not a comparison", way_out=way_out)
    signal, operator = found["signal"], " ".join(found["operator"].split())
    if signal not in known:
        near = difflib.get_close_matches(signal, sorted(known), 1)
        meant = f"Did you mean '{near[0]}'? " if near else ""
        raise BadPolicy(field=field, problem=f"'{signal}' is not a signal", way_out=f"{meant}Known are: {', '.join(sorted(known))}.")
    if operator not in OPERATORS:
        raise BadPolicy(field=field, problem=f"'{operator}' is not an operator", way_out=f"Use one of: {'  '.join(OPERATORS)}.")
    return Comparison(signal, operator, _limit(field, operator, found["limit"]))


def shown(limit: Limit) -> str:
    """A limit as people read it."""
    if isinstance(limit, tuple):
        return f"[{', '.join(limit)}]"
    return limit if isinstance(limit, str) else repr(limit).removesuffix(".0")


def _rule(field: str, value: Mapping[str, Any], known: Collection[str]) -> Rule:
    _check_keys(f"{field}.", value, _RULE_KEYS)
    if "drop" not in value:
        raise BadPolicy(field=f"{field}.drop", problem="it is missing", way_out='Say what is dropped, such as drop = "words < 50".')
    drop = parse_comparison(f"{field}.drop", value["drop"], known)
    when = value.get("when", [])
    conditions = when if isinstance(when, list) else [when]
    step = _word(f"{field}.", value, "step")
    reason = _word(f"{field}.", value, "reason") if "reason" in value else drop.signal
    if reason in ENGINE_REASONS:
        way_out = "Call the rule's reason otherwise."
        raise BadPolicy(field=f"{field}.reason", problem=f"'{reason}' is what copies are dropped for, by no rule", way_out=way_out)
    return Rule(step, reason, drop, tuple(parse_comparison(f"{field}.when", one, known) for one in conditions))


def _limit(field: str, operator: str, text: str) -> Limit:
    try:
        value = tomllib.loads(f"limit = {text}")
    except tomllib.TOMLDecodeError:
        value = {}
    if set(value) != {"limit"}:
        raise BadPolicy(field=field, problem=f"{text} is neither number nor text", way_out="Put texts in quotes: language == 'en'.")
    limit = value["limit"]
    if operator in ("in", "not in"):
        if not isinstance(limit, list) or not all(isinstance(one, str) for one in limit):
            raise BadPolicy(field=field, problem=f"{text} is not a list of texts", way_out="Write it as ['en', 'zh'].")
        return tuple(limit)
    if isinstance(limit, bool | int | float) and math.isfinite(limit):
        return float(limit)
    if isinstance(limit, str) and operator in ("==", "!="):
        return limit
    raise BadPolicy(field=field, problem=f"{text} cannot be compared with {operator}", way_out="Use a number, or == and a text.")


def _check_keys(prefix: str, value: Mapping[str, Any], keys: tuple[str, ...]) -> None:
    for key in value:
        if key not in keys:
            raise BadPolicy(field=f"{prefix}{key}", problem="there is no such key", way_out=f"Use: {', '.join(keys)}.")


def _word(prefix: str, value: Mapping[str, Any], key: str) -> str:
    word = value.get(key)
    if not isinstance(word, str) or not word.strip():
        problem = "it is missing" if word is None else f"{word!r} is not a text"
        raise BadPolicy(field=f"{prefix}{key}", problem=problem, way_out=f'Write {key} = "…".')
    return word
