"""The real huggingface_hub against a real server."""

from __future__ import annotations

import hashlib
import io
import json
import os
import socket
import time
import urllib.error
import urllib.parse
import urllib.request
import uuid
from collections.abc import Callable
from pathlib import Path

import pytest
from huggingface_hub import CommitOperationAdd, CommitOperationCopy, CommitOperationDelete, HfApi, hf_hub_download
from huggingface_hub.errors import (
    BadRequestError,
    EntryNotFoundError,
    HfHubHTTPError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from lilong.floors.hub.contract import Hub, Kind
from lilong.floors.hub.service import transfer
from lilong.ground.access import SYSTEM, Actor
from lilong.ground.db import Tx

from .conftest import LANTERN, Served

MIB = 1 << 20
Api = Callable[[str | None], HfApi]


@pytest.fixture
def api(served: Served) -> Api:
    def of(user: str | None) -> HfApi:
        return HfApi(endpoint=served.url, token=served.tokens[user] if user else False)

    return of


@pytest.fixture
def name(request: pytest.FixtureRequest) -> str:
    return f"{LANTERN}/{hashlib.sha256(request.node.nodeid.encode()).hexdigest()[:12]}"


def snapshot(api: HfApi, name: str, into: Path, **options: object) -> dict[str, bytes]:
    folder = Path(api.snapshot_download(name, local_dir=into, **options))  # type: ignore[arg-type]
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and ".cache" not in path.parts and path.name != ".gitattributes"
    }


def laid(folder: Path, files: dict[str, bytes]) -> Path:
    for path, content in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(content)
    return folder


def weights(size: int) -> bytes:
    """A safetensors file with one tensor of so many bytes."""
    header = json.dumps({"w": {"dtype": "U8", "shape": [size], "data_offsets": [0, size]}}).encode()
    return len(header).to_bytes(8, "little") + header + os.urandom(size)


def test_a_token_says_who_one_is(api: Api) -> None:
    me = api("mei").whoami()
    assert me["name"] == "mei"
    assert (LANTERN, "admin") in [(org["name"], org["roleInOrg"]) for org in me["orgs"]]


def test_a_folder_comes_back_as_it_was(api: Api, name: str, tmp_path: Path) -> None:
    files = {
        "README.md": "---\nlicense: apache-2.0\n---\n# 灯笼\n".encode(),
        "config.json": b"{}",
        "model.safetensors": weights(12 * MIB),
        "small.safetensors": weights(10),
        "deep/er/notes with spaces.txt": b"hello\n",
        "空/文.txt": "文".encode(),
        "long.jsonl": b'{"a": 1}\n' * 200_000,
        "empty.txt": b"",
    }
    created = api("mei").create_repo(name, private=True)
    assert created.repo_id == name
    commit = api("mei").upload_folder(repo_id=name, folder_path=laid(tmp_path / "in", files), commit_message="All of it")
    assert commit.oid == api("mei").model_info(name).sha
    assert snapshot(api("ada"), name, tmp_path / "out") == files
    assert snapshot(api("ada"), name, tmp_path / "pinned", revision=commit.oid) == files


def test_a_dataset_has_the_same_doors(api: Api, name: str, tmp_path: Path) -> None:
    url = api("mei").create_repo(name, repo_type="dataset")
    assert (url.repo_type, url.repo_id) == ("dataset", name)
    files = {"data/train.parquet": b"PAR1" + os.urandom(2 * MIB), "archive.zip": b"PK\x03\x04 a dataset may hold anything"}
    api("mei").upload_folder(repo_id=name, repo_type="dataset", folder_path=laid(tmp_path / "in", files))
    assert snapshot(api("tom"), name, tmp_path / "out", repo_type="dataset") == files
    assert {s.rfilename for s in api("tom").dataset_info(name).siblings or []} == {".gitattributes", *files}


