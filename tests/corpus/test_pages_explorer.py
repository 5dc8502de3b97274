"""The corpus floor's pages over the whole app: what each shows, to whom, and what wrong input answers."""

from __future__ import annotations

import asyncio
import html
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import httpx
import pytest

from lilong.app import build, open_house_with_floors
from lilong.floors.corpus import service
from lilong.floors.corpus.alliance.shapes import MemberAsk
from lilong.floors.corpus.contract import Terms, Version
from lilong.ground.access import SYSTEM, Actor
from lilong.ground.config import load
from lilong.ground.db import Tx
from lilong.ground.house import House
from tests.corpus import explored
from tests.corpus.houses import settle

LANTERN, HARBOUR = "lantern-works", "harbour-lab"
REPOSITORY = f"{LANTERN}/manuals"
HERE = f"/corpora/{REPOSITORY}"
PEOPLE = {"mei": ("owner", LANTERN), "ada": ("reader", LANTERN), "tom": ("owner", HARBOUR)}


@dataclass
class Site:
    house: House
    app: Any
    sessions: dict[str, str]
    versions: list[Version]  # the older one first

    def get(self, path: str, user: str = "mei", **headers: str) -> httpx.Response:
        return asyncio.run(self._send("GET", path, user, headers, None))

    def post(self, path: str, form: dict[str, str], user: str = "mei") -> httpx.Response:
        return asyncio.run(self._send("POST", path, user, {}, form))

    async def _send(self, method: str, path: str, user: str, headers: dict[str, str], form: dict[str, str] | None) -> httpx.Response:
        transport = httpx.ASGITransport(app=self.app, raise_app_exceptions=False)
        cookies = {"lilong_session": self.sessions[user]} if user else {}
        async with httpx.AsyncClient(transport=transport, base_url="http://house", cookies=cookies) as client:
            return await client.request(method, path, headers={"accept": "text/html", **headers}, data=form)


def furnish(house: House, tx: Tx) -> dict[str, str]:
    for organisation in (LANTERN, HARBOUR):
        house.access.add_organisation(tx, SYSTEM, organisation, organisation.title())
    for user, (role, organisation) in PEOPLE.items():
        house.access.add_user(tx, SYSTEM, user)
        house.access.grant(tx, SYSTEM, user, role, organisation)
    return {user: house.access.add_token(tx, Actor(user), user, "test", kind="session")[1] for user in PEOPLE}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("explored")
    house = open_house_with_floors(load(folder / "house", environment={}))
    sessions = house.db.write(lambda tx: furnish(house, tx))
    every = explored.records()
    versions = [explored.built(house, Actor("mei"), REPOSITORY, key, given) for key, given in (("one", every[12:]), ("two", every))]
    yield Site(house, build(house), sessions, versions)
    house.close()


def text(answer: httpx.Response) -> str:
    """What a reader sees of a page's main part."""
    body = answer.text[answer.text.index("<main") :]
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", re.sub(r"<(script|style).*?</\1>", "", body, flags=re.S))).split())


def ids(answer: httpx.Response, kind: str = "document") -> list[str]:
    return re.findall(rf"/{kind}/([0-9a-f]{{64}})", answer.text)


# --- the version ---------------------------------------------------------------------------------------------------------


def test_the_version_page_tells_terms_lineage_sources_and_how_to_load_it(site: Site) -> None:
    answer = site.get(HERE)
    assert answer.status_code == 200
    said = text(answer)
    for expected in (
        "the organisation that made it",
        "training",
        "Harbour staff and others",
        "harbour-manual",
        "Score card",
        "Contributions",
    ):
        assert expected in said, expected
    assert f'load_dataset("{REPOSITORY}", revision="{site.versions[1].commit}")' in said
    assert 'role="img"' in answer.text and "Show as table" in said


def test_an_older_version_has_its_own_page_and_both_name_one_another(site: Site) -> None:
    older, newer = site.versions
    assert f"@{older.commit}" in site.get(HERE).text
    answer = site.get(f"{HERE}@{older.commit}")
    assert answer.status_code == 200 and f"@{newer.commit}" in answer.text


