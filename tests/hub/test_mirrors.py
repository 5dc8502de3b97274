"""Lazy mirrors: large files come with their first reader, once, checked, and stay."""

from __future__ import annotations

import json
import struct
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
from huggingface_hub import CommitOperationAdd, HfApi, hf_hub_download

from lilong.floors.hub import store as hub_store
from lilong.floors.hub.api import mirrored as door
from lilong.floors.hub.contract import Kind
from lilong.floors.hub.service import import_work, imports, mirrors, problems, reading, transfer
from lilong.floors.hub.service.imports import Ask
from lilong.ground.access import Actor
from lilong.ground.blobs import digest_of

from .pair import Between, Hub, between, serving, some_bytes

TOM, MEI = Actor("tom"), Actor("mei")


def safetensors(count: int) -> bytes:
    header = json.dumps({"weight": {"dtype": "F32", "shape": [count], "data_offsets": [0, 4 * count]}}).encode()
    return struct.pack("<Q", len(header)) + header + some_bytes(4 * count)


WEIGHTS = safetensors(1 << 19)


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hub]:
    with serving(tmp_path_factory.mktemp("source") / "house") as hub:
        api = HfApi(hub.url, hub.tokens["mei"])
        api.create_repo("lantern-works/tide", private=False)
        operations = [
            CommitOperationAdd("README.md", b"# Tide\n"),
            CommitOperationAdd("model.safetensors", WEIGHTS),
            CommitOperationAdd("config.json", b"{}"),
        ]
        api.create_commit("lantern-works/tide", operations, commit_message="all")
        yield hub


@pytest.fixture
def front(source: Hub) -> Iterator[Between]:
    with between(source) as state:
        yield state


@pytest.fixture
def target(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    monkeypatch.setattr(import_work, "PAUSES", ())
    with serving(tmp_path / "house", import_hosts="127.0.0.1") as hub:
        yield hub


def mirrored(target: Hub, url: str) -> None:
    found = imports.ask(target.house, TOM, Ask(f"{url}/lantern-works/tide", "harbour-lab/tide", mode="mirror"))
    import_work.carry_out(target.house, found.id)
    done = imports.get(target.house, TOM, found.id)[0]
    assert (done.state, done.error) == ("done", "")


def get(target: Hub, path: str = "model.safetensors", **headers: str) -> httpx.Response:
    url = f"{target.url}/harbour-lab/tide/resolve/main/{path}"
    return httpx.get(url, headers={"authorization": f"Bearer {target.tokens['tom']}", **headers}, timeout=30)


def whole_fetches(front: Between) -> list[tuple[str, str]]:
    return [asked for asked in front.asked if asked[0].endswith("model.safetensors") and not asked[1].startswith("bytes=0-")]


def test_a_large_file_comes_with_its_first_reader_and_stays(front: Between, target: Hub, tmp_path: Path) -> None:
    mirrored(target, front.url)
    assert not target.house.blobs.has(digest_of(WEIGHTS))
    assert whole_fetches(front) == []
    path = hf_hub_download(
        "harbour-lab/tide", "model.safetensors", endpoint=target.url, token=target.tokens["tom"], cache_dir=tmp_path / "cache"
    )
    assert Path(path).read_bytes() == WEIGHTS
    front.status = 503
    assert get(target).content == WEIGHTS
    assert len(whole_fetches(front)) == 1


def test_the_tree_and_small_files_are_there_at_once(front: Between, target: Hub) -> None:
    mirrored(target, front.url)
    front.status = 503
    assert get(target, "README.md").content == b"# Tide\n"
    info = HfApi(target.url, target.tokens["tom"]).model_info("harbour-lab/tide", files_metadata=True)
    sizes = {file.rfilename: file.size for file in info.siblings or ()}
    assert sizes["model.safetensors"] == len(WEIGHTS)
    head = httpx.head(
        f"{target.url}/harbour-lab/tide/resolve/main/model.safetensors", headers={"authorization": f"Bearer {target.tokens['tom']}"}
    )
    assert head.headers["x-linked-size"] == str(len(WEIGHTS))


def test_readers_at_the_same_time_share_one_download(front: Between, target: Hub) -> None:
    mirrored(target, front.url)
    with ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(lambda _: get(target).content, range(6)))
    assert all(content == WEIGHTS for content in answers)
    assert len(whole_fetches(front)) == 1


