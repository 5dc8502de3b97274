"""Users, organisations and tokens from another hub: brought over once, usable at once, kept as hashes."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from huggingface_hub import HfApi
from huggingface_hub.errors import HfHubHTTPError, RepositoryNotFoundError
from hypothesis import example, given
from hypothesis import strategies as st

from lilong.floors.hub.rules.people import fine_grained, parse
from lilong.floors.hub.service import namespaces, users
from lilong.floors.hub.service.people import Report, bring_over
from lilong.ground.access import PERMISSIONS, SYSTEM, Actor
from lilong.ground.access import parse as scope
from lilong.ground.errors import BadInput, Forbidden
from lilong.ground.house import House
from tests.hub.conftest import LANTERN, Served, hub_house

SECRET = "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"


def bring(house: House, *lines: dict[str, Any] | str, dry_run: bool = False, assumed: tuple[str, ...] = ()) -> Report:
    texts = [line if isinstance(line, str) else json.dumps(line) for line in lines]
    return bring_over(house, SYSTEM, list(enumerate(texts, 1)), dry_run=dry_run, assumed=assumed)


def counts(report: Report) -> tuple[int, int, int, int]:
    return report.organisations, report.users, report.roles, report.tokens


BAY = {"org": "quiet-bay", "fullname": "Quiet Bay", "default_visibility": "private"}
IDA = {
    "name": "ida", "fullname": "Ida Holm", "email": "ida@quiet-bay.example", "orgs": [{"name": "quiet-bay", "role": "write"}],
    "tokens": [{"name": "laptop", "value": SECRET, "role": "write"}],
}  # fmt: skip


def test_a_token_from_elsewhere_works_at_once_and_only_its_hash_is_kept(served: Served, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    report = bring(served.house, BAY, IDA)
    assert (report.problems, counts(report)) == ([], (1, 1, 1, 1))
    ida = HfApi(endpoint=served.url, token=SECRET)
    known = ida.whoami()
    assert (known["name"], known["fullname"], known["email"]) == ("ida", "Ida Holm", "ida@quiet-bay.example")
    assert [(org["name"], org["roleInOrg"]) for org in known["orgs"]] == [("quiet-bay", "write")]
    assert known["auth"]["accessToken"]["displayName"] == "laptop"
    assert ida.create_repo("quiet-bay/tide").repo_id == "quiet-bay/tide"
    assert ida.model_info("quiet-bay/tide").private is True
    assert ida.create_repo("own").repo_id == "ida/own"
    house = served.house
    rows = house.db.read(
        lambda tx: [str(dict(row)) for table in ("ground_tokens", "ground_events") for row in tx.rows(f"SELECT * FROM {table}")]
    )
    assert not any(SECRET in row for row in rows)
    assert SECRET not in caplog.text


def test_the_same_lines_again_add_nothing(house: House) -> None:
    assert counts(bring(house, BAY, IDA)) == (1, 1, 1, 1)
    events = house.db.read(house.events.size)
    assert counts(bring(house, BAY, IDA)) == (0, 0, 0, 0)
    assert house.db.read(house.events.size) == events


def test_a_trial_run_says_the_same_and_adds_nothing(house: House) -> None:
    tried = bring(house, IDA, dry_run=True, assumed=("quiet-bay",))
    assert (tried.problems, counts(tried)) == ([], (0, 1, 1, 1))
    assert house.db.read(lambda tx: tx.value("SELECT COUNT(*) FROM ground_users WHERE name = 'ida'")) == 0
    assert house.db.read(lambda tx: tx.value("SELECT COUNT(*) FROM ground_organisations WHERE name = 'quiet-bay'")) == 0


def test_each_bad_line_is_named_and_leaves_nothing_while_the_others_are_taken(house: House) -> None:
    report = bring(
        house, "{", BAY, "[]", {"name": "../x"}, {"name": "Mei"}, {"name": "eva", "orgs": [{"name": "nowhere", "role": "read"}]},
        {"name": "max", "orgs": [{"name": "quiet-bay", "role": "boss"}]}, IDA, {"name": LANTERN}, {"org": "mei"}, {"name": 7}, {"name": "nul\0"},
    )  # fmt: skip
    assert [each.line for each in report.problems] == [1, 3, 4, 5, 6, 7, 9, 10, 11, 12]
    assert counts(report) == (1, 1, 1, 1)
    assert house.db.read(lambda tx: tx.value("SELECT COUNT(*) FROM ground_users WHERE name IN ('eva', 'max')")) == 0


def test_a_role_that_is_not_known_is_named_with_its_organisation(house: House) -> None:
    report = bring(house, BAY, {"name": "max", "orgs": [{"name": "quiet-bay", "role": "boss"}]})
    assert report.problems[0].problem == "The role 'boss' in 'quiet-bay' is none of admin, write, contributor, read."


def test_no_problem_repeats_a_tokens_value(house: House) -> None:
    short = "hunter2-hunter2"
    report = bring(
        house, BAY, IDA, {"name": "eva", "tokens": [{"name": "stolen", "value": SECRET}, {"name": "short", "value": short}]},
        {"name": "max", "tokens": [{"value": SECRET + "x", "role": "god"}]}, '{"name": "oda", "tokens": [{"value": "' + SECRET,
    )  # fmt: skip
    assert [each.line for each in report.problems] == [3, 3, 4, 5]
    assert not any(SECRET in each.problem or short in each.problem for each in report.problems)


def test_who_serves_the_whole_house_gets_no_tokens_by_a_file(house: House) -> None:
    house.db.write(lambda tx: house.access.add_user(tx, SYSTEM, "root"))
    house.db.write(lambda tx: house.access.grant(tx, SYSTEM, "root", "operator", None))
    assert [each.line for each in bring(house, {"name": "root", "tokens": [{"name": "x", "value": SECRET}]}).problems] == [1]


def test_only_operators_bring_users_over(house: House) -> None:
    with pytest.raises(Forbidden):
        bring_over(house, Actor("mei"), [(1, json.dumps(IDA))])


def test_roles_of_tokens_and_in_organisations_mean_here_what_they_meant(served: Served) -> None:
    house = served.house
    tokens: list[dict[str, Any]] = [{"name": role, "value": f"hf_{role * 8}", "role": role} for role in ("read", "fineGrained")]
    scoped = [{"entity": {"type": "org", "name": "calm-sea"}, "permissions": ["repo.content.read"]}]
    tokens.append({"name": "one", "value": "hf_" + "one" * 10, "role": "fineGrained", "fineGrained": {"scoped": scoped}})
    report = bring(house, {"org": "calm-sea"}, {"name": "per", "orgs": [{"name": "calm-sea", "role": "admin"}], "tokens": tokens})
    assert report.problems == [] and [each.line for each in report.notes] == [2]
    admin = house.db.write(lambda tx: house.access.add_token(tx, Actor("per"), "per", "all"))[1]
    HfApi(endpoint=served.url, token=admin).create_repo("calm-sea/deep", private=True)
    reading = HfApi(endpoint=served.url, token="hf_" + "read" * 8)
    assert reading.model_info("calm-sea/deep").private is True
    with pytest.raises(HfHubHTTPError, match="403"):
        reading.create_repo("calm-sea/more")
    assert HfApi(endpoint=served.url, token="hf_" + "one" * 10).model_info("calm-sea/deep").private is True
    bare = HfApi(endpoint=served.url, token="hf_" + "fineGrained" * 8)
    assert bare.whoami()["name"] == "per"
    with pytest.raises(RepositoryNotFoundError):
        bare.model_info("calm-sea/deep")


def test_an_organisation_that_is_there_takes_over_its_visibility(house: House) -> None:
    bring(house, {"org": LANTERN, "default_visibility": "private"})
    assert house.db.read(lambda tx: namespaces.private_by_default(tx, LANTERN))
    bring(house, {"org": LANTERN})
    assert house.db.read(lambda tx: namespaces.private_by_default(tx, LANTERN))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8), lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3), max_leaves=8
)  # fmt: skip
FIELDS = st.sampled_from(["name", "fullname", "email", "orgs", "tokens", "org", "default_visibility", "role", "value", "fineGrained"])


@example(line={"name": "a", "orgs": [{"name": "b", "role": []}]})
@given(line=st.dictionaries(FIELDS, JSON | st.lists(st.dictionaries(FIELDS, JSON, max_size=3), max_size=2), max_size=6))
def test_any_line_is_taken_or_named(line: dict[str, Any]) -> None:
    try:
        parse(json.dumps(line))
    except BadInput as named:
        assert str(named)


@given(said=JSON | st.fixed_dictionaries({"scoped": st.lists(st.fixed_dictionaries({"entity": st.fixed_dictionaries({"type": st.sampled_from(["org", "model", "user", "space"]), "name": st.text(max_size=6) | st.sampled_from(["a/b", "a", "*"])}), "permissions": st.lists(st.sampled_from(["repo.write", "repo.content.read", "x", "*"]), max_size=3)}), max_size=3)}))  # fmt: skip
def test_a_fine_grained_token_never_becomes_one_for_everything(said: Any) -> None:
    for text in fine_grained(said):
        assert scope(text).organisation is not None
        assert scope(text).pattern in PERMISSIONS


def test_the_command_reads_a_file_in_any_order_and_says_what_it_did(served: Served, tmp_path: Path) -> None:
    from lilong.operations.admin_commands import import_users

    house = served.house
    house.db.write(lambda tx: house.access.add_user(tx, SYSTEM, "warden"))
    house.db.write(lambda tx: house.access.grant(tx, SYSTEM, "warden", "operator", None))
    secret = house.db.write(lambda tx: house.access.add_token(tx, Actor("warden"), "warden", "test"))[1]
    key, file = tmp_path / "token", tmp_path / "people.jsonl"
    key.write_text(secret)
    key.chmod(0o600)
    line = {
        "name": "ole",
        "orgs": [{"name": "north-pier", "role": "admin"}],
        "tokens": [{"name": "t", "value": SECRET + "2", "role": "read"}],
    }
    file.write_bytes(json.dumps(line).encode() + b"\n\n" + json.dumps({"org": "north-pier"}).encode() + b"\n\xff\xfe\n{\n")
    given = [str(file), "--url", served.url, "--token-file", str(key), "--json"]
    tried = CliRunner().invoke(import_users, [*given, "--dry-run"])
    shown = json.loads(tried.stdout)
    assert tried.exit_code == 2
    assert (shown["organisations"], shown["users"], shown["roles"], shown["tokens"]) == (1, 1, 1, 1)
    assert [each["line"] for each in shown["problems"]] == [4, 5]
    done = json.loads(CliRunner().invoke(import_users, given).stdout)
    assert {**done, "dry_run": True} == shown
    again = CliRunner().invoke(import_users, given[:-1])
    assert "0 organisations, 0 users, 0 roles, 0 tokens added; 2 problems in 3 lines" in again.stdout
    assert SECRET not in tried.output + again.output


def test_either_database_takes_the_same_lines(database_url: str, tmp_path: Path) -> None:
    house = hub_house(tmp_path / "house", database_url)
    try:
        report = bring(house, BAY, IDA, {"name": "eva", "orgs": [{"name": "nowhere"}]}, "{")
        assert (counts(report), [each.line for each in report.problems]) == ((1, 1, 1, 1), [3, 4])
        assert counts(bring(house, BAY, IDA)) == (0, 0, 0, 0)
        assert bring(house, {"name": "max"}, dry_run=True).users == 1
        known = users.identity(house, house.db.read(lambda tx: house.access.authenticate(tx, SECRET)))
        assert [(each.organisation.name, each.role) for each in known.memberships] == [("quiet-bay", "write")]
        assert users.user_overview(house, Actor("ida"), "ida").name == "ida"
        assert [each.name for each in users.members(house, Actor("ida"), "quiet-bay", "", 10)] == ["ida"]
        assert users.repositories(house, Actor("ida"), "quiet-bay", ("", ""), 10) == ([], 0)
        assert namespaces.show(house, Actor("ida"), "quiet-bay").private_by_default is True
    finally:
        house.close()
