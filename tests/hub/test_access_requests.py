"""Gated repositories and likes with the real client, against a real server."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import pytest
from huggingface_hub import CommitOperationAdd, HfApi
from huggingface_hub.errors import BadRequestError, GatedRepoError, HfHubHTTPError, RepositoryNotFoundError
from huggingface_hub.utils import get_session, hf_raise_for_status
from hypothesis import given
from hypothesis import strategies as st

from lilong.floors.hub.rules import gates
from tests.hub.conftest import LANTERN, Served

_NUMBERS = itertools.count(1)
_CARD = """---
extra_gated_heading: Who sails with us
extra_gated_fields:
  Harbour: text
  Purpose: {type: select, options: [research, {label: Trade, value: trade}]}
  I keep the rules: checkbox
---
# Tides
"""
_ANSWERS = {"Harbour": "Hull", "Purpose": "trade", "I keep the rules": True}


@pytest.fixture
def api(served: Served) -> Callable[[str], HfApi]:
    return lambda name: HfApi(served.url, token=served.tokens.get(name, False))


@pytest.fixture
def gated(api: Callable[[str], HfApi]) -> Callable[..., str]:
    """A public repository of lantern-works whose files have to be asked for."""

    def make(how: str = "manual", card: str = _CARD) -> str:
        name = f"{LANTERN}/gated-{next(_NUMBERS)}"
        api("mei").create_repo(name, private=False)
        api("mei").create_commit(name, [CommitOperationAdd("README.md", card.encode())], commit_message="Write the card")
        api("mei").update_repo_settings(name, gated=how)  # type: ignore[arg-type]
        return name

    return make


def ask(api: HfApi, repo: str, answers: dict[str, Any]) -> dict[str, Any]:
    headers = {"authorization": f"Bearer {api.token}"}
    answer = get_session().post(f"{api.endpoint}/{repo}/ask-access", json=answers, headers=headers)
    hf_raise_for_status(answer)
    return answer.json()  # type: ignore[no-any-return]


def test_a_request_waits_is_accepted_and_can_be_taken_back(api: Callable[[str], HfApi], gated: Callable[..., str], tmp_path: Any) -> None:
    mei, tom, repo = api("mei"), api("tom"), gated()
    with pytest.raises(GatedRepoError):
        tom.auth_check(repo)
    assert ask(tom, repo, _ANSWERS)["status"] == "pending"
    with pytest.raises(GatedRepoError):
        tom.hf_hub_download(repo, "README.md", local_dir=tmp_path)
    [waiting] = mei.list_pending_access_requests(repo)
    assert (waiting.username, waiting.status, waiting.fields) == ("tom", "pending", _ANSWERS)
    mei.accept_access_request(repo, "tom")
    tom.auth_check(repo)
    assert tom.hf_hub_download(repo, "README.md", local_dir=tmp_path)
    assert [one.username for one in mei.list_accepted_access_requests(repo)] == ["tom"]
    mei.cancel_access_request(repo, request_id=waiting.request_id)
    with pytest.raises(GatedRepoError):
        tom.auth_check(repo)


def test_a_rejection_says_why_and_stays(api: Callable[[str], HfApi], gated: Callable[..., str]) -> None:
    mei, tom, repo = api("mei"), api("tom"), gated()
    ask(tom, repo, _ANSWERS)
    mei.reject_access_request(repo, "tom", rejection_reason="The harbour is closed.")
    assert [one.username for one in mei.list_rejected_access_requests(repo)] == ["tom"]
    with pytest.raises(HfHubHTTPError, match="The harbour is closed"):
        ask(tom, repo, _ANSWERS)
    with pytest.raises(HfHubHTTPError, match="404"):
        mei.reject_access_request(repo, "tom", rejection_reason=None)  # it is rejected already
    mei.accept_access_request(repo, "tom")
    tom.auth_check(repo)


def test_an_automatic_gate_opens_at_once(api: Callable[[str], HfApi], gated: Callable[..., str]) -> None:
    repo = gated("auto")
    assert ask(api("tom"), repo, _ANSWERS)["status"] == "accepted"
    assert ask(api("tom"), repo, {})["status"] == "accepted"
    api("tom").auth_check(repo)
    with pytest.raises(GatedRepoError):
        api("ada").auth_check(repo)  # belongs to the organisation, but only to read: she has to ask too


@pytest.mark.parametrize(
    "answers", [{}, _ANSWERS | {"Harbour": " "}, _ANSWERS | {"Purpose": "piracy"}, _ANSWERS | {"I keep the rules": False}]
)
def test_a_form_must_be_filled_in(api: Callable[[str], HfApi], gated: Callable[..., str], answers: dict[str, Any]) -> None:
    repo = gated()
    with pytest.raises(BadRequestError):
        ask(api("tom"), repo, answers)
    assert list(api("mei").list_pending_access_requests(repo)) == []


def test_access_is_granted_unasked_once(api: Callable[[str], HfApi], gated: Callable[..., str]) -> None:
    mei, repo = api("mei"), gated()
    mei.grant_access(repo, "ada")
    api("ada").auth_check(repo)
    with pytest.raises(BadRequestError):
        mei.grant_access(repo, "ada")
    with pytest.raises(BadRequestError):
        mei.grant_access(repo, "jun")  # writes there anyway
    with pytest.raises(HfHubHTTPError, match="404"):
        mei.grant_access(repo, "nobody-at-all")


def test_only_who_may_write_answers_requests(api: Callable[[str], HfApi], gated: Callable[..., str]) -> None:
    repo = gated()
    ask(api("tom"), repo, _ANSWERS)
    for name in ("tom", "ada"):
        for act in (
            lambda one: list(one.list_pending_access_requests(repo)),
            lambda one: one.accept_access_request(repo, "tom"),
            lambda one: one.grant_access(repo, "ada"),
        ):
            with pytest.raises(HfHubHTTPError, match="403"):
                act(api(name))


def test_a_repository_that_is_not_gated_takes_no_requests(api: Callable[[str], HfApi], gated: Callable[..., str]) -> None:
    repo = gated("manual")
    api("mei").update_repo_settings(repo, gated=False)
    with pytest.raises(BadRequestError):
        ask(api("tom"), repo, _ANSWERS)
    with pytest.raises(BadRequestError):
        list(api("mei").list_pending_access_requests(repo))
    api("tom").auth_check(repo)


def test_auth_check_tells_reading_from_writing(api: Callable[[str], HfApi]) -> None:
    name = f"{LANTERN}/checked-{next(_NUMBERS)}"
    api("mei").create_repo(name, private=True)
    api("jun").auth_check(name, write=True)
    api("ada").auth_check(name)
    with pytest.raises(HfHubHTTPError, match="403"):
        api("ada").auth_check(name, write=True)
    for missing in (name, f"{LANTERN}/never-there"):
        for person in ("tom", "nobody"):
            with pytest.raises(RepositoryNotFoundError):
                api(person).auth_check(missing)


def test_the_talk_of_a_gated_repository_is_behind_the_gate_too(api: Callable[[str], HfApi], gated: Callable[..., str]) -> None:
    repo = gated()
    api("mei").create_discussion(repo, "Only among us")
    with pytest.raises(GatedRepoError):
        list(api("tom").get_repo_discussions(repo))
    with pytest.raises(GatedRepoError):
        api("tom").create_commit(repo, [CommitOperationAdd("a.txt", b"a")], commit_message="Look inside", create_pr=True)


def test_likes_are_counted_once_and_seen_by_who_may(api: Callable[[str], HfApi]) -> None:
    name, hidden = (f"{LANTERN}/liked-{next(_NUMBERS)}" for _ in range(2))
    api("mei").create_repo(name, private=False)
    api("mei").create_repo(hidden, private=True)

    def like(person: str, repo: str) -> None:
        one = api(person)
        hf_raise_for_status(get_session().post(f"{one.endpoint}/api/models/{repo}/like", headers={"authorization": f"Bearer {one.token}"}))

    for person, repo in (("mei", name), ("ada", name), ("ada", name), ("ada", hidden)):
        like(person, repo)
    with pytest.raises(RepositoryNotFoundError):
        like("tom", hidden)
    assert api("mei").model_info(name).likes == 2
    assert [user.username for user in api("mei").list_repo_likers(name)] == ["ada", "mei"]
    assert sorted(api("mei").list_liked_repos("ada").models) == sorted([name, hidden])
    api("ada").unlike(name)
    assert api("mei").model_info(name).likes == 1
    assert api("ada").list_liked_repos().models == [hidden]


@given(
    st.recursive(
        st.none() | st.booleans() | st.text(max_size=5), lambda inner: st.lists(inner) | st.dictionaries(st.text(max_size=8), inner)
    )
)
def test_any_card_gives_a_form(value: Any) -> None:
    form = gates.form({"extra_gated_fields": value, "extra_gated_prompt": value})
    answers = {
        field.name: {"checkbox": True, "select": (field.options or ("",))[0], "date_picker": "2026-11-22"}.get(field.type, "x")
        for field in form.fields
    }
    if all(not isinstance(answer, str) or answer.strip() for answer in answers.values()):
        assert gates.filled_in(form, answers).keys() == answers.keys()
