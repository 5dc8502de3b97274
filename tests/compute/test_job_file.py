"""Job files, and what is asked for in canonical form."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable
from pathlib import Path

import click
import pytest
from hypothesis import given
from hypothesis import strategies as some

from lilong.floors.compute import rules
from lilong.floors.compute.commands.job import submit
from lilong.floors.compute.contract import JobAsk, Layout, ReasonCode
from lilong.floors.compute.rules import job_file, settings
from lilong.floors.compute.rules.asking import MOST_OF_AN_ARRAY, ask_of, indices
from lilong.ground.errors import BadInput

WHOLE = """
organisation = "lantern-works"
project = "tide"
title = "Train the tide model"
command = ["python", "-m", "tide.train", "--steps", "100"]
cpus = 8
memory = "64G"
timeout = "8h"
attempts = 2
priority = 5
preemptible = true
checkpoint = "10m"
deadline = 2026-12-01T08:00:00+08:00
after = ["job-1"]
hold = true
array = "0-9%4"
sites = ["pudong", "local"]
within = "rack"
family = "tide"
publish = "models/lantern-works/tide@main"

[env]
OMP_PROC_BIND = "true"

[secrets]
HF_TOKEN = "hub-token"

[inputs]
data = "datasets/lantern-works/tide@main"

[spec]
steps = 100

[[any_of]]
accelerator = "h20"
devices = 8

