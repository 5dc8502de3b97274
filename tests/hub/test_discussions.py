"""Discussions and pull requests with the real client, against a real server."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi, hf_hub_url
from huggingface_hub.community import DiscussionComment, DiscussionCommit, DiscussionStatusChange, DiscussionTitleChange
from huggingface_hub.errors import HfHubHTTPError, RepositoryNotFoundError
from huggingface_hub.utils import get_session

from lilong.floors.hub.contract import Kind
from lilong.floors.hub.service import discussions, pull_requests
from lilong.ground.access import Actor
from tests.hub.conftest import LANTERN, Served

_NUMBERS = itertools.count(1)


@pytest.fixture
def api(served: Served) -> Callable[[str], HfApi]:
    return lambda name: HfApi(served.url, token=served.tokens[name])


@pytest.fixture
def repo(api: Callable[[str], HfApi]) -> str:
    """A public model of mei's with one text."""
    name = f"{LANTERN}/talk-{next(_NUMBERS)}"
    api("mei").create_repo(name, private=False)
    put(api("mei"), name, "notes.txt", "one\ntwo\nthree\n")
    return name


def put(api: HfApi, repo: str, path: str, text: str | bytes, **options: object) -> str:
    content = text if isinstance(text, bytes) else text.encode()
    made = api.create_commit(repo, [CommitOperationAdd(path, content)], commit_message=f"Write {path}", **options)  # type: ignore[arg-type]
    return made.oid


def text(api: HfApi, repo: str, path: str, revision: str = "main") -> str:
    address = hf_hub_url(repo, path, revision=revision, endpoint=api.endpoint)
    answer = get_session().get(address, headers={"authorization": f"Bearer {api.token}"})
    answer.raise_for_status()
    return str(answer.text)


def refused(status: int, act: Callable[[], object]) -> str:
    with pytest.raises(HfHubHTTPError) as told:
        act()
    assert told.value.response.status_code == status, told.value
    return str(told.value)


def test_a_discussion_from_its_first_word_to_its_end(api: Callable[[str], HfApi], repo: str) -> None:
    mei, tom = api("mei"), api("tom")
    made = tom.create_discussion(repo, "Where do the tides come from?", description="The card does not *say*.")
    assert (made.num, made.status, made.author, made.is_pull_request) == (1, "open", "tom", False)
    answer = mei.comment_discussion(repo, 1, "From the moon.")
    edited = mei.edit_discussion_comment(repo, 1, answer.id, "From the moon and the sun.")
    renamed = tom.rename_discussion(repo, 1, "Where tides come from")
    closed = tom.change_discussion_status(repo, 1, "closed", comment="Thanks!")
    assert isinstance(edited, DiscussionComment) and edited.edited and edited.number_of_edits == 2
    assert isinstance(renamed, DiscussionTitleChange) and renamed.old_title == "Where do the tides come from?"
    assert isinstance(closed, DiscussionStatusChange) and closed.new_status == "closed"
    shown = mei.get_discussion_details(repo, 1)
    assert [(event.type, event.author) for event in shown.events] == [
        ("comment", "tom"), ("comment", "mei"), ("title-change", "tom"), ("comment", "tom"), ("status-change", "tom"),
    ]  # fmt: skip
    assert (shown.title, shown.status, shown.diff, shown.target_branch) == ("Where tides come from", "closed", None, None)


