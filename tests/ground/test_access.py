"""Access: default deny, one table, lists filtered like single objects, foreign things look like missing ones."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lilong.ground.access import PERMISSIONS, ROLES, SYSTEM, Actor, TokenNotUsable, hash_password, hash_secret, signed_in
from lilong.ground.errors import BadInput, Conflict, Forbidden, NotFound, Unauthenticated
from lilong.ground.house import House
from lilong.ground.seams import stamp
from tests.conftest import ORGANISATION

MEI = Actor("mei")


def add(house: House, name: str, role: str | None = None, organisation: str | None = None) -> Actor:
    def write(tx):  # type: ignore[no-untyped-def]
        house.access.add_user(tx, SYSTEM, name)
        if role:
            house.access.grant(tx, SYSTEM, name, role, organisation)

    house.db.write(write)
    return Actor(name)


def test_without_a_grant_nothing_is_allowed(house: House) -> None:
    nobody = add(house, "nobody")
    assert not any(house.db.read(lambda tx, p=p: house.access.allowed(tx, nobody, p, ORGANISATION)) for p in PERMISSIONS)


@pytest.mark.parametrize("role", sorted(ROLES))
def test_a_role_allows_exactly_what_the_table_says_and_only_in_its_scope(house: House, role: str) -> None:
    house.db.write(lambda tx: house.access.add_organisation(tx, SYSTEM, "plum-lane"))
    scope = None if role == "operator" else ORGANISATION
    actor = add(house, "somebody", role, scope)
    for permission in PERMISSIONS:
        assert house.db.read(lambda tx, p=permission: house.access.allowed(tx, actor, p, ORGANISATION)) is (permission in ROLES[role])
        assert house.db.read(lambda tx, p=permission: house.access.allowed(tx, actor, p, "plum-lane")) is (permission in ROLES[role] and scope is None)


def test_a_permission_that_no_role_has_is_a_mistake_of_ours(house: House) -> None:
    with pytest.raises(RuntimeError, match=r"jobs\.fly"):
        house.db.read(lambda tx: house.access.allowed(tx, MEI, "jobs.fly", ORGANISATION))


def test_what_one_may_not_read_is_not_there(house: House) -> None:
    stranger = add(house, "stranger")
    reader = add(house, "reader", "reader", ORGANISATION)
    hidden = NotFound(kind="job", name="job-1")
    with pytest.raises(NotFound, match="job-1"):
        house.db.read(lambda tx: house.access.require(tx, stranger, "jobs.cancel", ORGANISATION, hidden=hidden))
    with pytest.raises(Forbidden, match=r"jobs\.cancel"):
        house.db.read(lambda tx: house.access.require(tx, reader, "jobs.cancel", ORGANISATION, hidden=hidden))


@given(grants=st.lists(st.tuples(st.sampled_from(sorted(set(ROLES) - {"operator"})), st.sampled_from(["org-a", "org-b", "org-c"])), max_size=4), house_wide=st.booleans())
@settings(max_examples=25, deadline=None)
def test_a_list_shows_exactly_what_single_questions_allow(tmp_path_factory: pytest.TempPathFactory, grants: list[tuple[str, str]], house_wide: bool) -> None:
    from lilong.ground.access import Access
    from lilong.ground.db import Database
    from lilong.ground.events import Events
    from lilong.ground.migrations import migrate
    from lilong.ground.seams import SystemClock, SystemIds

    db = Database(f"sqlite:///{tmp_path_factory.mktemp('access') / 'a.db'}")
    access = Access(SystemClock(), SystemIds(), Events(SystemClock(), SystemIds()))
    try:
        migrate(db, [("ground", "lilong.ground")], SystemClock())

        def write(tx):  # type: ignore[no-untyped-def]
            for name in ("org-a", "org-b", "org-c"):
                access.add_organisation(tx, SYSTEM, name)
            access.add_user(tx, SYSTEM, "somebody")
            for role, organisation in grants:
                access.grant(tx, SYSTEM, "somebody", role, organisation)
            if house_wide:
                access.grant(tx, SYSTEM, "somebody", "operator", None)

        db.write(write)
        actor = Actor("somebody", frozenset({"jobs.*", "hub.*", "organisations.*"}))
        for permission in ("jobs.read", "jobs.submit", "hub.manage", "organisations.read", "corpus.read"):

            def compare(tx, permission=permission):  # type: ignore[no-untyped-def]
                condition, parameters = access.visible(actor, permission, "name")
                listed = {row["name"] for row in tx.rows(f"SELECT name FROM ground_organisations WHERE {condition}", **parameters)}
                return listed == {name for name in ("org-a", "org-b", "org-c") if access.allowed(tx, actor, permission, name)}

            assert db.read(compare)
    finally:
        db.close()


def test_a_token_is_known_by_its_hash_only_and_ends_when_revoked_or_expired(house: House) -> None:
    token, secret = house.db.write(lambda tx: house.access.add_token(tx, MEI, "mei", "laptop", ("hub.*",), lives=timedelta(hours=1)))
    actor = house.db.read(lambda tx: house.access.authenticate(tx, secret))
    assert (actor.user, actor.scopes) == ("mei", {"hub.*"})
    assert actor.covers("hub.read")
    assert not actor.covers("jobs.read")
    dump = house.db.read(lambda tx: str(tx.rows("SELECT * FROM ground_tokens")))
    assert secret not in dump
    assert hash_secret(secret) in dump
    house.db.write(lambda tx: tx.run("UPDATE ground_tokens SET expires_at = :now WHERE id = :id", now=stamp(house.clock.now()), id=token.id))
    with pytest.raises(TokenNotUsable):
        house.db.read(lambda tx: house.access.authenticate(tx, secret))
    _, second = house.db.write(lambda tx: house.access.add_token(tx, MEI, "mei", "second"))
    house.db.write(lambda tx: house.access.revoke_token(tx, MEI, house.access.authenticate(tx, second).token or ""))
    with pytest.raises(TokenNotUsable):
        house.db.read(lambda tx: house.access.authenticate(tx, second))


def test_a_token_never_makes_a_wider_one(house: House) -> None:
    narrow = Actor("mei", frozenset({"hub.read"}), "token-x")
    with pytest.raises(Forbidden):
        house.db.write(lambda tx: house.access.add_token(tx, narrow, "mei", "wider", ("*",)))
    house.db.write(lambda tx: house.access.add_token(tx, narrow, "mei", "same", ("hub.read",)))


def test_a_scope_that_means_nothing_is_refused(house: House) -> None:
    with pytest.raises(BadInput, match="matches no permission"):
        house.db.write(lambda tx: house.access.add_token(tx, MEI, "mei", "typo", ("hub.reed",)))


def test_a_sign_in_link_works_once(house: House) -> None:
    _, secret = house.db.write(lambda tx: house.access.add_token(tx, MEI, "mei", "link", kind="link"))
    assert house.db.write(lambda tx: house.access.use_link(tx, secret)) == MEI
    with pytest.raises(TokenNotUsable):
        house.db.write(lambda tx: house.access.use_link(tx, secret))


def test_a_disabled_user_is_out_at_once(house: House) -> None:
    _, secret = house.db.write(lambda tx: house.access.add_token(tx, MEI, "mei", "laptop"))
    house.db.write(lambda tx: house.access.disable_user(tx, SYSTEM, "mei"))
    with pytest.raises(TokenNotUsable):
        house.db.read(lambda tx: house.access.authenticate(tx, secret))


def test_a_password_opens_only_its_own_account(house: House) -> None:
    house.db.write(lambda tx: house.access.add_user(tx, SYSTEM, "lin", password="a long enough one"))
    assert signed_in("lin", house.db.read(lambda tx: house.access.password_of(tx, "lin")), "a long enough one") == Actor("lin")
    for name, password in (("lin", "another long one"), ("nobody-here", "a long enough one"), ("mei", "a long enough one")):
        with pytest.raises(Unauthenticated, match="not right"):
            signed_in(name, house.db.read(lambda tx, n=name: house.access.password_of(tx, n)), password)


def test_names_are_taken_once_and_are_names(house: House) -> None:
    with pytest.raises(Conflict):
        house.db.write(lambda tx: house.access.add_user(tx, SYSTEM, "mei"))
    for bad in ("", "../x", "a b", "é", "-x", "x" * 200, "house/1"):
        with pytest.raises(BadInput):
            house.db.write(lambda tx, b=bad: house.access.add_organisation(tx, SYSTEM, b))


def test_only_those_who_manage_an_organisation_give_roles_in_it(house: House) -> None:
    member = add(house, "member", "member", ORGANISATION)
    with pytest.raises(Forbidden):
        house.db.write(lambda tx: house.access.grant(tx, member, "member", "owner", ORGANISATION))
    with pytest.raises(BadInput, match="whole house"):
        house.db.write(lambda tx: house.access.grant(tx, SYSTEM, "member", "operator", ORGANISATION))


def test_a_new_password_ends_the_sessions_that_the_old_one_opened(house: House) -> None:
    _, session = house.db.write(lambda tx: house.access.add_token(tx, MEI, "mei", "session", kind="session"))
    house.db.write(lambda tx: house.access.set_password(tx, SYSTEM, "mei", hash_password("a long enough one")))
    assert signed_in("mei", house.db.read(lambda tx: house.access.password_of(tx, "mei")), "a long enough one") == MEI
    with pytest.raises(TokenNotUsable):
        house.db.read(lambda tx: house.access.authenticate(tx, session))
    stranger = add(house, "stranger")
    with pytest.raises(Forbidden):
        house.db.write(lambda tx: house.access.set_password(tx, stranger, "mei", "hash"))


def test_a_token_does_not_outlive_the_one_that_made_it_nor_slip_past_its_scopes(house: House) -> None:
    token, secret = house.db.write(lambda tx: house.access.add_token(tx, MEI, "mei", "short", ("jobs.*",), lives=timedelta(hours=1)))
    actor = house.db.read(lambda tx: house.access.authenticate(tx, secret))
    child, _ = house.db.write(lambda tx: house.access.add_token(tx, actor, "mei", "child", ("jobs.read",)))
    assert child.expires_at == token.expires_at
    with pytest.raises(Forbidden):
        house.db.write(lambda tx: house.access.add_token(tx, actor, "mei", "wider", ("???.read",)))