def test_a_source_shows_its_licence_and_the_words_that_say_so(site: Site) -> None:
    answer = site.get(f"{HERE}/source/tide-notes")
    assert f"<mark>{explored.SAYS}</mark>" in html.unescape(answer.text)
    assert "CC-BY-4.0" in text(answer)
    assert site.get(f"{HERE}/source/none").status_code == 404


def test_the_drift_page_compares_with_the_version_before(site: Site) -> None:
    said = text(site.get(f"{HERE}/drift"))
    assert "PSI" in said and "tokens" in said and (site.versions[0].commit or "")[:8] in said
    assert "There is no earlier version" in text(site.get(f"{HERE}@{site.versions[0].commit}/drift"))
    assert site.get(f"{HERE}/drift?against={'0' * 40}").status_code == 404


# --- the explorer --------------------------------------------------------------------------------------------------------


def test_documents_are_filtered_by_verdict_source_and_signal(site: Site) -> None:
    every = site.get(f"{HERE}/documents")
    assert "54 of 54 different texts fit." in text(every) and len(ids(every)) == 20
    dropped = site.get(f"{HERE}/documents?verdict=dropped")
    assert "too_short" in text(dropped) and "near_duplicate" in text(dropped) and "See the other page." in text(dropped)
    few = site.get(f"{HERE}/documents?source=tide-notes&signal=tokens&low=0&high=40")
    assert {"too_short"} == set(re.findall(r"<code>([a-z_]+)</code>", few.text)) and re.search(r"tokens \d+ ", text(few))


def test_a_search_shows_the_words_where_they_stand(site: Site) -> None:
    answer = site.get(f"{HERE}/documents?q=ABOUT+the+old+pier")
    assert "1 found in" in text(answer) or "2 found in" in text(answer)
    assert "<mark>about the old pier</mark>" in answer.text
    assert "Nothing found." in text(site.get(f"{HERE}/documents?q=%3Cscript%3Ealert(1)%3C/script%3E"))
    assert "<script>alert(1)" not in site.get(f"{HERE}/documents?q=%3Cscript%3Ealert(1)%3C/script%3E").text


def test_a_sample_can_be_drawn_again(site: Site) -> None:
    one, other = (ids(site.get(f"{HERE}/documents?verdict=kept&sample={number}")) for number in (1, 2))
    assert len(one) == 20 and one != other


def test_why_a_document_was_dropped_is_told_with_both_numbers(site: Site) -> None:
    identity = ids(site.get(f"{HERE}/documents?reason=too_short"))[0]
    said = text(site.get(f"{HERE}/document/{identity}"))
    assert re.search(r"bytes \d+ < 250", said) and "dropped it" in said and "See the other page." in said
    assert site.get(f"{HERE}/document/{identity[:8]}").status_code == 200


def test_pass_rates_and_reasons_are_counted(site: Site) -> None:
    said = text(site.get(f"{HERE}/dropped"))
    assert re.search(r"harbour-manual 31 30 96\.8 %", said) and re.search(r"tide-notes 24 21 87\.5 %", said), said[-400:]
    assert re.search(r"duplicates exact copy exact_duplicate 1 1\.82 %", said)


def test_each_reason_leads_to_as_many_documents_as_were_counted(site: Site) -> None:
    counted = re.findall(r'reason=([a-z_]+)">(?:(?!</a>).)*</a></th><td class="n">(\d+)</td>', site.get(f"{HERE}/dropped").text)
    assert {"exact_duplicate", "near_duplicate", "too_short"} <= {reason for reason, _ in counted}
    for reason, number in counted:
        listed = site.get(f"{HERE}/documents?verdict=dropped&reason={reason}")
        assert f"{number} of 55 documents that were read fit." in text(listed)
        assert len(ids(listed)) == int(number)


def test_of_each_reason_some_are_shown_with_the_way_to_all(site: Site) -> None:
    answer = site.get(HERE)
    for reason in ("exact_duplicate", "near_duplicate", "too_short"):
        assert re.search(rf'documents\?verdict=dropped&amp;reason={reason}">All \d+<', answer.text), reason