def test_a_pull_request_by_somebody_who_may_only_read(api: Callable[[str], HfApi], repo: str) -> None:
    mei, tom = api("mei"), api("tom")
    made = tom.create_commit(repo, [CommitOperationAdd("notes.txt", b"one\ntwo\nthree\nfour\n")], commit_message="Count on", create_pr=True)
    assert made.pr_num == 1 and made.pr_revision == "refs/pr/1"
    put(tom, repo, "more/five.txt", "five\n", revision="refs/pr/1")
    shown = mei.get_discussion_details(repo, 1)
    assert (shown.status, shown.target_branch, shown.conflicting_files) == ("open", "refs/heads/main", [])
    assert [event.summary for event in shown.events if isinstance(event, DiscussionCommit)] == ["Count on", "Write more/five.txt"]
    assert "+four" in str(shown.diff) and "diff --git a/more/five.txt b/more/five.txt" in str(shown.diff)
    assert [ref.ref for ref in mei.list_repo_refs(repo, include_pull_requests=True).pull_requests or []] == ["refs/pr/1"]
    mei.merge_pull_request(repo, 1, comment="Well counted.")
    merged = mei.get_discussion_details(repo, 1)
    assert merged.status == "merged" and merged.merge_commit_oid == mei.model_info(repo).sha
    assert text(mei, repo, "notes.txt") == "one\ntwo\nthree\nfour\n" and text(mei, repo, "more/five.txt") == "five\n"
    assert mei.list_repo_commits(repo)[0].title == "Count on (#1)"


def proposed(api: HfApi, repo: str, files: dict[str, str], title: str = "Change the notes") -> int:
    operations = [CommitOperationAdd(path, content.encode()) for path, content in files.items()]
    number = api.create_commit(repo, operations, commit_message=title, create_pr=True).pr_num
    assert number is not None
    return number


# --- merging ------------------------------------------------------------------------------------------------------------


def test_both_sides_may_change_one_text_in_different_places(api: Callable[[str], HfApi], repo: str) -> None:
    mei = api("mei")
    number = proposed(api("tom"), repo, {"notes.txt": "one\ntwo\nthree!\n"})
    put(mei, repo, "notes.txt", "one!\ntwo\nthree\n")
    mei.merge_pull_request(repo, number)
    assert text(mei, repo, "notes.txt") == "one!\ntwo\nthree!\n"


def test_what_both_have_changed_is_named_and_can_be_brought_in_line(api: Callable[[str], HfApi], repo: str) -> None:
    mei, tom = api("mei"), api("tom")
    number = proposed(tom, repo, {"notes.txt": "uno\ntwo\nthree\n", "new.txt": "new\n"})
    head = put(mei, repo, "notes.txt", "eins\ntwo\nthree\n")
    assert mei.get_discussion_details(repo, number).conflicting_files == ["notes.txt"]
    assert "notes.txt" in refused(409, lambda: mei.merge_pull_request(repo, number))
    assert mei.model_info(repo).sha == head
    put(tom, repo, "notes.txt", "eins\ntwo\nthree\n", revision=f"refs/pr/{number}")
    mei.merge_pull_request(repo, number)
    assert text(mei, repo, "new.txt") == "new\n" and text(mei, repo, "notes.txt") == "eins\ntwo\nthree\n"


def test_large_files_on_both_sides_do_not_meet_in_gitattributes(api: Callable[[str], HfApi], repo: str) -> None:
    mei = api("mei")
    large = {name: f"{name}\n" * (1 << 18) for name in ("tides.txt", "waves.txt")}
    number = proposed(api("tom"), repo, {"tides.txt": large["tides.txt"]})
    put(mei, repo, "waves.txt", large["waves.txt"])
    mei.merge_pull_request(repo, number)
    assert all(text(mei, repo, name) == content for name, content in large.items())
    lines = text(mei, repo, ".gitattributes").splitlines()
    assert [line.split()[0] for line in lines[-2:]] == ["/waves.txt", "/tides.txt"]
    assert all(file.lfs is not None for file in mei.get_paths_info(repo, list(large)))


def test_a_merge_is_one_commit_that_says_whose_work_it_is(api: Callable[[str], HfApi], repo: str) -> None:
    mei, tom = api("mei"), api("tom")
    number = proposed(tom, repo, {"a.txt": "a\n"}, "Add the alphabet")
    second = put(tom, repo, "b.txt", "b\n", revision=f"refs/pr/{number}")
    before = mei.list_repo_commits(repo)
    mei.merge_pull_request(repo, number)
    mei.merge_pull_request(repo, number)  # again: nothing more happens
    after = mei.list_repo_commits(repo)
    assert len(after) == len(before) + 1 and after[0].title == f"Add the alphabet (#{number})" and after[0].authors == ["mei"]
    assert f"- Write b.txt ({second})" in after[0].message and "Co-authored-by: tom" in after[0].message
    shown = mei.get_discussion_details(repo, number)
    assert (shown.merge_commit_oid, shown.conflicting_files) == (after[0].commit_id, []) and "+b" in str(shown.diff)
    assert [event.type for event in shown.events] == ["commit", "commit", "status-change"]


