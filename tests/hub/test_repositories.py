"""Repositories as the real client finds, moves, settles and squashes them."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
from huggingface_hub import CommitOperationAdd, CommitOperationCopy, HfApi
from huggingface_hub.errors import GatedRepoError, HfHubHTTPError, RepositoryNotFoundError

from .conftest import HARBOUR, LANTERN, Served

Api = Callable[[str], HfApi]


@pytest.fixture
def api(served: Served) -> Api:
    return lambda user: HfApi(endpoint=served.url, token=served.tokens.get(user) or False)


@pytest.fixture
def name() -> str:
    return f"{LANTERN}/{uuid.uuid4().hex[:12]}"


def add(api: HfApi, name: str, content: bytes, path: str = "README.md", **more: str) -> str:
    return str(api.upload_file(path_or_fileobj=content, path_in_repo=path, repo_id=name, **more).oid)


CARD = b"---\nlicense: apache-2.0\nlibrary_name: gguf\npipeline_tag: text-generation\ntags: [tide, %s]\n---\n# Tide\n"


def test_lists_filter_by_tags_of_the_card_and_sort(api: Api) -> None:
    mark = f"mark{uuid.uuid4().hex[:8]}"
    names = [f"{LANTERN}/{letter}-{mark}" for letter in "abc"]
    for repository in names:
        api("mei").create_repo(repository)
        add(api("mei"), repository, CARD % mark.encode())
    add(api("mei"), names[0], CARD % b"else")

    def found(**wanted: object) -> list[str]:
        return [model.id for model in api("jun").list_models(**wanted)]  # type: ignore[arg-type]

    assert found(filter=mark) == [names[2], names[1]]
    assert found(filter=[mark, "license:apache-2.0"], pipeline_tag="text-generation") == [names[2], names[1]]
    assert found(filter=[mark, "license:mit"]) == []
    assert found(search=mark, sort="created_at") == [names[2], names[1], names[0]]
    assert found(search=mark, sort="last_modified") == [names[0], names[2], names[1]]
    assert found(search=mark, sort="created_at", limit=2) == [names[2], names[1]]
    assert found(search=mark, gated=True) == []
    (model,) = api("jun").list_models(search=f"b-{mark}", full=True, cardData=True)
    assert model.card_data is not None and model.card_data.license == "apache-2.0"
    assert {file.rfilename for file in model.siblings or []} == {".gitattributes", "README.md"}
    assert (model.pipeline_tag, model.library_name) == ("text-generation", "gguf")
    assert mark in {tag["id"] for group in api("jun").get_model_tags().values() for tag in group}


def test_pages_of_a_list_neither_miss_nor_repeat_one_whatever_it_is_sorted_by(api: Api, served: Served) -> None:
    mark = f"many{uuid.uuid4().hex[:8]}"
    names = [f"{LANTERN}/{number}-{mark}" for number in range(7)]
    for repository in names:
        api("mei").create_repo(repository, repo_type="dataset")
    for sort in ("lastModified", "createdAt", "downloads", "likes", "trendingScore"):
        url: str | None = f"{served.url}/api/datasets?search={mark}&limit=3&sort={sort}"
        found = []
        while url:
            answer = httpx.get(url, headers={"authorization": f"Bearer {served.tokens['mei']}"})
            found += [line["id"] for line in answer.json()]
            url = answer.links.get("next", {}).get("url")
        assert sorted(found) == names and len(found) == 7
    assert httpx.get(f"{served.url}/api/models?sort=beauty").status_code == 400
    assert httpx.get(f"{served.url}/api/models?num_parameters=lots").status_code == 400


def test_an_old_name_leads_to_where_the_repository_went(api: Api, name: str, tmp_path: Path) -> None:
    api("mei").create_repo(name)
    commit = add(api("mei"), name, b"# Tide\n")
    new = f"{LANTERN}/{uuid.uuid4().hex[:12]}"
    api("mei").move_repo(name, new)
    assert api("jun").model_info(name).id == new
    assert Path(api("jun").hf_hub_download(name, "README.md", cache_dir=tmp_path)).read_text() == "# Tide\n"
    assert api("jun").list_repo_commits(name)[0].commit_id == commit
    api("mei").create_repo(name)  # the name is free again, and then it is the new one's
    assert api("jun").model_info(name).id == name


def test_a_move_needs_rights_on_both_sides_and_a_free_name(api: Api, name: str) -> None:
    api("mei").create_repo(name)
    with pytest.raises(HfHubHTTPError, match="403"):
        api("mei").move_repo(name, f"{HARBOUR}/tide")
    with pytest.raises(HfHubHTTPError, match="403"):
        api("ada").move_repo(name, f"{LANTERN}/mine")
    with pytest.raises(RepositoryNotFoundError):
        api("mei").move_repo(f"{LANTERN}/nowhere", f"{LANTERN}/mine")
    other = f"{LANTERN}/{uuid.uuid4().hex[:12]}"
    api("mei").create_repo(other)
    with pytest.raises(HfHubHTTPError, match="409"):
        api("mei").move_repo(name, other)


def test_a_moved_private_repository_is_not_told_of(api: Api, name: str) -> None:
    api("mei").create_repo(name, private=True)
    api("mei").move_repo(name, f"{name}-b")
    with pytest.raises(RepositoryNotFoundError):
        api("tom").model_info(name)


def test_visibility_and_gates_are_settings(api: Api, name: str, tmp_path: Path) -> None:
    api("mei").create_repo(name)
    add(api("mei"), name, b"# Tide\n")
    api("mei").update_repo_settings(name, private=True)
    with pytest.raises(RepositoryNotFoundError):
        api("tom").model_info(name)
    api("mei").update_repo_settings(name, private=False, gated="manual")
    assert api("tom").model_info(name).gated == "manual"
    with pytest.raises(GatedRepoError):
        api("tom").hf_hub_download(name, "README.md", cache_dir=tmp_path)
    with pytest.raises(HfHubHTTPError, match="403"):
        api("tom").update_repo_settings(name, gated=False)
    api("mei").update_repo_settings(name, gated=False)
    assert api("tom").model_info(name).gated is False


def test_a_squashed_branch_has_one_commit_and_the_same_files(api: Api, name: str) -> None:
    api("mei").create_repo(name)
    for number in range(3):
        add(api("mei"), name, b"%d" % number, f"{number}.txt")
    files = api("mei").list_repo_files(name)
    api("mei").super_squash_history(name, commit_message="All of it")
    assert [commit.title for commit in api("jun").list_repo_commits(name)] == ["All of it"]
    assert api("jun").list_repo_files(name) == files
    assert {entry.last_commit.title for entry in api("jun").list_repo_tree(name, expand=True) if entry.last_commit} == {"All of it"}
    add(api("mei"), name, b"more", "more.txt")
    assert len(api("jun").list_repo_commits(name)) == 2


def test_large_files_are_listed_and_taken_out_of_all_history(api: Api, name: str) -> None:
    api("mei").create_repo(name, repo_type="dataset")
    first = add(api("mei"), name, b"\1" * (2 << 20), "big.bin", repo_type="dataset")
    add(api("mei"), name, b"kept", "small.txt", repo_type="dataset")
    api("mei").delete_file("big.bin", name, repo_type="dataset")
    (file,) = api("mei").list_lfs_files(name, repo_type="dataset")
    assert (file.filename, file.size) == ("big.bin", 2 << 20)
    with pytest.raises(HfHubHTTPError, match="409"):
        api("mei").permanently_delete_lfs_files(name, [file], rewrite_history=False, repo_type="dataset")
    api("mei").permanently_delete_lfs_files(name, [file], repo_type="dataset")
    assert list(api("mei").list_lfs_files(name, repo_type="dataset")) == []
    commits = api("mei").list_repo_commits(name, repo_type="dataset")
    assert [commit.title for commit in commits][-1] == "initial commit"
    headers = {"authorization": f"Bearer {api('mei').token}"}
    assert (
        httpx.head(f"{api('mei').endpoint}/datasets/{name}/resolve/{first}/big.bin", headers=headers).status_code == 404
    )  # by its old commit too
    for commit in commits:
        assert "big.bin" not in api("mei").list_repo_files(name, revision=commit.commit_id, repo_type="dataset")
    assert "small.txt" in api("mei").list_repo_files(name, repo_type="dataset")


def test_a_large_file_is_copied_to_another_repository_without_being_sent(api: Api, name: str) -> None:
    api("mei").create_repo(name, repo_type="dataset")
    add(api("mei"), name, b"\2" * (2 << 20), "big.bin", repo_type="dataset")
    other = f"{LANTERN}/{uuid.uuid4().hex[:12]}"
    api("mei").create_repo(other, repo_type="dataset")
    duplicate = f"{api('mei').endpoint}/api/datasets/{name}/lfs-files/duplicate"
    (file,) = api("mei").list_lfs_files(name, repo_type="dataset")
    body = {"target": {"type": "dataset", "name": other}, "files": [{"sha256": file.file_oid}, {"sha256": "0" * 64}]}
    answer = httpx.post(duplicate, json=body, headers={"authorization": f"Bearer {api('mei').token}"})
    assert [failed["sha256"] for failed in answer.json()["failed"]] == ["0" * 64]
    copies = [CommitOperationCopy("big.bin", "again.bin"), CommitOperationAdd("note.txt", b"note")]
    api("mei").create_commit(name, copies, commit_message="Copy", repo_type="dataset")
    assert "again.bin" in api("mei").list_repo_files(name, repo_type="dataset")