def test_codes_and_measures_have_words_in_the_reader_s_language(site: Site) -> None:
    english, chinese = (site.get(HERE, **{"accept-language": language}) for language in ("en", "zh-CN"))
    assert "Pass rate Exact copies Near duplicates" in text(english) and "exact copy exact_duplicate" in text(english)
    assert "通过率 完全相同的副本 近似重复" in text(chinese) and "完全相同的副本 exact_duplicate" in text(chinese)
    assert "过短 too_short" in text(site.get(f"{HERE}/documents?verdict=dropped", **{"accept-language": "zh-CN"}))


def test_duplicates_stand_side_by_side_with_what_differs(site: Site) -> None:
    clusters = ids(site.get(f"{HERE}/duplicates?why=near"), "duplicates")
    answer = site.get(f"{HERE}/duplicates/{clusters[0]}")
    assert len(clusters) == 1 and answer.status_code == 200
    sides = re.findall(r"<(ins|del)><span class=\"hidden\">\[only here: </span>(.*?)<span", answer.text)
    assert {tag for tag, _ in sides} <= {"ins", "del"} and any("<b>" in html.unescape(said) for _, said in sides)
    assert "<b>old" not in answer.text.split('class="beside"')[1]
    assert "equal words" in text(answer)


def test_a_signal_is_drawn_and_another_limit_tried(site: Site) -> None:
    answer = site.get(f"{HERE}/signals?signal=bytes&operator=<&limit=100000")
    said = text(answer)
    assert "54 of 54 texts (100.0 %) have bytes < 100000." in said and "would keep 0 instead of 52" in said
    assert "harbour-manual" in said and len(set(ids(answer))) == 6
    tried = site.get(f"{HERE}/signals?signal=bytes&operator=<&limit=900").text
    assert 'class="mark"' in tried and 'class="limit"' in tried
    assert "en" in text(site.get(f"{HERE}/signals?signal=language"))


def test_a_live_question_answers_with_the_same_page(site: Site) -> None:
    answer = site.get(f"{HERE}/signals?signal=bytes&operator=%3C&limit=nonsense", **{"hx-request": "true"})
    assert answer.status_code == 200 and 'role="alert"' in answer.text


def test_every_link_of_the_pages_leads_somewhere(site: Site) -> None:
    cluster = ids(site.get(f"{HERE}/duplicates?why=near"), "duplicates")[0]
    identity = ids(site.get(f"{HERE}/documents?verdict=dropped"))[0]
    visited = [
        HERE,
        *(
            HERE + part
            for part in ("/documents?verdict=kept", f"/document/{identity}", "/signals?signal=bytes&limit=900", "/dropped", "/drift")
        ),
    ]
    visited += [
        f"{HERE}/duplicates",
        f"{HERE}/duplicates/{cluster}",
        f"{HERE}/source/tide-notes",
        f"/corpora/{LANTERN}",
        "/corpora",
        "/corpora/takedowns",
    ]
    links = {html.unescape(one) for page in visited for one in re.findall(r'(?:href|action|hx-get)="(/[^"#]*)"', site.get(page).text)}
    own = {one for one in links if one.startswith("/corpora/")}
    assert len(own) > 60 and f"{HERE}/signals" in own
    assert {one: site.get(one).status_code for one in sorted(own) if site.get(one).status_code != 200} == {}
    assert not [one for one in links if re.match(r"/datasets/(signals|documents|document|duplicates)\b", one)]


# --- wrong input and other people ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/documents?signal=nothing&low=1", 422), ("/documents?low=abc", 422), ("/documents?low=nan&signal=bytes", 422), ("/documents?verdict=maybe", 422),
        ("/documents?start=-1", 422), ("/documents?start=1e9", 422), ("/documents?sample=x", 422), ("/documents?start=99999999", 200), ("/documents?q=" + "x" * 300, 422),
        ("/documents?q=%00%ED%A0%80", 200), ("/documents?source=nowhere", 200), ("/document/" + "0" * 64, 404), ("/document/zz", 404), ("/document/..%2F..%2Fetc", 404),
        ("/signals?signal=nothing", 422), ("/signals?signal=bytes&limit=abc", 422), ("/signals?signal=bytes&limit=inf", 422), ("/signals?signal=bytes&operator=drop&limit=1", 422),
        ("/duplicates?why=odd", 422), ("/duplicates?start=1000", 200), ("/duplicates/" + "0" * 64, 404), ("/duplicates/nonsense", 404), ("/nothing", 404),
    ],
)  # fmt: skip
def test_wrong_input_is_told_and_never_a_crash(site: Site, path: str, status: int) -> None:
    assert site.get(HERE + path).status_code == status


