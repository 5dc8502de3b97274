from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lilong.floors.compat.contract import Recipe, TooLittleText
from lilong.floors.compat.examination.suite import SPLITS, choose
from lilong.ground.errors import BadInput

ASK = Recipe(positions=64, length=32, prompts=2)


def encode(text: str) -> list[int]:
    return [ord(letter) for letter in text]


@given(st.randoms(use_true_random=False))
def test_the_suite_does_not_depend_on_the_order_of_the_documents(random: object) -> None:
    documents = [f"document {number} " * 20 for number in range(20)]
    shuffled = documents[:]
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert choose(documents, encode, ASK).digest() == choose(shuffled, encode, ASK).digest()


def test_another_seed_asks_about_other_texts(documents: list[str]) -> None:
    other = Recipe(positions=64, length=32, prompts=2, seed=1)
    assert choose(documents, encode, ASK).digest() != choose(documents, encode, other).digest()


def test_no_document_is_asked_twice(documents: list[str]) -> None:
    suite = choose([*documents, *documents], encode, ASK)
    sources = [excerpt.source for excerpt in (*suite.texts, *suite.prompts)]
    assert len(sources) == len(set(sources)) == 4


def test_every_text_has_its_full_length(documents: list[str]) -> None:
    suite = choose(documents, encode, ASK)
    assert [len(text.tokens) for text in suite.texts] == [32, 32]
    assert suite.positions == 64


def test_few_positions_are_still_spread_over_two_texts(documents: list[str]) -> None:
    assert len(choose(documents, encode, Recipe(positions=16, length=128, prompts=0)).texts) == 2


def test_too_little_text_says_how_much_is_there() -> None:
    with pytest.raises(TooLittleText, match="0 excerpts"):
        choose(["short", "shorter"], encode, ASK)


def test_where_there_are_few_documents_one_gives_excerpts_from_several_places() -> None:
    text = " ".join(f"word{number}" for number in range(400))
    suite = choose([text], encode, ASK)
    assert len(suite.texts) == 2
    assert suite.texts[0].tokens != suite.texts[1].tokens


def test_a_parameter_with_a_typo_is_refused_with_the_known_ones() -> None:
    with pytest.raises(BadInput, match="Known: greedy_tokens"):
        Recipe.parse({"promts": 3})


def test_a_limit_that_does_not_exist_is_refused() -> None:
    with pytest.raises(BadInput, match=r"limits\.minutes"):
        Recipe.parse({"limits": {"minutes": 3}})


@pytest.mark.parametrize(
    "spec",
    [
        {"positions": "many"}, {"positions": 1}, {"length": True}, {"prompts": -1}, {"stacks": "llama.cpp"}, {"stacks": []}, {"stacks": [3]},
        {"limits": 5}, {"limits": {"threads": 0}}, {"limits": {"case_seconds": None}},
    ],
    ids=str,
)  # fmt: skip
def test_a_recipe_that_makes_no_sense_is_refused_in_words(spec: dict[str, object]) -> None:
    with pytest.raises(BadInput, match="recipe"):
        Recipe.parse(spec)


def test_an_empty_recipe_is_the_default_one() -> None:
    assert Recipe.parse({}) == Recipe()
    assert Recipe.parse({"limits": {"memory_bytes": None}}) == Recipe()


def test_the_splitting_strings_are_all_different() -> None:
    assert len(set(SPLITS)) == len(SPLITS)
