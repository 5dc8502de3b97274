"""Policies: what their files may say, that evaluation decides as a slow reference does, and what a change of limits would change."""

from __future__ import annotations

import json
import math
import operator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lilong.floors.corpus.curation.policies.comparison import difference, explore
from lilong.floors.corpus.curation.policies.evaluation import decide
from lilong.floors.corpus.curation.policies.policy import BadPolicy, Policy, parse_policy, read_policy
from lilong.floors.corpus.curation.runs import profiles

KNOWN = ("words", "share", "language")
HEAD = {"name": "harbour", "version": "1", "profile": "test"}
OPERATORS: dict[str, Any] = {"<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge, "==": operator.eq, "!=": operator.ne}


def policy(*rules: Any, **more: Any) -> Policy:
    """A policy of `(reason, drop)` or `(reason, drop, when)`."""
    keys = ("reason", "drop", "when")
    return parse_policy({**HEAD, **more, "rules": [{"step": "test", **dict(zip(keys, rule, strict=False))} for rule in rules]}, KNOWN)


def signals(words: list[Any], share: list[Any], language: list[Any]) -> pa.Table:
    return pa.table(
        {"words": pa.array(words, pa.int64()), "share": pa.array(share, pa.float64()), "language": pa.array(language, pa.string())}
    )


@pytest.mark.parametrize(
    ("value", "says"),
    [
        (
            {**HEAD, "rules": [{"step": "a", "drop": "word < 50"}]},
            r"rules\[0\].drop.*'word' is not a signal.*Did you mean 'words'\?.*language, share, words",
        ),
        ({**HEAD, "rules": [{"step": "a", "drop": "words =< 50"}]}, r"'=<' is not an operator.*<="),
        ({**HEAD, "rules": [{"step": "a", "drop": "words"}]}, r"'words' is not a comparison.*`words < 50`"),
        ({**HEAD, "rules": [{"step": "a", "drop": "language == en"}]}, r"en is neither number nor text.*language == 'en'"),
        ({**HEAD, "rules": [{"step": "a", "drop": "language in 'en'"}]}, r"not a list of texts"),
        ({**HEAD, "rules": [{"step": "a", "drop": "words < 'many'"}]}, r"cannot be compared with <"),
        ({**HEAD, "rules": [{"step": "a", "drop": "words < nan"}]}, r"cannot be compared"),
        (
            {**HEAD, "rules": [{"step": "a", "drop": "words < 5", "unless": "x"}]},
            r"rules\[0\].unless.*no such key.*step, reason, drop, when",
        ),
        ({**HEAD, "rules": [{"drop": "words < 5"}]}, r"rules\[0\].step.*missing"),
        ({**HEAD, "rules": [{"step": "a"}]}, r"rules\[0\].drop.*missing"),
        ({**HEAD, "rules": [{"step": "a", "drop": "words < 5", "reason": "exact_duplicate"}]}, r"rules\[0\].reason.*copies are dropped for"),
        ({**HEAD, "rules": {"step": "a"}}, r"rules.*\[\[rules\]\]"),
        ({**HEAD, "rule": []}, r"'rule'.*no such key"),
        ({**HEAD, "name": 3}, r"name.*3 is not a text"),
        ({**HEAD, "prefer": [{"column": "colour"}]}, r"'colour' is not known of a document.*bytes, source"),
    ],
)
def test_a_policy_that_means_nothing_says_where_and_what_would(value: dict[str, Any], says: str) -> None:
    with pytest.raises(BadPolicy, match=says):
        parse_policy(value, KNOWN)


def test_a_file_that_is_no_policy_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadPolicy, match="there is no such file"):
        read_policy(tmp_path / "none.toml", KNOWN)
    for content in (b"name = ", b"\xff\xfe"):
        (tmp_path / "bad.toml").write_bytes(content)
        with pytest.raises(BadPolicy, match=r"bad\.toml.*not TOML"):
            read_policy(tmp_path / "bad.toml", KNOWN)


def test_a_text_is_not_compared_with_a_number() -> None:
    table = signals([1], [0.5], ["en"])
    with pytest.raises(BadPolicy, match="'language' is a text"):
        decide(policy(("a", "language > 3")), table)
    with pytest.raises(BadPolicy, match="'words' is a number"):
        decide(policy(("a", "words == 'three'")), table)


@pytest.mark.parametrize("name", profiles.names())
def test_the_policies_that_come_along_speak_of_their_profile_s_signals(name: str) -> None:
    own = profiles.profile(profiles.Setup(name)).policy()
    assert own.rules
    assert parse_policy(own.as_json(), own.signals()) == own  # what a report holds is the policy, whole
    assert json.loads(own.canonical()) == own.as_json()


