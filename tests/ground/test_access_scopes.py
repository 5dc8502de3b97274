"""Tokens for a part of the house: they allow what they name, never more than the token that made them, and lists agree with questions."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lilong.floors.serving.service.plane import key_for
from lilong.ground.access import PERMISSIONS, ROLES, SYSTEM, Access, Actor, TokenTooNarrow, parse, spelled, within
from lilong.ground.config import load
from lilong.ground.db import Database, Tx
from lilong.ground.errors import BadInput, Conflict, Forbidden, NotFound
from lilong.ground.house import House, open_house
from lilong.ground.migrations import migrate
from lilong.ground.seams import parse_stamp

ORGANISATIONS, NAMES = ("org-a", "org-b"), ("tide", "moon")
SCOPES = st.builds(
    lambda pattern, target: pattern + target,
    st.sampled_from(["*", "hub.*", "hub.read", "hub.write", "*.read", "jobs.read", "house.manage"]),
    st.sampled_from(["", "", "@org-a", "@org-b", "@org-a/tide", "@org-a/moon", "@org-b/tide", "@", "@org-a/"]),
)  # fmt: skip
PLACES = [(None, None), *((o, n) for o in ORGANISATIONS for n in (None, *NAMES))]
REPOSITORIES = "(SELECT 'org-a' AS o, 'tide' AS n UNION SELECT 'org-a', 'moon' UNION SELECT 'org-b', 'tide' UNION SELECT 'org-b', 'moon') r"


def furnished(house: House) -> House:
    migrate(house.db, [("ground", "lilong.ground")], house.clock)

    def write(tx: Tx) -> None:
        for name in ORGANISATIONS:
            house.access.add_organisation(tx, SYSTEM, name)
        house.access.add_user(tx, SYSTEM, "mei")

    house.db.write(write)
    return house


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    opened = furnished(open_house(load(tmp_path_factory.mktemp("access"), environment={})))
    opened.db.write(lambda tx: opened.access.grant(tx, SYSTEM, "mei", "owner", "org-a"))
    opened.db.write(lambda tx: opened.access.grant(tx, SYSTEM, "mei", "reader", "org-b"))
    yield opened
    opened.close()


@given(scopes=st.frozensets(SCOPES, max_size=4), permission=st.sampled_from(sorted(PERMISSIONS)))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_list_shows_exactly_what_single_questions_allow(house: House, scopes: frozenset[str], permission: str) -> None:
    actor, access = Actor("mei", scopes, "token-x"), house.access

    def compare(tx: Tx) -> None:
        condition, given_ = access.visible(actor, permission, "r.o", "r.n")
        listed = {(row["o"], row["n"]) for row in tx.rows(f"SELECT r.o, r.n FROM {REPOSITORIES} WHERE {condition}", **given_)}
        assert listed == {(o, n) for o in ORGANISATIONS for n in NAMES if access.allowed(tx, actor, permission, o, n)}
        condition, given_ = access.visible(actor, permission, "r.o")
        whole = {row["o"] for row in tx.rows(f"SELECT DISTINCT r.o FROM {REPOSITORIES} WHERE {condition}", **given_)}
        assert whole == {o for o in ORGANISATIONS if access.allowed(tx, actor, permission, o)}
        assert access.anywhere(tx, actor, permission) or not listed

    house.db.read(compare)


@given(held=st.frozensets(SCOPES, max_size=3), wanted=st.frozensets(SCOPES, max_size=3))
def test_what_may_be_given_away_was_held(held: frozenset[str], wanted: frozenset[str]) -> None:
    if within(held, wanted):
        for permission in PERMISSIONS:
            for organisation, name in PLACES:
                if Actor("mei", wanted, "t").covers(permission, organisation, name):
                    assert Actor("mei", held, "t").covers(permission, organisation, name)
    assert within(held, held) or any(parse(scope).pattern == "" for scope in held)


@given(scope=SCOPES)
def test_whoever_names_no_target_meets_a_token_with_one_as_a_stranger(scope: str) -> None:
    if "@" in scope:
        assert not any(Actor("mei", frozenset({scope}), "t").covers(permission) for permission in PERMISSIONS)


def test_a_narrow_token_makes_no_wider_one(house: House) -> None:
    narrow = Actor("mei", frozenset({"hub.read@org-a", "hub.write@org-a/tide"}), "token-x")
    for scopes in (
        ("hub.read",),
        ("hub.read@org-b",),
        ("hub.write@org-a",),
        ("hub.write@org-a/moon",),
        ("*@org-a/tide",),
        ("hub.*@org-a/tide",),
    ):
        with pytest.raises(Forbidden):
            house.db.write(lambda tx, scopes=scopes: house.access.add_token(tx, narrow, "mei", "wider", scopes))
    house.db.write(lambda tx: house.access.add_token(tx, narrow, "mei", "same", ("hub.read@org-a/moon", "hub.write@org-a/tide")))


def test_a_narrow_token_neither_sets_a_password_nor_revokes_others(house: House) -> None:
    token, _ = house.db.write(lambda tx: house.access.add_token(tx, Actor("mei"), "mei", "other"))
    own, secret = house.db.write(lambda tx: house.access.add_token(tx, Actor("mei"), "mei", "narrow", ("hub.*",)))
    narrow = house.db.read(lambda tx: house.access.authenticate(tx, secret))
    with pytest.raises(TokenTooNarrow):
        house.db.write(lambda tx: house.access.set_password(tx, narrow, "mei", "hash"))
    with pytest.raises(TokenTooNarrow):
        house.db.write(lambda tx: house.access.revoke_token(tx, narrow, token.id))
    house.db.write(lambda tx: house.access.revoke_token(tx, narrow, own.id))


@pytest.mark.parametrize(
    "scope",
    [
        "hub.read@../x",
        "hub.read@a b",
        "hub.reed@org-a",
        "house.manage@org-a",
        "hub.read@",
        "hub.read@org-a/",
        "hub.read@org-a/x/y",
        "@org-a",
    ],
)
def test_a_target_must_be_one(house: House, scope: str) -> None:
    with pytest.raises(BadInput):
        house.db.write(lambda tx: house.access.add_token(tx, Actor("mei"), "mei", "odd", (scope,)))


def test_words_stand_for_the_permissions_of_the_hub() -> None:
    assert spelled(["read"]) == ("hub.read",)
    assert spelled(["write@org-a/tide"]) == ("hub.read@org-a/tide", "hub.discuss@org-a/tide", "hub.write@org-a/tide")
    assert spelled(["admin@org-a", "jobs.read", "read@org-a"])[-1] == "jobs.read"
    assert len(spelled(["admin@org-a"])) == 4


def test_a_token_for_a_part_of_the_hub_opens_no_model_in_the_gateway(house: House) -> None:
    def keys(*scopes: str) -> tuple[tuple[str, ...], bool]:
        key = house.db.read(lambda tx: key_for(house, tx, Actor("mei", frozenset(scopes), "token-x")))
        return key.organisations, key.everywhere

    assert keys("hub.write@org-a") == ((), False)
    assert keys("*@org-a/tide") == ((), False)
    assert keys("serving.use@org-a") == (("org-a",), False)
    assert keys("*") == (("org-a", "org-b"), False)


def test_the_last_use_is_written_down_off_the_way_of_requests(house: House) -> None:
    token, secret = house.db.write(lambda tx: house.access.add_token(tx, Actor("mei"), "mei", "used"))
    for _ in range(3):
        house.db.read(lambda tx: house.access.authenticate(tx, secret))

    def last() -> str | None:
        found = house.db.read(lambda tx: house.access.token(tx, token.id))
        assert found is not None
        return found.last_used_at

    assert last() is None
    assert [chore.every for chore in house.chores if chore.name == "tokens-used"] == [60.0]
    house.db.write(house.access.note_uses)
    first = last()
    assert first is not None and abs(house.clock.now() - parse_stamp(first)) < timedelta(minutes=5)
    house.db.write(house.access.note_uses)
    assert last() == first


# --- names ----------------------------------------------------------------------------------------------------------------


def test_a_name_is_a_users_or_an_organisations_but_not_both(house: House) -> None:
    access = house.access
    for clash in ("mei", "MEI"):
        with pytest.raises(Conflict):
            house.db.write(lambda tx, clash=clash: access.add_organisation(tx, SYSTEM, clash))
    for clash in ("org-a", "Org-A", "Mei"):
        with pytest.raises(Conflict):
            house.db.write(lambda tx, clash=clash: access.add_user(tx, SYSTEM, clash))


def test_the_own_namespace_is_made_once_and_marked(house: House) -> None:
    made = house.db.write(lambda tx: house.access.personal(tx, "mei"))
    assert (made.name, made.personal) == ("mei", True)
    assert house.db.write(lambda tx: house.access.personal(tx, "mei")) == made
    assert ("mei", "keeper") in house.db.read(lambda tx: house.access.organisations_of(tx, "mei"))
    with pytest.raises(NotFound):
        house.db.write(lambda tx: house.access.personal(tx, "nobody"))
    with pytest.raises(NotFound):
        house.db.write(lambda tx: house.access.personal(tx, "org-a"))


def test_an_own_namespace_gives_nothing_but_its_repositories() -> None:
    assert {permission.split(".")[0] for permission in ROLES["keeper"]} == {"hub", "organisations"}
    assert "organisations.manage" not in ROLES["keeper"]


def test_a_user_whose_name_begins_an_address_of_the_house_gets_no_namespace(house: House) -> None:
    house.db.write(lambda tx: house.access.add_user(tx, SYSTEM, "settings"))
    with pytest.raises(BadInput, match="addresses of the house"):
        house.db.write(lambda tx: house.access.personal(tx, "settings"))


def test_either_database_keeps_accounts_alike(database_url: str, tmp_path: Path) -> None:
    made = furnished(open_house(load(tmp_path / "house", {"database": database_url}, environment={})))
    access: Access = made.access
    try:
        assert isinstance(made.db, Database)
        made.db.write(lambda tx: access.grant(tx, SYSTEM, "mei", "member", "org-a"))
        assert made.db.write(lambda tx: access.personal(tx, "mei")).personal
        with pytest.raises(Conflict):
            made.db.write(lambda tx: access.add_user(tx, SYSTEM, "ORG-a"))
        token = made.db.write(lambda tx: access.adopt_token(tx, SYSTEM, "mei", "old", ("hub.read@org-a/tide",), "hf_" + "x" * 30))
        assert token is not None
        actor = made.db.read(lambda tx: access.authenticate(tx, "hf_" + "x" * 30))
        made.db.write(access.note_uses)
        condition, given_ = access.visible(actor, "hub.read", "r.o", "r.n")
        rows: list[Any] = made.db.read(lambda tx: tx.rows(f"SELECT r.o, r.n FROM {REPOSITORIES} WHERE {condition}", **given_))
        assert [(row["o"], row["n"]) for row in rows] == [("org-a", "tide")]
    finally:
        made.close()


# --- the command ----------------------------------------------------------------------------------------------------------


def test_the_command_makes_and_lists_tokens_for_a_part(tmp_path: Path) -> None:
    from lilong.app import open_house_with_floors
    from lilong.operations.commands import token

    open_house_with_floors(load(tmp_path / "house", environment={})).close()
    at = ["--house", str(tmp_path / "house"), "--json"]
    made = CliRunner().invoke(token, ["create", "ci", "--scope", "write@org-a/tide", "--expires", "30d", *at])
    assert made.exit_code == 0, made.output
    assert "hub.write@org-a/tide" in made.stdout
    listed = CliRunner().invoke(token, ["list", *at]).stdout
    assert "hub.discuss@org-a/tide" in listed and "last_used_at" in listed and '"expires_at": "2' in listed
    for wrong in ("soon", "0h", "2001-01-01", "99999d"):
        assert CliRunner().invoke(token, ["create", "ci", "--expires", wrong, *at]).exception is not None
