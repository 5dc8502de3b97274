from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import t

from lilong.floors.compat import rules
from lilong.floors.compat.contract import Divergence, Tokenization, Verdict
from lilong.floors.compat.rules import Observation, Position, Tolerance


def position(kl: float = 0.0, gap: float = 0.0, text: int = 0, at: int = 0) -> Position:
    return Position(text, at, kl, 7, 7 if gap == 0 else 8, 1.0, gap)


def seen(positions: list[Position], weights: str = "f16", **more: object) -> Observation:
    given = {"diverged": (), "prompts": 4, "tokenization": None, "information": 5.0} | more
    return Observation(weights, positions, **given)  # type: ignore[arg-type]


def calm(kl: float = 1e-6, weights: str = "f16", **more: object) -> Observation:
    return seen([position(kl, text=text, at=at) for text in range(8) for at in range(16)], weights, **more)


def test_wilson_gives_the_published_interval() -> None:
    # Newcombe 1998, table I: 81 of 263, Wilson's score method
    interval = rules.wilson(81, 263)
    assert (round(interval.low, 4), round(interval.high, 4)) == (0.2553, 0.3662)


def test_wilson_of_all_hits_reaches_one_but_is_not_certain() -> None:
    interval = rules.wilson(1024, 1024)
    assert interval.high == 1.0
    assert 0.99 < interval.low < 1.0


def test_nothing_observed_leaves_everything_possible() -> None:
    assert (rules.wilson(0, 0).low, rules.wilson(0, 0).high) == (0.0, 1.0)


@given(n=st.integers(1, 5000), share=st.floats(0, 1))
def test_wilson_holds_the_share_and_stays_in_the_unit(n: int, share: float) -> None:
    hits = round(n * share)
    interval = rules.wilson(hits, n)
    assert 0 <= interval.low <= hits / n <= interval.high <= 1


@given(st.integers(1, 300))
def test_the_t_quantile_is_never_narrower_than_the_true_one(freedom: int) -> None:
    assert t.ppf(0.975, freedom) - 1e-3 <= rules.t975(freedom) < t.ppf(0.975, freedom) * 1.03


def test_a_mean_over_equal_groups_has_the_t_interval_of_their_means() -> None:
    interval = rules.clustered_mean([[1.0, 3.0], [3.0, 5.0], [5.0, 7.0]])  # means 2, 4, 6: sd 2, error 2/√3
    assert interval.point == 4.0
    assert interval.n == 6
    assert math.isclose(interval.high - interval.point, 4.303 * 2 / math.sqrt(3))


def test_one_text_cannot_bound_a_mean_from_above() -> None:
    assert rules.clustered_mean([[0.1, 0.2]]).high == math.inf


@given(st.lists(st.integers(0, 3), max_size=8), st.lists(st.integers(0, 3), max_size=8))
def test_the_first_divergence_is_where_the_common_prefix_ends(left: list[int], right: list[int]) -> None:
    at = rules.first_divergence(left, right)
    if at is None:
        assert left == right
    else:
        assert left[:at] == right[:at]
        assert left[at : at + 1] != right[at : at + 1]


def test_small_differences_pass_and_the_reason_says_how_small() -> None:
    verdict, reason = rules.judge(calm())
    assert verdict is Verdict.PASS
    assert "1e-06" in reason


def test_the_same_error_passes_in_a_coarse_format_and_fails_in_a_fine_one() -> None:
    assert rules.judge(calm(1e-3, "bf16"))[0] is Verdict.PASS
    assert rules.judge(calm(1e-3, "f16"))[0] is Verdict.INACCURATE
    assert rules.judge(calm(1e-6, "f32"))[0] is Verdict.INACCURATE


def test_an_unlisted_format_is_held_to_what_four_bits_cost() -> None:
    assert rules.tolerance_of("iq2_xxs") is rules.LOSSY


