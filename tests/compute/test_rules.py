"""The queue's decisions."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import given, settings
from hypothesis import strategies as st

from lilong.floors.compute.contract import Capacity, Ending, Exit, JobAsk, JobState, Phase, Sight
from lilong.floors.compute.rules import LONGEST_PAUSE_S, Holding, Plan, Waiting, ask_digest, decide, pause, settle

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
SITE = Capacity(cpus=4, memory_mib=4096)


def waiting(
    name: str, place: int = 1, priority: int = 0, cpus: int = 1, memory: int = 512, service: bool = False, pause_s: float | None = None
) -> Waiting:
    return Waiting(name, place, priority, cpus, memory, service, None if pause_s is None else NOW + timedelta(seconds=pause_s))


@st.composite
def queues(draw: st.DrawFn) -> list[Waiting]:
    number = draw(st.integers(0, 8))
    return [
        waiting(
            f"w{i}", i, draw(st.integers(-1, 1)), draw(st.integers(1, 5)), draw(st.integers(100, 5000)), draw(st.booleans()),
            draw(st.sampled_from([None, None, -1, 60])),
        )
        for i in range(number)
    ]  # fmt: skip


@st.composite
def holdings(draw: st.DrawFn) -> list[Holding]:
    found: list[Holding] = []
    for i in range(draw(st.integers(0, 4))):
        one = Holding(f"h{i}", draw(st.integers(1, 2)), draw(st.integers(100, 1500)), draw(st.booleans()))
        if (
            sum(other.memory_mib for other in (*found, one)) <= SITE.memory_mib
            and sum(other.cpus for other in (*found, one) if other.service == one.service) <= SITE.cpus
        ):
            found.append(one)
    return found


def started(queue: list[Waiting], plan: Plan) -> list[Waiting]:
    return [job for name in plan.starts for job in queue if job.id == name]


@given(queue=queues(), running=holdings())
@settings(max_examples=300, deadline=None)
def test_what_starts_fits(queue: list[Waiting], running: list[Holding]) -> None:
    begun = started(queue, decide(queue, running, SITE, NOW))
    assert sum(job.memory_mib for job in [*running, *begun]) <= SITE.memory_mib
    for service in (True, False):
        assert sum(job.cpus for job in [*running, *begun] if job.service == service) <= SITE.cpus


@given(queue=queues(), running=holdings())
@settings(max_examples=300, deadline=None)
def test_every_job_starts_or_is_told_why_not(queue: list[Waiting], running: list[Holding]) -> None:
    plan = decide(queue, running, SITE, NOW)
    assert sorted([*plan.starts, *plan.reasons]) == sorted(job.id for job in queue)


@given(queue=queues(), running=holdings())
@settings(max_examples=300, deadline=None)
def test_nobody_is_overtaken_but_by_waiting_for_a_pause_or_a_service(queue: list[Waiting], running: list[Holding]) -> None:
    plan = decide(queue, running, SITE, NOW)
    ahead = lambda a, b: (-a.priority, a.place) < (-b.priority, b.place)  # noqa: E731
    services = [*(job for job in running if job.service), *(job for job in started(queue, plan) if job.service)]
    for late in started(queue, plan):
        for early in queue:
            if early.id in plan.starts or not ahead(early, late):
                continue
            paused = early.not_before is not None and early.not_before > NOW
            memory = SITE.memory_mib - sum(job.memory_mib for job in services)
            cpus = SITE.cpus - sum(job.cpus for job in services if early.service)
            assert paused or early.memory_mib > memory or early.cpus > cpus


@given(queue=queues(), running=holdings(), order=st.randoms())
@settings(max_examples=100, deadline=None)
def test_the_order_in_which_the_queue_is_read_changes_nothing(queue: list[Waiting], running: list[Holding], order) -> None:
    mixed = list(queue)
    order.shuffle(mixed)
    assert decide(mixed, running, SITE, NOW) == decide(queue, running, SITE, NOW)


def test_priority_goes_before_order() -> None:
    queue = [waiting("early", 1, 0, cpus=4), waiting("urgent", 2, 5, cpus=4)]
    plan = decide(queue, [], SITE, NOW)
    assert plan.starts == ("urgent",)
    assert plan.reasons["early"].startswith("needs 4 cores, 0 are free; held by urgent")


def test_a_small_job_does_not_overtake_a_large_one_that_waits() -> None:
    plan = decide([waiting("large", 1, cpus=4), waiting("small", 2)], [Holding("running", 1, 100, False, "training")], SITE, NOW)
    assert plan.starts == ()
    assert plan.reasons == {"large": "needs 4 cores, 3 are free; held by running (training)", "small": "large goes first"}


def test_a_service_leaves_its_cores_to_the_jobs_beside_it() -> None:
    assert decide([waiting("training", cpus=4)], [Holding("model", 2, 500, True)], SITE, NOW).starts == ("training",)


def test_a_job_that_only_a_services_end_could_help_holds_nobody_up() -> None:
    plan = decide([waiting("large", 1, memory=4000), waiting("small", 2)], [Holding("model", 1, 1000, True)], SITE, NOW)
    assert plan.starts == ("small",)
    assert "held by model" in plan.reasons["large"]


def test_a_job_in_its_pause_holds_nobody_up() -> None:
    plan = decide([waiting("again", 1, pause_s=30), waiting("next", 2)], [], SITE, NOW)
    assert plan.starts == ("next",)
    assert "03:04:35" in plan.reasons["again"]


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
    for code in (2, 6):
        assert verdict(ended(code), attempt=1, attempts=3).state is JobState.FAILED


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


def test_a_service_that_ends_by_itself_has_failed_even_with_status_zero() -> None:
    assert verdict(ended(0), service=True).state is JobState.FAILED


def test_pauses_double_up_to_five_minutes() -> None:
    assert [pause(n).total_seconds() for n in (1, 2, 3, 40)] == [2, 4, 8, LONGEST_PAUSE_S]


def test_the_digest_of_an_ask_leaves_out_what_it_is_called() -> None:
    ask = {"kind": "a.b", "organisation": "o", "argv": ("python",)}
    assert ask_digest(JobAsk(**ask, key="1", title="x")) == ask_digest(JobAsk(**ask, key="2"))
    assert ask_digest(JobAsk(**ask, cpus=2)) != ask_digest(JobAsk(**ask))