def test_a_large_file_from_a_buffer_goes_by_lfs_and_is_not_sent_twice(api: Api, name: str, served: Served, tmp_path: Path) -> None:
    content = weights(11 * MIB)
    api("mei").create_repo(name)
    api("mei").upload_file(path_or_fileobj=io.BytesIO(content), path_in_repo="a.safetensors", repo_id=name)
    info = api("mei").model_info(name, files_metadata=True)
    sibling = next(s for s in info.siblings or [] if s.rfilename == "a.safetensors")
    assert sibling.lfs is not None
    assert sibling.lfs.sha256 == hashlib.sha256(content).hexdigest()
    assert (sibling.size, info.used_storage) == (len(content), len(content))
    again = _batch(served, "mei", name, hashlib.sha256(content).hexdigest(), len(content))
    assert "actions" not in again["objects"][0]
    path = hf_hub_download(name, "a.safetensors", endpoint=served.url, token=served.tokens["mei"], cache_dir=tmp_path)
    assert Path(path).read_bytes() == content


def test_a_commit_that_changes_nothing_is_the_head(api: Api, name: str) -> None:
    api("mei").create_repo(name)
    first = api("mei").upload_file(path_or_fileobj=b"one", path_in_repo="a.txt", repo_id=name)
    again = api("mei").upload_file(path_or_fileobj=b"one", path_in_repo="a.txt", repo_id=name)
    assert again.oid == first.oid
    assert [c.title for c in api("mei").list_repo_commits(name)] == ["Upload a.txt with huggingface_hub", "initial commit"]


def test_files_are_copied_and_deleted(api: Api, name: str, tmp_path: Path) -> None:
    big = weights(2 * MIB)
    api("mei").create_repo(name)
    api("mei").upload_folder(
        repo_id=name, folder_path=laid(tmp_path / "in", {"a.txt": b"a", "w.safetensors": big, "d/x.txt": b"x", "d/y.txt": b"y"})
    )
    api("mei").create_commit(
        name,
        [
            CommitOperationCopy("w.safetensors", "v.safetensors"),
            CommitOperationCopy("a.txt", "b.txt"),
            CommitOperationDelete("a.txt"),
            CommitOperationDelete("d/"),
            CommitOperationAdd("e/z.txt", b"z"),
        ],
        commit_message="Move things",
        commit_description="and say why",
    )
    expected = {"b.txt": b"a", "w.safetensors": big, "v.safetensors": big, "e/z.txt": b"z"}
    assert snapshot(api("mei"), name, tmp_path / "out") == expected
    newest = api("mei").list_repo_commits(name, formatted=True)[0]
    assert (newest.title, newest.message, newest.authors) == ("Move things", "and say why", ["mei"])
    with pytest.raises(EntryNotFoundError):
        api("mei").delete_file("never.txt", name)


def test_deleting_twice_with_an_answer_lost_in_between_is_one_commit(api: Api, name: str, served: Served) -> None:
    api("mei").create_repo(name)
    api("mei").upload_file(path_or_fileobj=b"a", path_in_repo="a.txt", repo_id=name)
    body = b'{"key":"header","value":{"summary":"Away"}}\n{"key":"deletedFile","value":{"path":"a.txt"}}'
    first, second = (_post(served, "mei", f"/api/models/{name}/commit/main", body)[1]["commitOid"] for _ in range(2))
    assert first == second


def test_two_commits_on_one_parent_are_told_apart(api: Api, name: str) -> None:
    api("mei").create_repo(name)
    head = api("mei").model_info(name).sha
    api("mei").create_commit(name, [CommitOperationAdd("a.txt", b"a")], commit_message="first", parent_commit=head)
    with pytest.raises(HfHubHTTPError) as late:
        api("jun").create_commit(name, [CommitOperationAdd("b.txt", b"b")], commit_message="second", parent_commit=head)
    assert late.value.response.status_code == 412
    api("jun").create_commit(name, [CommitOperationAdd("b.txt", b"b")], commit_message="second")
    assert {"a.txt", "b.txt"} < set(api("mei").list_repo_files(name))