def test_another_function_is_wrong_not_inaccurate() -> None:
    verdict, reason = rules.judge(calm(2.0, "q4_1"))
    assert verdict is Verdict.WRONG
    assert "not the same function" in reason


def test_a_stack_in_a_fine_format_that_loses_more_than_four_bits_do_is_wrong() -> None:
    assert rules.judge(calm(0.4, "f16"))[0] is Verdict.WRONG
    assert rules.judge(calm(0.4, "q4_k"))[0] is Verdict.INACCURATE


def test_a_weak_model_is_measured_by_what_it_knows() -> None:
    assert rules.judge(calm(1e-4, information=2e-4))[0] is Verdict.WRONG
    assert rules.judge(calm(1e-4, information=2.0))[0] is Verdict.PASS


def test_numbers_that_are_not_finite_are_wrong() -> None:
    assert rules.judge(calm(malformed="3 logits are not finite")) == (Verdict.WRONG, "3 logits are not finite")


def test_a_stack_that_answered_nothing_is_wrong() -> None:
    assert rules.judge(seen([]))[0] is Verdict.WRONG


def test_one_bad_token_is_not_averaged_away() -> None:
    positions = [position(1e-9, text=text, at=at) for text in range(32) for at in range(128)]
    positions[5] = position(0.05, at=5)
    verdict, reason = rules.judge(seen(positions))
    assert verdict is Verdict.INACCURATE
    assert "token 5 of text 0" in reason


def test_a_turned_choice_counts_only_where_the_reference_was_sure() -> None:
    unsure = [*calm().positions, position(1e-6, gap=0.01)]
    sure = [*calm().positions, position(1e-6, gap=0.9)]
    assert rules.judge(seen(unsure))[0] is Verdict.PASS
    assert rules.judge(seen(sure))[0] is Verdict.INACCURATE


def test_leaving_the_reference_within_noise_passes_and_is_mentioned() -> None:
    verdict, reason = rules.judge(calm(diverged=[Divergence(0, 11, 0.02, decisive=False)]))
    assert verdict is Verdict.PASS
    assert "1 of 4 continuations" in reason


def test_leaving_the_reference_where_it_was_sure_is_inaccurate() -> None:
    assert rules.judge(calm(diverged=[Divergence(2, 5, 1.7, decisive=True)]))[0] is Verdict.INACCURATE


def test_a_tokenizer_that_differs_once_is_inaccurate_and_mostly_is_wrong() -> None:
    assert rules.judge(calm(tokenization=Tokenization(20, 19, "'½'")))[0] is Verdict.INACCURATE
    assert rules.judge(calm(tokenization=Tokenization(20, 3, "'a'")))[0] is Verdict.WRONG


def test_measured_noise_widens_sixteen_bits_but_not_thirty_two() -> None:
    assert rules.limit(rules.TOLERANCES["bf16"], 0.1) == pytest.approx(0.4)
    assert rules.limit(rules.TOLERANCES["f16"], 0.1) == pytest.approx(0.4 / 64)
    assert rules.limit(rules.TOLERANCES["f32"], 0.1) == rules.TOLERANCES["f32"].kl_mean


@given(st.sampled_from(list(rules.TOLERANCES.values())), st.none() | st.floats(0, 1))
def test_noise_never_narrows_a_limit(tolerance: Tolerance, noise: float | None) -> None:
    assert rules.limit(tolerance, noise) >= tolerance.kl_mean


@given(st.lists(st.floats(0, 10), min_size=2, max_size=40), st.floats(1, 10))
def test_more_error_never_turns_a_verdict_better(kls: list[float], factor: float) -> None:
    def rank(scale: float) -> int:
        positions = [position(kl * scale, text=number % 4, at=number) for number, kl in enumerate(kls)]
        return [Verdict.PASS, Verdict.INACCURATE, Verdict.WRONG].index(rules.judge(seen(positions, "bf16"))[0])

    assert rank(1.0) <= rank(factor)
