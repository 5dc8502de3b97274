"""Chain files: read with their mistakes named, put in order, and each step keyed by what it is made of."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lilong.chain import rules
from lilong.chain.demo import first_chain
from lilong.chain.rules import BadChain, Step, filled, key, parse
from lilong.ground.errors import BadInput

HEAD = '[chain]\nname = "c"\norganisation = "lantern-works"\n'


def chain(*steps: str) -> rules.Chain:
    return parse(HEAD + "\n".join(steps))


def step(name: str, uses: str = "corpus.build", inputs: str = "{}", more: str = "") -> str:
    return f'[step.{name}]\nuses = "{uses}"\nwith = {inputs}\n{more}\n'


def test_the_shipped_chain_is_sound_and_in_order() -> None:
    steps = [step.name for step in parse(first_chain()).steps]
    assert steps[0] == "sources"
    assert steps[-1] == "answer"
    assert steps.index("protocol") < steps.index("training") < steps.index("evaluation")
    assert steps.index("review") < steps.index("deployment")


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("[chain", "the chain file"),
        ("[step.a]\nuses = 'corpus.build'", r"\[chain\]: it is missing"),
        (HEAD, "there are no steps"),
        (HEAD + step("a", "corpus.biuld"), "Did you mean 'corpus.build'"),
        (HEAD + step("a", more='whith = "x"'), "Did you mean 'with'"),
        (HEAD + step("a", inputs='{ s = "${sourcs.id}" }') + step("sources", "corpus.sources"), "Did you mean 'sources'"),
        (HEAD + step("a", inputs='{ s = "${b.id}" }') + step("b", inputs='{ s = "${a.id}" }'), "a → b → a"),
        (HEAD + step("a", more='after = "b"'), "not a list"),
        (HEAD.replace('"c"', "3"), "not a text"),
    ],
)
def test_a_mistake_is_named_with_its_place_and_the_way_out(source: str, said: str) -> None:
    with pytest.raises(BadInput, match=said):
        parse(source)


def test_a_step_comes_after_what_it_names_and_what_it_waits_for() -> None:
    steps = chain(step("c", more='after = ["b"]'), step("b", inputs='{ x = "${a.id}" }'), step("a", "corpus.sources")).steps
    assert [each.name for each in steps] == ["a", "b", "c"]


def test_references_are_filled_in_whole_or_within_a_text() -> None:
    one = chain(step("b", inputs='{ whole = "${a.figures}", part = "${a.repository}@${a.commit}", list = ["${a.commit}"] }'), step("a")).steps[1]
    outputs = {"a": {"figures": {"n": 1}, "repository": "o/r", "commit": "abc"}}
    assert filled(one, outputs) == {"whole": {"n": 1}, "part": "o/r@abc", "list": ["abc"]}


def test_an_output_that_is_not_there_is_named_with_those_that_are() -> None:
    one = chain(step("b", inputs='{ x = "${a.idd}" }'), step("a")).steps[1]
    with pytest.raises(BadChain, match="It has: id, state"):
        filled(one, {"a": {"id": "1", "state": "done"}})


@given(st.dictionaries(st.text(max_size=5), st.one_of(st.integers(-(2**50), 2**50), st.text(max_size=5), st.booleans()), max_size=4))
def test_equal_inputs_have_equal_keys_whatever_their_order_and_others_do_not(inputs: dict[str, object]) -> None:
    one = Step("s", "corpus.build", "", {}, "")
    backwards = dict(reversed(list(inputs.items())))
    assert key(one, inputs) == key(one, backwards)
    assert key(one, inputs) != key(one, {**inputs, "one more": 1})
    assert key(one, inputs) != key(Step("s", "corpus.sources", "", {}, ""), inputs)
