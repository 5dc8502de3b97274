"""What the public client's methods ask for beyond the everyday: duplicates, typed tags, kinds that are not here, hub-only tokens."""

from __future__ import annotations

import random
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi
from huggingface_hub.errors import EntryNotFoundError, GatedRepoError, HfHubHTTPError, RepositoryNotFoundError
from huggingface_hub.utils import get_session, hf_raise_for_status

from lilong.floors.hub.service import namespaces
from lilong.ground.access import SYSTEM, Actor

from .conftest import HARBOUR, LANTERN, PEOPLE, Served

Api = Callable[[str], HfApi]


@pytest.fixture
def api(served: Served) -> Api:
    return lambda user: HfApi(endpoint=served.url, token=served.tokens.get(user) or False)


@pytest.fixture
def name() -> str:
    return f"{LANTERN}/{uuid.uuid4().hex[:12]}"


@pytest.fixture
def hub_token(served: Served) -> Iterator[Callable[[str], HfApi]]:
    """Clients whose token reads and writes the hub and nothing else, as those that were brought over from another hub do."""
    house = served.house

    def made(user: str, *scopes: str) -> HfApi:
        _, token = house.db.write(lambda tx: house.access.add_token(tx, Actor(user), user, "hub only", scopes))
        return HfApi(endpoint=served.url, token=token)

    yield made


LARGE = random.Random("duplicates").randbytes(1_500_000)


def filled(api: HfApi, name: str, kind: str, **options: object) -> None:
    api.create_repo(name, repo_type=kind, **options)  # type: ignore[arg-type]
    files = {"README.md": b"---\nlicense: mit\n---\n# Tide\n", "data/small.txt": b"small\n", "large.parquet": LARGE}
    if kind == "model":
        files["large.txt"] = b"0123456789abcde\n" * 100_000
        del files["large.parquet"]
    api.create_commit(name, [CommitOperationAdd(path, data) for path, data in files.items()], commit_message="Fill", repo_type=kind)


# --- duplicates ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["model", "dataset"])
def test_a_duplicate_has_the_same_files_in_one_commit_without_a_byte_being_sent(api: Api, name: str, kind: str, tmp_path: Path) -> None:
    filled(api("mei"), name, kind)
    url = api("mei").duplicate_repo(name, f"{name}-copy", repo_type=kind)
    assert (url.repo_id, url.repo_type) == (f"{name}-copy", kind)

    def content(name: str) -> dict[str, str]:
        return {
            entry.path: entry.blob_id for entry in api("mei").list_repo_tree(name, recursive=True, repo_type=kind) if hasattr(entry, "size")
        }

    assert content(f"{name}-copy") == content(name)
    assert [commit.title for commit in api("mei").list_repo_commits(f"{name}-copy", repo_type=kind)] == [f"Duplicate from {name}"]
    large = "large.parquet" if kind == "dataset" else "large.txt"
    one, two = (Path(api("jun").hf_hub_download(n, large, repo_type=kind, cache_dir=tmp_path / n)) for n in (name, f"{name}-copy"))
    assert one.read_bytes() == two.read_bytes()
    assert api("mei").repo_info(f"{name}-copy", repo_type=kind).card_data["license"] == "mit"  # type: ignore[index, union-attr]


def test_a_duplicate_of_what_is_private_stays_so_unless_it_is_said(api: Api, name: str) -> None:
    filled(api("mei"), name, "dataset", private=True)
    api("mei").duplicate_repo(name, f"{name}-a", repo_type="dataset")
    api("mei").duplicate_repo(name, f"{name}-b", repo_type="dataset", private=False)
    assert api("mei").dataset_info(f"{name}-a").private and not api("mei").dataset_info(f"{name}-b").private


def test_what_one_may_not_read_cannot_be_duplicated(api: Api, served: Served, name: str) -> None:
    filled(api("mei"), name, "dataset", private=True)
    for source in (name, f"{name}-missing"):
        with pytest.raises(RepositoryNotFoundError):
            api("tom").duplicate_repo(source, f"{HARBOUR}/{uuid.uuid4().hex[:8]}", repo_type="dataset")
    api("mei").update_repo_settings(name, private=False, gated="manual", repo_type="dataset")
    with pytest.raises(GatedRepoError):
        api("tom").duplicate_repo(name, f"{HARBOUR}/{uuid.uuid4().hex[:8]}", repo_type="dataset")
    httpx.post(f"{served.url}/datasets/{name}/ask-access", headers={"authorization": f"Bearer {served.tokens['tom']}"}, json={})
    api("mei").accept_access_request(name, "tom", repo_type="dataset")
    copy = f"{HARBOUR}/{uuid.uuid4().hex[:8]}"
    api("tom").duplicate_repo(name, copy, repo_type="dataset")
    assert api("tom").dataset_info(copy).gated == "manual", "the gate goes with the files"


