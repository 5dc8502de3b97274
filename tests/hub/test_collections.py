"""Collections with the real client, against a real server."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import pytest
from huggingface_hub import HfApi
from huggingface_hub.errors import BadRequestError, HfHubHTTPError

from tests.hub.conftest import HARBOUR, LANTERN, Served

_NUMBERS = itertools.count(1)


@pytest.fixture
def api(served: Served) -> Callable[[str], HfApi]:
    return lambda name: HfApi(served.url, token=served.tokens.get(name, False))


def title() -> str:
    return f"Tides, part {next(_NUMBERS)}"


def made(api: HfApi, kind: str = "model", *, private: bool = False, owner: str = LANTERN) -> str:
    name = f"{owner}/in-collection-{next(_NUMBERS)}"
    api.create_repo(name, repo_type=kind, private=private)
    return name


def test_a_collection_from_its_making_to_its_end(api: Callable[[str], HfApi]) -> None:
    mei = api("mei")
    first, second = made(mei), made(mei, "dataset")
    collection = mei.create_collection(title(), namespace=LANTERN, description="What the sea does.")
    assert (collection.owner, collection.description, collection.private, collection.items) == (LANTERN, "What the sea does.", False, [])
    mei.add_collection_item(collection.slug, first, "model", note="Begin here.")
    full = mei.add_collection_item(collection.slug, second, "dataset")
    assert [(item.item_id, item.item_type, item.note) for item in full.items] == [
        (first, "model", "Begin here."),
        (second, "dataset", None),
    ]
    mei.update_collection_item(collection.slug, full.items[1].item_object_id, note="Or here.", position=0)
    assert [(item.item_id, item.note) for item in mei.get_collection(collection.slug).items] == [
        (second, "Or here."),
        (first, "Begin here."),
    ]
    mei.delete_collection_item(collection.slug, full.items[0].item_object_id)
    changed = mei.update_collection_metadata(collection.slug, title=f"The sea {next(_NUMBERS)}", theme="green")
    assert changed.theme == "green" and changed.slug != collection.slug and [item.item_id for item in changed.items] == [second]
    assert mei.get_collection(collection.slug).title == changed.title  # an old address leads to it still
    mei.delete_collection(collection.slug)
    mei.delete_collection(collection.slug, missing_ok=True)
    with pytest.raises(HfHubHTTPError, match="404"):
        mei.get_collection(collection.slug)


def test_a_second_one_of_the_same_title_is_the_first_one(api: Callable[[str], HfApi]) -> None:
    mei, name = api("mei"), title()
    first = mei.create_collection(name, namespace=LANTERN)
    assert mei.create_collection(name, namespace=LANTERN, exists_ok=True).slug == first.slug
    with pytest.raises(HfHubHTTPError, match="409"):
        mei.create_collection(name, namespace=LANTERN)
    repo = made(mei)
    mei.add_collection_item(first.slug, repo, "model")
    assert len(mei.add_collection_item(first.slug, repo, "model", exists_ok=True).items) == 1
    with pytest.raises(HfHubHTTPError, match="409"):
        mei.add_collection_item(first.slug, repo, "model")


def test_a_person_has_collections_too(api: Callable[[str], HfApi]) -> None:
    collection = api("tom").create_collection(title())
    assert collection.slug.startswith("tom/")
    with pytest.raises(HfHubHTTPError, match="403"):
        api("mei").update_collection_metadata(collection.slug, theme="blue")
    with pytest.raises(HfHubHTTPError, match="403"):
        api("ada").create_collection(title())  # who only reads has no namespace to have it in


def test_who_may_not_write_in_an_organisation_makes_and_changes_nothing_there(api: Callable[[str], HfApi]) -> None:
    collection = api("mei").create_collection(title(), namespace=LANTERN)
    repo = made(api("mei"))
    for act in (
        lambda tom: tom.create_collection(title(), namespace=LANTERN),
        lambda tom: tom.update_collection_metadata(collection.slug, theme="blue"),
        lambda tom: tom.add_collection_item(collection.slug, repo, "model"),
        lambda tom: tom.delete_collection(collection.slug),
    ):
        with pytest.raises(HfHubHTTPError, match="403"):
            act(api("tom"))


def test_a_private_collection_is_missing_for_others(api: Callable[[str], HfApi]) -> None:
    collection = api("mei").create_collection(title(), namespace=LANTERN, private=True)
    assert collection.slug in [one.slug for one in api("ada").list_collections(owner=LANTERN, limit=100)]
    assert collection.slug not in [one.slug for one in api("tom").list_collections(owner=LANTERN, limit=100)]
    answers = []
    for slug in (collection.slug, collection.slug[:-24] + "0" * 24):
        for name in ("tom", "nobody"):
            with pytest.raises(HfHubHTTPError) as refused:
                api(name).get_collection(slug)
            answers.append(refused.value.response.status_code)
    assert set(answers) == {404}


def test_an_item_is_shown_only_to_who_may_see_it(api: Callable[[str], HfApi]) -> None:
    mei, tom = api("mei"), api("tom")
    hidden, plain = made(mei, private=True), made(mei)
    collection = mei.create_collection(title(), namespace=LANTERN)
    for name in (hidden, plain):
        mei.add_collection_item(collection.slug, name, "model")
    assert [item.item_id for item in api("ada").get_collection(collection.slug).items] == [hidden, plain]
    assert [item.item_id for item in tom.get_collection(collection.slug).items] == [plain]
    assert [one.slug for one in tom.list_collections(item=f"models/{plain}")] == [collection.slug]
    assert list(tom.list_collections(item=f"models/{hidden}")) == []
    own = tom.create_collection(title(), namespace=HARBOUR)
    for name in (hidden, f"{LANTERN}/never-there"):
        with pytest.raises(HfHubHTTPError, match="404"):
            tom.add_collection_item(own.slug, name, "model")


def test_an_item_moves_and_goes_with_its_repository(api: Callable[[str], HfApi]) -> None:
    mei, repo = api("mei"), made(api("mei"))
    collection = mei.create_collection(title(), namespace=LANTERN)
    mei.add_collection_item(collection.slug, repo, "model")
    mei.move_repo(repo, f"{repo}-moved")
    assert [item.item_id for item in mei.get_collection(collection.slug).items] == [f"{repo}-moved"]
    mei.delete_repo(f"{repo}-moved")
    assert mei.get_collection(collection.slug).items == []


def test_other_things_can_be_items(api: Callable[[str], HfApi]) -> None:
    mei = api("mei")
    inner, outer = mei.create_collection(title(), namespace=LANTERN), mei.create_collection(title(), namespace=LANTERN)
    mei.add_collection_item(outer.slug, inner.slug, "collection")
    full = mei.add_collection_item(outer.slug, "2307.09288", "paper")
    assert [(item.item_type, item.item_id) for item in full.items] == [("collection", inner.slug), ("paper", "2307.09288")]
    with pytest.raises(HfHubHTTPError, match="404"):
        mei.add_collection_item(outer.slug, "lantern-works/some-space", "space")


def test_lists_come_in_pages_sorted(api: Callable[[str], HfApi]) -> None:
    jun = api("jun")
    slugs = [jun.create_collection(title()).slug for _ in range(3)]
    jun.update_collection_metadata(slugs[0], theme="pink")
    from huggingface_hub.utils import get_session, paginate

    own = paginate(f"{jun.endpoint}/api/collections", params={"owner": "jun", "limit": 1}, headers={"authorization": f"Bearer {jun.token}"})
    assert [one["slug"] for one in own] == [slugs[0], slugs[2], slugs[1]]
    headers = {"authorization": f"Bearer {jun.token}"}
    get_session().post(f"{jun.endpoint}/api/collections/{slugs[1]}/upvote", headers=headers).raise_for_status()
    assert next(iter(jun.list_collections(owner="jun", sort="upvotes"))).upvotes == 1


def test_texts_have_limits(api: Callable[[str], HfApi]) -> None:
    for bad in ({"title": ""}, {"title": "x" * 200}, {"title": title(), "description": "x" * 151}):
        with pytest.raises(BadRequestError, match="must have"):
            api("mei").create_collection(namespace=LANTERN, **bad)


def test_no_body_and_no_slug_makes_the_server_stumble(api: Callable[[str], HfApi]) -> None:
    from huggingface_hub.utils import get_session

    mei = api("mei")
    slug = mei.create_collection(title(), namespace=LANTERN).slug
    session, headers = get_session(), {"authorization": f"Bearer {mei.token}", "content-type": "application/json"}
    bodies = [b"", b"{", b"[]", b'{"title": 1, "item": [], "note": 3, "position": "x", "private": 1}', b'{"item": {"id": "x", "type": {}}, "position": true}',
              b'{"title": "\\ud800", "description": "\\u0000", "note": {"text": 5}, "item": {"id": "/", "type": "bucket"}, "position": -5}',
              b'{"item": {"id": "", "type": "model"}, "theme": "none", "position": 99999999999999999999, "namespace": "\\u0000", "title": "x"}']  # fmt: skip
    for place in ("", f"/{slug}", f"/{slug}/items", f"/{slug}/items/x", f"/{LANTERN}/x", f"/{LANTERN}/{'0' * 24}", "/%20/%2e%2e"):
        for method in ("POST", "PATCH", "DELETE"):
            for body in bodies if method != "DELETE" or place != f"/{slug}" else []:
                answer = session.request(method, f"{mei.endpoint}/api/collections{place}", content=body, headers=headers)
                assert answer.status_code < 500, (method, place, body, answer.text[:300])
    for query in ("sort=x", "sort=upvotes&cursor=x~y", "cursor=~", "item=x", "item=models/", "owner=&owner=%25", "limit=0", "q=%25_!"):
        answer = session.get(f"{mei.endpoint}/api/collections?{query}", headers=headers)
        assert answer.status_code in (200, 400), (query, answer.text[:300])
