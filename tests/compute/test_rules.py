"""What becomes of a job whose attempt has ended, and what is asked for in canonical form."""

from __future__ import annotations

from datetime import timedelta

from lilong.floors.compute.contract import Ending, Exit, JobAsk, JobState, Phase, ReasonCode, Sight
from lilong.floors.compute.rules import LONGEST_PAUSE_S, ask_digest, pause, settle
from lilong.floors.compute.rules.telling import SENTENCES, code
from lilong.floors.compute.scheduler.decide import Reason

# --- after an attempt ------------------------------------------------------------------------------------------------------


def ended(code: int | None = 0, signal: int | None = None, ending: Ending = Ending.EXITED, reason: str = "") -> Sight:
    return Sight(Phase.FINISHED, "bubblewrap", None, ending, Exit(code, signal, reason, 1.0, 1.0, 1.0))


def verdict(sight: Sight, **given: object):
    facts = {"service": False, "cancelled": False, "attempt": 1, "stops": 0, "attempts": 1, **given}
    return settle(sight, **facts)


def test_status_zero_is_success() -> None:
    assert verdict(ended()).state is JobState.SUCCEEDED


def test_a_result_that_came_before_the_cancellation_is_kept() -> None:
    assert verdict(ended(), cancelled=True).state is JobState.SUCCEEDED


def test_a_failure_with_attempts_left_is_tried_again_after_a_pause() -> None:
    told = verdict(ended(1), attempt=1, attempts=3)
    assert (told.state, told.pause) == (JobState.QUEUED, timedelta(seconds=2))


def test_a_program_that_cannot_use_what_it_was_given_is_not_asked_again() -> None:
    for status in (2, 6):
        assert verdict(ended(status), attempt=1, attempts=3).state is JobState.FAILED


def test_a_failure_without_attempts_left_is_final_and_quotes_the_program() -> None:
    told = verdict(ended(2), attempt=3, attempts=3, last_line="bad-input: no text")
    assert told.state is JobState.FAILED
    assert told.reason == "it ended with status 2: bad-input: no text"


def test_a_signal_is_named() -> None:
    assert verdict(ended(None, 9)).reason == "SIGKILL ended it"


def test_an_attempt_that_the_house_stopped_does_not_count() -> None:
    told = verdict(ended(None, 15, Ending.STOPPED), attempt=1, attempts=1)
    assert (told.state, told.pause, told.stopped) == (JobState.QUEUED, None, True)
    assert verdict(ended(1), attempt=2, stops=1, attempts=1).state is JobState.FAILED


def test_lost_is_a_state_and_no_guess() -> None:
    assert verdict(Sight(Phase.LOST)).state is JobState.LOST
    assert verdict(Sight(Phase.LOST), attempts=2).state is JobState.QUEUED


def test_a_cancelled_job_is_not_tried_again() -> None:
    assert verdict(ended(None, 15, Ending.CANCELLED), attempts=5).state is JobState.CANCELLED
    assert verdict(ended(1), attempts=5, cancelled=True).state is JobState.CANCELLED


def test_an_attempt_that_made_room_does_not_count_and_keeps_what_is_in_its_last_checkpoint() -> None:
    told = verdict(ended(None, 15, Ending.CANCELLED), preempted=True, checkpoint_s=100)
    assert (told.state, told.stopped, told.kept_s) == (JobState.QUEUED, True, 0)
    long = Sight(Phase.FINISHED, "bubblewrap", None, Ending.CANCELLED, Exit(None, 15, "", 450.5, 1.0, 1.0))
    assert verdict(long, preempted=True, checkpoint_s=100).kept_s == 400
    assert verdict(long, preempted=True).kept_s == 0


def test_who_cancels_a_job_that_makes_room_ends_it() -> None:
    assert verdict(ended(None, 15, Ending.CANCELLED), preempted=True, cancelled=True).state is JobState.CANCELLED


def test_every_reason_has_a_code_and_every_code_a_sentence() -> None:
    assert set(SENTENCES) == set(ReasonCode)
    for reason in Reason:
        assert code(reason.name.lower(), reserved=False, reachable=True) in SENTENCES
    assert code("behind", reserved=True, reachable=True) is ReasonCode.RESERVED
    assert code("quota", reserved=False, reachable=False) is ReasonCode.SITE_DOWN


def test_of_two_reasons_the_graver_one_is_told() -> None:
    """The first goes first, with a start reserved for it or without."""
    order = list(ReasonCode)
    for reason in Reason:
        plain, reserved = (code(reason.name.lower(), reserved=given, reachable=True) for given in (False, True))
        assert reserved is min((plain, ReasonCode.RESERVED), key=order.index) or plain is ReasonCode.NOT_LOOKED_AT


def test_a_service_that_ends_by_itself_has_failed_even_with_status_zero() -> None:
    assert verdict(ended(0), service=True).state is JobState.FAILED


def test_pauses_double_up_to_five_minutes() -> None:
    assert [pause(n).total_seconds() for n in (1, 2, 3, 40)] == [2, 4, 8, LONGEST_PAUSE_S]


def test_the_digest_of_an_ask_leaves_out_what_it_is_called() -> None:
    ask = {"kind": "a.b", "organisation": "o", "argv": ("python",)}
    assert ask_digest(JobAsk(**ask, key="1", title="x")) == ask_digest(JobAsk(**ask, key="2"))
    assert ask_digest(JobAsk(**ask, cpus=2)) != ask_digest(JobAsk(**ask))
