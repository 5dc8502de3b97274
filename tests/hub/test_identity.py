"""Users, organisations, namespaces and tokens, as the real client sees them."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterator
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest
from huggingface_hub import HfApi
from huggingface_hub.errors import HfHubHTTPError, RepositoryNotFoundError

from lilong.floors.hub.contract import Kind
from lilong.floors.hub.service import namespaces, reading
from lilong.ground.access import SYSTEM, Actor, spelled
from lilong.ground.db import Tx
from lilong.ground.errors import Forbidden, NotFound
from tests.hub.conftest import HARBOUR, LANTERN, Served

Api = Callable[..., HfApi]
_NUMBERS = itertools.count()


@pytest.fixture
def api(served: Served) -> Api:
    def made(who: str, *scopes: str) -> HfApi:
        token = served.tokens[who]
        if scopes:
            token = served.house.db.write(lambda tx: served.house.access.add_token(tx, Actor(who), who, "narrow", spelled(scopes)))[1]
        return HfApi(endpoint=served.url, token=token)

    return made


@pytest.fixture
def short() -> Iterator[str]:
    yield f"identity-{next(_NUMBERS)}"


def ask(served: Served, who: str | None, path: str, method: str = "GET", body: Any = None) -> tuple[int, Any]:
    request = Request(served.url + path, method=method, data=json.dumps(body).encode() if body is not None else None)
    if who:
        request.add_header("authorization", f"Bearer {served.tokens[who]}")
    try:
        with urlopen(request) as answer:
            return answer.status, json.load(answer)
    except HTTPError as refused:
        return refused.code, json.load(refused)


# --- namespaces ---------------------------------------------------------------------------------------------------------


def test_a_name_without_a_namespace_means_ones_own(api: Api, short: str) -> None:
    assert api("mei").create_repo(short).repo_id == f"mei/{short}"
    assert api("mei").whoami()["name"] == "mei"
    assert "mei" not in [org["name"] for org in api("mei").whoami()["orgs"]]
    api("mei").delete_repo(short)
    assert not api("mei").repo_exists(f"mei/{short}")


def test_the_own_namespace_is_its_users_alone(api: Api, short: str) -> None:
    api("mei").create_repo(short, private=True)
    with pytest.raises(RepositoryNotFoundError):
        api("jun").model_info(f"mei/{short}")
    with pytest.raises(HfHubHTTPError, match="403"):
        api("jun").create_repo(f"mei/{short}-of-jun")


def test_who_only_reads_gets_no_namespace(api: Api, short: str) -> None:
    with pytest.raises(HfHubHTTPError, match="403"):
        api("ada").create_repo(short)


def test_ones_own_namespace_brings_no_right_outside_the_hub(served: Served, api: Api, short: str) -> None:
    api("mei").create_repo(short)
    access = served.house.access
    for permission in ("jobs.submit", "jobs.network", "serving.use", "training.run"):
        assert not served.house.db.read(lambda tx, p=permission: access.allowed(tx, Actor("mei"), p, "mei"))


def test_an_organisation_may_have_its_repositories_private_by_default(served: Served, api: Api, short: str) -> None:
    changed = ask(served, "mei", f"/api/hub/namespaces/{LANTERN}", "PUT", {"private_by_default": True})
    assert changed[0] == 200 and changed[1]["private_by_default"] is True
    try:
        api("mei").create_repo(f"{LANTERN}/{short}")
        api("mei").create_repo(f"{LANTERN}/{short}-open", private=False)
        assert api("mei").model_info(f"{LANTERN}/{short}").private is True
        assert api("mei").model_info(f"{LANTERN}/{short}-open").private is False
    finally:
        ask(served, "mei", f"/api/hub/namespaces/{LANTERN}", "PUT", {"private_by_default": False})


def test_only_the_house_sets_quotas_and_strangers_see_no_namespace(served: Served) -> None:
    house = served.house
    with pytest.raises(Forbidden):
        namespaces.change(house, Actor("mei"), LANTERN, namespaces.Change(quota_bytes=1 << 40))
    with pytest.raises(NotFound):
        namespaces.show(house, Actor("tom"), LANTERN)
    assert namespaces.change(house, SYSTEM, HARBOUR, namespaces.Change(quota_bytes=1 << 40)).limit_bytes == 1 << 40
    assert namespaces.change(house, SYSTEM, HARBOUR, namespaces.Change(quota_bytes=-1)).quota_bytes is None


# --- who is who ---------------------------------------------------------------------------------------------------------


def test_who_am_i_tells_organisations_with_roles_and_what_the_token_is_for(api: Api) -> None:
    known = api("jun").whoami()
    assert (known["type"], known["name"]) == ("user", "jun")
    assert [(org["name"], org["roleInOrg"]) for org in known["orgs"]] == [(LANTERN, "write")]
    assert api("mei").whoami()["orgs"][0]["roleInOrg"] == "admin"
    assert api("ada").whoami()["orgs"][0]["roleInOrg"] == "read"
    assert known["auth"]["accessToken"]["role"] == "write"
    assert known["auth"]["accessToken"]["displayName"] == "test"
    assert api("jun", "read").whoami()["auth"]["accessToken"]["role"] == "read"


def test_who_am_i_tells_the_scopes_of_a_fine_grained_token(api: Api, short: str) -> None:
    api("mei").create_repo(f"{LANTERN}/{short}", repo_type="dataset")
    token = api("mei", "read@lantern-works", f"write@lantern-works/{short}").whoami()["auth"]["accessToken"]
    assert token["role"] == "fineGrained"
    scoped = {(each["entity"]["type"], each["entity"]["name"]): each["permissions"] for each in token["fineGrained"]["scoped"]}
    assert scoped[("org", LANTERN)] == ["repo.content.read", "repo.access.read"]
    assert "repo.write" in scoped[("dataset", f"{LANTERN}/{short}")]
    assert token["fineGrained"]["global"] == []


def test_another_tenants_people_are_not_there(api: Api, served: Served, short: str) -> None:
    assert api("mei").get_user_overview("jun").username == "jun"
    assert [org.name for org in api("mei").get_user_overview("jun").orgs] == [LANTERN]
    foreign = ask(served, "tom", "/api/users/ada/overview")
    missing = ask(served, "tom", "/api/users/eve/overview")
    assert foreign[0] == missing[0] == 404
    assert foreign[1]["error"].replace("ada", "eve") == missing[1]["error"]
    for path in ("followers", "following"):
        assert ask(served, "tom", f"/api/users/ada/{path}")[0] == 404
    assert ask(served, None, "/api/users/ada/overview")[0] == 404


def test_an_organisation_shows_itself_to_its_people_and_where_it_has_something_public(api: Api, served: Served, short: str) -> None:
    house = served.house
    house.db.write(lambda tx: house.access.add_organisation(tx, SYSTEM, short, "Quiet Bay"))
    house.db.write(lambda tx: house.access.grant(tx, SYSTEM, "jun", "owner", short))
    assert api("jun").get_organization_overview(short).fullname == "Quiet Bay"
    assert api("jun").get_organization_overview(short).num_users == 1
    assert [member.username for member in api("jun").list_organization_members(short)] == ["jun"]
    assert ask(served, "tom", f"/api/organizations/{short}/overview")[0] == 404
    assert ask(served, "tom", f"/api/organizations/{short}/members")[0] == 404
    api("jun").create_repo(f"{short}/shown", private=False)
    assert api("tom").get_organization_overview(short).num_users is None
    assert list(api("tom").list_organization_members(short)) == []


def test_members_come_in_pages(api: Api, served: Served, short: str) -> None:
    house = served.house
    house.db.write(lambda tx: house.access.add_organisation(tx, SYSTEM, short))
    for name in ("jun", "mei", "ada"):
        house.db.write(lambda tx, name=name: house.access.grant(tx, SYSTEM, name, "member", short))
    first = ask(served, "jun", f"/api/organizations/{short}/members?limit=2")
    second = ask(served, "jun", f"/api/organizations/{short}/members?limit=2&cursor={first[1][-1]['user']}")
    assert [each["user"] for each in first[1] + second[1]] == ["ada", "jun", "mei"]


def test_the_bytes_of_repositories_are_told_to_those_inside(api: Api, short: str) -> None:
    api("tom").create_repo(f"{HARBOUR}/{short}", private=True)
    api("tom").create_bucket(f"{HARBOUR}/{short}-box")
    listed = {each.id: each for each in api("tom").list_user_repos(namespace=HARBOUR)}
    assert (listed[f"{HARBOUR}/{short}"].type, listed[f"{HARBOUR}/{short}"].visibility) == ("model", "private")
    assert listed[f"{HARBOUR}/{short}-box"].type == "bucket"
    with pytest.raises(HfHubHTTPError, match="404"):
        list(api("mei").list_user_repos(namespace=HARBOUR))


def test_a_picture_says_nothing_about_who_is_there(served: Served) -> None:
    with urlopen(f"{served.url}/api/avatars/nobody-at-all") as answer:
        assert answer.headers["content-type"] == "image/svg+xml" and b"NA" in answer.read()
    with urlopen(f"{served.url}/api/avatars/%3Cscript%3E") as answer:
        assert b"<script" not in answer.read()


# --- tokens for a part of the hub -----------------------------------------------------------------------------------------


def test_a_token_for_one_repository_reaches_no_other(api: Api, short: str) -> None:
    for name in (short, f"{short}-other"):
        api("mei").create_repo(f"{LANTERN}/{name}", private=True)
    narrow = api("mei", f"write@{LANTERN}/{short}")
    narrow.upload_file(path_or_fileobj=b"tide", path_in_repo="notes.txt", repo_id=f"{LANTERN}/{short}")
    assert "notes.txt" in narrow.list_repo_files(f"{LANTERN}/{short}")
    with pytest.raises(RepositoryNotFoundError):
        narrow.list_repo_files(f"{LANTERN}/{short}-other")
    with pytest.raises(HfHubHTTPError):
        narrow.upload_file(path_or_fileobj=b"tide", path_in_repo="notes.txt", repo_id=f"{LANTERN}/{short}-other")
    assert f"{LANTERN}/{short}-other" not in [each.id for each in narrow.list_models(author=LANTERN, limit=500)]
    assert f"{LANTERN}/{short}" in [each.id for each in narrow.list_models(author=LANTERN, limit=500)]


def test_a_token_for_one_namespace_gives_nothing_in_another(served: Served, api: Api, short: str) -> None:
    api("mei").create_repo(f"mei/{short}", private=True)
    narrow = Actor("mei", frozenset(spelled([f"read@{LANTERN}"])), "token-x")
    with pytest.raises(NotFound):
        served.house.db.read(lambda tx: reading.opened(served.house, tx, narrow, Kind.MODEL, f"mei/{short}"))


def test_reading_does_not_take_in_writing(api: Api, short: str) -> None:
    api("mei").create_repo(f"{LANTERN}/{short}")
    with pytest.raises(HfHubHTTPError, match="403"):
        api("mei", f"read@{LANTERN}").upload_file(path_or_fileobj=b"x", path_in_repo="a.txt", repo_id=f"{LANTERN}/{short}")


def test_who_cannot_have_a_namespace_is_told_so_once_and_for_all(served: Served, short: str) -> None:
    """With 409 a client would take the repository for one that is there."""
    house = served.house

    def write(tx: Tx) -> str:
        house.access.add_user(tx, SYSTEM, "datasets")
        house.access.grant(tx, SYSTEM, "datasets", "member", LANTERN)
        return house.access.add_token(tx, Actor("datasets"), "datasets", "test")[1]

    with pytest.raises(HfHubHTTPError, match="namespace of your own"):
        HfApi(endpoint=served.url, token=house.db.write(write)).create_repo(short, exist_ok=True)