def test_branches_and_tags(api: Api, name: str, tmp_path: Path) -> None:
    api("mei").create_repo(name)
    first = api("mei").upload_file(path_or_fileobj=b"1", path_in_repo="a.txt", repo_id=name)
    api("mei").create_branch(name, branch="try/it")
    api("mei").create_tag(name, tag="v1", tag_message="the first")
    second = api("mei").upload_file(path_or_fileobj=b"2", path_in_repo="a.txt", repo_id=name, revision="try/it")
    refs = api("mei").list_repo_refs(name)
    assert {b.name: b.target_commit for b in refs.branches} == {"main": first.oid, "try/it": second.oid}
    assert [(t.name, t.ref, t.target_commit) for t in refs.tags] == [("v1", "refs/tags/v1", first.oid)]
    assert snapshot(api("mei"), name, tmp_path / "try", revision="try/it") == {"a.txt": b"2"}
    assert snapshot(api("mei"), name, tmp_path / "v1", revision="v1") == {"a.txt": b"1"}
    assert api("mei").model_info(name, revision="try/it").sha == second.oid
    with pytest.raises(HfHubHTTPError) as there:
        api("mei").create_branch(name, branch="try/it")
    assert there.value.response.status_code == 409
    api("mei").create_branch(name, branch="try/it", exist_ok=True)
    with pytest.raises(BadRequestError):
        api("mei").create_branch(name, branch="refs/pr/5")
    with pytest.raises(HfHubHTTPError) as main:
        api("mei").delete_branch(name, branch="main")
    assert main.value.response.status_code == 403
    api("mei").delete_branch(name, branch="try/it")
    api("mei").delete_tag(name, tag="v1")
    with pytest.raises(RevisionNotFoundError):
        api("mei").model_info(name, revision="v1")


def test_creating_twice_is_a_conflict_that_names_the_place(api: Api, name: str) -> None:
    api("mei").create_repo(name)
    with pytest.raises(HfHubHTTPError) as there:
        api("mei").create_repo(name)
    assert there.value.response.status_code == 409
    assert there.value.response.json()["url"].endswith(name)
    assert api("mei").create_repo(name, exist_ok=True).repo_id == name


def test_without_a_namespace_the_users_own_is_meant(api: Api, name: str) -> None:
    short = name.split("/")[1]
    assert api("mei").create_repo(short).repo_id == f"mei/{short}"


def test_a_deleted_repository_is_gone(api: Api, name: str) -> None:
    api("jun").create_repo(name)
    api("mei").delete_repo(name)
    assert not api("mei").repo_exists(name)
    api("jun").delete_repo(name, missing_ok=True)


def test_only_managers_delete_what_others_made(api: Api, name: str) -> None:
    api("mei").create_repo(name)
    with pytest.raises(HfHubHTTPError) as refused:
        api("jun").delete_repo(name)
    assert refused.value.response.status_code == 403


@pytest.mark.parametrize("who", ["tom", None])
def test_private_foreign_and_missing_look_the_same(api: Api, name: str, who: str | None, served: Served) -> None:
    api("mei").create_repo(name, private=True)
    api("mei").upload_file(path_or_fileobj=b"secret", path_in_repo="a.txt", repo_id=name)
    answers = []
    for asked in (name, f"{LANTERN}/no-such-thing"):
        for path in (f"/api/models/{asked}", f"/{asked}/resolve/main/a.txt", f"/api/models/{asked}/tree/main", f"/api/models/{asked}/refs"):
            status, body, headers = _get(served, who, path)
            answers.append((status, headers["x-error-code"], body["error"].replace(asked, "X")))
    assert set(answers) == {(401 if who is None else 404, "RepoNotFound", "There is no model repository 'X' that you may see.")}
    with pytest.raises(RepositoryNotFoundError):
        api(who).model_info(name)
    assert name not in [m.id for m in api(who).list_models(author=LANTERN)]


def test_readers_may_not_write(api: Api, name: str) -> None:
    api("mei").create_repo(name, private=True)
    for who in ("ada", "tom"):
        with pytest.raises(HfHubHTTPError) as refused:
            api(who).upload_file(path_or_fileobj=b"x", path_in_repo="a.txt", repo_id=name)
        assert refused.value.response.status_code == (403 if who == "ada" else 404)