def test_a_duplicate_is_made_once_and_only_where_one_may_write(api: Api, name: str) -> None:
    filled(api("mei"), name, "model")
    api("mei").duplicate_repo(name, f"{name}-copy")
    with pytest.raises(HfHubHTTPError) as taken:
        api("mei").duplicate_repo(name, f"{name}-copy")
    assert taken.value.response.status_code == 409
    assert api("mei").duplicate_repo(name, f"{name}-copy", exist_ok=True).repo_id == f"{name}-copy"
    for user, target in (("mei", f"{HARBOUR}/x"), ("ada", f"{LANTERN}/{uuid.uuid4().hex[:8]}")):
        with pytest.raises(HfHubHTTPError) as refused:
            api(user).duplicate_repo(name, target)
        assert refused.value.response.status_code == 403
    for bad in ("..", "x", f"{LANTERN}/..", f"{LANTERN}/a/b"):
        with pytest.raises(HfHubHTTPError) as refused:
            _duplicated(api("mei"), name, bad)
        assert 400 <= refused.value.response.status_code < 500


def _duplicated(api: HfApi, name: str, target: object) -> None:
    answer = get_session().post(f"{api.endpoint}/api/models/{name}/duplicate", headers=api._build_hf_headers(), json={"repository": target})
    hf_raise_for_status(answer)


def test_a_duplicate_counts_against_the_quota_of_where_it_goes(api: Api, served: Served, name: str) -> None:
    filled(api("mei"), name, "dataset")
    house, full = served.house, f"full-{uuid.uuid4().hex[:8]}"

    def make(tx: object) -> None:
        house.access.add_organisation(tx, SYSTEM, full)  # type: ignore[arg-type]
        house.access.grant(tx, SYSTEM, "mei", "owner", full)  # type: ignore[arg-type]
        namespaces.put(tx, full, False, 1_000_000)  # type: ignore[arg-type]

    house.db.write(make)
    with pytest.raises(HfHubHTTPError) as refused:
        api("mei").duplicate_repo(name, f"{full}/copy", repo_type="dataset")
    assert refused.value.response.status_code == 403
    assert not api("mei").repo_exists(f"{full}/copy", repo_type="dataset")


# --- lists --------------------------------------------------------------------------------------------------------------

CARD = b"""---
language: [en, de]
task_categories: [text-classification]
task_ids: [sentiment-classification]
size_categories: [1K<n<10K]
multilinguality: [multilingual]
language_creators: [found]
license: mit
---
"""


@pytest.mark.parametrize(
    "wanted",
    [
        {"language": "en"},
        {"language": ["en", "de"]},
        {"task_categories": "text-classification"},
        {"task_ids": "sentiment-classification"},
        {"size_categories": "1K<n<10K"},
        {"multilinguality": "multilingual"},
        {"language_creators": "found"},
        {"filter": "license:mit"},
    ],
)
def test_data_sets_are_filtered_by_what_their_cards_say(api: Api, name: str, wanted: dict[str, object]) -> None:
    api("mei").create_repo(name, repo_type="dataset")
    api("mei").upload_file(path_or_fileobj=CARD, path_in_repo="README.md", repo_id=name, repo_type="dataset")
    assert name in {found.id for found in api("jun").list_datasets(**wanted)}  # type: ignore[arg-type]
    assert not list(api("jun").list_datasets(**wanted, search="nothing-is-called-so"))  # type: ignore[arg-type]


def test_the_tags_of_data_sets_come_by_their_type(api: Api, name: str) -> None:
    api("mei").create_repo(name, repo_type="dataset")
    api("mei").upload_file(path_or_fileobj=CARD, path_in_repo="README.md", repo_id=name, repo_type="dataset")
    tags = api("jun").get_dataset_tags()
    assert {"id": "language:en", "label": "en", "type": "language"} in tags["language"]
    assert {"task_categories:text-classification", "language:de"} <= set(api("jun").dataset_info(name).tags or [])


# --- what is not here, and who may see whom -------------------------------------------------------------------------------


@pytest.mark.parametrize("user", ["mei", "nobody"])
def test_spaces_and_kernels_are_missing_in_the_way_that_the_client_knows(api: Api, name: str, user: str) -> None:
    assert not api(user).repo_exists(name, repo_type="space")
    for ask in (
        lambda: api(user).space_info(name),
        lambda: api(user).get_space_runtime(name),
        lambda: api(user).hf_hub_download(name, "app.py", repo_type="space"),
        lambda: api(user).kernel_info(name),
    ):
        with pytest.raises(RepositoryNotFoundError):
            ask()
    if user == "mei":
        with pytest.raises(RepositoryNotFoundError):
            api(user).add_space_secret(name, "KEY", "value")