def test_merges_and_commits_that_race_all_arrive(api: Callable[[str], HfApi], repo: str) -> None:
    mei = api("mei")
    numbers = [proposed(api("tom"), repo, {f"{name}.txt": name}) for name in "abcde"]
    with ThreadPoolExecutor(8) as pool:
        merges = [pool.submit(mei.merge_pull_request, repo, number) for number in numbers]
        plain = [pool.submit(put, mei, repo, f"plain-{n}.txt", str(n)) for n in range(3)]
        for done in [*merges, *plain]:
            done.result()
    assert {f"{name}.txt" for name in "abcde"} | {f"plain-{n}.txt" for n in range(3)} <= set(mei.list_repo_files(repo))
    assert all(mei.get_discussion_details(repo, number).status == "merged" for number in numbers)


def test_a_merge_that_breaks_off_leaves_nothing_behind(
    served: Served, api: Callable[[str], HfApi], repo: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    number = proposed(api("tom"), repo, {"a.txt": "a\n"})
    head, house = api("mei").model_info(repo).sha, served.house

    def broken(*_: object) -> None:
        raise RuntimeError("the lights went out")

    with monkeypatch.context() as patched:
        patched.setattr(pull_requests.community, "set_merged", broken)
        with pytest.raises(RuntimeError):
            pull_requests.merge(house, Actor("mei"), Kind.MODEL, repo, number)
    shown = discussions.shown(house, Actor("mei"), Kind.MODEL, repo, number)
    assert api("mei").model_info(repo).sha == head and shown.discussion.status == "open" and len(shown.events) == 1
    commit = pull_requests.merge(house, Actor("mei"), Kind.MODEL, repo, number)
    assert api("mei").model_info(repo).sha == commit


def test_deletions_and_renames_are_merged_too(api: Callable[[str], HfApi], repo: str) -> None:
    mei, tom = api("mei"), api("tom")
    put(mei, repo, "old/name.txt", "same\n")
    operations = [CommitOperationDelete("old/", is_folder=True), CommitOperationAdd("new/name.txt", b"same\n")]
    number = tom.create_commit(repo, operations, commit_message="Rename", create_pr=True).pr_num
    put(mei, repo, "notes.txt", "other\n")
    mei.merge_pull_request(repo, number or 0)
    assert sorted(mei.list_repo_files(repo)) == [".gitattributes", "new/name.txt", "notes.txt"]


# --- the life of a pull request -----------------------------------------------------------------------------------------


def test_a_draft_is_opened_before_it_is_merged(api: Callable[[str], HfApi], repo: str) -> None:
    mei, tom = api("mei"), api("tom")
    draft = tom.create_pull_request(repo, "Think about it")
    assert (draft.status, draft.git_reference) == ("draft", "refs/pr/1")
    tom.change_discussion_status(repo, 1, "open")
    assert "no commits" in refused(409, lambda: mei.merge_pull_request(repo, 1))
    put(tom, repo, "thought.txt", "!\n", revision="refs/pr/1")
    other = tom.create_pull_request(repo, "Think about it more")
    put(tom, repo, "more.txt", "!\n", revision=str(other.git_reference))
    assert "draft" in refused(409, lambda: mei.merge_pull_request(repo, other.num))
    mei.merge_pull_request(repo, 1)
    assert mei.get_discussion_details(repo, 1).status == "merged"


def test_a_closed_pull_request_takes_no_commits_until_it_is_reopened(api: Callable[[str], HfApi], repo: str) -> None:
    mei, tom = api("mei"), api("tom")
    number = proposed(tom, repo, {"a.txt": "a\n"})
    mei.change_discussion_status(repo, number, "closed")
    refused(409, lambda: put(tom, repo, "b.txt", "b", revision=f"refs/pr/{number}"))
    refused(409, lambda: mei.merge_pull_request(repo, number))
    refused(409, lambda: mei.change_discussion_status(repo, number, "closed"))
    tom.change_discussion_status(repo, number, "open")
    put(tom, repo, "b.txt", "b", revision=f"refs/pr/{number}")
    mei.merge_pull_request(repo, number)
    refused(409, lambda: put(tom, repo, "c.txt", "c", revision=f"refs/pr/{number}"))
    assert {"a.txt", "b.txt"} <= set(mei.list_repo_files(repo)) and "c.txt" not in mei.list_repo_files(repo, revision=f"refs/pr/{number}")


def test_a_folder_is_proposed(api: Callable[[str], HfApi], repo: str, tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep/a.txt").write_text("a\n")
    (tmp_path / "large.txt").write_text("tide\n" * (1 << 19))
    made = api("tom").upload_folder(repo_id=repo, folder_path=tmp_path, create_pr=True, commit_message="A whole folder")
    assert made.pr_num == 1
    found = api("mei").list_repo_files(repo, revision="refs/pr/1")
    assert {"deep/a.txt", "large.txt"} <= set(found) and "deep/a.txt" not in api("mei").list_repo_files(repo)
    assert "Binary files /dev/null and b/large.txt differ" in str(api("mei").get_discussion_details(repo, 1).diff)


def test_only_its_author_and_writers_commit_to_a_pull_request(api: Callable[[str], HfApi], repo: str) -> None:
    number = proposed(api("tom"), repo, {"a.txt": "a\n"})
    ref = f"refs/pr/{number}"
    put(api("jun"), repo, "b.txt", "b", revision=ref)
    refused(403, lambda: put(api("ada"), repo, "c.txt", "c", revision=ref))
    refused(403, lambda: api("tom").merge_pull_request(repo, number))
    refused(403, lambda: put(api("tom"), repo, "d.txt", "d"))
    refused(404, lambda: put(api("tom"), repo, "d.txt", "d", revision="refs/pr/99"))
    assert {"a.txt", "b.txt"} == {path for path in api("mei").list_repo_files(repo, revision=ref) if len(path) == 5}
    assert "d.txt" not in api("mei").list_repo_files(repo)


def test_a_pull_request_may_begin_at_an_older_commit(api: Callable[[str], HfApi], repo: str) -> None:
    mei = api("mei")
    first = mei.model_info(repo).sha
    put(mei, repo, "later.txt", "later\n")
    operations = [CommitOperationAdd("side.txt", b"side\n")]
    made = api("tom").create_commit(repo, operations, commit_message="From before", create_pr=True, parent_commit=first)
    assert "later" not in str(mei.get_discussion_details(repo, made.pr_num or 0).diff)
    mei.merge_pull_request(repo, made.pr_num or 0)
    assert {"later.txt", "side.txt"} <= set(mei.list_repo_files(repo))


# --- who may say what ---------------------------------------------------------------------------------------------------


def test_a_private_repository_is_missing_for_strangers_here_too(api: Callable[[str], HfApi]) -> None:
    hidden = f"{LANTERN}/hidden-{next(_NUMBERS)}"
    api("mei").create_repo(hidden, private=True)
    api("ada").create_discussion(hidden, "May I read aloud?")
    assert proposed(api("ada"), hidden, {"read.txt": "aloud\n"}) == 2
    for name in (hidden, f"{LANTERN}/never-there"):
        for act in (
            lambda tom, name=name: list(tom.get_repo_discussions(name)),
            lambda tom, name=name: tom.get_discussion_details(name, 1),
            lambda tom, name=name: tom.comment_discussion(name, 1, "Hello?"),
            lambda tom, name=name: tom.create_pull_request(name, "Let me in"),
            lambda tom, name=name: proposed(tom, name, {"a": "a"}),
            lambda tom, name=name: tom.merge_pull_request(name, 2),
        ):
            with pytest.raises(RepositoryNotFoundError):
                act(api("tom"))


def test_words_belong_to_who_said_them(api: Callable[[str], HfApi], repo: str) -> None:
    tom, ada = api("tom"), api("ada")
    tom.create_discussion(repo, "Is anybody here?", description="Hello.")
    [hello] = tom.get_discussion_details(repo, 1).events
    refusals: list[tuple[int, Callable[[], object]]] = [
        (403, lambda: ada.edit_discussion_comment(repo, 1, hello.id, "Goodbye.")),
        (403, lambda: api("mei").edit_discussion_comment(repo, 1, hello.id, "Goodbye.")),
        (403, lambda: ada.hide_discussion_comment(repo, 1, hello.id)),
        (403, lambda: ada.rename_discussion(repo, 1, "Nobody is here")),
        (403, lambda: ada.change_discussion_status(repo, 1, "closed")),
        (404, lambda: tom.edit_discussion_comment(repo, 1, "comment-0", "Hm?")),
        (404, lambda: tom.comment_discussion(repo, 2, "Hm?")),
        (401, lambda: HfApi(tom.endpoint, token=False).comment_discussion(repo, 1, "Boo")),
    ]
    with pytest.warns(UserWarning, match="irreversible"):
        for status, act in refusals:
            refused(status, act)
    api("mei").rename_discussion(repo, 1, "Somebody is here")
    api("mei").change_discussion_status(repo, 1, "closed")
    after = tom.get_discussion_details(repo, 1)
    assert (after.title, after.status, len(after.events)) == ("Somebody is here", "closed", 3)
    assert getattr(after.events[0], "content", None) == "Hello."


def test_a_hidden_comment_has_lost_its_words(served: Served, api: Callable[[str], HfApi], repo: str) -> None:
    tom = api("tom")
    tom.create_discussion(repo, "Too loud", description="first shout")
    [event] = tom.get_discussion_details(repo, 1).events
    tom.edit_discussion_comment(repo, 1, event.id, "second shout")
    with pytest.warns(UserWarning, match="irreversible"):
        hidden = api("mei").hide_discussion_comment(repo, 1, event.id)
    assert hidden.hidden and "shout" not in str(hidden._event)
    left = served.house.db.read(lambda tx: [*tx.rows("SELECT * FROM hub_discussion_events"), *tx.rows("SELECT * FROM hub_comment_edits")])
    assert "shout" not in str([dict(row) for row in left])
    refused(400, lambda: tom.edit_discussion_comment(repo, 1, event.id, "third shout"))


def test_a_token_that_does_not_cover_talking_only_reads(served: Served, api: Callable[[str], HfApi], repo: str) -> None:
    house = served.house
    scopes = ("hub.read",)
    _, secret = house.db.write(lambda tx: house.access.add_token(tx, Actor("tom"), "tom", "to read", scopes))
    reader = HfApi(served.url, token=secret)
    api("tom").create_discussion(repo, "Quiet, please")
    assert reader.get_discussion_details(repo, 1).title == "Quiet, please"
    refused(403, lambda: reader.comment_discussion(repo, 1, "Psst"))
    refused(403, lambda: proposed(reader, repo, {"a": "a"}))


@pytest.mark.parametrize("title", ["ab", "x" * 201, "  a  "])
def test_titles_and_texts_have_limits(api: Callable[[str], HfApi], repo: str, title: str) -> None:
    refused(400, lambda: api("tom").create_discussion(repo, title))
    refused(400, lambda: api("tom").create_discussion(repo, "A long story", description="x" * 70_000))
    assert list(api("tom").get_repo_discussions(repo)) == []


# --- lists, refs, the command line --------------------------------------------------------------------------------------


def test_lists_are_filtered_and_come_in_pages(served: Served, api: Callable[[str], HfApi], repo: str) -> None:
    for n in range(55):
        discussions.open_new(served.house, Actor("tom"), Kind.MODEL, repo, f"Question {n}", "")
    proposed(api("mei"), repo, {"a.txt": "a\n"})
    api("tom").change_discussion_status(repo, 3, "closed")
    mei = api("mei")
    assert [one.num for one in mei.get_repo_discussions(repo)] == list(range(56, 0, -1))
    assert [one.num for one in mei.get_repo_discussions(repo, discussion_type="pull_request")] == [56]
    assert [one.num for one in mei.get_repo_discussions(repo, discussion_status="closed")] == [3]
    assert [one.num for one in mei.get_repo_discussions(repo, author="mei")] == [56]
    assert len(list(mei.get_repo_discussions(repo, discussion_status="open", discussion_type="discussion"))) == 54


def test_the_command_line_of_the_client_talks_and_merges(served: Served, api: Callable[[str], HfApi], repo: str, tmp_path: Path) -> None:
    number = proposed(api("tom"), repo, {"a.txt": "a\n"})
    environment = {**os.environ, "HF_ENDPOINT": served.url, "HF_TOKEN": served.tokens["mei"], "HF_HOME": str(tmp_path)}

    def hf(*words: str) -> str:
        argv = [str(Path(sys.executable).with_name("hf")), "discussions", *words]
        return subprocess.run(argv, env=environment, capture_output=True, text=True, check=True).stdout

    assert "+a" in hf("diff", repo, str(number))
    hf("comment", repo, str(number), "--body", "Looks right.")
    hf("merge", repo, str(number), "--yes")
    assert "merged" in hf("list", repo, "--status", "merged")


def test_a_dataset_has_its_own_numbers(api: Callable[[str], HfApi], repo: str) -> None:
    mei = api("mei")
    mei.create_repo(repo, repo_type="dataset", private=False)
    mei.create_discussion(repo, "About the model")
    made = mei.create_discussion(repo, "About the data", repo_type="dataset")
    assert (made.num, made.repo_type, made.url) == (1, "dataset", f"{mei.endpoint}/datasets/{repo}/discussions/1")


def test_a_pull_request_outlives_the_history_of_its_base(api: Callable[[str], HfApi], repo: str) -> None:
    mei = api("mei")
    number = proposed(api("tom"), repo, {"notes.txt": "one\ntwo\nthree\nfour\n"})
    put(mei, repo, "later.txt", "later\n")
    mei.super_squash_history(repo)
    mei.merge_pull_request(repo, number)
    assert text(mei, repo, "notes.txt") == "one\ntwo\nthree\nfour\n" and text(mei, repo, "later.txt") == "later\n"


def test_a_repository_goes_with_all_that_was_said_in_it(served: Served, api: Callable[[str], HfApi], repo: str) -> None:
    mei = api("mei")
    mei.create_discussion(repo, "To be or not", description="To be.")
    [event] = mei.get_discussion_details(repo, 1).events
    mei.edit_discussion_comment(repo, 1, event.id, "Not to be.")
    proposed(mei, repo, {"a.txt": "a\n"})
    mei.delete_repo(repo)
    mei.create_repo(repo, private=False)
    assert list(mei.get_repo_discussions(repo)) == [] and mei.create_discussion(repo, "Anew").num == 1


def test_a_picture_is_attached_and_fetched_by_its_address_alone(api: Callable[[str], HfApi], tmp_path: Path) -> None:
    picture = tmp_path / "tide.png"
    picture.write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(100))
    address = api("ada").upload_attachment(picture)
    answer = get_session().get(address, headers={"range": "bytes=0-7"})
    assert (answer.status_code, answer.content, answer.headers["content-type"]) == (206, b"\x89PNG\r\n\x1a\n", "image/png")
    page = tmp_path / "page.png"
    page.write_text("<script>alert(1)</script>")
    refused(400, lambda: api("ada").upload_attachment(page))
    refused(401, lambda: HfApi(api("ada").endpoint, token=False).upload_attachment(picture))
    assert get_session().get(address.replace("/uploads/", "/uploads/x")).status_code == 404
    assert get_session().get(address.replace(".png", ".gif")).status_code == 404


def test_git_resolves_a_conflict_by_a_merge_from_the_base(served: Served, api: Callable[[str], HfApi], repo: str, tmp_path: Path) -> None:
    mei = api("mei")
    number = proposed(api("tom"), repo, {"notes.txt": "uno\ntwo\nthree\n"})
    put(mei, repo, "notes.txt", "eins\ntwo\nthree\n")
    assert mei.get_discussion_details(repo, number).conflicting_files == ["notes.txt"]
    address = served.url.replace("://", f"://tom:{served.tokens['tom']}@")
    environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "GIT_TERMINAL_PROMPT": "0"}

    def git(*words: str) -> None:
        argv = ["git", "-c", "user.name=Tom", "-c", "user.email=tom@users.invalid", *words]
        done = subprocess.run(argv, cwd=tmp_path / "clone", env=environment, capture_output=True, text=True, check=False)
        assert done.returncode in (0, 1 if words[0] == "merge" else 0), done.stderr

    subprocess.run(["git", "clone", "-q", f"{address}/{repo}", str(tmp_path / "clone")], env=environment, check=True, capture_output=True)
    git("fetch", "origin", f"refs/pr/{number}:proposal")
    git("checkout", "-q", "proposal")
    git("merge", "-q", "origin/main")
    (tmp_path / "clone/notes.txt").write_text("uno eins\ntwo\nthree\n")
    git("commit", "-q", "-a", "-m", "Bring it in line")
    git("push", "-q", "origin", f"proposal:refs/pr/{number}")
    shown = mei.get_discussion_details(repo, number)
    assert shown.conflicting_files == [] and "-eins" in str(shown.diff) and "+uno eins" in str(shown.diff)
    mei.merge_pull_request(repo, number)
    assert text(mei, repo, "notes.txt") == "uno eins\ntwo\nthree\n"