def test_the_first_rule_that_holds_gives_the_reason_and_both_numbers() -> None:
    rules = policy(("short", "words < 50"), ("shares", "share > 0.3", "language in ['en', 'de']"), ("tongue", "language != 'en'"))
    table = signals([10, 60, 60, 60, 60], [0.9, 0.4142135, 0.30000000001, 0.5, 0.1], ["en", "en", "de", "zh", "en"])
    found = decide(rules, table).table(table).to_pylist()
    assert [(row["keep"], row["reason"], row["detail"]) for row in found] == [
        (False, "short", "words 10 < 50"),
        (False, "shares", "share 0.4142 > 0.3"),
        (False, "shares", "share 0.30000000001 > 0.3"),
        (False, "tongue", "language zh != en"),
        (True, "", ""),
    ]


def test_what_has_no_value_is_never_dropped_for_it() -> None:
    table = signals([None, 60], [math.nan, None], ["en", None])
    for drop in ("words < 50", "words != 50", "words >= 0", "share != 1", "share <= 2", "language != 'zh'", "language not in ['zh']"):
        found = decide(policy(("a", drop)), table)
        missing = {"words": [0], "share": [0, 1], "language": [1]}[drop.split()[0]]
        assert all(found.keep[row] for row in missing), drop


values = st.one_of(st.none(), st.integers(-3, 3))
shares = st.one_of(st.none(), st.just(math.nan), st.sampled_from([0.0, 0.1 + 0.2, 0.3, 1.0]))
languages = st.one_of(st.none(), st.sampled_from(["en", "zh", ""]))
drops = st.one_of(
    st.builds(
        lambda name, sign, limit: f"{name} {sign} {limit}",
        st.sampled_from(["words", "share"]),
        st.sampled_from(sorted(OPERATORS)),
        st.sampled_from([-1, 0, 0.3, 2]),
    ),
    st.sampled_from(["language == 'en'", "language != 'en'", "language in ['en', '']", "language not in ['zh']"]),
)


def holds(comparison: Any, row: dict[str, Any]) -> bool:
    """The slow reference."""
    value = row[comparison.signal]
    if value is None or value != value:
        return False
    if comparison.operator in OPERATORS:
        return bool(OPERATORS[comparison.operator](value, comparison.limit))
    return (value in comparison.limit) == (comparison.operator == "in")


@settings(deadline=None)
@given(st.lists(st.tuples(values, shares, languages), max_size=8), st.lists(st.tuples(drops, st.lists(drops, max_size=2)), max_size=5))
def test_evaluation_decides_as_the_slow_reference_does(rows: list[Any], rules: list[Any]) -> None:
    table = signals(*(list(column) for column in zip(*rows, strict=True))) if rows else signals([], [], [])
    asked = policy(*((f"r{number}", drop, when) for number, (drop, when) in enumerate(rules)))
    found = decide(asked, table).table(table)
    for row, answer in zip(table.to_pylist(), found.to_pylist(), strict=True):
        first = next((one for one in asked.rules if holds(one.drop, row) and all(holds(each, row) for each in one.when)), None)
        assert answer["keep"] == (first is None)
        assert answer["reason"] == ("" if first is None else first.reason)


def test_a_difference_counts_what_moves_and_shows_examples() -> None:
    table = signals([10, 40, 60, 90], [0.1, 0.1, 0.9, 0.1], ["en"] * 4)
    documents = pa.table({"id": ["a", "b", "c", "d"], "source": ["lantern", "lantern", "harbour", "harbour"]})
    found = difference(policy(("short", "words < 50")), policy(("short", "words < 30"), ("shares", "share > 0.5")), table, documents)
    assert (found.kept_before, found.kept_after, found.newly_kept, found.newly_dropped) == (2, 2, 1, 1)
    assert [(one.before, one.after, one.documents) for one in found.reasons] == [("", "shares", 1), ("short", "", 1)]
    assert found.reasons[0].samples == [{"id": "c", "source": "harbour", "before": "", "after": "share 0.9 > 0.5"}]
    assert [(one.source, one.kept_before, one.kept_after) for one in found.sources] == [("harbour", 2, 1), ("lantern", 0, 1)]


def test_limits_are_explored_alone_and_within_the_whole_policy() -> None:
    table = signals([10, 40, 60, 90], [0.1, 0.9, 0.9, 0.1], ["en"] * 4)
    asked = policy(("short", "words < 50"), ("shares", "share > 0.5"))
    assert [(one.limit, one.caught, one.kept) for one in explore(asked, "short", [0, 50, 100], table)] == [
        (0, 0, 2),
        (50, 2, 1),
        (100, 4, 0),
    ]
    with pytest.raises(BadPolicy, match=r"no rule has the reason 'long'.*short, shares"):
        explore(asked, "long", [1], table)