PAGES = ("", "/documents", "/documents?q=pier", "/signals", "/dropped", "/duplicates", "/drift", "/source/tide-notes")


@pytest.mark.parametrize("page", PAGES)
def test_someone_else_s_version_is_not_there(site: Site, page: str) -> None:
    assert site.get(HERE + page, "mei").status_code == 200
    assert site.get(HERE + page, "tom").status_code == 404
    assert site.get(f"{HERE}@{'0' * 40}{page}", "mei").status_code == 404
    assert site.get(HERE + page, "").status_code in (303, 307, 401)


def test_a_document_of_someone_else_s_version_is_not_there(site: Site) -> None:
    identity = ids(site.get(f"{HERE}/documents"))[0]
    cluster = ids(site.get(f"{HERE}/duplicates"), "duplicates")[0]
    for path in (f"/document/{identity}", f"/duplicates/{cluster}"):
        assert site.get(HERE + path, "tom").status_code == 404


def test_pages_are_in_chinese_for_who_reads_it(site: Site) -> None:
    answer = site.get(f"{HERE}/signals", **{"accept-language": "zh-CN"})
    assert "换一个限值会丢弃什么？" in answer.text and 'lang="zh-Hans"' in answer.text


# --- contributors, takedowns, requests -----------------------------------------------------------------------------------


def test_a_contributor_s_page_tells_what_it_gave(site: Site) -> None:
    said = text(site.get(f"/corpora/{LANTERN}"))
    assert REPOSITORY in said and "92.7 %" in said
    assert site.get("/corpora/nobody-here").status_code == 404
    assert site.get(f"/corpora/{LANTERN}", "tom").status_code == 404


def test_a_takedown_is_previewed_and_only_stewards_have_the_form(site: Site) -> None:
    asked = f"/corpora/takedowns?preview=1&version={REPOSITORY}&kind=source&what=tide-notes&reason=Asked+by+the+author"
    said = text(site.get(asked))
    assert "What it reaches" in said and REPOSITORY in said
    assert "Take something down" not in text(site.get("/corpora/takedowns", "ada"))
    assert site.post("/corpora/takedowns", {"version": REPOSITORY}, "ada").status_code == 403
    assert site.get("/corpora/takedowns/none").status_code == 404


@pytest.mark.parametrize(
    ("form", "status"),
    [
        ({}, 422),
        ({"kind": "source"}, 422),
        ({"kind": "planet", "what": "x"}, 422),
        ({"kind": "source", "what": "tide-notes", "version": "nobody/nothing"}, 404),
    ],
)
def test_a_takedown_that_means_nothing_is_told_so(site: Site, form: dict[str, str], status: int) -> None:
    answer = site.post("/corpora/takedowns", {"reason": "x", "key": "k", **form})
    assert answer.status_code == status and 'role="alert"' in answer.text


def test_a_request_about_personal_data_is_logged_answered_and_forgotten(site: Site) -> None:
    form = {"organisation": LANTERN, "kind": "access", "subject": "a reader of page 9", "key": "one", "received_at": "2026-11-01"}
    assert site.post("/corpora/requests", form).status_code == 303
    assert "a reader of page 9" in text(site.get("/corpora/requests"))
    identity = service.rights_requests(site.house, Actor("mei"))[0].id
    assert (
        site.post(f"/corpora/requests/{identity}", {"do": "answer", "state": "fulfilled", "answer": "Sent by letter."}).status_code == 303
    )
    assert site.post(f"/corpora/requests/{identity}", {"do": "forget"}).status_code == 303
    said = text(site.get("/corpora/requests"))
    assert "Whose it was has been forgotten." in said and "a reader of page 9" not in said
    for wrong in ({**form, "kind": "planet"}, {**form, "received_at": "yesterday", "key": "two"}):
        assert site.post("/corpora/requests", wrong).status_code == 422
    assert site.post("/corpora/requests/none", {"do": "answer", "state": "refused", "answer": "x"}).status_code == 404
    assert site.get("/corpora/requests", "ada").status_code == 403