def test_a_token_for_the_hub_alone_sees_the_own_organisation(hub_token: Callable[..., HfApi], api: Api) -> None:
    mine = hub_token("jun", "hub.read")
    assert mine.get_organization_overview(LANTERN).num_users == len([1 for _, organisation in PEOPLE.values() if organisation == LANTERN])
    assert {"mei", "jun", "ada"} <= {user.username for user in mine.list_organization_members(LANTERN)}
    assert mine.get_user_overview("ada").username == "ada"
    assert isinstance(list(mine.list_user_repos(LANTERN)), list)
    stranger = hub_token("tom", "hub.read")
    with pytest.raises(HfHubHTTPError):
        list(stranger.list_user_repos(LANTERN))


def test_a_webhook_keeps_what_a_change_does_not_name(api: Api) -> None:
    made = api("mei").create_webhook(url="https://hooks.example.com/a", watched=[{"type": "org", "name": LANTERN}], domains=["repo"])
    changed = api("mei").update_webhook(made.id, url="https://hooks.example.com/b")
    assert (changed.url, changed.watched, changed.domains) == ("https://hooks.example.com/b", made.watched, ["repo"])
    api("mei").delete_webhook(made.id)


def test_names_without_an_organisation_are_missing_repositories(api: Api) -> None:
    assert not api("mei").revision_exists("nothing-here", "main")
    for ask in (
        lambda: api("mei").list_repo_commits("nothing-here"),
        lambda: list(api("mei").list_repo_tree("nothing-here")),
        lambda: api("mei").get_paths_info("nothing-here", ["a"]),
        lambda: api("mei").create_branch("nothing-here", branch="b"),
        lambda: api("mei").upload_file(path_or_fileobj=b"x", path_in_repo="x.txt", repo_id="nothing-here"),
    ):
        with pytest.raises(RepositoryNotFoundError):
            ask()


def test_buckets_need_their_namespace_and_list_all_files_unless_told_otherwise(api: Api, name: str) -> None:
    api("mei").create_bucket(name)
    api("mei").batch_bucket_files(name, add=[(b"one", "one.txt"), (b"two", "sub/two.txt")])
    assert {entry.path for entry in api("mei").list_bucket_tree(name)} == {"one.txt", "sub/two.txt"}
    assert {entry.path for entry in api("mei").list_bucket_tree(name, recursive=False)} == {"one.txt", "sub"}
    short = name.partition("/")[2]
    for ask in (lambda: api("mei").bucket_info(short), lambda: api("mei").delete_bucket(short)):
        with pytest.raises(HfHubHTTPError) as refused:
            ask()
        assert refused.value.response.status_code == 404
    assert list(api("tom").list_buckets("tom")) == []


def test_a_name_in_another_case_leads_to_the_repository_for_those_who_see_it(api: Api) -> None:
    name = f"{LANTERN}/CaSe-{uuid.uuid4().hex[:8]}"
    api("mei").create_repo(name, private=True)
    api("mei").upload_file(path_or_fileobj=b"x", path_in_repo="x.txt", repo_id=name.lower())
    assert api("jun").model_info(name.upper().replace(LANTERN.upper(), LANTERN)).id == name
    with pytest.raises(RepositoryNotFoundError):
        api("tom").model_info(name.lower())


def test_a_folder_is_deleted_by_its_bare_name_too(api: Api, name: str) -> None:
    api("mei").create_repo(name)
    files = [CommitOperationAdd(path, b"x") for path in ("a/one.txt", "a/b/two.txt", "ab.txt")]
    api("mei").create_commit(name, files, commit_message="Add")
    api("mei").create_commit(name, [CommitOperationDelete("a")], commit_message="Delete")
    assert api("mei").list_repo_files(name) == [".gitattributes", "ab.txt"]
    with pytest.raises(EntryNotFoundError):
        api("mei").create_commit(name, [CommitOperationDelete("ab.txt/")], commit_message="No folder")


def test_the_id_that_a_client_gives_its_request_comes_back(served: Served) -> None:
    import httpx

    def id_of(**headers: str) -> str:
        return httpx.get(f"{served.url}/api/models", headers=headers).headers["x-request-id"]

    assert id_of(**{"x-request-id": "b1946ac9-2492-4d23"}) == "b1946ac9-2492-4d23"
    assert id_of(**{"x-amzn-trace-id": "Root=1-67891233-abcdef"}) == "Root=1-67891233-abcdef"
    for odd in ("", "short", "x" * 200, "with blank in it", 'quote"quote'):
        assert id_of(**{"x-request-id": odd}).startswith("req-")