BODIES = [b"", b"{", b"[]", b"null", b'{"title": 5, "comment": 5, "content": [], "status": {}, "user": 7, "item": "x", "namespace": 1}',
          b'{"title": "\\ud800abc", "comment": "\\ud800", "content": "\\ud800", "status": "\\u0000", "user": "\\u0000"}',
          b'{"title": "Fine title", "comment": "", "content": "", "status": "merged", "user": "x", "requestId": "x", "pullRequest": "yes"}',
          b"[" * 100_000]  # fmt: skip
PLACES = [
    "discussions", "discussions/1/comment", "discussions/1/title", "discussions/1/status", "discussions/1/merge", "discussions/1/comment/x/edit",
    "discussions/1/comment/%2e%2e/hide", "discussions/0/comment", "discussions/999999999/merge", "discussions/99999999999999999999/title",
    "discussions/-1/merge", "discussions/x/status", "discussions/%C2%B2/comment", "user-access-request/handle", "user-access-request/grant",
    "user-access-request/cancel", "user-access-request/nothing",
]  # fmt: skip


def test_no_body_and_no_number_makes_the_server_stumble(api: Callable[[str], HfApi], repo: str) -> None:
    mei = api("mei")
    mei.create_discussion(repo, "Nothing to merge")
    session, headers = get_session(), {"authorization": f"Bearer {mei.token}", "content-type": "application/json"}
    for place, body in itertools.product(PLACES, BODIES):
        answer = session.post(f"{mei.endpoint}/api/models/{repo}/{place}", content=body, headers=headers)
        assert answer.status_code < 500, (place, body[:80], answer.text[:300])
    for query in ("p=-1", "p=x", "p=9999999", "type=x", "status=x", "limit=0", "author=%25", "search=%25_!", "p=999999&limit=100"):
        answer = session.get(f"{mei.endpoint}/api/models/{repo}/discussions?{query}", headers=headers)
        assert answer.status_code in (200, 400), (query, answer.text[:300])