def test_members_of_the_alliance_see_what_is_shared_but_no_text_that_was_dropped(site: Site) -> None:
    shared = f"{LANTERN}/shared"
    explored.built(site.house, Actor("mei"), shared, "shared", explored.records()[20:], Terms.ALLIANCE)
    assert site.get(f"/corpora/{shared}", "tom").status_code == 404
    service.join(site.house, Actor("tom"), MemberAsk(HARBOUR))
    service.admit(site.house, SYSTEM, HARBOUR)
    seen = text(site.get(f"/corpora/{shared}", "tom"))
    assert "the members of the alliance" in seen and "See the other page." not in seen
    for user, may in (("tom", False), ("ada", True)):  # the job and the statement are its organisation's
        assert ({"/jobs/", "/evidence/"} <= set(re.findall('href="(/jobs/|/evidence/)', site.get(f"/corpora/{shared}", user).text))) is may
    kept, lost = (site.get(f"/corpora/{shared}/documents?verdict={verdict}", "tom") for verdict in ("kept", "dropped"))
    assert 'class="excerpt"' in kept.text and 'class="excerpt"' not in lost.text
    identity = ids(site.get(f"/corpora/{shared}/documents?reason=too_short"))[0]
    for user, shows in (("tom", False), ("ada", True)):
        assert ("See the other page." in text(site.get(f"/corpora/{shared}/document/{identity}", user))) is shows
    assert "See the other page." not in text(site.get(f"/corpora/{shared}/documents?q=See+the+other", "tom"))
    assert "harbour-lab" in text(site.get("/corpora")) and site.get(f"/corpora/{HARBOUR}", "tom").status_code == 200


def test_a_steward_takes_a_source_set_down_from_its_contributor_s_page(site: Site) -> None:
    named = re.findall(r'href="(/corpora/takedowns\?version=sources-[^"]+)"', site.get(f"/corpora/{LANTERN}").text)
    address = html.unescape(named[0])
    assert 'value="sources-' in site.get(address).text
    preview = site.get(address + ("tide-notes" if address.endswith("what=") else "") + "&reason=asked&preview=1")
    assert preview.status_code == 200 and REPOSITORY in text(preview), text(preview)
    assert "/corpora/takedowns?version=" not in site.get(f"/corpora/{LANTERN}", "ada").text


def test_a_version_put_out_of_use_says_so_and_shows_no_texts(site: Site) -> None:
    identity = ids(site.get(f"{HERE}/documents?verdict=kept"))[0]
    form = {"version": REPOSITORY, "kind": "source", "what": "tide-notes", "reason": "Asked by the author", "key": "gone"}
    answer = site.post("/corpora/takedowns", form)
    assert answer.status_code == 303, answer.text[-600:]
    told = site.get(answer.headers["location"])
    assert "Asked by the author" in text(told) and "put out of use" in text(told)
    page = site.get(f"{HERE}@{site.versions[1].commit}")
    assert "Put out of use by a takedown" in text(page) and answer.headers["location"] in page.text
    old = f"{HERE}@{site.versions[1].commit}"
    assert "The version was put out of use" in text(site.get(f"{old}/document/{identity}"))
    listed = site.get(f"{old}/documents")
    assert listed.status_code == 200 and 'class="excerpt"' not in listed.text
    assert "Asked by the author" in text(site.get(f"/corpora/{LANTERN}"))
    settle(site.house)
    assert "tide-notes 24 0 0.0 % taken down 24" in text(site.get(f"{HERE}/dropped"))
    assert "done" in text(site.get(answer.headers["location"]))


def test_a_server_without_the_packages_says_which_is_missing(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    import importlib.util

    whole = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, package=None: None if name == "pyarrow" else whole(name, package))
    answer = site.get(f"{HERE}/documents")
    assert answer.status_code == 503 and "pyarrow" in text(answer)
    assert site.get(HERE).status_code == site.get("/corpora").status_code == 200