def test_a_public_repository_is_read_by_all_and_written_by_its_own(api: Api, name: str, tmp_path: Path) -> None:
    api("mei").create_repo(name, private=False)
    api("mei").upload_file(path_or_fileobj=b"open", path_in_repo="a.txt", repo_id=name)
    assert snapshot(api(None), name, tmp_path / "out") == {"a.txt": b"open"}
    with pytest.raises(HfHubHTTPError) as refused:
        api("tom").upload_file(path_or_fileobj=b"x", path_in_repo="a.txt", repo_id=name)
    assert refused.value.response.status_code == 403


def test_a_wrong_token_is_told_from_a_missing_repository(served: Served, name: str) -> None:
    with pytest.raises(HfHubHTTPError) as refused:
        HfApi(endpoint=served.url, token="ll_wrong").model_info(name)
    assert not isinstance(refused.value, RepositoryNotFoundError)
    assert refused.value.response.status_code == 401
    assert refused.value.response.headers["x-error-message"] == "Invalid credentials in Authorization header"


def test_lists_are_searched_and_paged(api: Api, name: str) -> None:
    short = name.split("/")[1]
    for number in range(5):
        api("mei").create_repo(f"{name}-{number}", private=number % 2 == 0)
    found = [m.id for m in api("mei").list_models(author=LANTERN, search=short[:8].upper())]
    assert found == [f"{name}-{number}" for number in reversed(range(5))]
    assert [m.id for m in api("tom").list_models(search=short)] == [f"{name}-3", f"{name}-1"]
    assert list(api("mei").list_models(search="%")) == []
    assert [m.id for m in api("mei").list_models(search=short, limit=2)] == found[:2]


def test_pages_of_a_list_follow_one_another(served: Served, api: Api, name: str) -> None:
    for number in range(3):
        api("mei").create_repo(f"{name}-{number}")
    path, seen = f"/api/models?search={name.split('/')[1]}&limit=1", []
    while path:
        _, body, headers = _get(served, "mei", path)
        seen += [line["id"] for line in body]
        link = headers.get("link", "")
        path = link.split(">")[0].removeprefix(f"<{served.url}") if link else ""
    assert seen == [f"{name}-2", f"{name}-1", f"{name}-0"]


def test_the_tree_is_listed_in_pages(served: Served, api: Api, name: str, tmp_path: Path) -> None:
    files = {f"{folder}/{number}.txt": f"{folder}{number}".encode() for folder in ("a", "b", "a-b") for number in range(4)}
    api("mei").create_repo(name)
    api("mei").upload_folder(repo_id=name, folder_path=laid(tmp_path, files))
    path, seen = f"/api/models/{name}/tree/main?recursive=true&limit=3", []
    while path:
        _, body, headers = _get(served, "mei", path)
        assert len(body) <= 3
        seen += [line["path"] for line in body]
        link = headers.get("link", "")
        path = link.split(">")[0].removeprefix(f"<{served.url}") if link else ""
    assert len(seen) == len(set(seen))
    assert set(seen) == {".gitattributes", "a", "b", "a-b", *files}
    assert [e.path for e in api("mei").list_repo_tree(name, "a-b")] == [f"a-b/{number}.txt" for number in range(4)]
    with pytest.raises(EntryNotFoundError):
        list(api("mei").list_repo_tree(name, "nowhere"))


def test_entries_tell_their_last_commit(api: Api, name: str) -> None:
    api("mei").create_repo(name)
    one = api("mei").upload_file(path_or_fileobj=b"1", path_in_repo="d/one.txt", repo_id=name)
    two = api("mei").upload_file(path_or_fileobj=b"2", path_in_repo="d/two.txt", repo_id=name)
    infos = api("mei").get_paths_info(name, ["d/one.txt", "d", "gone.txt"], expand=True)
    assert {i.path: i.last_commit and i.last_commit.oid for i in infos} == {"d/one.txt": one.oid, "d": two.oid}


