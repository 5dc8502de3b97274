"""How requirements stand, who may review, which number comes next: as rules, with nothing around them."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lilong.floors.governance import profiles, rules
from lilong.floors.governance.contract import BadProfile, Standing, UnknownProfile
from lilong.floors.governance.rules import Case, Claimed
from lilong.ground.blobs import digest_of
from lilong.ground.envelope import Artifact

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
HOUSE = profiles.load("house")
CORPUS = Artifact("lantern-works/handbooks@1", digest_of(b"corpus"), "corpus")
MODEL = Artifact("lantern-works/model@2", digest_of(b"model"), "model")
EARLIER = Artifact("lantern-works/model@1", digest_of(b"earlier"), "model")
LICENCE = Artifact("PSF-2.0", digest_of(b"licence"), "licence")
TYPES = {
    "corpus": "https://lilong.dev/corpus-version/v1", "training": "https://slsa.dev/provenance/v1",
    "report": "https://in-toto.io/attestation/test-result/v0.1", "compatibility": "https://lilong.dev/compat-result/v1",
}  # fmt: skip
ROWS = {"rows": [{"stack": "torch-fp32", "verdict": "pass"}, {"stack": "llama.cpp", "verdict": "pass"}]}


def claim(requirement: str, model: Artifact = MODEL, hours_ago: float = 1, **changes: Any) -> Claimed:
    made: dict[str, tuple[tuple[Artifact, ...], tuple[Artifact, ...]]] = {
        "corpus": ((CORPUS,), (LICENCE,)),
        "training": ((model,), (CORPUS,)),
        "report": ((Artifact("report", digest_of(b"report"), "report"),), (model, CORPUS)),
        "compatibility": ((Artifact("certificate", digest_of(b"certificate"), "certificate"),), (model,)),
    }
    subjects, materials = made[requirement]
    predicate = ROWS if requirement == "compatibility" else {}
    at, judged = NOW - timedelta(hours=hours_ago), tuple(each for each in materials if each.kind == "model")
    first = Claimed(digest_of(f"{requirement}{model.digest}{hours_ago}".encode()), TYPES[requirement], at, subjects, materials, predicate, judged)
    return replace(first, **changes)


WHOLE = Case(
    model=MODEL.digest, stack="llama.cpp", files=frozenset({"README.md", "model.safetensors"}), made_at=NOW - timedelta(hours=5),
    corpora=(CORPUS,), earlier=frozenset({EARLIER.digest}),
    claims=(claim("corpus", hours_ago=9), claim("training", hours_ago=5), claim("report"), claim("compatibility")),
)  # fmt: skip


def standings(case: Case, now: datetime = NOW) -> dict[str, Standing]:
    return {result.id: result.standing for result in rules.decide(HOUSE, case, now).requirements}


def without(requirement: str) -> Case:
    return replace(WHOLE, claims=tuple(each for each in WHOLE.claims if each.predicate_type != TYPES[requirement]))


def instead(requirement: str, *claims: Claimed) -> Case:
    rest = without(requirement)
    return replace(rest, claims=(*rest.claims, *claims))


def test_with_all_the_evidence_every_requirement_is_met() -> None:
    assert set(standings(WHOLE).values()) == {Standing.MET}
    assert rules.decide(HOUSE, WHOLE, NOW).met


@pytest.mark.parametrize("requirement", TYPES)
def test_what_nobody_stated_is_missing(requirement: str) -> None:
    assert standings(without(requirement)) == {**standings(WHOLE), requirement: Standing.MISSING}


@pytest.mark.parametrize("requirement", TYPES)
def test_what_was_taken_back_is_revoked_and_says_why(requirement: str) -> None:
    case = instead(requirement, claim(requirement, broken="it was revoked: wrong licence"))
    decision = rules.decide(HOUSE, case, NOW)
    assert standings(case)[requirement] is Standing.REVOKED
    assert f"{requirement} is revoked, " in rules.unmet(decision)
    assert "wrong licence" in rules.unmet(decision)


@pytest.mark.parametrize("requirement", TYPES)
def test_a_new_statement_beside_a_revoked_one_meets_the_requirement(requirement: str) -> None:
    assert standings(instead(requirement, claim(requirement, broken="gone"), claim(requirement, hours_ago=0.5)))[requirement] is Standing.MET


def test_a_report_older_than_the_revision_is_stale() -> None:
    assert standings(instead("report", claim("report", hours_ago=6)))["report"] is Standing.STALE


def test_a_report_on_an_earlier_revision_is_stale() -> None:
    assert standings(instead("report", claim("report", EARLIER)))["report"] is Standing.STALE
    assert standings(instead("compatibility", claim("compatibility", EARLIER)))["compatibility"] is Standing.STALE


def test_a_report_in_which_the_model_was_only_the_base_does_not_count() -> None:
    assert standings(instead("report", claim("report", judged=(EARLIER,))))["report"] is Standing.STALE
    assert standings(replace(instead("report", claim("report", judged=(EARLIER,))), earlier=frozenset()))["report"] is Standing.MISSING


def test_a_report_ages() -> None:
    assert standings(WHOLE, NOW + timedelta(days=364))["report"] is Standing.MET
    assert standings(WHOLE, NOW + timedelta(days=366))["report"] is Standing.STALE


def test_a_corpus_without_licences_does_not_count() -> None:
    assert standings(instead("corpus", claim("corpus", materials=())))["corpus"] is Standing.MISSING
    assert standings(instead("corpus", claim("corpus", materials=(), predicate={"licences": ["MIT"]})))["corpus"] is Standing.MET


def test_every_corpus_needs_its_own_statement() -> None:
    other = Artifact("northwind/letters@1", digest_of(b"letters"), "corpus")
    case = replace(WHOLE, corpora=(CORPUS, other))
    assert standings(case)["corpus"] is Standing.MISSING
    assert "northwind/letters@1" in rules.unmet(rules.decide(HOUSE, case, NOW))
    assert standings(replace(WHOLE, corpora=()))["corpus"] is Standing.MISSING


@pytest.mark.parametrize(
    ("stack", "rows", "standing"),
    [
        ("llama.cpp", ROWS["rows"], Standing.MET),
        ("onnxruntime", ROWS["rows"], Standing.MISSING),
        ("llama.cpp", [{"stack": "llama.cpp", "verdict": "crash"}], Standing.MISSING),
        ("llama.cpp", [{"stack": "llama.cpp:a.gguf", "verdict": "pass"}], Standing.MET),
        ("llama.cpp", [{"stack": "llama.cpp:a.gguf", "verdict": "pass"}, {"stack": "llama.cpp:b.gguf", "verdict": "wrong"}], Standing.MISSING),
        ("llama.cpp:a.gguf", [{"stack": "llama.cpp:a.gguf", "verdict": "pass"}, {"stack": "llama.cpp:b.gguf", "verdict": "wrong"}], Standing.MET),
        ("llama.cpp", [], Standing.MISSING),
    ],
)
def test_the_certificate_must_pass_the_stack_that_serves(stack: str, rows: list[dict[str, str]], standing: Standing) -> None:
    case = replace(instead("compatibility", claim("compatibility", predicate={"rows": rows})), stack=stack)
    assert standings(case)["compatibility"] is standing


def test_a_revision_without_a_card_is_not_registered() -> None:
    assert standings(replace(WHOLE, files=frozenset({"model.safetensors"})))["card"] is Standing.MISSING


claims = st.builds(
    claim, st.sampled_from(sorted(TYPES)), st.sampled_from([MODEL, EARLIER]), st.floats(0, 10_000, allow_nan=False), broken=st.sampled_from(["", "gone"])
)
cases = st.lists(claims, max_size=8, unique_by=lambda each: each.id).map(lambda found: replace(WHOLE, claims=tuple(found)))
ORDER = [Standing.MISSING, Standing.STALE, Standing.REVOKED, Standing.MET]


@given(case=cases, seed=st.randoms(use_true_random=False))
def test_the_order_of_the_statements_changes_nothing(case: Case, seed: Any) -> None:
    shuffled = list(case.claims)
    seed.shuffle(shuffled)
    assert rules.decide(HOUSE, replace(case, claims=tuple(shuffled)), NOW) == rules.decide(HOUSE, case, NOW)


@given(case=cases, more=claims)
def test_more_evidence_never_takes_back_what_is_met(case: Case, more: Claimed) -> None:
    before, after = standings(case), standings(replace(case, claims=(*case.claims, more)))
    assert all(after[name] is Standing.MET for name, standing in before.items() if standing is Standing.MET)


@given(case=cases)
def test_nothing_is_met_by_evidence_that_was_all_revoked(case: Case) -> None:
    broken = replace(case, claims=tuple(replace(each, broken="gone") for each in case.claims))
    assert not set(standings(broken)) - {"card"} & {name for name, standing in standings(broken).items() if standing is Standing.MET}


@given(case=cases, days=st.integers(0, 1000))
def test_time_alone_meets_nothing(case: Case, days: int) -> None:
    before, after = standings(case), standings(case, NOW + timedelta(days=days))
    assert {name for name, standing in after.items() if standing is Standing.MET} <= {name for name, standing in before.items() if standing is Standing.MET}


@given(case=cases)
def test_a_met_requirement_names_the_statements_that_meet_it(case: Case) -> None:
    known = {each.id: each for each in case.claims}
    for result in rules.decide(HOUSE, case, NOW).requirements:
        if result.standing is Standing.MET and result.id != "card":
            assert result.statements and not any(known[each].broken for each in result.statements)


# --- who may review ----------------------------------------------------------------------------------------------------------

CONTROL = {"lantern-works": "lantern-holding", "lantern-lab": "lantern-holding", "lantern-holding": None, "harbour-lab": None, "pier": "harbour-lab"}


@pytest.mark.parametrize(
    ("reviewer", "own", "free"),
    [
        ("li", {"harbour-lab"}, True),
        ("li", {"pier"}, True),
        ("mei", {"harbour-lab"}, False),
        ("li", {"lantern-works"}, False),
        ("li", {"harbour-lab", "lantern-works"}, False),
        ("li", {"lantern-holding"}, False),
        ("li", {"lantern-lab"}, False),
        ("li", {"harbour-lab", "lantern-lab"}, False),
        ("li", set(), False),
    ],
)
def test_only_a_person_of_an_unrelated_organisation_reviews(reviewer: str, own: set[str], free: bool) -> None:
    assert (rules.conflict("mei", "lantern-works", reviewer, own, CONTROL) == "") == free


organisations = st.sampled_from("abcdef")


@given(control=st.dictionaries(organisations, st.none() | organisations), one=organisations, other=organisations)
def test_relation_goes_both_ways_and_ends_even_in_a_circle(control: dict[str, str | None], one: str, other: str) -> None:
    related = bool(rules.conflict("x", one, "y", {other}, control))
    assert related == bool(rules.conflict("x", other, "y", {one}, control))
    assert related or control.get(one) != other


@given(st.lists(st.integers(1, 20_000), unique=True))
def test_numbers_are_never_given_twice(given_before: list[int]) -> None:
    taken = [f"LL-2026-{number:04d}" for number in given_before] + ["LL-2025-9999"]
    number = rules.next_number(2026, taken)
    assert number not in taken
    assert number == f"LL-2026-{max(given_before, default=0) + 1:04d}"


# --- profiles ----------------------------------------------------------------------------------------------------------------


def test_the_house_profile_speaks_both_languages_and_has_a_date_to_look_at_it_again() -> None:
    assert all(set(requirement.text) == {"en", "zh"} for requirement in HOUSE.requirements)
    assert HOUSE.review_by > HOUSE.dated


def test_a_profile_nobody_knows_and_one_with_a_mistake_are_refused() -> None:
    source = profiles.sources()["house"]
    with pytest.raises(UnknownProfile, match="Known: house"):
        profiles.load("eu")
    for old, new in ((b'test = "stack"', b'test = "speed"'), (b"fresh = true", b"frsh = true"), (b"version = 1", b""), (b'role = "subject"', b'role = "object"'), (b"text.zh", b"text.fr")):
        with pytest.raises(BadProfile):
            profiles.parse(source.replace(old, new), "house")
    with pytest.raises(BadProfile):
        profiles.parse(source, "another")
