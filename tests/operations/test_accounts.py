"""Users, organisations, tokens, sign-in: the verbs behind the doors."""

from __future__ import annotations

import pytest

from lilong.ground.access import SYSTEM, Actor
from lilong.ground.errors import BadInput, Conflict, Forbidden, NotFound, Unauthenticated, Unavailable
from lilong.ground.house import House
from lilong.operations import service
from lilong.operations.service import GrantAsk, LinkAsk, OrganisationAsk, TokenAsk, UserAsk
from tests.conftest import ORGANISATION

MEI = Actor("mei", frozenset({"*"}), None)


def actor_of(house: House, secret: str) -> Actor:
    return house.db.read(lambda tx: house.access.authenticate(tx, secret))


def link(house: House, user: str) -> str:
    return house.db.write(lambda tx: house.access.add_token(tx, SYSTEM, user, "sign-in link", kind="link")[1])


def test_a_token_acts_as_its_user_within_its_scopes(house: House) -> None:
    made = service.add_token(house, MEI, TokenAsk("reading", scopes=("hub.*",)))
    actor = actor_of(house, made.secret)
    assert (actor.user, actor.scopes) == ("mei", frozenset({"hub.*"}))
    assert service.who_am_i(house, actor).memberships == (service.Membership(ORGANISATION, "owner"),)
    with pytest.raises(Forbidden):
        service.add_token(house, actor, TokenAsk("more", scopes=("*",)))


def test_a_revoked_token_is_unknown_at_once(house: House) -> None:
    made = service.add_token(house, MEI, TokenAsk("short"))
    service.revoke_token(house, MEI, made.token.id)
    with pytest.raises(Unauthenticated):
        actor_of(house, made.secret)


def test_nobody_revokes_or_sees_the_tokens_of_others(house: House) -> None:
    service.add_user(house, SYSTEM, UserAsk("tomas"))
    made = service.add_token(house, MEI, TokenAsk("mine"))
    tomas = Actor("tomas", frozenset({"*"}), None)
    assert service.tokens(house, tomas) == []
    with pytest.raises(NotFound):
        service.revoke_token(house, tomas, made.token.id)
    with pytest.raises(Forbidden):
        service.add_token(house, tomas, TokenAsk("as mei", user="mei"))
    assert actor_of(house, made.secret).user == "mei"


@pytest.mark.parametrize("days", [0, -1, 10**9])
def test_a_token_lives_between_a_day_and_ten_years_or_for_good(house: House, days: int) -> None:
    with pytest.raises(BadInput, match="days"):
        service.add_token(house, MEI, TokenAsk("odd", days=days))
    assert service.add_token(house, MEI, TokenAsk("a day", days=1)).token.expires_at is not None
    assert service.add_token(house, MEI, TokenAsk("for good")).token.expires_at is None


def test_the_secret_of_a_token_is_nowhere_in_the_database(house: House) -> None:
    secret = service.add_token(house, MEI, TokenAsk("hidden")).secret
    tables = house.db.read(lambda tx: [row["name"] for row in tx.rows("SELECT name FROM sqlite_master WHERE type = 'table'")])
    held = [str(dict(row)) for table in tables for row in house.db.read(lambda tx, table=table: tx.rows(f"SELECT * FROM {table}"))]
    assert held
    assert not any(secret in row for row in held)


def test_a_sign_in_link_works_once(house: House) -> None:
    secret = link(house, "mei")
    session = service.sign_in(house, secret)
    assert actor_of(house, session).user == "mei"
    with pytest.raises(Unauthenticated):
        service.sign_in(house, secret)
    with pytest.raises(Unauthenticated):
        actor_of(house, secret)


def test_a_session_is_not_a_link(house: House) -> None:
    session = service.sign_in(house, link(house, "mei"))
    with pytest.raises(Unauthenticated):
        service.sign_in(house, session)


def test_a_link_needs_a_server_to_lead_to(house: House) -> None:
    with pytest.raises(Unavailable, match="lilong up"):
        service.add_link(house, MEI, LinkAsk("mei"))


def test_a_wrong_password_and_an_unknown_user_get_the_same_answer(house: House) -> None:
    house.db.write(lambda tx: house.access.add_user(tx, SYSTEM, "ana", "Ana", "a long pass phrase"))
    assert actor_of(house, service.sign_in_with_password(house, "ana", "a long pass phrase")).user == "ana"
    said = set()
    for name, password in (("ana", "another pass phrase"), ("nobody", "a long pass phrase"), ("mei", "")):
        with pytest.raises(Unauthenticated) as refusal:
            service.sign_in_with_password(house, name, password)
        said.add(str(refusal.value))
    assert len(said) == 1


def test_only_who_manages_the_house_adds_users_and_organisations(house: House) -> None:
    with pytest.raises(Forbidden):
        service.add_user(house, MEI, UserAsk("friend"))
    with pytest.raises(Forbidden):
        service.add_organisation(house, MEI, OrganisationAsk("friends"))
    with pytest.raises(Forbidden):
        service.status(house, MEI)
    service.add_organisation(house, SYSTEM, OrganisationAsk("plum-lane", "Plum Lane"))
    with pytest.raises(Conflict):
        service.add_organisation(house, SYSTEM, OrganisationAsk("plum-lane"))


def test_an_owner_gives_roles_in_the_own_organisation_only(house: House) -> None:
    service.add_user(house, SYSTEM, UserAsk("tomas"))
    service.add_organisation(house, SYSTEM, OrganisationAsk("plum-lane"))
    service.grant(house, MEI, GrantAsk("tomas", "member", ORGANISATION))
    assert service.who_am_i(house, Actor("tomas", frozenset({"*"}), None)).memberships == (service.Membership(ORGANISATION, "member"),)
    for ask in (GrantAsk("mei", "owner", "plum-lane"), GrantAsk("mei", "operator", None)):
        with pytest.raises((Forbidden, NotFound)):
            service.grant(house, MEI, ask)


def test_status_counts_what_is_there(house: House) -> None:
    told = service.status(house, SYSTEM)
    assert (told.database, told.jobs, told.parked) == ("sqlite", {}, ())
    assert told.events == house.db.read(house.events.size)