def test_the_card_shows_in_the_info(api: Api, name: str) -> None:
    api("mei").create_repo(name)
    card = "---\nlicense: mit\ntags: [tiny]\nlibrary_name: transformers\npipeline_tag: text-generation\nlanguage: [en, zh]\n---\n# Card\n"
    api("mei").upload_file(path_or_fileobj=card.encode(), path_in_repo="README.md", repo_id=name)
    info = api("mei").model_info(name)
    assert info.card_data is not None
    assert info.card_data.license == "mit"
    assert (info.library_name, info.pipeline_tag) == ("transformers", "text-generation")
    assert info.tags == ["transformers", "text-generation", "tiny", "license:mit", "en", "zh"]
    assert set(vars(api("mei").model_info(name, expand=["sha", "tags"]))) >= {"sha", "tags"}


def test_what_cannot_fit_into_the_quota_is_refused_in_words_before_it_is_sent(api: Api, served: Served) -> None:
    organisation = f"narrow-{uuid.uuid4().hex[:8]}"

    def found(tx: Tx) -> None:
        served.house.access.add_organisation(tx, SYSTEM, organisation)
        served.house.access.grant(tx, SYSTEM, "mei", "owner", organisation)
        tx.run("INSERT INTO hub_namespaces (organisation, quota_bytes) VALUES (:o, 2000001)", o=organisation)

    served.house.db.write(found)
    name = f"{organisation}/tide"
    api("mei").create_repo(name, repo_type="dataset")
    kept = os.urandom(2_000_000)
    api("mei").upload_file(path_or_fileobj=kept, path_in_repo="kept.bin", repo_id=name, repo_type="dataset")
    with pytest.raises(HfHubHTTPError, match="keeps 2000000 of the 2000001 bytes that it may keep; 3000000 more") as refused:
        api("mei").upload_file(path_or_fileobj=bytes(3_000_000), path_in_repo="more.bin", repo_id=name, repo_type="dataset")
    assert "/preupload/" in str(refused.value)
    assert ".." not in str(refused.value).partition("Cannot access")[0]
    api("mei").upload_file(path_or_fileobj=kept, path_in_repo="again.bin", repo_id=name, repo_type="dataset")  # what is there already fits


def test_a_card_with_broken_metadata_is_refused(api: Api, name: str) -> None:
    api("mei").create_repo(name)
    with pytest.raises(ValueError, match="front matter"):
        api("mei").upload_file(path_or_fileobj=b"---\na: [1\n---\n", path_in_repo="README.md", repo_id=name)
    bomb = b"---\na: &a [x, x]\nb: [*a, *a]\n---\n"
    with pytest.raises(ValueError, match="aliases"):
        api("mei").upload_file(path_or_fileobj=bomb, path_in_repo="README.md", repo_id=name)


@pytest.mark.parametrize(
    ("path", "content"),
    [
        ("pytorch_model.bin", b"anything"),
        ("model.pt", b"PK\x03\x04"),
        ("harmless.txt", b"\x80\x04\x95 a pickle by another name"),
        ("weights.dat", b"\0\1\2\3"),
        ("model.safetensors", b"not safetensors at all, only its name"),
        ("model.gguf", b"GGUX" + bytes(40)),
    ],
)
def test_a_model_repository_takes_no_pickles_and_no_unknown_bytes(api: Api, name: str, path: str, content: bytes) -> None:
    api("mei").create_repo(name)
    with pytest.raises(HfHubHTTPError) as refused:
        api("mei").upload_file(path_or_fileobj=content, path_in_repo=path, repo_id=name)
    assert refused.value.response.status_code == 422
    assert path in str(refused.value)
    assert api("mei").list_repo_files(name) == [".gitattributes"]


@pytest.mark.parametrize("path", ["../up.txt", "a//b.txt", ".git/config", "a/.GIT/x", "x" * 300, "a\\b", "nul\0.txt"])
def test_path_tricks_are_refused(served: Served, api: Api, name: str, path: str) -> None:
    api("mei").create_repo(name)
    value = {"path": path, "content": "eA==", "encoding": "base64"}
    body = json.dumps({"key": "header", "value": {"summary": "x"}}) + "\n" + json.dumps({"key": "file", "value": value})
    status, answer, _ = _post(served, "mei", f"/api/models/{name}/commit/main", body.encode())
    assert (status, "path" in answer["error"]) == (422, True)


