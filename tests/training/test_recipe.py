from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lilong.floors.training.contract import BadRecipe
from lilong.floors.training.pretraining.recipe import Recipe


@pytest.mark.parametrize(
    ("given_", "field"),
    [
        ({"steps": 0}, "steps"),
        ({"steps": "many"}, "steps"),
        ({"steps": True}, "steps"),
        ({"tokens_per_step": 1000}, "tokens_per_step"),
        ({"learning_rate": float("nan")}, "learning_rate"),
        ({"learning_rate": 5}, "learning_rate"),
        ({"warmup": 30}, "warmup"),
        ({"schedule": "linear"}, "schedule"),
        ({"format": "fp8"}, "format"),
        ({"lerning_rate": 1e-4}, "lerning_rate"),
    ],
)
def test_a_wrong_field_is_named(given_: dict[str, Any], field: str) -> None:
    with pytest.raises(BadRecipe, match=f"'{field}'"):
        Recipe.parse(given_)


def test_a_recipe_comes_back_from_its_own_json() -> None:
    recipe = Recipe.parse({"steps": 7, "learning_rate": 1e-4, "schedule": "constant"})
    assert Recipe.parse(recipe.as_json()) == recipe


@given(steps=st.integers(1, 200), data=st.data(), schedule=st.sampled_from(["cosine", "constant"]))
def test_the_rate_rises_to_its_peak_and_never_leaves_its_bounds(steps: int, data: st.DataObject, schedule: str) -> None:
    warmup = data.draw(st.integers(0, steps))
    recipe = Recipe.parse({"steps": steps, "warmup": warmup, "learning_rate": 0.01, "schedule": schedule})
    rates = [recipe.rate(step) for step in range(steps)]
    assert all(0 < rate <= 0.01 for rate in rates)
    assert rates[:warmup] == sorted(rates[:warmup])
    assert rates[warmup:] == sorted(rates[warmup:], reverse=True)
    if warmup < steps:
        assert rates[warmup] == 0.01
