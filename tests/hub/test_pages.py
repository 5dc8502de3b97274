"""The hub's pages as a browser without scripts meets them: who sees what, and what the forms do."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lilong.floors.hub import service
from lilong.floors.hub.contract import Kind
from lilong.floors.hub.pages import facets, lists, snippets, views
from lilong.floors.hub.pages.door import Address, _Namespace
from lilong.floors.hub.pages.markdown import render
from lilong.floors.hub.service import commits, namespaces, reading
from lilong.ground.access import Actor
from lilong.ground.access.table import PATHS

from .conftest import hub_house
from .furnished import GATED, LANTERN, ODD, SECRET, TABLES, TIDE, Furnished, asked_for, furnished

OF_ONE = (
    "", "/tree/main", "/blob/main/notes.txt", "/commits/main", "/discussions", "/discussions/1", "/discussions/new", "/activity", "/refs", "/settings",
    "/upload/main", "/edit/main/notes.txt", "/delete/main/notes.txt", "/access", "/requests",
)  # fmt: skip


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Furnished]:
    with furnished(tmp_path_factory.mktemp("pages")) as made:
        yield made


def new(site: Furnished, name: str, files: dict[str, bytes] | None = None) -> str:
    service.create(site.house, Actor("mei"), Kind.MODEL, f"{LANTERN}/{name}", private=False)
    if files:
        site.commit("mei", f"{LANTERN}/{name}", files, "Begin")
    return f"/{LANTERN}/{name}"


# --- who sees what ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("page", OF_ONE)
def test_private_foreign_and_missing_look_the_same_on_every_page(site: Furnished, page: str) -> None:
    for user in ("tom", None):
        with site.client(user) as client:
            secret, missing = client.get(f"/{SECRET}{page}"), client.get(f"/{LANTERN}/nothing{page}")
        assert secret.status_code == missing.status_code == (404 if user else 303)
        assert secret.text.replace("secret", "nothing") == missing.text
        assert secret.headers.get("location", "").replace("secret", "nothing") == missing.headers.get("location", "")


def test_lists_activity_and_organisation_pages_tell_nothing_of_what_is_private(site: Furnished) -> None:
    for user in ("tom", None):
        with site.client(user) as client:
            for page in ("/models", "/models?search=secret", "/models?author=lantern-works&sort=likes", f"/{LANTERN}"):
                assert SECRET not in client.get(page).text, page
    with site.client("ada") as client:
        assert SECRET in client.get(f"/{LANTERN}").text


def test_who_may_only_read_is_shown_no_button_to_change_and_refused_when_asking_anyway(site: Furnished) -> None:
    with site.client("ada") as client:
        seen = client.get(f"/{TIDE}/tree/main").text + client.get(f"/{TIDE}").text
        assert '/settings"' not in seen.replace('href="/settings/tokens"', "")
        assert f"/{TIDE}/edit/" not in seen
        assert client.get(f"/{TIDE}/settings").status_code == 403
        for do in ({"do": "change", "visibility": "private"}, {"do": "delete", "typed": TIDE}, {"do": "move", "name": f"{LANTERN}/mine"}):
            assert client.post(f"/{TIDE}/settings", data=do).status_code == 403
        assert client.post(f"/{TIDE}/edit/main/run.py", data={"content": "x", "path": "run.py"}).status_code == 403
        assert client.post(f"/{TIDE}/refs", data={"kind": "tag", "name": "v2"}).status_code == 403


def test_a_form_on_another_site_does_nothing(site: Furnished) -> None:
    with site.client("mei") as client:
        for path in (
            f"/{TIDE}/settings",
            f"/{TIDE}/like",
            f"/{TIDE}/upload/main",
            f"/{TIDE}/discussions/1/comment",
            "/new",
            "/settings/tokens",
            "/settings/webhooks",
        ):
            assert client.post(path, data={"do": "delete", "typed": TIDE}, headers={"sec-fetch-site": "cross-site"}).status_code == 403, (
                path
            )
        assert client.get(f"/{TIDE}").status_code == 200


def test_the_houses_own_addresses_are_never_taken_for_an_organisation() -> None:
    pattern = re.compile(_Namespace.regex)
    assert not [word for word in PATHS if pattern.fullmatch(word) or pattern.fullmatch(word.upper())]
    assert all(pattern.fullmatch(word) for word in (LANTERN, "modelsmith", "api-lab", "v1x"))


# --- reading ------------------------------------------------------------------------------------------------------------


def test_a_card_is_shown_without_anything_that_runs_or_fetches_from_elsewhere(site: Furnished) -> None:
    with site.client(None) as client:
        page = client.get(f"/{TIDE}").text
    assert "<script>alert" not in page
    assert "onclick=" not in page.replace("&quot;", "").split("<b")[0]
    assert 'href="javascript' not in page
    assert 'src="https://example.org' not in page
    assert f'src="/{TIDE}/resolve/main/images/curve.png"' in page
    assert f'href="/{TIDE}/blob/main/docs/notes.md"' in page


def test_the_address_that_a_commit_answers_with_shows_what_it_changed(site: Furnished) -> None:
    head = site.commit("mei", TIDE, {"more.txt": b"one\ntwo\n"}, "More\n\nTwo lines of it.")
    with site.client(None) as client:
        page = client.get(f"/{TIDE}/commit/{head}").text
    assert "Two lines of it." in page
    assert re.search(r'class="plus">.*?two</td>', page, re.DOTALL)


def test_a_file_whose_name_means_something_in_addresses_is_reached_from_its_folder(site: Furnished) -> None:
    with site.client(None) as client:
        folder = client.get(f"/{TIDE}/tree/main/docs").text
        links = [html.unescape(link) for link in re.findall(r'href="([^"]+/blob/main/docs/a[^"]+)"', folder)]
        assert len(links) == 1
        page = client.get(links[0])
        assert page.status_code == 200
        assert html.escape(ODD.rsplit("/", 1)[-1]) in page.text
        assert client.get(f"/{TIDE}/tree/try%2Flonger").status_code == 200


def test_history_is_read_page_by_page_and_of_one_file(site: Furnished) -> None:
    at = new(site, "long", {"a.txt": b"0", "b.txt": b"0"})
    for i in range(1, 40):
        site.commit("mei", f"{LANTERN}/long", {"a.txt": b"%d" % i}, f"Count {i}")
    titles: list[str] = []
    with site.client(None) as client:
        path = f"{at}/commits/main"
        while path:
            page = client.get(path).text
            titles += re.findall(r'/commit/[0-9a-f]{40}">([^<]+)</a>', page)
            found = re.search(r'href="([^"]+\?after=[^"]+)"', page)
            path = html.unescape(found[1]) if found else ""
        assert titles == [*(f"Count {i}" for i in range(39, 0, -1)), "Begin", "initial commit"]
        assert re.findall(r'/commit/[0-9a-f]{40}">([^<]+)</a>', client.get(f"{at}/commits/main/b.txt").text) == ["Begin"]


def test_facets_narrow_a_list_and_paging_reaches_everything_once(site: Furnished) -> None:
    for i in range(35):
        new(site, f"paged-{i:02}", {"README.md": f"---\nlicense: {'mit' if i % 2 else 'bsd-3-clause'}\ntags: [paged]\n---\n".encode()})
    with site.client(None) as client:
        for query, count in (
            ("tag=paged", 35),
            ("tag=paged&license=mit", 17),
            ("tag=paged&license=mit&author=harbour-lab", 0),
            ("tag=paged&sort=createdAt", 35),
        ):
            seen, path = [], f"/models?{query}"
            while path:
                page = client.get(path).text
                seen += re.findall(r'class="repo" href="([^"]+)"', page)
                found = re.search(r'href="(/models\?[^"]*after=[^"]+)">More', page)
                path = html.unescape(found[1]) if found else ""
            assert len(seen) == len(set(seen)) == count, query


def test_a_dataset_is_shown_as_a_table_that_can_be_searched(site: Furnished) -> None:
    pytest.importorskip("duckdb")
    with site.client(None) as client:
        assert "120 rows" in client.get(f"/datasets/{TABLES}/viewer/main").text
        found = client.get(f"/datasets/{TABLES}/viewer/main/data/train.csv?q=south").text
        assert "South" in found
        assert "<td>North</td>" not in found.split("Most frequent")[0]


def test_a_repository_that_was_made_anew_does_not_tell_what_its_forerunner_did(site: Furnished) -> None:
    at = new(site, "again", {"x.txt": b"x"})
    first = site.commit("mei", f"{LANTERN}/again", {"x.txt": b"y"}, "Forerunner")
    service.delete(site.house, Actor("mei"), Kind.MODEL, f"{LANTERN}/again")
    new(site, "again")
    with site.client(None) as client:
        assert first[:8] not in client.get(f"{at}/activity").text
        assert first[:8] not in client.get(f"/{LANTERN}").text


# --- changing -----------------------------------------------------------------------------------------------------------


def test_small_files_are_uploaded_by_a_plain_form(site: Furnished) -> None:
    at = new(site, "plain-form")
    files = [("file", ("a.txt", b"first\n")), ("file", ("b.bin.txt", b"second\n" * 300_000))]
    with site.client("jun") as client:
        done = client.post(f"{at}/upload/main", data={"folder": "in", "message": "By a form"}, files=files)
        assert done.status_code == 303
        assert "By a form" in client.get(done.headers["location"]).text
        assert client.get(f"{at}/resolve/main/in/a.txt").content == b"first\n"
        assert client.get(f"{at}/resolve/main/in/b.bin.txt").content == b"second\n" * 300_000
        bad = client.post(f"{at}/upload/main", data={"folder": "../out"}, files=files[:1])
        assert bad.status_code == 422
        assert "is not a path" in bad.text


def test_what_one_may_not_write_one_may_propose_and_the_owner_merges_it(site: Furnished) -> None:
    at = new(site, "proposals", {"notes.txt": b"one\ntwo\nthree\n"})
    with site.client("tom") as tom:
        assert tom.post(f"{at}/upload/main", data={"target": "branch"}, files=[("file", ("notes.txt", b"mine"))]).status_code == 403
        opened = tom.post(
            f"{at}/edit/main/notes.txt",
            data={"target": "pull-request", "path": "notes.txt", "content": "one\ntwo\nthree!\n", "message": "Louder"},
        )
        assert opened.headers["location"] == f"{at}/discussions/1"
        assert tom.post(f"{at}/discussions/1/merge").status_code == 403
        assert "three!" in tom.get(f"{at}/discussions/1").text
    with site.client("mei") as mei:
        assert mei.post(f"{at}/discussions/1/merge").status_code == 303
        assert mei.get(f"{at}/resolve/main/notes.txt").text == "one\ntwo\nthree!\n"


def test_a_pull_request_with_conflicts_names_them_and_offers_no_merge(site: Furnished) -> None:
    at = new(site, "clash", {"notes.txt": b"one\n"})
    with site.client("tom") as tom:
        tom.post(f"{at}/edit/main/notes.txt", data={"target": "pull-request", "path": "notes.txt", "content": "mine\n"})
    site.commit("mei", f"{LANTERN}/clash", {"notes.txt": b"theirs\n"}, "Mine first")
    with site.client("mei") as mei:
        page = mei.get(f"{at}/discussions/1").text
        assert "<code>notes.txt</code>" in page
        assert "/merge" not in page
        assert mei.post(f"{at}/discussions/1/merge").status_code == 409


def test_comments_are_written_edited_and_hidden_and_what_they_say_never_runs(site: Furnished) -> None:
    at = f"/{TIDE}/discussions/1"
    with site.client("ada") as ada, site.client("mei") as mei:
        assert "<script>alert" not in ada.get(at).text
        assert ada.post(f"{at}/comment", data={"text": "I *too*"}).status_code == 303
        comment = re.findall(r'<article class="comment" id="([^"]+)"', ada.get(at).text)[-1]
        assert mei.post(f"{at}/edit", data={"comment": comment, "text": "no"}).status_code == 403
        ada.post(f"{at}/edit", data={"comment": comment, "text": "I as **well**"})
        assert "<strong>well</strong>" in mei.get(at).text
        mei.post(f"{at}/hide", data={"comment": comment})
        assert "well</strong>" not in ada.get(at).text
        empty = ada.post(f"{at}/comment", data={"text": " "})
        assert 400 <= empty.status_code < 500


def test_an_edit_on_top_of_somebody_elses_says_so_and_keeps_what_was_typed(site: Furnished) -> None:
    at = new(site, "both-edit", {"notes.txt": b"one\n"})
    with site.client("mei") as client:
        form = client.get(f"{at}/edit/main/notes.txt").text
        parent = re.search(r'name="parent" value="([0-9a-f]{40})"', form)
        assert parent
        site.commit("jun", f"{LANTERN}/both-edit", {"notes.txt": b"two\n"}, "First")
        late = client.post(f"{at}/edit/main/notes.txt", data={"parent": parent[1], "path": "notes.txt", "content": "three\n"})
        assert late.status_code == 409
        assert "three" in late.text
        assert client.get(f"{at}/resolve/main/notes.txt").text == "two\n"


def test_a_new_repository_is_seen_as_its_organisation_wants_unless_one_says_so(site: Furnished) -> None:
    with site.client("mei") as client:
        assert client.get("/new?organisation=lantern-works").status_code == 200
        made = {"organisation": LANTERN, "kind": "dataset", "name": "from-a-page"}
        assert client.post("/new", data=made).headers["location"] == f"/datasets/{LANTERN}/from-a-page"
        assert client.post("/new", data=made).status_code == 409
        namespaces.change(site.house, Actor("mei"), LANTERN, namespaces.Change(private_by_default=True))
        client.post("/new", data={**made, "name": "closed"})
        client.post("/new", data={**made, "name": "open", "visibility": "public"})
        namespaces.change(site.house, Actor("mei"), LANTERN, namespaces.Change(private_by_default=False))
        assert client.post("/new", data={**made, "organisation": "harbour-lab"}).status_code == 403
        assert client.post("/new", data={**made, "name": "../x"}).status_code == 422
    with site.client("tom") as client:
        assert [client.get(f"/datasets/{LANTERN}/{name}").status_code for name in ("closed", "open")] == [404, 200]


def test_webhooks_are_made_switched_and_deleted_on_their_page(site: Furnished) -> None:
    asked = {"type": "model", "url": "https://example.org/hook", "repo": "1"}
    with site.client("tom") as client, site.client("mei") as other:
        foreign, missing = (client.post("/settings/webhooks", data={**asked, "name": name}) for name in (SECRET, f"{LANTERN}/nothing"))
        assert foreign.status_code == missing.status_code == 422
        assert foreign.text.replace("secret", "nothing") == missing.text.replace("secret", "nothing")
        page = client.post("/settings/webhooks", data={**asked, "name": TIDE}).headers["location"]
        assert client.get(page).status_code == 200
        assert other.get(page).status_code == 404
        client.post(page, data={"do": "disable"})
        assert 'value="enable"' in client.get(page).text
        client.post(page, data={"do": "delete"})
        assert client.get(page).status_code == 404


def test_a_repository_is_deleted_only_by_typing_its_name_and_moved_with_the_old_name_leading_on(site: Furnished) -> None:
    at = new(site, "goes", {"x.txt": b"x"})
    with site.client("mei") as client:
        moved = client.post(f"{at}/settings", data={"do": "move", "name": f"{LANTERN}/went"})
        assert moved.headers["location"] == f"/{LANTERN}/went"
        assert client.get(at).headers["location"] == f"/{LANTERN}/went"
        assert client.post(f"/{LANTERN}/went/settings", data={"do": "delete", "typed": "went"}).status_code == 422
        assert client.get(f"/{LANTERN}/went").status_code == 200
        assert client.post(f"/{LANTERN}/went/settings", data={"do": "delete", "typed": f"{LANTERN}/went"}).status_code == 303
        assert client.get(f"/{LANTERN}/went").status_code == 404


def test_the_files_of_a_gated_repository_wait_for_its_owner(site: Furnished) -> None:
    with site.client("tom") as tom, site.client("mei") as mei:
        assert "for those let in" not in tom.get(f"/{GATED}/blob/main/notes.txt").text
        assert tom.get(f"/{GATED}/discussions").headers["location"] == f"/{GATED}/access"
        missing = tom.post(f"/{GATED}/access", data={"field:Company": "Harbour Lab"})
        assert missing.status_code == 400
        asked_for(site, "tom")
        assert tom.get(f"/{GATED}/requests").status_code == 403
        page = mei.get(f"/{GATED}/requests").text
        assert "Harbour Lab" in page
        identity = re.search(r'name="request" value="([^"]+)"', page)
        assert identity
        assert mei.post(f"/{GATED}/requests", data={"request": identity[1], "status": "accepted"}).status_code == 303
        assert "for those let in" in tom.get(f"/{GATED}/blob/main/notes.txt").text
        assert "tom" not in tom.get(f"/{GATED}/activity").text.split("<main")[1]  # who asked is nobody's business


def test_branches_and_tags_are_made_and_taken_away(site: Furnished) -> None:
    at = new(site, "named", {"x.txt": b"x"})
    with site.client("jun") as client:
        client.post(f"{at}/refs", data={"kind": "branch", "name": "next/one"})
        client.post(f"{at}/refs", data={"kind": "tag", "name": "v1", "start": "main"})
        assert "next/one" in client.get(f"{at}/refs").text
        assert client.get(f"{at}/tree/v1").status_code == 200
        assert client.post(f"{at}/refs", data={"kind": "tag", "name": "v1"}).status_code == 409
        client.post(f"{at}/refs", data={"do": "delete", "kind": "tag", "name": "v1"})
        assert client.get(f"{at}/tree/v1").status_code == 404


def test_a_token_made_on_the_page_is_as_narrow_as_it_says_and_ends_when_it_is_revoked(site: Furnished) -> None:
    with site.client("mei") as client:
        made = client.post("/settings/tokens", data={"title": "one place", "rights": "read", "places": SECRET, "days": "7"}).text
        secret = re.search(r'class="secret">([^<]+)<', made)
        assert secret
        head = {"authorization": f"Bearer {secret[1]}"}
        assert httpx.get(f"{site.url}/api/models/{SECRET}", headers=head).status_code == 200
        assert httpx.post(f"{site.url}/api/models/{SECRET}/branch/x", headers=head, json={}).status_code == 403
        page = client.get("/settings/tokens").text
        assert secret[1] not in page
        identity = re.search(r"/settings/tokens/([^/]+)/revoke", page)
        assert identity
        client.post(f"/settings/tokens/{identity[1]}/revoke")
        assert httpx.get(f"{site.url}/api/models/{SECRET}", headers=head).status_code == 401


@pytest.mark.parametrize("page", ["/models?after=~", "/models?after=x~y&sort=likes", f"/{TIDE}/commits/main?after=zz", f"/{TIDE}/activity?before=x", "/models?sort=nothing",
                                  f"/{TIDE}/discussions?page=99999", f"/{LANTERN}?before=0", "/models?search=%25_!&size=x&gated=maybe"])  # fmt: skip
def test_an_address_that_was_tampered_with_shows_a_page_and_no_failure(site: Furnished, page: str) -> None:
    with site.client("mei") as client:
        assert client.get(page).status_code == 200


@pytest.mark.parametrize("page", [f"/{TIDE}/discussions/0", f"/{TIDE}/discussions/x", f"/{TIDE}/commit/zz", f"/{TIDE}/blob/main/docs", f"/{TIDE}/tree/main/run.py",
                                  f"/{TIDE}/tree/main/..%2F..", f"/{TIDE}/blob/main/%00", f"/{TIDE}/tree/", "/nobody-at-all"])  # fmt: skip
def test_what_is_not_there_is_a_page_that_says_so(site: Furnished, page: str) -> None:
    with site.client("mei") as client:
        assert client.get(page).status_code in (400, 404)


def test_an_error_page_speaks_in_words_and_in_the_readers_language(site: Furnished) -> None:
    with site.client("mei") as client:
        said = client.get("/lantern-works/not-there").text
        assert "<h1>Not found</h1>" in said
        assert "RepositoryNotFound" not in said
        assert "<h1>未找到</h1>" in client.get("/lantern-works/not-there", headers={"accept-language": "zh"}).text


def test_one_of_a_thing_is_told_as_one(site: Furnished) -> None:
    made = site.commit("mei", TIDE, {"one.txt": b"one\n"}, "One")
    with site.client("mei") as client:
        assert "1 file changed" in client.get(f"/{TIDE}/commit/{made}").text


def test_a_card_whose_front_matter_is_broken_says_so_on_its_page(site: Furnished) -> None:
    with site.client("mei") as client:
        before = client.get(f"/{TIDE}/resolve/main/README.md").content
        site.commit("mei", TIDE, {"README.md": b"---\nlicense: [mit\n---\n# Broken\n"}, "Break the card")
        for page in (f"/{TIDE}", f"/{TIDE}/blob/main/README.md"):
            said = client.get(page).text
            assert "The front matter of README.md cannot be used: line 3, column 1" in said
            assert "license: [mit" not in said
        site.commit("mei", TIDE, {"README.md": before}, "Mend it")
        assert "front matter" not in client.get(f"/{TIDE}").text


# --- rules --------------------------------------------------------------------------------------------------------------


class _Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))


MARKDOWN = st.lists(
    st.sampled_from(
        [
            "<script>",
            "</script>",
            "[a](",
            "javascript:",
            "data:text/html,",
            ")",
            "![b](",
            '"',
            "'",
            "<",
            ">",
            "onerror=",
            "x.png",
            "../",
            "`",
            "\n",
            "\n\n",
            "# ",
            "#### ",
            "| a | b |\n|---|---|\n",
            "* ",
            "> ",
            "&#106;avascript:",
            "&lt;",
            "<img src=x onerror=alert(1)>",
            "[r]: ",
            "https://e.org/",
            " ",
        ]
    )
    | st.text(max_size=6),
    max_size=25,
).map("".join)


@settings(max_examples=150, deadline=None)
@given(MARKDOWN)
def test_no_markdown_makes_anything_run_or_fetches_from_elsewhere(text: str) -> None:
    reader = _Tags()
    reader.feed(str(render(text, Address(Kind.MODEL, TIDE), "main", "docs")))
    for tag, attributes in reader.found:
        assert tag not in ("script", "style", "iframe", "object", "form", "input", "svg")
        assert not [name for name in attributes if name.startswith("on") or name == "style"]
        assert not (attributes.get("href") or "").lower().replace(" ", "").startswith(("javascript:", "data:", "vbscript:"))
        if tag == "img":
            assert (attributes["src"] or "").startswith(f"/{TIDE}/resolve/main/")


@given(st.lists(st.integers(1, 6), max_size=12))
def test_headings_of_a_card_never_skip_a_level_nor_take_the_pages_own(levels: list[int]) -> None:
    made = render("\n\n".join(f"{'#' * level} h" for level in levels))
    shown = [int(level) for level in re.findall(r"<h(\d)>", made)]
    assert len(shown) == len(levels)
    before = 1
    for level in shown:
        assert 2 <= level <= before + 1
        before = level


@given(
    st.dictionaries(
        st.sampled_from(["mit", "license:mit", "text-generation", "transformers", "dataset:a/b", "en", "license:other"]), st.integers(1, 9)
    )
)
def test_every_word_is_in_one_facet_at_most(tags: dict[str, int]) -> None:
    found = facets.sorted_into(sorted(tags.items()), 12)
    words = [*found.tasks, *found.libraries, *((f"license:{tag}", n) for tag, n in found.licences), *found.tags]
    assert len(words) == len(set(words))
    assert set(words) <= set(tags.items())


def test_snippets_name_what_the_repository_holds() -> None:
    titles = [
        one.title
        for one in snippets.of(Kind.MODEL, TIDE, ["config.json", "model.safetensors", "q4.gguf"], {}, {}, "http://house", private=True)
    ]
    assert titles == ["hf", "transformers", "vLLM", "llama.cpp", "git"]
    data = snippets.of(Kind.DATASET, TABLES, ["b.csv", "a.parquet"], {}, {}, "http://house", private=False)
    assert [one.title for one in data] == ["hf", "datasets", "pandas", "DuckDB", "git"]
    assert "a.parquet" in data[2].code


def test_pages_read_the_same_on_both_databases(database_url: str, tmp_path: Path) -> None:
    house = hub_house(tmp_path / "house", database_url)
    mei, jun = Actor("mei"), Actor("jun")
    service.create(house, mei, Kind.MODEL, TIDE, private=False)
    service.create(house, mei, Kind.MODEL, SECRET, private=True)
    for count in range(3):
        put = commits.kept(house, b"---\nlicense: mit\n---\n%d\n" % count)
        service.commit(house, jun, Kind.MODEL, TIDE, "main", commits.Ask({"README.md": put}, f"Count {count}"))
    found = lists._listed(house, Actor("tom"), Kind.MODEL, {"license": "mit"}, "")
    assert [held.name for held, _ in found.held] == [TIDE]
    assert [choice.word for key, _, words in found.facets for choice in words if key == "author"] == [LANTERN]
    past = views.history(house, jun, Kind.MODEL, TIDE, "main", "README.md", "1", 1)
    assert [line.commit.title for line in past.commits] == ["Count 1"]
    assert past.next == "2"
    seen = lists._namespace(house, Actor("tom"), LANTERN, None)
    assert [held.name for held, _ in seen.repositories] == [TIDE]
    assert [told.recorded.actor for told in seen.told] == ["jun", "jun", "jun", "mei", "mei"]
    assert views.home(house, reading.ANONYMOUS, Kind.MODEL, TIDE).card.metadata == {"license": "mit"}
    house.close()


def test_a_bucket_of_the_real_client_is_shown_to_its_organisation_only(site: Furnished) -> None:
    from huggingface_hub import HfApi

    token = site.house.db.write(lambda tx: site.house.access.add_token(tx, Actor("mei"), "mei", "test"))[1]
    HfApi(endpoint=site.url, token=token).create_bucket(f"{LANTERN}/logs", private=True)
    with site.client("ada") as inside, site.client("tom") as outside:
        assert (
            f"export HF_ENDPOINT={site.url}\nexport HF_TOKEN=…\nhf buckets ls {LANTERN}/logs" in inside.get(f"/buckets/{LANTERN}/logs").text
        )
        assert f"/buckets/{LANTERN}/logs" in inside.get(f"/{LANTERN}").text
        assert outside.get(f"/buckets/{LANTERN}/logs").status_code == 404
        assert "logs" not in outside.get(f"/{LANTERN}").text