def test_the_digest_of_a_foreign_file_opens_nothing(served: Served, api: Api, name: str) -> None:
    secret = weights(3 * MIB)
    digest = hashlib.sha256(secret).hexdigest()
    api("mei").create_repo(name, private=True)
    api("mei").upload_file(path_or_fileobj=secret, path_in_repo="w.safetensors", repo_id=name)
    other = f"harbour-lab/{name.split('/')[1]}"
    api("tom").create_repo(other)
    assert "actions" in _batch(served, "tom", other, digest, len(secret))["objects"][0]
    line = {"key": "lfsFile", "value": {"path": "w.safetensors", "algo": "sha256", "oid": digest, "size": len(secret)}}
    body = json.dumps({"key": "header", "value": {"summary": "x"}}) + "\n" + json.dumps(line)
    status, answer, _ = _post(served, "tom", f"/api/models/{other}/commit/main", body.encode())
    assert (status, "Upload it" in answer["error"]) == (400, True)
    pointer = f"version https://git-lfs.github.com/spec/v1\noid sha256:{digest}\nsize {len(secret)}\n".encode()
    with pytest.raises(BadRequestError, match="pointer"):
        api("tom").upload_file(path_or_fileobj=pointer, path_in_repo="w.txt", repo_id=other)


def test_an_upload_must_be_what_it_said(served: Served, api: Api, name: str) -> None:
    api("mei").create_repo(name)
    digest = hashlib.sha256(b"right").hexdigest()
    href = _batch(served, "mei", name, digest, 5)["objects"][0]["actions"]["upload"]["href"]
    assert [_send("PUT", href, None, body)[0] for body in (b"wrong", b"righ", b"right!")] == [400, 400, 400]
    assert not served.house.blobs.has(f"sha256:{digest}")
    assert _send("PUT", href.replace("user=mei", "user=tom"), None, b"right")[0] == 403
    assert _send("PUT", href, None, b"right")[0] == 200


def test_a_link_that_has_expired_opens_nothing(served: Served) -> None:
    digest = "sha256:" + hashlib.sha256(b"late").hexdigest()
    link = transfer.Link("put", digest, 4, "mei", 1_000_000_000)
    _, fresh = transfer.link(served.house, "put", digest, 4, Actor("mei"))
    with pytest.raises(transfer.LinkNotUsable):
        transfer.check_link(served.house, link, link.signature(served.house))
    with pytest.raises(transfer.LinkNotUsable):
        transfer.check_link(served.house, link, fresh)


def test_a_client_that_goes_away_leaves_nothing(served: Served, api: Api, name: str) -> None:
    api("mei").create_repo(name)
    content = os.urandom(4 * MIB)
    digest = hashlib.sha256(content).hexdigest()
    href = _batch(served, "mei", name, digest, len(content))["objects"][0]["actions"]["upload"]["href"]
    parts = urllib.parse.urlsplit(href)
    incoming = served.house.settings.blobs / "incoming"
    with socket.create_connection((str(parts.hostname), int(parts.port or 0))) as line:
        line.sendall(
            f"PUT {parts.path}?{parts.query} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(content)}\r\n\r\n".encode() + content[: 3 * MIB]
        )
        _until(lambda: any(incoming.iterdir()))
    _until(lambda: not any(incoming.iterdir()))
    assert not served.house.blobs.has(f"sha256:{digest}")
    assert "actions" in _batch(served, "mei", name, digest, len(content))["objects"][0]


def test_a_file_beyond_the_limit_is_refused_before_it_is_sent(served: Served, api: Api, name: str) -> None:
    api("mei").create_repo(name)
    huge = (served.house.settings.max_file_mib << 20) + 1
    assert _batch(served, "mei", name, "0" * 64, huge)["objects"][0]["error"]["code"] == 413
    ask = {"files": [{"path": "a.txt", "size": huge, "sample": ""}]}
    assert _post(served, "mei", f"/api/models/{name}/preupload/main", json.dumps(ask).encode())[0] == 413


