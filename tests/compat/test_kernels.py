from __future__ import annotations

import math

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.special import rel_entr, softmax

from lilong.floors.compat.examination import kernels

ROWS = arrays(np.float32, (5, 7), elements=st.floats(-30, 30, width=32))


def test_kl_of_two_known_distributions() -> None:
    p, q = np.array([[0.5, 0.5]]), np.array([[0.9, 0.1]])
    seen = kernels.compare(np.log(p).astype(np.float32), np.log(q).astype(np.float32))
    assert math.isclose(seen.kl[0], 0.5 * math.log(0.5 / 0.9) + 0.5 * math.log(0.5 / 0.1), rel_tol=1e-6)


@given(ROWS, ROWS)
def test_kl_equals_scipys_and_is_never_negative(left: np.ndarray, right: np.ndarray) -> None:
    seen = kernels.compare(left, right)
    expected = rel_entr(softmax(left.astype(float), axis=1), softmax(right.astype(float), axis=1)).sum(axis=1)
    assert (seen.kl >= 0).all()
    np.testing.assert_allclose(seen.kl, expected, rtol=1e-6, atol=1e-9)


@given(ROWS, st.floats(-5, 5, width=32))
def test_a_constant_added_to_all_logits_changes_nothing(logits: np.ndarray, shift: float) -> None:
    seen = kernels.compare(logits, logits + np.float32(shift))
    assert seen.kl.max() < 1e-9
    assert (seen.gap < 1e-4).all()


@given(ROWS, ROWS)
def test_the_gap_is_zero_exactly_where_the_choices_agree_and_never_negative(left: np.ndarray, right: np.ndarray) -> None:
    seen = kernels.compare(left, right)
    assert (seen.gap >= 0).all()
    assert (seen.gap[seen.reference_top == seen.got_top] == 0).all()
    assert (seen.margin >= 0).all()


def test_blocks_of_rows_do_not_change_the_answer() -> None:
    generator = np.random.default_rng(0)
    left, right = (generator.normal(size=(kernels.BLOCK * 2 + 3, 11)).astype(np.float32) for _ in range(2))
    single = np.concatenate([kernels.compare(left[i : i + 1], right[i : i + 1]).kl for i in range(len(left))])
    np.testing.assert_array_equal(kernels.compare(left, right).kl, single)


def test_a_model_that_ignores_its_context_is_told_nothing_by_it() -> None:
    information = kernels.Information()
    information.feed(np.tile(np.array([[1.0, 2.0, 3.0]], np.float32), (40, 1)))
    assert information.nats() < 1e-12


def test_a_model_that_is_certain_of_another_token_each_time_is_told_all() -> None:
    information = kernels.Information()
    information.feed(np.eye(8, dtype=np.float32) * 100)
    assert math.isclose(information.nats(), math.log(8), rel_tol=1e-9)


def test_logits_that_are_not_finite_are_named_with_their_place() -> None:
    logits = np.zeros((4, 3), np.float32)
    logits[2, 1] = np.nan
    assert kernels.malformed(logits, (4, 3)) == "1 of 12 logits are not finite, the first at token 2"
    assert "shape" in kernels.malformed(logits, (4, 5))
    assert kernels.malformed(np.zeros((4, 3), np.float32), (4, 3)) == ""
