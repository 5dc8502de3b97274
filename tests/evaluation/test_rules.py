from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lilong.floors.evaluation import rules
from lilong.floors.evaluation.contract import (
    BadEvaluationRecipe,
    BadProtocol,
    ComparisonRule,
    EvaluationProtocol,
    EvaluationRecipe,
    Item,
    OverlapRule,
    Power,
    TaskPlan,
)

TASK = TaskPlan(
    name="held-out-text",
    kind="bits-per-byte",
    role="primary",
    data="held-out documents",
    rule=ComparisonRule("bits_per_byte", "lower", 0.0, "clustered t"),
    settings={"most_bytes": 100},
    power=Power(0.05, 0.8, 0.02, 0),
    items=(Item("a", "sha256:" + "0" * 64, "a"), Item("b", "sha256:" + "1" * 64, "b")),
)
PROTOCOL = EvaluationProtocol(
    title="A test",
    models={"base": "lane/base@1", "new": "lane/new@2"},
    corpus={"version": "lane/corpus@3"},
    engine="lilong-loglikelihood/1",
    dtype="float32",
    alpha=0.05,
    seed=1,
    overlap=OverlapRule(13, 50, 5),
    tasks=(TASK,),
)


@pytest.mark.parametrize(
    ("low", "high", "margin", "better", "answer"),
    [
        (-0.02, 0.05, 0.03, "higher", "yes"),
        (-0.04, 0.05, 0.03, "higher", "cannot tell"),
        (-0.09, -0.04, 0.03, "higher", "no"),
        (0.01, 0.05, 0.0, "higher", "yes"),
        (-0.08, -0.05, 0.0, "lower", "yes"),
        (0.05, 0.08, 0.0, "lower", "no"),
        (-0.03, 0.02, 0.03, "higher", "cannot tell"),
        (float("-inf"), float("inf"), 0.5, "lower", "cannot tell"),
    ],
)
def test_an_interval_answers_by_its_place_at_the_margin(low: float, high: float, margin: float, better: str, answer: str) -> None:
    assert rules.no_worse(low, high, margin, better) == answer  # type: ignore[arg-type]


@given(low=st.floats(-1, 1), width=st.floats(0, 1), margin=st.floats(0, 1))
def test_the_two_directions_are_mirror_images(low: float, width: float, margin: float) -> None:
    high = low + width
    assert rules.no_worse(low, high, margin, "higher") == rules.no_worse(-high, -low, margin, "lower")


@given(low=st.floats(-1, 1), width=st.floats(0, 1), margin=st.floats(0, 0.5))
def test_a_wider_margin_never_turns_yes_into_something_else(low: float, width: float, margin: float) -> None:
    if rules.no_worse(low, low + width, margin, "higher") == "yes":
        assert rules.no_worse(low, low + width, margin * 2, "higher") == "yes"


def test_a_protocol_survives_writing_and_reading() -> None:
    content = rules.canonical(rules.protocol_document(PROTOCOL))
    assert rules.read_protocol(content) == PROTOCOL
    assert rules.digest_of(content) == rules.protocol_digest(PROTOCOL)


def test_the_digest_does_not_depend_on_the_order_or_the_layout_of_the_json() -> None:
    document = rules.protocol_document(PROTOCOL)
    shuffled = json.dumps(dict(reversed(document.items())), indent=2).encode()
    assert rules.protocol_digest(rules.read_protocol(shuffled)) == rules.protocol_digest(PROTOCOL)


def test_canonical_json_is_that_of_the_standards_example() -> None:
    # RFC 8785, section 3.2.2: the sample object
    sample = {"numbers": [333333333.33333329, 1e30, 4.5, 2e-3, 0.000000000000000000000000001], "literals": [None, True, False]}
    assert rules.canonical(sample) == b'{"literals":[null,true,false],"numbers":[333333333.3333333,1e+30,4.5,0.002,1e-27]}'


@pytest.mark.parametrize(
    ("place", "value", "named"),
    [
        ("alpha", 0.9, "alpha"),
        ("alpha", "small", "alpha"),
        ("models", {"base": "x"}, "models"),
        ("surprise", 1, "surprise"),
        ("overlap", {"words": 13}, "overlap"),
        ("tasks", [], "tasks"),
        ("schema", "another/1", "schema"),
    ],
)
def test_a_protocol_with_a_mistake_is_refused_by_name(place: str, value: object, named: str) -> None:
    document = {**rules.protocol_document(PROTOCOL), place: value}
    with pytest.raises(BadProtocol, match=named):
        rules.read_protocol(json.dumps(document).encode())


def test_a_protocol_names_no_item_twice() -> None:
    twice = replace(PROTOCOL, tasks=(replace(TASK, items=(TASK.items[0], TASK.items[0])),))
    with pytest.raises(BadProtocol, match="one item twice"):
        rules.read_protocol(rules.canonical(rules.protocol_document(twice)))


@given(keys=st.lists(st.text(), unique=True, max_size=30), n=st.integers(0, 40), seed=st.integers(0, 5))
def test_a_choice_does_not_depend_on_the_order_of_what_is_offered(keys: list[str], n: int, seed: int) -> None:
    chosen = rules.choose(keys, keys, n, seed)
    backwards = list(reversed(keys))
    assert chosen == rules.choose(backwards, backwards, n, seed)
    assert len(chosen) == min(n, len(keys))


def test_a_recipe_says_only_what_differs() -> None:
    assert rules.read_recipe({"documents": 12}) == EvaluationRecipe(documents=12)


@pytest.mark.parametrize(
    "recipe", [{"document": 3}, {"documents": "3"}, {"documents": 1}, {"dtype": "float8"}, {"least_bytes": 5000}, {"alpha": True}]
)
def test_a_recipe_with_a_mistake_names_the_field(recipe: dict[str, object]) -> None:
    with pytest.raises(BadEvaluationRecipe, match=next(iter(recipe))):
        rules.read_recipe(recipe)


def test_several_answers_make_one() -> None:
    assert rules.overall({"a": "yes", "b": "cannot tell"}) == "cannot tell"
    assert rules.overall({"a": "no", "b": "cannot tell"}) == "no"
    assert rules.overall({"a": "yes"}) == "yes"