def test_git_lfs_fetches_what_a_repository_holds_and_nothing_else(served: Served, api: Api, name: str) -> None:
    content = weights(2 * MIB)
    digest = hashlib.sha256(content).hexdigest()
    api("mei").create_repo(name, private=True)
    api("mei").upload_file(path_or_fileobj=content, path_in_repo="w.safetensors", repo_id=name)
    ask = {"operation": "download", "objects": [{"oid": digest, "size": len(content)}, {"oid": "0" * 64, "size": 1}]}
    _, answer, _ = _post(served, "ada", f"/{name}.git/info/lfs/objects/batch", json.dumps(ask).encode())
    found, missing = answer["objects"]
    assert missing["error"]["code"] == 404
    assert _send("GET", found["actions"]["download"]["href"], None)[1] == content
    assert _post(served, "tom", f"/{name}.git/info/lfs/objects/batch", json.dumps(ask).encode())[0] == 404


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("not json", "not JSON"),
        ('{"key": "patch", "value": {}}', "key must be one of"),
        ('{"key": "file", "value": {"path": "a.txt", "content": "!!", "encoding": "base64"}}', "base64"),
        ('{"key": "file", "value": {"content": "x"}}', "no path"),
        ('{"key": "lfsFile", "value": {"path": "a", "algo": "sha256", "oid": "../../x"}}', "SHA-256"),
        ('{"key": "header", "value": {"summary": "x", "parentCommit": "nonsense"}}', "parentCommit"),
        ('{"key": "header", "value": {"summary": "x"}}', "there are none"),
    ],
)
def test_a_commit_that_cannot_be_read_says_where(served: Served, api: Api, name: str, line: str, said: str) -> None:
    api("mei").create_repo(name, exist_ok=True)
    status, answer, _ = _post(served, "mei", f"/api/models/{name}/commit/main", line.encode())
    assert (status in (400, 422), said in answer["error"]) == (True, True), answer


@pytest.mark.parametrize("path", ["/api/models/a%00/b", "/api/models?search=%00", "/a/b/resolve/main/%00", "/api/models/a/b?blobs=%00"])
def test_a_nul_in_a_url_is_refused(served: Served, path: str) -> None:
    assert _get(served, "mei", path)[0] == 400


def test_ranges_and_headers_of_a_file(served: Served, api: Api, name: str) -> None:
    content = weights(2 * MIB)
    api("mei").create_repo(name)
    head = api("mei").upload_file(path_or_fileobj=content, path_in_repo="w.safetensors", repo_id=name)
    path = f"/{name}/resolve/main/w.safetensors"
    digest = hashlib.sha256(content).hexdigest()
    status, body, headers = _send("HEAD", served.url + path, served.tokens["mei"])
    assert (status, body, headers["content-length"]) == (200, b"", str(len(content)))
    assert (headers["x-repo-commit"], headers["etag"], headers["x-linked-etag"]) == (head.oid, f'"{digest}"', f'"{digest}"')
    assert headers["x-linked-size"] == str(len(content))
    for asked, part, shown in [
        ("bytes=0-9", content[:10], "0-9"),
        ("bytes=100-", content[100:], f"100-{len(content) - 1}"),
        ("bytes=-7", content[-7:], f"{len(content) - 7}-{len(content) - 1}"),
    ]:
        status, body, headers = _send("GET", served.url + path, None, headers={"range": asked})
        assert (status, headers["content-range"], body == part) == (206, f"bytes {shown}/{len(content)}", True)
    status, _, headers = _send("GET", served.url + path, None, headers={"range": f"bytes={len(content)}-"})
    assert (status, headers["content-range"]) == (416, f"bytes */{len(content)}")
    assert _send("GET", served.url + path, None, headers={"if-none-match": f'"{digest}"'})[0] == 304


def test_a_missing_file_still_names_the_commit(served: Served, api: Api, name: str) -> None:
    api("mei").create_repo(name)
    status, _, headers = _get(served, "mei", f"/{name}/resolve/main/no.txt")
    assert (status, headers["x-error-code"], headers["x-repo-commit"]) == (404, "EntryNotFound", api("mei").model_info(name).sha)
    assert not api("mei").file_exists(name, "no.txt")