[[any_of]]
accelerator = "910b"
devices = 8
tasks = 2
least_tasks = 1
memory = "128G"
"""


def test_a_job_file_says_what_it_says() -> None:
    ask = job_file.read(WHOLE)[""]
    assert ask.argv == ("python", "-m", "tide.train", "--steps", "100")
    assert (ask.memory_mib, ask.timeout_s, ask.checkpoint_s, ask.deadline) == (65536, 28800, 600, "2026-12-01T00:00:00.000000Z")
    assert ask.any_of == (Layout("h20", 8), Layout("910b", 8, tasks=2, least_tasks=1, memory_mib=131072))
    assert (ask.secrets, ask.revisions) == ({"HF_TOKEN": "hub-token"}, {"data": "datasets/lantern-works/tide@main"})
    rules.check(ask)


def test_one_way_to_lay_it_out_needs_no_table_of_its_own() -> None:
    ask = job_file.read('organisation = "a"\ncommand = ["python"]\naccelerator = "h20"\nshare = 0.25\n')[""]
    assert ask.any_of == (Layout("h20", 1, milli=250),)


@pytest.mark.parametrize(
    ("line", "field", "saying"),
    [
        ("memry = 3", "memry", "Did you mean 'memory'?"),
        ('memory = "lots"', "memory", '"64G"'),
        ("cpus = 0", "cpus", "whole number from 1"),
        ('timeout = "8 hours"', "timeout", '"8h"'),
        ('deadline = "tomorrow"', "deadline", "2026-12-01"),
        ('command = "python"', "command", "list of texts"),
        ("accelerator = 3", "accelerator", "text"),
        ("share = 2.0", "share", "number from 0.001 to 1"),
        ("[env]\nA = 1", "env.A", "text"),
        ("[[any_of]]\nclass = 1", "any_of[0].class", "no key has that name"),
        ('devices = 2\n[[any_of]]\naccelerator = "h20"', "devices", "[[any_of]]"),
        ("preemptible = 1", "preemptible", "true"),
        ("= 3", "the job file", "not TOML"),
    ],
)
def test_a_mistake_is_named_with_its_key(line: str, field: str, saying: str) -> None:
    with pytest.raises(BadInput) as refused:
        job_file.read('organisation = "a"\n' + ("" if line.startswith("command") else 'command = ["python"]\n') + line + "\n")
    assert refused.value.details["field"] == field
    assert saying in str(refused.value)


@pytest.mark.parametrize(("left_out", "field"), [("organisation", "organisation"), ("command", "command")])
def test_what_every_job_needs_is_asked_for(left_out: str, field: str) -> None:
    lines = ['organisation = "a"', 'command = ["python"]']
    with pytest.raises(BadInput) as refused:
        job_file.read("\n".join(line for line in lines if not line.startswith(left_out)))
    assert refused.value.details["field"] == field


SEVERAL = """
organisation = "a"
[job.train]
command = ["python", "train.py"]
after = ["prepare"]
[job.prepare]
command = ["python", "prepare.py"]
"""


def test_jobs_of_a_file_come_after_those_they_wait_for() -> None:
    found = job_file.read(SEVERAL)
    assert list(found) == ["prepare", "train"]
    assert job_file.with_ids(found["train"], {"prepare": "job-7"}).after == ("job-7",)


def test_a_circle_of_jobs_is_shown() -> None:
    with pytest.raises(BadInput, match=r"prepare → train → prepare|train → prepare → train"):
        job_file.read(SEVERAL + 'after = ["train"]\n')
    with pytest.raises(BadInput, match=r"Did you mean 'prepare'"):
        job_file.read(SEVERAL.replace('["prepare"]', '["prepre"]'))


# --- checks ----------------------------------------------------------------------------------------------------------------


def ask(**given: object) -> JobAsk:
    return JobAsk(**{"kind": "test.run", "organisation": "lantern-works", "argv": ("python",), **given})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"any_of": (Layout("h20", 0),)}, "any_of[0].devices"),
        ({"any_of": (Layout("", 2),)}, "any_of[0].accelerator"),
        ({"any_of": (Layout("h20", 2, milli=500),)}, "any_of[0].milli"),
        ({"any_of": (Layout("h20", 1, milli=0),)}, "any_of[0].milli"),
        ({"any_of": (Layout(tasks=2, least_tasks=3),)}, "any_of[0].least_tasks"),
        ({"any_of": (Layout(), Layout(tasks=0))}, "any_of[1].tasks"),
        ({"env": {"1A": "x"}}, "env"),
        ({"env": {"LILONG_OUT": "/"}}, "env"),
        ({"env": {"A": "x\0"}}, "env.A"),
        ({"secrets": {"LD_PRELOAD": "x"}}, "secrets"),
        ({"revisions": {"../x": "models/a/b"}}, "inputs"),
        ({"revisions": {"x": "models/a/b"}, "inputs": {"x": {}}}, "revisions.x"),
        ({"deadline": "soon"}, "deadline"),
        ({"array": "9-0"}, "array"),
        ({"array": "0-9%0"}, "array"),
        ({"array": "0-9%"}, "array"),
        ({"array": f"0-{MOST_OF_AN_ARRAY}"}, "array"),
        ({"array": "1,,2"}, "array"),
        ({"service": True, "array": "0-1"}, "service"),
        ({"image": "a b"}, "image"),
        ({"checkpoint_s": -1}, "checkpoint_s"),
    ],
)
def test_what_could_run_nowhere_is_refused_with_its_field(given: dict[str, object], field: str) -> None:
    with pytest.raises(BadInput) as refused:
        rules.check(ask(**given))
    assert refused.value.details["field"] == field


def test_an_array_is_its_numbers_and_how_many_at_once() -> None:
    assert indices("0-3,7,2%2") == ((0, 1, 2, 3, 7), 2)
    assert indices("5") == ((5,), 0)


def test_the_digest_of_a_job_that_uses_nothing_new_is_what_it_always_was() -> None:
    told = {
        "kind": "test.run", "organisation": "lantern-works", "argv": ["python"], "project": "default", "inputs": {}, "spec": {"a": 1}, "cpus": 1,
        "memory_mib": 1024, "timeout_s": 3600, "attempts": 1, "priority": 0, "network": False, "service": False,
    }  # fmt: skip
    canonical = json.dumps(told, sort_keys=True, ensure_ascii=True, separators=(",", ":"))
    assert rules.ask_digest(ask(spec={"a": 1}, key="k", title="t")) == "sha256:" + hashlib.sha256(canonical.encode()).hexdigest()
    assert rules.ask_digest(ask(preemptible=True)) != rules.ask_digest(ask())


LAYOUTS = some.builds(
    Layout, some.sampled_from(["", "h20"]), some.integers(0, 8), some.integers(1, 1000), some.integers(1, 9), some.integers(0, 9)
)
WORDS = some.text(max_size=5)
ASKS = some.builds(
    JobAsk, some.just("a.b"), some.just("a"), some.lists(WORDS, min_size=1, max_size=3).map(tuple), any_of=some.lists(LAYOUTS, max_size=3).map(tuple),
    sites=some.lists(WORDS, max_size=2).map(tuple), after=some.lists(WORDS, max_size=2).map(tuple), env=some.dictionaries(WORDS, WORDS, max_size=2),
    deadline=some.none() | some.just("2026-12-01T08:00:00Z"), inputs=some.dictionaries(WORDS, some.dictionaries(WORDS, WORDS, max_size=2), max_size=2),
)  # fmt: skip


@given(wanted=ASKS)
def test_what_is_asked_for_comes_back_from_json_as_it_was(wanted: JobAsk) -> None:
    assert ask_of(rules.ask_json(wanted)) == wanted
    assert rules.ask_digest(ask_of(rules.ask_json(wanted))) == rules.ask_digest(wanted)


# --- the guide -------------------------------------------------------------------------------------------------------------

GUIDE = Path(__file__).parents[2] / "docs" / "guides" / "jobs.md"
FILES = re.findall(r"^```toml\n(.*?)^```$", GUIDE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("source", FILES, ids=range(len(FILES)))
def test_what_the_guide_shows_is_taken(source: str) -> None:
    if "organisation" in source.split("\n", 1)[0]:
        for each in job_file.read(source).values():
            rules.check(each)
    else:
        settings.check_classes(settings.read(source))


@pytest.mark.parametrize(("heading", "read"), [("A job file", job_file.read), ("For operators: sites, quotas, prices", settings.read)])
def test_the_guide_tells_every_key_and_no_other(heading: str, read: Callable[[str], object]) -> None:
    section = GUIDE.read_text(encoding="utf-8").split(f"\n## {heading}\n")[1].split("\n## ")[0]
    table = section.split("\n| key |")[1].split("\n\n")[0].split("\n")[2:]
    told = {name for line in table for name in re.findall(r"`(\w+)`", line.split("|")[1])}
    with pytest.raises(BadInput) as refused:
        read('organisation = "a"\ncommand = ["python"]\nzzzzzzzzz = 1\n' if read is job_file.read else "zzzzzzzzz = 1\n")
    known = set(re.findall(r"\w+", str(refused.value).split("Known: ")[1]))
    assert told == known


def test_the_guide_tells_every_option_of_submit_and_no_other() -> None:
    section = GUIDE.read_text(encoding="utf-8").split("\n## A job file\n")[1].split("\n## ")[0]
    table = section.split("\n| key |")[1].split("\n\n")[0].split("\n")[2:]
    told = {name for line in table for name in re.findall(r"--[a-z-]{2,}", line.split("|")[2])}
    options = {name for option in submit.params if isinstance(option, click.Option) for name in option.opts if name.startswith("--")}
    assert told == options - {"--file", "--memory-mib", "--house", "--url", "--token-file", "--json", "--help"}


def test_the_guide_tells_every_reason_in_order() -> None:
    section = GUIDE.read_text(encoding="utf-8").split("\n## Why it waits\n")[1].split("\n## ")[0]
    told = [
        name
        for line in section.split("\n| code |")[1].split("\n")[2:]
        for name in re.findall(r"`([a-z-]+)`", line.partition("|")[2].partition("|")[0])
    ]
    assert told == [code.value for code in ReasonCode]


@pytest.mark.parametrize(
    ("asked", "written"), [("argv", "command"), ("any_of[1].milli", "any_of[1].share"), ("env.argv", "env.argv"), ("cpus", "cpus")]
)
def test_a_refusal_names_the_key_as_the_file_has_it(asked: str, written: str) -> None:
    refused = BadInput(field=asked, problem="it is wrong", way_out="Mend it.")
    assert job_file.as_written("", refused).details["field"] == written
    assert job_file.as_written("train", refused).details["field"] == f"job.train.{written}"


def test_a_job_among_several_is_called_by_its_name_unless_it_has_a_title() -> None:
    several = 'organisation = "lantern-works"\ncommand = ["python"]\n[job.prepare]\n[job.train]\ntitle = "Train it"\n'
    assert [ask.title for ask in job_file.read(several).values()] == ["prepare", "Train it"]


@pytest.mark.parametrize("project", ["../x", "", "a/b", "a b"])
def test_a_project_is_a_name(project: str) -> None:
    with pytest.raises(BadInput) as refused:
        rules.check(JobAsk("user.program", "lantern-works", ("python",), project=project))
    assert refused.value.details["field"] == "project"


@pytest.mark.parametrize("field", ["cpus", "memory_mib", "timeout_s", "checkpoint_s"])
def test_numbers_stay_where_the_scheduler_can_add_them_up(field: str) -> None:
    with pytest.raises(BadInput, match="it is more than") as refused:
        rules.check(JobAsk("user.program", "lantern-works", ("python",), **{field: 1 << 40}))
    assert refused.value.details["field"] == field


@pytest.mark.parametrize(
    ("written", "word"), [("1979-05-27T07:32:00Z", "as text"), ("07:32:00", "as text"), ("inf", "JSON"), ("[1, {b = nan}]", "JSON")]
)
def test_what_json_cannot_hold_in_a_spec_is_named(written: str, word: str) -> None:
    [ask] = job_file.read(f'organisation = "lantern-works"\ncommand = ["python"]\nspec = {{a = {written}}}\n').values()
    with pytest.raises(BadInput, match=rf"'spec\.a.*{word}"):
        rules.check(ask)


def test_as_many_jobs_as_a_file_may_hold_may_wait_for_one_another() -> None:
    head = 'organisation = "lantern-works"\ncommand = ["python"]\n'
    chain = "".join(f'[job.j{at}]\nafter = ["j{at + 1}"]\n' for at in range(999)) + "[job.j999]\n"
    assert list(job_file.read(head + chain)) == [f"j{at}" for at in range(999, -1, -1)]


def test_numbers_of_an_array_that_are_too_large_are_told_so() -> None:
    with pytest.raises(BadInput, match="beyond 9,999,999"):
        indices("0-99999999")
