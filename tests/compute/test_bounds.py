"""How large a job may be is said at the door, and a list of jobs stays small however large they are."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from tests.compute.memory_site import program

from lilong.floors.compute import service
from lilong.floors.compute.contract import JobAsk
from lilong.floors.compute.rules import bounds
from lilong.ground.access import SYSTEM
from lilong.ground.errors import BadInput
from lilong.ground.house import House

TRUE = replace(program(), argv=("/bin/true",), hold=True)
WORD = "x" * bounds.MOST_WORD


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"spec": {"texts": ["x" * (1 << 20)]}}, "spec"),
        ({"spec": {"texts": ["里" * 350_000]}}, "spec"),
        ({"argv": ("/bin/true", WORD + "x")}, "argv[1]"),
        ({"argv": ("/bin/true", "里" * 43_691)}, "argv[1]"),
        ({"argv": ("/bin/true", *[WORD] * 8)}, "argv and env"),
        ({"argv": ("/bin/true", *"x" * 8000)}, "argv"),
        ({"spec": {"text": "x" * 10_000}, "array": "0-9999"}, "array"),
        ({"env": {"WORDS": "里" * 32_768, "A": "里" * 20_000}, "argv": ("/bin/true", *[WORD] * 7)}, "argv and env"),
    ],
)
def test_what_is_too_large_is_refused_with_the_way_out(house: House, given: dict[str, Any], field: str) -> None:
    with pytest.raises(BadInput, match="the most") as refused:
        service.submit(house, SYSTEM, replace(TRUE, **given))
    assert f"'{field}'" in str(refused.value)
    assert "repository of the hub" in str(refused.value)
    assert service.jobs(house, SYSTEM) == []


def test_what_is_just_small_enough_is_taken(house: House) -> None:
    ask: JobAsk = replace(TRUE, spec={"text": "x" * ((1 << 20) - 11)}, argv=("/bin/true", *[WORD] * 7), env={"WORDS": "y" * 32_768})
    job = service.submit(house, SYSTEM, ask)
    assert service.show(house, SYSTEM, job.id).ask == ask


def test_a_list_of_jobs_tells_of_each_in_short_and_a_look_at_one_all(house: House) -> None:
    for number in range(3):
        service.submit(
            house, SYSTEM, replace(TRUE, spec={"text": "x" * 100_000}, argv=("/bin/true", WORD), env={"A": "y" * 5000}, title=str(number))
        )
    found = service.jobs(house, SYSTEM)
    assert [job.ask.title for job in found] == ["2", "1", "0"]
    assert {(len(job.ask.spec), len(job.ask.argv[1]), len(job.ask.env["A"])) for job in found} == {(0, 1001, 1001)}
    assert found[0].ask.argv[1].endswith("x…")
    assert len(service.show(house, SYSTEM, found[0].id).ask.spec["text"]) == 100_000


def test_pages_of_a_list_follow_one_another(house: House) -> None:
    made = [service.submit(house, SYSTEM, replace(TRUE, title=str(number))).id for number in range(45)]
    first = service.jobs(house, SYSTEM, limit=25)
    rest = service.jobs(house, SYSTEM, before=first[-1].id)
    assert [job.id for job in (*first, *rest)] == made[::-1]