def test_no_file_of_a_repository_runs_as_our_page(served: Served, api: Api, name: str) -> None:
    api("mei").create_repo(name)
    api("mei").upload_file(path_or_fileobj=b"<script>alert(1)</script>", path_in_repo="x.html", repo_id=name)
    _, _, headers = _send("GET", f"{served.url}/{name}/resolve/main/x.html", None)
    assert headers["content-type"].startswith("text/plain")
    assert "sandbox" in headers["content-security-policy"]
    assert headers["x-content-type-options"] == "nosniff"


def test_encoded_slashes_belong_to_the_revision(served: Served, api: Api, name: str) -> None:
    api("mei").create_repo(name)
    api("mei").create_branch(name, branch="a/b")
    assert _get(served, "mei", f"/api/models/{name}/revision/a%2Fb")[0] == 200
    assert _get(served, "mei", f"/api/models/{name}/revision/refs%2Fheads%2Fa%2Fb")[0] == 200
    assert _get(served, "mei", f"/{name}/resolve/a%2Fb/.gitattributes", raw=True)[0] == 200
    assert _get(served, "mei", f"/{name}/resolve/a/b/.gitattributes")[0] == 404


def test_what_gitignore_names_stays_at_home(api: Api, name: str, tmp_path: Path) -> None:
    files = {".gitignore": b"*.log\n/build/\n!keep.log\n", "a.log": b"x", "keep.log": b"x", "build/out.txt": b"x", "src/build/in.txt": b"x"}
    api("mei").create_repo(name)
    api("mei").upload_file(path_or_fileobj=files[".gitignore"], path_in_repo=".gitignore", repo_id=name)
    api("mei").upload_folder(repo_id=name, folder_path=laid(tmp_path, files))
    assert set(api("mei").list_repo_files(name)) == {".gitattributes", ".gitignore", "keep.log", "src/build/in.txt"}


def test_other_floors_see_what_clients_committed(served: Served, api: Api, name: str) -> None:
    api("mei").create_repo(name)
    commit = api("mei").upload_file(path_or_fileobj=b"{}", path_in_repo="config.json", repo_id=name)
    hub: Hub = served.house.port(Hub)  # type: ignore[type-abstract]
    revision = served.house.db.read(lambda tx: hub.revision(tx, SYSTEM, Kind.MODEL, name))
    assert (revision.commit, revision.author) == (commit.oid, "mei")
    assert revision.file("config.json").digest == "sha256:" + hashlib.sha256(b"{}").hexdigest()


def _until(holds: Callable[[], bool]) -> None:
    for _ in range(1000):
        if holds():
            return
        time.sleep(0.01)
    raise AssertionError("it never came to that")


# --- plain HTTP ---------------------------------------------------------------------------------------------------------


def _send(
    method: str, url: str, token: str | None, body: bytes | None = None, headers: dict[str, str] | None = None
) -> tuple[int, bytes, dict[str, str]]:
    request = urllib.request.Request(url, body, dict(headers or {}), method=method)
    if token:
        request.add_header("authorization", f"Bearer {token}")
    try:
        with urllib.request.urlopen(request) as answer:
            return answer.status, answer.read(), {key.lower(): value for key, value in answer.headers.items()}
    except urllib.error.HTTPError as refused:
        return refused.code, refused.read(), {key.lower(): value for key, value in refused.headers.items()}


def _get(served: Served, who: str | None, path: str, *, raw: bool = False) -> tuple[int, dict, dict[str, str]]:  # type: ignore[type-arg]
    status, body, headers = _send("GET", served.url + path, served.tokens[who] if who else None)
    return status, {} if raw else json.loads(body), headers


def _post(served: Served, who: str, path: str, body: bytes) -> tuple[int, dict, dict[str, str]]:  # type: ignore[type-arg]
    status, answer, headers = _send("POST", served.url + path, served.tokens[who], body)
    return status, json.loads(answer), headers


def _batch(served: Served, who: str, name: str, oid: str, size: int) -> dict:  # type: ignore[type-arg]
    ask = {"operation": "upload", "transfers": ["basic"], "objects": [{"oid": oid, "size": size}], "hash_algo": "sha256"}
    return _post(served, who, f"/{name}.git/info/lfs/objects/batch", json.dumps(ask).encode())[1]