def test_a_source_that_is_away_is_named(front: Between, target: Hub) -> None:
    mirrored(target, front.url)
    front.status = 502
    answer = get(target)
    assert answer.status_code == 503
    assert front.url in answer.json()["error"]
    front.status = None
    assert get(target).content == WEIGHTS


def test_bytes_that_are_not_those_of_the_pin_are_refused_and_not_kept(front: Between, target: Hub) -> None:
    mirrored(target, front.url)
    front.change = lambda path, body: body[:-1] + b"!" if path.endswith("model.safetensors") else body
    answer = get(target)
    assert answer.status_code == 503
    assert digest_of(WEIGHTS).removeprefix("sha256:") in answer.json()["error"]
    assert not target.house.blobs.has(digest_of(WEIGHTS))
    front.change = None
    assert get(target).content == WEIGHTS


def test_a_reader_of_a_slow_file_is_told_when_to_ask_again(front: Between, target: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    mirrored(target, front.url)
    monkeypatch.setattr(door, "_PATIENCE", 0.0)
    answer = get(target)
    assert answer.status_code == 429
    assert int(answer.headers["retry-after"]) >= 1
    monkeypatch.undo()
    assert get(target).content == WEIGHTS


def test_the_word_of_a_source_for_a_digest_opens_nothing(front: Between, target: Hub) -> None:
    """Somebody uploads the same bytes for themselves, after the mirror was made: the mirror still has to fetch its own."""
    mirrored(target, front.url)
    target.house.blobs.put(WEIGHTS)
    target.house.db.write(lambda tx: hub_store.add_upload(tx, MEI, digest_of(WEIGHTS), len(WEIGHTS), "2026-01-01T00:00:00.000000Z"))
    with pytest.raises(transfer.BytesNotKnown):
        transfer.sizes_of(target.house, TOM, {digest_of(WEIGHTS)})
    front.status = 404
    assert get(target).status_code == 503
    front.status = None
    assert get(target).content == WEIGHTS


def test_a_refresh_moves_the_pin_with_a_new_commit(source: Hub, front: Between, target: Hub) -> None:
    mirrored(target, front.url)
    before = reading.pinned(target.house, TOM, Kind.MODEL, "harbour-lab/tide", "main")[1]
    api = HfApi(source.url, source.tokens["mei"])
    api.upload_file(path_or_fileobj=b"new", path_in_repo="notes.txt", repo_id="lantern-works/tide")
    try:
        assert get(target, "notes.txt").status_code == 404
        again = imports.refresh(target.house, TOM, Kind.MODEL, "harbour-lab/tide")
        import_work.carry_out(target.house, again.id)
        after = reading.pinned(target.house, TOM, Kind.MODEL, "harbour-lab/tide", "main")[1]
        assert after.parent == before.id
        assert get(target, "notes.txt").content == b"new"
        assert not target.house.blobs.has(digest_of(WEIGHTS))
        assert get(target).content == WEIGHTS
    finally:
        api.delete_file("notes.txt", "lantern-works/tide")


def test_what_another_floor_opens_by_its_digest_comes_too(front: Between, target: Hub) -> None:
    mirrored(target, front.url)
    assert target.house.blobs.read(digest_of(WEIGHTS)) == WEIGHTS
    assert mirrors.show(target.house, TOM, Kind.MODEL, "harbour-lab/tide")["away_files"] == 0


def test_a_mirror_goes_with_its_repository(front: Between, target: Hub) -> None:
    mirrored(target, front.url)
    HfApi(target.url, target.tokens["tom"]).delete_repo("harbour-lab/tide")
    assert target.house.db.read(lambda tx: tx.value("SELECT COUNT(*) FROM hub_mirror_files")) == 0


def test_a_clone_with_git_lfs_fetches_what_is_away(front: Between, target: Hub, tmp_path: Path) -> None:
    mirrored(target, front.url)
    (tmp_path / "home").mkdir()
    env = {"PATH": "/usr/bin:/bin", "HOME": str(tmp_path / "home"), "GIT_TERMINAL_PROMPT": "0"}
    subprocess.run(["git", "lfs", "install", "--skip-repo"], env=env, check=True, capture_output=True)
    url = f"http://tom:{target.tokens['tom']}@{target.host}/harbour-lab/tide"
    done = subprocess.run(["git", "clone", "-q", url, "clone"], cwd=tmp_path, env=env, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "clone" / "model.safetensors").read_bytes() == WEIGHTS


def test_a_file_that_nobody_has_read_yet_is_no_damage(front: Between, target: Hub) -> None:
    mirrored(target, front.url)
    assert list(problems(target.house)) == []
